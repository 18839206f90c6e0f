"""The audit index: Delta tables derived from the log, and the questions asked of them. It can be thrown away and rebuilt."""
