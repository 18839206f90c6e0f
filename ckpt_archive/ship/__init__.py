"""From files on this machine to a committed checkpoint: a folder pushed in place, or a share sealed in the ring."""
