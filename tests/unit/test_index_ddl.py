"""What `index ddl` prints: it can be parsed, names every table, and DuckDB runs it."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.index.ddl import DELTA, ddl
from ckpt_archive.index.schema import LOG_SEQ, TABLES
from ckpt_archive.testing.indexed.tables import arrow_tables, made_up, write_delta

ENGINES = ("duckdb", "athena", "trino", "spark")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_table_and_its_view_is_made(engine: str) -> None:
    text = ddl(engine, "s3://bucket/some/prefix/", "audit")
    for table in TABLES.values():
        assert f"bucket/some/prefix/index/{table.name}" in text
        assert f"A row of {table.name}: {table.purpose}." in text
    views = [
        statement
        for statement in _parsed(text, engine)
        if isinstance(statement, exp.Create) and statement.kind == "VIEW"
    ]
    names = {view.this.name for view in views}
    assert names >= TABLES.keys()
    for view in views:
        if view.this.name in TABLES:
            columns = [column.alias_or_name for column in view.expression.selects]
            assert columns == [column.name for column in TABLES[view.this.name].columns]


@pytest.mark.parametrize("engine", ENGINES)
def test_it_says_which_reader_it_takes(engine: str) -> None:
    assert "reader version 1" in ddl(engine, "s3://bucket")


@pytest.mark.parametrize("engine", ["athena", "trino", "spark"])
def test_statements_are_of_the_dialect(engine: str) -> None:
    """The parser understands all but what it does not know of at all."""
    for statement in _parsed(ddl(engine, "s3://bucket"), engine):
        is_unknown = isinstance(statement, exp.Command) and statement.name in ("CALL", "SET")
        assert is_unknown or isinstance(statement, exp.Create), statement


def test_duckdb_runs_it_and_the_views_show_what_all_tables_have(tmp_path: Path) -> None:
    """Without the extension, which can not be had everywhere: a macro reads the files in its place."""
    tables = arrow_tables(made_up())
    write_delta(tables, tmp_path / "it's here" / "index")
    text = ddl("duckdb", f"file://{tmp_path}/it's%20here", "audit")
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE MACRO delta_scan(folder) AS TABLE"
            " SELECT * FROM read_parquet(folder || '**/*.parquet', hive_partitioning = true)"
        )
        for statement in text.split(";\n"):
            if statement.strip() and not statement.strip().endswith(("INSTALL delta", "LOAD delta")):
                connection.execute(statement)
        for name, table in tables.items():
            assert connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone() == (table.num_rows,)
        # A sync is at work: the newest batch has reached all tables but the last one.
        connection.execute(
            f"CREATE OR REPLACE VIEW sync_log{DELTA} AS SELECT * FROM delta_scan('{tmp_path}/it''s here/index/sync_log/')"
            f" WHERE {LOG_SEQ} < 10"
        )
        for name, table in tables.items():
            fewer = sum(number < 10 for number in table[LOG_SEQ].to_pylist())
            assert connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone() == (fewer,)


@pytest.mark.parametrize(
    ("engine", "url", "database"),
    [
        ("oracle", "s3://bucket", None),
        ("athena", "file:///archive", None),
        ("trino", "memory://archive", None),
        ("duckdb", "memory://archive", None),
        ("athena", "s3://bucket", "a`b"),
        ("athena", "s3://bucket", "Audit"),
        ("athena", "s3://bucket", ""),
    ],
)
def test_what_can_not_be_is_refused(engine: str, url: str, database: str | None) -> None:
    with pytest.raises(InvalidInputError):
        ddl(engine, url, database)


def test_a_url_can_not_leave_its_comment_or_its_text() -> None:
    text = ddl("duckdb", "file:///a\nDROP TABLE x;'")
    assert "\nDROP" not in text.split("CREATE SCHEMA")[0]
    assert "'/a\nDROP TABLE x;''/index/" in text


def _parsed(text: str, engine: str) -> list[Any]:
    return [statement for statement in sqlglot.parse(text, dialect=engine) if statement is not None]
