"""Every saved question on DuckDB and on DataFusion against a second opinion in Python, and its text in Athena's dialect."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import datafusion
import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from ckpt_archive.archive import Archive
from ckpt_archive.index import schema
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.questions import SavedQuestion, saved_questions
from ckpt_archive.testing.indexed.corners import CHILD, MIDNIGHT, RUN
from ckpt_archive.testing.indexed.rows import TODAY, sha256
from ckpt_archive.testing.indexed.tables import arrow_tables, made_up, write_delta
from tests.integration.saved_answers import ANSWERS, Asked, Row, day

QUESTIONS = {question.name: question for question in saved_questions()}
DAY = TODAY.date()
OF_SECOND_ENGINE = 5
"""So many cases of a question are asked of DataFusion too; planning takes it longer than answering."""

Cases = Mapping[str, list[dict[str, str]]]


@pytest.fixture(scope="module", params=[1, 2], ids=["seed-1", "seed-2"])
def rows(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return made_up(request.param)


@pytest.fixture(scope="module")
def folder(rows: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Delta tables of the rows."""
    made = tmp_path_factory.mktemp("index")
    write_delta(arrow_tables(rows), made)
    return made


@pytest.fixture(scope="module")
def duck(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in schema.TABLES.values():
            files = f"{folder}/{table.name}/{'*/' if table.monthly else ''}*.parquet"
            source = f"read_parquet('{files}', hive_partitioning = {str(table.monthly).lower()})"
            connection.execute(f"CREATE VIEW {table.name} AS SELECT * FROM {source}")
        yield connection


@pytest.fixture(scope="module")
def fusion(folder: Path) -> datafusion.SessionContext:
    context = datafusion.SessionContext()
    for table in schema.TABLES.values():
        partitions = [(schema.MONTH, pa.string())] if table.monthly else []
        context.register_parquet(table.name, str(folder / table.name), table_partition_cols=partitions)
    return context


def _place(row: Row, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{name}": str(row[name]) for name in ("run", "attempt", "step")}


def _cases(rows: Mapping[str, list[Row]]) -> Cases:
    """What each question is asked with; one of its cases at least has an answer."""
    checkpoints = sorted(rows["checkpoints"], key=lambda row: (row["run"], row["attempt"], row["step"]))
    told = sorted(rows["events"], key=lambda row: (row["recorded_at"], row["event_id"]))
    about = [row for row in told if row["kind"] in ("ended", "dropped", "ending", "undropped")]
    restarted = [row for row in checkpoints if row["attempt"] == 4]
    deep = [row for row in checkpoints if row["run"] in ("deep-000", "deep-002", "deep-050")]
    forked = [row for row in rows["lineage"] if row["parent_run"]]
    parents = [
        {"run": row["parent_run"], "attempt": row["parent_attempt"], "step": row["parent_step"]} for row in forked
    ]
    merged = [row for row in rows["lineage"] if row["relation"] == "merge"]
    corner = [row for row in checkpoints if row["run"] in (RUN, CHILD)]
    places = [*restarted[:1], *deep[:2], *checkpoints[:1], *about[:2], *about[-2:], *corner]
    run_names = sorted({row["run"] for row in checkpoints})
    lines = [
        *restarted[:3],
        *deep,
        *({"run": row["parent_run"], "attempt": row["parent_attempt"], "step": 300} for row in merged),
    ]
    of_run = [{"run": name} for name in (RUN, CHILD, restarted[0]["run"], run_names[0], "vision-wide", "none")]
    pairs = [
        (checkpoints[0], checkpoints[1]),
        (checkpoints[0], restarted[0]),
        (checkpoints[5], checkpoints[9]),
        (checkpoints[7], checkpoints[-1]),
        (corner[2], corner[3]),
    ]
    projects = [{"project": name} for name in ("speech", "vision", "no such project")]
    recent = [{"since": "today-45"}, {"since": f"{MIDNIGHT:%Y-%m-%d}"}]
    held = next(row for row in told if row["kind"] == "held" and row["step"])
    everything: dict[str, list[dict[str, str]]] = {
        "checkpoint": [_place(row) for row in places],
        "files": [_place(row) for row in [*places, *(row for row in checkpoints if row["run"] == "vision-wide")]],
        "history": [_place(row) for row in [*places, held]],
        "cadence": [{}, {"since": "2025-01-01"}, *recent, *of_run],
        "given-up": [{}, *recent, *of_run],
        "data-source": [
            {"source": "s3://corpus/%"},
            {"source": "s3://corpus/web", "since": "2026-01-01", "before": "2026-02-01"},
            {"source": "s3://corpus/%", "since": "2026-02-01", "before": "2026-02-10"},
            {"source": "s3://corpus/%", "since": "2026-02-10", "before": "2026-02-10"},
            {"source": "s3://corpus/%", "since": "2026-02-10"},
            {"source": "s3://synthetic/corpus"},
            {"source": "it's not there"},
        ],
        "digest": [
            {"digest": digest}
            for digest in (
                checkpoints[0]["manifest_sha256"],
                sha256("tokenizer"),
                sha256("synthetic corpus"),
                sha256("rotten"),
            )
        ],
        "ancestors": [{"run": row["run"], "attempt": str(row["attempt"])} for row in lines],
        "descendants": [_place(row) for row in [*parents[::3], *deep, *corner, *checkpoints[:4]]],
        "training-data": [_place(row) for row in [*lines, *corner, *checkpoints[::60]]],
        "source-descendants": [{"source": "s3://corpus/%"}, {"source": "s3://synthetic/corpus"}, {"source": "nothing"}],
        "unverified": [{}, *recent, {"since": "today-30"}, {"since": "2026-02-20", "project": "vision"}],
        "unverified-checkpoints": [
            case | {"since": since} for case in of_run for since in ("2026-02-20", "2026-02-10")
        ],
        "unsigned": [
            {},
            *recent,
            {"since": "2025-01-01", "class": "milestone"},
            *(case | {"since": "2025-01-01"} for case in of_run),
        ],
        "bad-signatures": [{}, *recent, *of_run],
        "expiring": [{}, {"before": "today+7"}, *projects],
        "held": [{}, {"case": "case-2026-1"}, {"case": "case-run"}, {"case": "tie-held"}],
        "storage": [{}, {"price": "4.5"}, *projects],
        "promotions": [{}, *projects],
        "efficiency": [{}, *projects, *of_run],
        "loss-curve": [*of_run, *(case | {"metric": "accuracy"} for case in of_run)],
        "compare": [_place(one) | _place(other, "other_") for one, other in pairs],
        "restores": [{}, {"since": "2025-01-01"}, {"since": "2025-01-01", "actor": "jo"}, *recent, *of_run],
        "findings": [{}, *recent],
        "duplicates": of_run,
        "chain": [{}, *of_run],
        "undocumented": [{}, *projects],
        "dirty-code": [{}, *projects, *recent],
        "assumed": [{}, *projects, *recent],
        "declared-later": [{}, *recent],
        "outputs": [{}, *of_run],
        "incidents": [{}, *recent],
        "thaws": [{}, *of_run],
        "keys": [
            {},
            {"before": "2026-02-10"},
            {"before": "2026-02-11"},
            {"before": "today-60"},
            {"before": "today+400"},
        ],
        "activity": [{}, *recent, {"since": "2025-01-01"}],
    }
    return everything | {name: [{}] for name in ANSWERS if name not in everything}


def _typed(question: SavedQuestion, given: Mapping[str, str], today: date = DAY) -> dict[str, Any]:
    convert: Mapping[str, Callable[[str], Any]] = {
        "text": str,
        "integer": int,
        "number": float,
        "date": lambda text: day(text, today),
    }
    typed: dict[str, Any] = {}
    for parameter in question.parameters:
        text = given.get(parameter.name, parameter.default)
        assert text is not None, parameter
        typed[parameter.name] = convert[parameter.type](text)
    return typed


def _plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with times without their zone."""
    return [tuple(item.replace(tzinfo=None) if isinstance(item, datetime) else item for item in row) for row in rows]


def _close(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What `_plain` rows may differ from: a double tells an epoch to a microsecond at best."""
    return [
        tuple(pytest.approx(item, abs=2e-6) if isinstance(item, float) else item for item in row)
        for row in _plain(rows)
    ]


def test_there_is_a_second_opinion_on_every_question() -> None:
    assert QUESTIONS.keys() == ANSWERS.keys()
    assert len(QUESTIONS) >= 24


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_two_engines_answer_as_the_second_opinion_does(
    name: str, rows: Mapping[str, Any], duck: duckdb.DuckDBPyConnection, fusion: datafusion.SessionContext
) -> None:
    question = QUESTIONS[name]
    answered = 0
    for number, given in enumerate(_cases(rows)[name]):
        expected = ANSWERS[name](Asked(rows, _typed(question, given)))
        sql = question.bound(given, DAY)
        assert _plain(duck.execute(sql).fetchall()) == _close(expected), given
        if number < OF_SECOND_ENGINE:
            assert _plain([tuple(row.values()) for row in fusion.sql(sql).to_pylist()]) == _close(expected), given
        answered += len(expected)
    assert answered, "none of the cases has an answer, so nothing was shown"


@pytest.fixture(scope="module")
def engine(rows: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """What `ckpt-archive query` asks, over an archive that has these tables."""
    archive = tmp_path_factory.mktemp("archive")
    write_delta(arrow_tables(rows), archive / "index")
    return Archive.create(f"file://{archive}").engine()


@pytest.mark.parametrize("rows", [1], indirect=True, ids=["seed-1"])
@pytest.mark.parametrize("as_of", [None, datetime(2026, 2, 12, 23, 59, 59, tzinfo=UTC)], ids=["now", "as-of"])
@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_query_answers_them_as_of_any_day(
    name: str, as_of: datetime | None, rows: Mapping[str, Any], engine: Engine
) -> None:
    """As of a day: as if nothing that the archive came to know later stood in the tables, and that day were today."""
    question = QUESTIONS[name]
    today = DAY if as_of is None else as_of.date()
    known = rows if as_of is None else {table: _until(rows[table], table, as_of) for table in rows}
    for given in _cases(rows)[name][:2]:
        expected = ANSWERS[name](Asked(known, _typed(question, given, today)))
        answer = engine.answer(Question(question.bound(given, today), as_of))
        assert _plain(list(answer.rows)) == _close(expected), given


def _until(rows: list[Row], table: str, moment: datetime) -> list[Row]:
    return [row for row in rows if row[schema.TABLES[table].known_at] <= moment]


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_order_of_rows_is_said_by_the_question(name: str) -> None:
    """A comparison of answers finds the order right by chance only; without ORDER BY at the very end there is none."""
    parsed = sqlglot.parse_one(QUESTIONS[name].sql, dialect="duckdb")
    assert parsed.args.get("order"), "no ORDER BY"


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_it_is_sound_in_the_dialect_of_athena(name: str) -> None:
    question = QUESTIONS[name]
    given = {
        parameter.name: {"text": "x", "integer": "1", "number": "1", "date": "2026-01-01"}[parameter.type]
        for parameter in question.parameters
    }
    columns: dict[str, object] = {
        table.name: {column.name: _TRINO[column.type] for column in table.columns} for table in schema.TABLES.values()
    }
    parsed = sqlglot.parse_one(question.bound(given, DAY, engine="athena"), dialect="athena")
    checked: Any = annotate_types(qualify(parsed, schema=columns, dialect="athena"), schema=columns, dialect="athena")
    unknown = [
        item.alias_or_name
        for item in checked.selects
        if item.type is None or item.type.this in (exp.DataType.Type.UNKNOWN, exp.DataType.Type.NULL)
    ]
    assert not unknown
    functions = {
        item.name.upper() if isinstance(item, exp.Anonymous) else item.sql_name()
        for item in checked.find_all(exp.Func)
        if not isinstance(item, exp.Connector)
    }
    assert functions <= _PORTABLE


_TRINO = {
    schema.Type.TEXT: "varchar",
    schema.Type.INTEGER: "bigint",
    schema.Type.NUMBER: "double",
    schema.Type.BOOLEAN: "boolean",
    schema.Type.TIME: "timestamp with time zone",
}
# As sqlglot calls what DuckDB, Trino and DataFusion all have, with the same meaning.
_PORTABLE = frozenset(
    {
        *(
            "CASE",
            "IF",
            "CAST",
            "COALESCE",
            "NULLIF",
            "GREATEST",
            "LEAST",
            "SUBSTRING",
            "PAD",
            "EXTRACT",
            "TIME_TO_UNIX",
        ),
        *("COUNT", "SUM", "MIN", "MAX", "ROW_NUMBER", "LAG"),
    }
)


def test_texts_for_athena_differ_in_the_spelling_of_an_epoch_alone() -> None:
    for question in QUESTIONS.values():
        if question.athena_sql is not None:
            assert re.sub(r"EXTRACT\(EPOCH FROM (\w+)\)", r"TO_UNIXTIME(\1)", question.sql) == question.athena_sql
        else:
            assert "EPOCH" not in question.sql
