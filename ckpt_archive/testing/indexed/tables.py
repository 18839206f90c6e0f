"""Made-up rows as pyarrow tables, and as Delta tables in a folder."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction, RemoveAction

from ckpt_archive.index import schema
from ckpt_archive.index.arrow import table_schema
from ckpt_archive.testing.indexed.happenings import happen
from ckpt_archive.testing.indexed.rows import Row, Rows
from ckpt_archive.testing.indexed.runs import Trainer


def made_up(seed: int = 1, runs: int = 22) -> Mapping[str, list[Row]]:
    """Rows of every table, the same for the same numbers.

    Args:
        seed: Of everything random.
        runs: How many ordinary runs; a wide one and a deep chain of runs come on top.
    """
    rows = Rows(Random(seed))
    Trainer(rows).everything(runs)
    happen(rows)
    return rows.finish()


def arrow_tables(rows: Mapping[str, list[Row]]) -> Mapping[str, pa.Table]:
    """One pyarrow table for each table of the schema."""
    return {name: pa.Table.from_pylist(rows[name], schema=table_schema(table)) for name, table in schema.TABLES.items()}


def write_delta(tables: Mapping[str, pa.Table], folder: Path, *, commits: int = 2) -> None:
    """Delta tables ``<folder>/<table>/`` as the projection makes them: several commits, each up to a number of the log.

    Args:
        tables: What `arrow_tables` gives.
        folder: Where; made if it is not there.
        commits: In how many appends.
    """
    newest = max(max(table[schema.LOG_SEQ].to_pylist(), default=0) for table in tables.values())
    for name, table in tables.items():
        declared = schema.TABLES[name]
        partition_by = [schema.MONTH] if declared.monthly else []
        handle = DeltaTable.create(
            str(folder / name),
            table_schema(declared),
            partition_by=partition_by,
            configuration={schema.VERSION_KEY: str(schema.VERSION)},
            raise_if_key_not_exists=False,
        )
        numbers = table[schema.LOG_SEQ].to_pylist()
        done = 0
        for commit in range(1, commits + 1):
            upto = newest * commit // commits
            part = table.filter(pa.array([done < number <= upto for number in numbers], pa.bool_()))
            handle.create_write_transaction(
                _files(part, declared, folder / name, commit),
                "append",
                table_schema(declared),
                partition_by or None,
                commit_properties=CommitProperties(app_transactions=[Transaction(schema.APP, upto)]),
            )
            handle.update_incremental()
            done = upto


def _files(rows: pa.Table, declared: schema.Table, folder: Path, commit: int) -> list[AddAction | RemoveAction]:
    if not declared.monthly:
        return [_file(rows, folder, f"part-{commit}.parquet", {})] if rows.num_rows else []
    months = sorted(set(rows[schema.MONTH].to_pylist()))
    made: list[AddAction | RemoveAction] = []
    for month in months:
        part = rows.filter(pa.array([value == month for value in rows[schema.MONTH].to_pylist()], pa.bool_()))
        path = f"{schema.MONTH}={month}/part-{commit}.parquet"
        made.append(_file(part.drop_columns([schema.MONTH]), folder, path, {schema.MONTH: month}))
    return made


def _file(rows: pa.Table, folder: Path, path: str, partition: Mapping[str, str | None]) -> AddAction:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, target, compression="zstd", compression_level=3)
    moment = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
    stats = json.dumps({"numRecords": rows.num_rows})
    return AddAction(path, target.stat().st_size, partition, moment, data_change=True, stats=stats)
