"""What makes the tables known to an engine other than ours: a text to paste there. Values in, text out; no I/O.

Each table gets two names: ``<table>_delta`` is the Delta table as it stands, and ``<table>`` is a view of what all tables
have, so that a question sees one state of the archive while a sync is at work. Saved questions use the views.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.index.schema import LOG_SEQ, SYNC_LOG, TABLES, Table, Type

DATABASE = "ckpt_archive"
DELTA = "_delta"

_DATABASE = re.compile(r"[a-z_][a-z0-9_]{0,126}")
_ABOUT = """\
The audit index of {url}, as {what}.
The tables are Delta Lake tables of reader version 1 (no deletion vectors, no column mapping): all readers know that.
They are derived from the archive and only ever read here: `ckpt-archive index sync` writes them.
<table>{delta} is a table as it stands. <table> shows of it what all tables have already: ask these.
Views list no column that a later release adds: paste this again after an upgrade. Times are UTC; set the session to it."""


def ddl(engine: str, archive_url: str, database: str | None = None) -> str:
    """Statements that make the index known to an engine.

    Args:
        engine: "duckdb", "athena", "trino" or "spark".
        archive_url: Of the archive.
        database: Where the tables shall be: a database, or schema; None for `DATABASE`.

    Raises:
        InvalidInputError: If the engine is not known, can not read such an archive, or no database can have this name.
    """
    if engine not in _ENGINES:
        raise InvalidInputError(
            f"there is no DDL for {engine!r}", hint=f"Ask for one of these: {', '.join(sorted(_ENGINES))}."
        )
    name = DATABASE if database is None else database
    if not _DATABASE.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} can not be the name of a database", hint="Use small letters, digits and '_', a letter first."
        )
    url = archive_url.rstrip("/")
    if not url.startswith("s3://") and not (url.startswith("file:///") and engine in ("duckdb", "spark")):
        raise InvalidInputError(
            f"{engine} can not read an archive at {archive_url}",
            hint="It reads archives at s3://BUCKET/PREFIX only; `ckpt-archive query` reads all of them.",
        )
    return "\n".join(_ENGINES[engine](url, name)) + "\n"


def _athena(url: str, database: str) -> Iterator[str]:
    yield _about(url, "Athena (engine version 3) and the Glue catalog know it")
    yield "-- Athena takes one statement at a time. Columns come from the Delta log; no partition has to be added, ever."
    yield ""
    yield f"CREATE DATABASE IF NOT EXISTS `{database}`;"
    for table in TABLES.values():
        yield _purpose(table)
        yield f"CREATE EXTERNAL TABLE `{database}`.`{table.name}{DELTA}`"
        yield f"LOCATION {_text(_location(url, table))}"
        yield "TBLPROPERTIES ('table_type' = 'DELTA');"
    yield ""
    yield "-- A view of Athena can not have times with a zone, as those of a Delta table may be: they become times of UTC."
    for table in TABLES.values():
        columns = ", ".join(
            f'CAST("{column.name}" AS timestamp) AS "{column.name}"' if column.type is Type.TIME else f'"{column.name}"'
            for column in table.columns
        )
        yield _view(f'"{database}"', table, '"', columns)


def _trino(url: str, database: str) -> Iterator[str]:
    yield _about(url, "Trino knows it")
    yield "-- Here the catalog of the Delta Lake connector is called `delta`."
    yield "-- It needs delta.register-table-procedure.enabled=true."
    yield ""
    yield f'CREATE SCHEMA IF NOT EXISTS delta."{database}";'
    for table in TABLES.values():
        yield _purpose(table)
        yield "CALL delta.system.register_table("
        yield f"  schema_name => '{database}', table_name => '{table.name}{DELTA}',"
        yield f"  table_location => {_text(_location(url, table))});"
    for table in TABLES.values():
        yield _view(f'delta."{database}"', table, '"', _columns(table, '"'))


def _spark(url: str, database: str) -> Iterator[str]:
    yield _about(url, "Spark knows it")
    yield "-- Needs the Delta Lake package (io.delta:delta-spark) and, on S3, hadoop-aws."
    yield ""
    yield "SET TIME ZONE 'UTC';"
    yield f"CREATE DATABASE IF NOT EXISTS `{database}`;"
    where = re.sub("^s3:", "s3a:", url)
    for table in TABLES.values():
        yield _purpose(table)
        yield f"CREATE TABLE IF NOT EXISTS `{database}`.`{table.name}{DELTA}` USING DELTA"
        yield f"LOCATION {_text(_location(where, table))};"
    for table in TABLES.values():
        yield _view(f"`{database}`", table, "`", _columns(table, "`"))


def _duckdb(url: str, database: str) -> Iterator[str]:
    yield _about(url, "DuckDB knows it with its extension for Delta Lake")
    yield "-- `ckpt-archive query` needs none of this, and no extension: it reads the log of the tables itself."
    yield ""
    yield "INSTALL delta;"
    yield "LOAD delta;"
    if url.startswith("s3://"):
        yield "INSTALL httpfs;"
        yield "LOAD httpfs;"
        yield "CREATE OR REPLACE SECRET ckpt_archive (TYPE s3, PROVIDER credential_chain);"
    where = unquote(url.removeprefix("file://")) if url.startswith("file://") else url
    yield "SET TimeZone = 'UTC';"
    yield f'CREATE SCHEMA IF NOT EXISTS "{database}";'
    for table in TABLES.values():
        yield _purpose(table)
        yield f'CREATE OR REPLACE VIEW "{database}"."{table.name}{DELTA}" AS'
        yield f"SELECT * FROM delta_scan({_text(_location(where, table))});"  # noqa: S608 - a text to paste, and quoted
    for table in TABLES.values():
        yield _view(f'"{database}"', table, '"', _columns(table, '"'))
    yield f'\nUSE "{database}";'


_ENGINES: Mapping[str, Callable[[str, str], Iterator[str]]] = {
    "athena": _athena,
    "duckdb": _duckdb,
    "spark": _spark,
    "trino": _trino,
}


def _about(url: str, what: str) -> str:
    # A comment ends where its line does, whatever is in the URL.
    text = _ABOUT.format(url=" ".join(url.split()), what=what, delta=DELTA)
    return "\n".join(f"-- {line}" for line in text.splitlines())


def _purpose(table: Table) -> str:
    return f"\n-- A row of {table.name}: {table.purpose}."


def _location(url: str, table: Table) -> str:
    return f"{url}/index/{table.name}/"


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _columns(table: Table, quote: str) -> str:
    return ", ".join(f"{quote}{column.name}{quote}" for column in table.columns)


def _view(database: str, table: Table, quote: str, columns: str) -> str:
    """What all tables have together: the table of batches is the last one that a sync appends to, and has a row for each."""

    def named(name: str) -> str:
        return f"{database}.{quote}{name}{DELTA}{quote}"

    head = f"\nCREATE OR REPLACE VIEW {database}.{quote}{table.name}{quote} AS\nSELECT {columns}\n"
    newest = f"SELECT MAX({LOG_SEQ}) FROM {named(SYNC_LOG.name)}"  # noqa: S608 - the schema's names, a checked database
    return f"{head}FROM {named(table.name)}\nWHERE {LOG_SEQ} <= ({newest});"
