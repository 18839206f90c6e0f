"""A Delta log written by hand into any store: tables as they should be, and as they should not."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from ckpt_archive.index import arrow, schema
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json


class HandWritten:
    """One table.

    Args:
        store: Where it is.
        table: What it holds.
        more: Columns that this release does not know: names with Delta types.
        version: Of the schema, as the table says.
        protocol: What a reader must understand.
    """

    def __init__(
        self,
        store: Store,
        table: schema.Table,
        *,
        more: Mapping[str, Json] | None = None,
        version: int = schema.VERSION,
        protocol: Mapping[str, Json] | None = None,
    ) -> None:
        self._store = store
        self.table = table
        self.folder = f"index/{table.name}/"
        self.version = -1
        self._names = 0
        fields = {column.name: str(column.type) for column in table.columns} | dict(more or {})
        self.commit(
            {"protocol": dict(protocol or {"minReaderVersion": 1, "minWriterVersion": 2})},
            {
                "metaData": {
                    "id": "0" * 32,
                    "format": {"provider": "parquet", "options": {}},
                    "schemaString": json.dumps(
                        {
                            "type": "struct",
                            "fields": [
                                {"name": name, "type": kind, "nullable": True, "metadata": {}}
                                for name, kind in fields.items()
                            ],
                        }
                    ),
                    "partitionColumns": [schema.MONTH] if table.monthly else [],
                    "configuration": {schema.VERSION_KEY: str(version)},
                    "createdTime": 0,
                }
            },
        )

    def commit(self, *actions: Mapping[str, Json]) -> None:
        """The next version."""
        self.version += 1
        data = "".join(json.dumps(action) + "\n" for action in actions).encode()
        self._store.create(f"{self.folder}_delta_log/{self.version:020d}.json", Body.of(data))

    def append(self, rows: pa.Table, number: int, *, with_stats: bool = True) -> list[str]:
        """Rows of the schema, as one file a month; the keys of the files."""
        adds = [self.put(part, month, with_stats=with_stats) for month, part in _by_month(self.table, rows)]
        self.commit(*adds, {"txn": {"appId": schema.APP, "version": number, "lastUpdated": 0}})
        return [self.folder + add["add"]["path"] for add in adds]

    def put(self, rows: pa.Table, month: str = "", *, with_stats: bool = True) -> dict[str, Json]:
        """A file that is named by no commit yet; the action that would name it."""
        made = arrow.to_parquet(self.table, arrow.sort(self.table, rows))
        return self.put_bytes(made.data, month, made.stats if with_stats else None)

    def put_bytes(self, data: bytes, month: str = "", stats: str | None = None) -> dict[str, Json]:
        """As `put`, whatever the bytes are."""
        self._names += 1
        path = f"{f'{schema.MONTH}={month}/' if month else ''}{self._names:08d}.parquet"
        self._store.create(self.folder + path, Body.of(data))
        partition = {schema.MONTH: month} if month else {}
        return {
            "add": {
                "path": path,
                "size": len(data),
                "partitionValues": partition,
                "modificationTime": 0,
                "dataChange": True,
                "stats": stats,
            }
        }

    def remove(self, *keys: str) -> None:
        """Files that are live no more."""
        self.commit(
            *(
                {"remove": {"path": key.removeprefix(self.folder), "deletionTimestamp": 0, "dataChange": True}}
                for key in keys
            )
        )


def checkpoint_rows(count: int, *, first: int = 0, per_run: int = 1000, minutes: float = 5.0) -> pa.Table:
    """So many rows of `checkpoints`, a thousand a run, sorted; row n is of log batch n // 1000 + 1."""
    import numpy as np  # noqa: PLC0415 - only for tables of millions
    import pyarrow.compute as pc  # noqa: PLC0415

    numbers = np.arange(first, first + count)
    begin = np.datetime64("2026-01-01T00:00:00", "us")
    times = begin + (numbers * int(minutes * 60_000_000)).astype("timedelta64[us]")
    digests = np.frombuffer(np.random.default_rng(first).bytes(count * 32), dtype="S32")
    columns: dict[str, Any] = {
        "run": pc.binary_join_element_wise(
            "run-", pc.utf8_lpad(pa.array(numbers // per_run).cast(pa.string()), 6, "0"), ""
        ),
        "attempt": pa.array(np.zeros(count, dtype="int64")),
        "step": pa.array(numbers % per_run * 100),
        "committed_at": pa.array(times).cast(pa.timestamp("us", "UTC")),
        "manifest_sha256": pa.array([bytes(digest).ljust(32, b"\0").hex() for digest in digests]),
        "size_bytes": pa.array(numbers * 4096),
        "writers": pa.array(np.full(count, 8)),
        "files": pa.array(np.full(count, 17)),
        "project": pa.array(np.full(count, "speech")),
        "log_seq": pa.array(numbers // 1000 + 1),
    }
    return rows_of(schema.CHECKPOINTS, columns, count)


def rows_of(table: schema.Table, columns: Mapping[str, Any], count: int) -> pa.Table:
    """A table of a file's schema; what is not given is NULL."""
    declared = arrow.file_schema(table)
    return pa.table(
        [
            pa.array(columns[field.name], field.type)
            if isinstance(columns.get(field.name), list)
            else columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(count, field.type)
            for field in declared
        ],
        schema=declared,
    )


def _by_month(table: schema.Table, rows: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    if not table.monthly:
        return [("", rows)]
    import pyarrow.compute as pc  # noqa: PLC0415

    months = pc.strftime(rows.column(table.known_at), "%Y-%m")
    return [(month, rows.filter(pc.equal(months, month))) for month in sorted(set(months.to_pylist()))]
