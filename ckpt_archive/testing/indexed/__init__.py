"""What an index may hold, made up: rows of every table of the schema, the same for the same seed, and Delta tables of them.

For tests of questions and of engines; nothing here looks at an archive.
"""
