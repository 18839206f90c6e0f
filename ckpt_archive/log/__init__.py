"""The log: every record of the archive once, in a gapless row of write-once batches."""
