"""The race of everything that makes the index: writers, syncs, compactions, vacuums and readers at once, killed at random.

Real processes on a real server. Nothing may be lost, nothing may be there twice, and no reader may see half of anything.
"""
