"""Checkpoints of Delta logs, which are Parquet, read with DuckDB."""

import json
from collections.abc import Iterable, Mapping

import duckdb

from ckpt_archive.index.query import sandbox, views
from ckpt_archive.index.query.files import IndexFiles, url_of
from ckpt_archive.strictjson import Json

_WANTED = ("protocol", "metaData", "txn", "add")


def checkpoint_actions(data: bytes) -> Iterable[Mapping[str, Json]]:
    """The actions in a checkpoint that say what is; those that say what was are left out.

    Raises:
        ValueError: If it is none.
    """
    files = IndexFiles(_Held(data))
    files.show({"checkpoint": len(data)})
    try:
        with sandbox.connect(sandbox.Limits(threads=1), files) as connection:
            checkpoint = connection.read_parquet(url_of("checkpoint"))
            wanted = [name for name in _WANTED if name in checkpoint.columns]
            rows = checkpoint.project(", ".join(f"to_json({views.quoted(name)})" for name in wanted)).fetchall()
    except duckdb.Error as error:
        raise ValueError(str(error)) from error
    return [
        {name: json.loads(value) for name, value in zip(wanted, row, strict=True) if value is not None} for row in rows
    ]


class _Held:
    """One file in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, key: str, size_bytes: int, offset: int, length: int) -> bytes:
        """See `Ranges.read`."""
        del key, size_bytes
        return self._data[offset : offset + length]
