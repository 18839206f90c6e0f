"""The uploader of a node: one process per staging directory, whose every pass begins with what lies on the disk."""
