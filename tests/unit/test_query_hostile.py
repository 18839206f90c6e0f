"""Statements of people who want more than an answer: each is refused, and nothing is written, read or changed."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.errors import CkptArchiveError, InvalidInputError
from ckpt_archive.index.query import sandbox
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.statement import understand
from ckpt_archive.index.schema import CHECKPOINTS
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows

# {live}: a file of the index that may be read; {other}: a Parquet file of somebody else; {out}: what is not there yet.
HOSTILE = [
    # writes
    "COPY (SELECT 1) TO '{out}'",
    "COPY checkpoints TO '{out}' (FORMAT csv)",
    "COPY checkpoints TO '{live}'",
    "WITH x AS (COPY (SELECT 1) TO '{out}') SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO '{live}') SELECT * FROM x",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{live}') SELECT * FROM x)",
    "SELECT (WITH x AS (COPY (SELECT 1 a) TO '{live}') SELECT count(*) FROM x)",
    "FROM checkpoints WHERE run IN (WITH x AS (COPY (SELECT 1) TO '{out}') SELECT 'a' FROM x)",
    "EXPLAIN COPY (SELECT 1) TO '{out}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{live}') SELECT * FROM x",
    "/* /* */ EXPLAIN SELECT 1 -- */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "EXPORT DATABASE '{out}'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t (a int)",
    "CREATE OR REPLACE VIEW checkpoints AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "INSERT INTO checkpoints VALUES (1)",
    "WITH x AS (INSERT INTO checkpoints VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM checkpoints RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE checkpoints SET run = '' RETURNING *) SELECT * FROM x",
    "UPDATE checkpoints SET run = ''",
    "DELETE FROM checkpoints",
    "MERGE INTO checkpoints USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "DROP VIEW checkpoints",
    "ALTER VIEW checkpoints RENAME TO c",
    "TRUNCATE checkpoints",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPLAIN ANALYZE INSERT INTO checkpoints VALUES (1)",
    # other databases, extensions, settings
    "ATTACH '{out}' AS o",
    "ATTACH ':memory:' AS o",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{other}'",
    "FORCE INSTALL httpfs FROM community",
    "UPDATE EXTENSIONS",
    "SET memory_limit = '1TB'",
    "SET enable_external_access = true",
    "SET allowed_paths = ['/etc/passwd']",
    "RESET lock_configuration",
    "SET VARIABLE a = 1",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "PRAGMA import_database('{out}')",
    "CALL pragma_version()",
    "CALL enable_logging(storage_path = '{out}', storage = 'file')",
    "SELECT * FROM enable_logging(storage_path = '{out}', storage = 'file')",
    "SELECT * FROM create_external_resource('x')",
    "SELECT * FROM add_grammar_extension('x')",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://a/b', 's3')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_logs()",
    "SELECT write_log('x')",
    "SELECT getenv('HOME')",
    "SELECT sleep_ms(1)",
    "KILL 1",
    # other files
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_ndjson_objects('/etc/passwd')",
    "SELECT * FROM read_duckdb('/etc/passwd')",
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM parquet_scan(['{other}'])",
    "SELECT * FROM parquet_metadata('{other}')",
    "SELECT * FROM parquet_schema('{other}')",
    "SELECT * FROM parquet_kv_metadata('{other}')",
    "SELECT * FROM parquet_bloom_probe('{other}', 'run', 'a')",
    "SELECT * FROM read_parquet('ckpt-archive://archive.json')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '{other}'",
    'SELECT * FROM "{other}"',
    "FROM 's3://bucket/key.parquet'",
    "FROM 'https://127.0.0.1:9/x.csv'",
    "DESCRIBE '{other}'",
    "SUMMARIZE '{other}'",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM checkpoints, LATERAL (SELECT * FROM read_text('/etc/passwd'))",
    "SELECT * FROM checkpoints SEMI JOIN read_text('/etc/passwd') ON true",
    "SELECT 1 UNION ALL SELECT content FROM read_text('/etc/passwd')",
    "WITH RECURSIVE r AS (SELECT content c FROM read_text('/etc/passwd') UNION SELECT c FROM r) FROM r",
    "PIVOT read_text('/etc/passwd') ON size IN (1) USING count(*)",
    "SELECT * FROM (PIVOT (FROM read_text('/etc/passwd')) ON size IN (1) USING count(*))",
    # texts that become SQL
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{live}'') SELECT * FROM x')",
    "SELECT * FROM query_table('checkpoints')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT $1",
    # more than one
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{out}'",
    "SELECT 1; -- \n COPY (SELECT 1) TO '{out}'",
    "SELECT 1 /* ; */ ; DROP VIEW checkpoints",
    "EXPLAIN SELECT 1; COPY (SELECT 1) TO '{out}'",
    "COPY (SELECT 1) TO '{out}'; SELECT 1",
    ";",
    "",
    "-- nothing",
    # other places
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM system.information_schema.duckdb_secrets",
    "SELECT * FROM other.checkpoints",
    "SELECT * FROM secret",
    "SELECT * FROM df",
    "SELECT * FROM test_all_types()",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT 1" + " " * (1 << 20),
    "SELECT 1\0; COPY (SELECT 1) TO '{out}'",
    "SELECT '\udcff'",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "archive" / ".tmp").mkdir(parents=True)
    store = store_at(f"file://{folder}/archive", system_machine())
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(10), 1)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 'secret' AS a) TO '{folder / 'other.parquet'}'")
    return folder


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    machine = system_machine()
    return Engine(store_at(f"file://{root}/archive", machine), machine.executor)


def state(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def filled(text: str, root: Path) -> str:
    live = next((root / "archive/index/checkpoints").glob("month=*/*.parquet"))
    for name, path in (("live", live), ("other", root / "other.parquet"), ("out", root / "out")):
        text = text.replace(f"{{{name}}}", str(path))
    return text


@pytest.fixture
def unchanged(root: Path) -> Iterator[None]:
    before = state(root)
    yield
    assert state(root) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:60].strip() or "nothing")
def test_is_refused(engine: Engine, root: Path, hostile: str) -> None:
    df = [1]  # a variable that a table's name could mean
    with pytest.raises(InvalidInputError):
        engine.answer(Question(filled(hostile, root)))
    del df


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "hostile", [text for text in HOSTILE if ("{live}" not in text and "{o" in text) or "passwd" in text]
)
def test_the_lock_alone_keeps_files_out_too(root: Path, hostile: str) -> None:
    live = filled("{live}", root)
    with sandbox.connect(sandbox.Limits()) as connection:
        connection.execute(f"CREATE VIEW checkpoints AS FROM read_parquet('{live}')")
        sandbox.lock(connection, [live])
        for statement in connection.extract_statements("SELECT 1"):
            connection.execute(statement)
        with pytest.raises(duckdb.Error):
            connection.execute(filled(hostile, root)).fetchall()


HARMLESS = [
    "SELECT count(*) FROM checkpoints",
    "select run from checkpoints where step > 100 order by 1 limit 1;",
    "-- a comment\nSELECT 1 /* another; */ -- and one",
    "FROM checkpoints SELECT run",
    "VALUES (1, 2)",
    "TABLE checkpoints",
    "WITH x AS (SELECT run FROM checkpoints) SELECT count(*) FROM x",
    "WITH checkpoints AS (SELECT 1 AS a) SELECT a FROM checkpoints",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
    "SELECT run FROM checkpoints UNION ALL SELECT 'x' EXCEPT SELECT 'y'",
    "DESCRIBE checkpoints",
    "DESCRIBE SELECT 1",
    "SUMMARIZE checkpoints",
    "SHOW TABLES",
    "EXPLAIN SELECT * FROM checkpoints",
    "  explain analyze select count(*) from checkpoints",
    "PIVOT checkpoints ON run IN ('run-000000') USING count(*)",
    "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b",
    "SELECT * FROM range(3) r(i), unnest([1, 2]) u(j)",
    "SELECT * FROM generate_series(TIMESTAMPTZ '2026-01-01', TIMESTAMPTZ '2026-01-02', INTERVAL 1 HOUR)",
    "SELECT j.key FROM json_each('{\"a\": 1}') j",
    "SELECT table_name FROM information_schema.tables",
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'checkpoints'",
    "SELECT main.checkpoints.run FROM main.checkpoints",
    "SELECT 'COPY x TO y; DROP TABLE z' AS text",
    "SELECT row_number() OVER (PARTITION BY run ORDER BY step) FROM checkpoints QUALIFY 1 = 1",
    "SELECT * FROM checkpoints ASOF JOIN (SELECT TIMESTAMPTZ '2026-02-01' AS t) ON committed_at >= t",
    "SELECT COLUMNS('s.*') FROM checkpoints USING SAMPLE 1 ROWS",
    "SELECT list_transform([1, 2], lambda x: x + 1), {'a': 1}.a, CAST('1' AS BIGINT), INTERVAL 1 DAY, current_date",
]  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("harmless", HARMLESS)
def test_is_answered(engine: Engine, harmless: str) -> None:
    assert engine.answer(Question(harmless)).columns


def test_what_a_statement_names() -> None:
    with sandbox.connect(sandbox.Limits()) as connection:
        found = understand(
            connection, "WITH own AS (FROM Runs) SELECT 'files' FROM own JOIN Events e ON e.run = 'metrics'"
        )
        assert found.tables == {"runs", "events", "own"}
        assert found.own_names == {"own"}
        assert not found.names_all
        assert understand(connection, "SHOW TABLES").names_all
        assert understand(connection, "EXPLAIN FROM runs").is_plan


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("PIVOT checkpoints ON run", "Name them: PIVOT … ON column IN ('a', 'b')"),
        ("COPY (SELECT 1) TO 'x'", "COPY is no question"),
        ("SELECT * FROM read_text('x')", "the table function 'read_text' may not be used"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT * FROM 'x.csv'", "files can not be read"),
    ],
)
def test_says_why(engine: Engine, sql: str, words: str) -> None:
    with pytest.raises(CkptArchiveError) as caught:
        engine.answer(Question(sql))
    assert words in str(caught.value)
