"""Mistakes that somebody could make in the product, each a small patch kept as data, and what finds them.

Whoever trusts a search that finds nothing wants to know what it would have found. So every mistake of `catalog/` is put into
the real code, in memory, in a process of its own, and looked for: `python -m ckpt_archive.testing.simulation.mutants`.
"""
