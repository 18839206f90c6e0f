"""Everything periodic, in one pass that may be made by anybody, at any time, by many at once, and be killed anywhere."""
