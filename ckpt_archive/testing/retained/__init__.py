"""Histories of archives whose checkpoints end: commits, policies, holds, passes killed anywhere, and a lifecycle engine.

`world` is the store, the time and who goes on next; `story` is what histories are made of, `drawing` draws them, `acting`
carries their steps out by the product's own code; `oracle` watches every write and judges. Everything is decided by a seed.
"""
