"""Questions in SQL, asked of the index where it lies: read-only, consistent, and without anything but duckdb and fsspec."""
