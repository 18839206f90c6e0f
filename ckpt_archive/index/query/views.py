"""A table of the index as a view of DuckDB: these files, these columns, these rows. Values in, SQL out; no I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ckpt_archive.errors import IntegrityError
from ckpt_archive.index import schema
from ckpt_archive.index.snapshot import Field, LiveFile, Snapshot
from ckpt_archive.strictjson import Json, brief

_TYPES: Mapping[str, str] = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "integer": "INTEGER",
    "short": "SMALLINT",
    "byte": "TINYINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "timestamp_ntz": "TIMESTAMP",
}
_DECIMAL = re.compile(r"decimal\([0-9]{1,2}, ?[0-9]{1,2}\)")
# Of tables that only a newer release knows: the first that is there.
_KNOWN_AT = ("committed_at", "recorded_at", "sealed_at", "known_at")
# Statistics of a Delta log tell times to the millisecond, cut off.
_CUT_OFF = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a table are seen.

    Attributes:
        newest_batch: Those of log batches up to this number.
        as_of: Those that the archive knew at this time; None for all.
    """

    newest_batch: int
    as_of: datetime | None = None


def known_at(snapshot: Snapshot) -> str | None:
    """The column that says when the archive came to know a row, if there is one."""
    table = schema.TABLES.get(table_name(snapshot))
    names = {field.name for field in snapshot.fields}
    candidates = (table.known_at,) if table else _KNOWN_AT
    return next((name for name in candidates if name in names), None)


def table_name(snapshot: Snapshot) -> str:
    """The table's name."""
    return snapshot.folder.rstrip("/").rpartition("/")[2]


def files_in(snapshot: Snapshot, window: Window) -> list[LiveFile]:
    """The files that may hold rows of the window."""
    return [file for file in snapshot.files.values() if _may_hold(file, snapshot, window)]


def view(snapshot: Snapshot, window: Window, paths: Mapping[str, str]) -> str:
    """The statement that makes the view.

    Args:
        snapshot: Of the table.
        window: Which rows.
        paths: What DuckDB calls the files, by key.

    Raises:
        IntegrityError: If a file does not stand in the folder of its partition.
    """
    fields = [(field.name, duckdb_type(field)) for field in snapshot.fields]
    head = f"CREATE VIEW {quoted(table_name(snapshot))} AS SELECT"
    files = files_in(snapshot, window)
    if not files:
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in fields)
        return f"{head} {columns} WHERE false"
    for file in files:
        _check_folders(file, snapshot)
    conditions = _conditions(snapshot, window, files)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = ", ".join(quoted(name) for name, _ in fields)
    return f"{head} {columns} FROM {_source(fields, snapshot.partition_by, [paths[f.key] for f in files])}{where}"


def duckdb_type(field: Field) -> str:
    """The type of a column."""
    return _type(field.type)


def quoted(name: str) -> str:
    """An identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """A text."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _type(kind: Json) -> str:
    try:
        if isinstance(kind, str):
            return f"DECIMAL{kind.removeprefix('decimal')}" if _DECIMAL.fullmatch(kind) else _TYPES[kind]
        match kind["type"]:
            case "array":
                return f"{_type(kind['elementType'])}[]"
            case "map":
                return f"MAP({_type(kind['keyType'])}, {_type(kind['valueType'])})"
            case "struct":
                members = ", ".join(f"{quoted(item['name'])} {_type(item['type'])}" for item in kind["fields"])
                return f"STRUCT({members})"
    except (AttributeError, KeyError, TypeError):
        pass  # told of below
    raise IntegrityError(
        f"a table of the index has the unknown column type {brief(repr(kind))}", hint="Upgrade ckpt-archive."
    )


def _source(fields: Iterable[tuple[str, str]], partition_by: tuple[str, ...], paths: Iterable[str]) -> str:
    # With the columns given, no file is opened before a query needs it, and older files may lack newer columns.
    columns = ", ".join(
        f"{literal(name)}: {{name: {literal(name)}, type: {literal(kind)}, default_value: NULL}}"
        for name, kind in fields
        if name not in partition_by
    )
    types = ", ".join(f"{literal(name)}: {kind}" for name, kind in fields if name in partition_by)
    hive = f"hive_partitioning = true, hive_types = {{{types}}}" if types else "hive_partitioning = false"
    files = ", ".join(literal(path) for path in paths)
    return f"read_parquet([{files}], {hive}, schema = MAP {{{columns}}})"


def _conditions(snapshot: Snapshot, window: Window, files: Iterable[LiveFile]) -> list[str]:
    """What has to be asked of every row, because the files' statistics do not say it of all."""
    conditions = []
    batches = [file.greatest(schema.LOG_SEQ) for file in files]
    is_newer = snapshot.transactions.get(schema.APP, 0) > window.newest_batch
    if is_newer and not all(isinstance(batch, int) and batch <= window.newest_batch for batch in batches):
        conditions.append(f"{quoted(schema.LOG_SEQ)} <= {window.newest_batch:d}")
    column = known_at(snapshot)
    if window.as_of is not None and column is not None:
        latest = [_moment(file.greatest(column)) for file in files]
        if not all(moment is not None and moment + _CUT_OFF <= window.as_of for moment in latest):
            conditions.append(f"{quoted(column)} <= {moment_literal(window.as_of)}")
    return conditions


def moment_literal(moment: datetime) -> str:
    """A time."""
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}+00:00'"


def _may_hold(file: LiveFile, snapshot: Snapshot, window: Window) -> bool:
    oldest = file.least(schema.LOG_SEQ)
    if isinstance(oldest, int) and oldest > window.newest_batch:
        return False
    if window.as_of is None:
        return True
    month = file.partition.get(schema.MONTH)
    if month is not None and month > f"{window.as_of.astimezone(UTC):%Y-%m}":
        return False
    column = known_at(snapshot)
    earliest = _moment(file.least(column)) if column else None
    return earliest is None or earliest <= window.as_of


def _moment(value: Json) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_folders(file: LiveFile, snapshot: Snapshot) -> None:
    """DuckDB takes partition values from the path; they must be those of the log."""
    folders = file.key.removeprefix(snapshot.folder).split("/")[:-1]
    if [f"{name}={file.partition.get(name)}" for name in snapshot.partition_by] != folders:
        raise IntegrityError(
            f"{file.key} does not stand in the folder of its partition",
            hint="It was not written by ckpt-archive: run `ckpt-archive index rebuild`.",
        )
