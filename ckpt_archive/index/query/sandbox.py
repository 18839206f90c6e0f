"""Connections of DuckDB that can read what they were given and do nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from ckpt_archive.index.query.files import IndexFiles
from ckpt_archive.index.query.views import literal


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may take of this machine.

    Attributes:
        memory_bytes: More is an error: nothing is spilled to disk.
        threads: None for one per core.
    """

    memory_bytes: int = 4 << 30
    threads: int | None = None


def connect(limits: Limits, files: IndexFiles | None = None) -> duckdb.DuckDBPyConnection:
    """A new database in memory, which loads nothing by itself and does not see the variables of this process."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "temp_directory": "",
        "memory_limit": f"{max(64, limits.memory_bytes >> 20)}MiB",
        # What a store sends is kept by `Blocks`, which outlives a connection.
        "enable_external_file_cache": False,
    }
    if limits.threads is not None:
        config["threads"] = limits.threads
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    # Counted, so that `query_progress` tells; printed by whoever has a terminal.
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")
    if files is not None:
        connection.register_filesystem(files)
    return connection


def lock(connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
    """From now on exactly these files can be opened, and no setting can be changed."""
    allowed = ", ".join(literal(path) for path in paths)
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
