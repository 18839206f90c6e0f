"""Deterministic simulation: disks, an object store, clocks and processes that one integer determines.

A workload builds a `World`, gives it `Node`s and a `SimStore`, spawns processes that run real code on `Node.machine()`, and
lets a `Watcher` assert after every I/O what must always hold. `search` runs it for many seeds, `every_crash_point` breaks
one life off at each of its I/Os. A failure names its seed, and the same seed tells the same story again.

Code that holds a lock of `threading` across an adapter call hangs in here; in production it stalls every other thread.
"""
