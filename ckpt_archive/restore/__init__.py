"""From the archive or the local ring into a folder: verified, continued after a kill, in place atomically."""
