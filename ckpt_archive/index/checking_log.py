"""Whether the Delta log of a table tells questions the truth: which columns it has, which files, and what lies in these.

A question, and every other engine, passes over a file of which the log says that it holds nothing that is asked for.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from ckpt_archive.commit import layout
from ckpt_archive.executor import Executor
from ckpt_archive.index import arrow
from ckpt_archive.index.comparing import Difference
from ckpt_archive.index.query import views
from ckpt_archive.index.schema import APP, TABLES
from ckpt_archive.index.snapshot import LiveFile, Snapshot, read_snapshot
from ckpt_archive.index.tables import OpenTable
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json

# Other writers cut times off, as Delta's protocol has it, and readers take that into account; ours rounds them up.
_CUT_OFF = timedelta(milliseconds=1)
_WANTED = ("protocol", "metaData", "txn", "add")


def snapshot_of(store: Store, executor: Executor, name: str) -> Snapshot:
    """A table as questions see it.

    Raises:
        IntegrityError: If its log is not one.
        UnavailableError: If the store does not answer.
    """
    return read_snapshot(store, layout.index_table(name), executor, _checkpoint_actions)


def log_differences(snapshot: Snapshot, opened: OpenTable) -> Iterator[Difference]:
    """What its log says otherwise than it should; nothing about what lies in its files.

    Raises:
        IntegrityError: If a file does not stand in the folder of its partition.
    """
    table = TABLES[opened.table.name]
    declared = {field.name: field.type for field in snapshot.fields}
    for column in table.columns:
        if declared.get(column.name) != str(column.type):
            said = f"the log of the table says that it is {declared.get(column.name) or 'not there'}"
            yield Difference("different", table.name, column.name, said)
    if snapshot.transactions.get(APP, 0) == opened.number:
        window = views.Window(opened.number)
        views.view(snapshot, window, {key: key for key in snapshot.files})
        files = {snapshot.folder + file.path for file in opened.files()}
        for key in sorted(files ^ snapshot.files.keys()):
            yield Difference("different", table.name, key, "the log of the table names it for some readers alone")


def bound_differences(name: str, file: LiveFile, bounds: arrow.Bounds) -> Iterator[Difference]:
    """Where the log says less of a file than what lies in it."""
    true = json.loads(bounds.stats())
    rows = file.stats.get("numRecords")
    if rows is not None and rows != true["numRecords"]:
        yield Difference("different", name, file.key, f"the log says that it has {rows!r:.100} rows")
    for column, least in true["minValues"].items():
        if not _is_ordered(file.least(column), least):
            said = f"the log says that its {column} begins with {file.least(column)!r:.100}, not {least!r:.100}"
            yield Difference("different", name, file.key, said)
    for column, greatest in true["maxValues"].items():
        if not _is_ordered(greatest, file.greatest(column), _CUT_OFF):
            said = f"the log says that its {column} ends with {file.greatest(column)!r:.100}, not {greatest!r:.100}"
            yield Difference("different", name, file.key, said)


def _is_ordered(first: Json, second: Json, slack: timedelta = timedelta(0)) -> bool:
    """Whether this is no wrong bound; one that is not there is none, and a time may be behind by some slack."""
    if first is None or second is None:
        return True
    moments = [_moment(value) for value in (first, second)]
    if moments[0] is not None and moments[1] is not None:
        return moments[0] - slack <= moments[1]
    return type(first) is type(second) and bool(first <= second)


def _moment(value: Json) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _checkpoint_actions(data: bytes) -> Iterable[Mapping[str, Json]]:
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            wanted = [name for name in _WANTED if name in parquet.schema_arrow.names]
            rows = parquet.read(columns=wanted).to_pylist(maps_as_pydicts="strict")
    except (OSError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
