"""The local file system behind one protocol, and the one way to write durably."""
