"""Answers: consistent over tables, as of a time, whatever happens to files meanwhile, and what is said if there are none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.errors import (
    CapacityError,
    CkptArchiveError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.failures import VanishedError
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.sandbox import Limits
from ckpt_archive.index.schema import CHECKPOINTS, RUNS, TENSOR_LAYOUTS, VERSION
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Sink, Store
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows, rows_of

Rows = list[tuple[Any, ...]]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    (tmp_path / "a/.tmp").mkdir(parents=True)
    return store_at(f"file://{tmp_path}/a", system_machine())


def engine(store: Store, limits: Limits | None = None) -> Engine:
    return Engine(store, ThreadExecutor(), limits)


def rows(store: Store | Engine, sql: str, as_of: datetime | None = None) -> Rows:
    asked = store if isinstance(store, Engine) else engine(store)
    return list(asked.answer(Question(sql, as_of)).rows)


def run_rows(*runs: tuple[str, int, datetime]) -> pa.Table:
    names, batches, times = zip(*runs, strict=True)
    return rows_of(RUNS, {"run": list(names), "log_seq": list(batches), "recorded_at": list(times)}, len(runs))


def day(number: int, month: int = 1) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


def test_a_question(store: Store) -> None:
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(20_000), 20)
    answer = engine(store).answer(
        Question("SELECT run, count(*) AS n, min(committed_at) AS first FROM checkpoints GROUP BY run ORDER BY run"), 2
    )
    assert [(column.name, column.type, column.is_numeric) for column in answer.columns] == [
        ("run", "VARCHAR", False),
        ("n", "BIGINT", True),
        ("first", "TIMESTAMP WITH TIME ZONE", False),
    ]
    assert answer.rows == (
        ("run-000000", 1000, day(1)),
        ("run-000001", 1000, datetime(2026, 1, 4, 11, 20, tzinfo=UTC)),
    )
    assert answer.has_more
    assert answer.objects()[0] == {"run": "run-000000", "n": 1000, "first": day(1)}
    assert answer.notes == ()


def test_all_columns_with_their_types(store: Store) -> None:
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(1), 1)
    answer = engine(store).answer(Question("SELECT * FROM checkpoints"))
    kinds = {"string": "VARCHAR", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN"}
    assert [(column.name, column.type) for column in answer.columns] == [
        (column.name, kinds.get(column.type, "TIMESTAMP WITH TIME ZONE")) for column in CHECKPOINTS.columns
    ]
    assert answer.objects()[0]["month"] == "2026-01"


def test_a_table_without_rows(store: Store) -> None:
    HandWritten(store, CHECKPOINTS)
    assert rows(store, "SELECT count(*), max(step) FROM checkpoints") == [(0, None)]


def test_rows_that_another_table_has_not_seen_yet_are_not_seen(store: Store) -> None:
    checkpoints = HandWritten(store, CHECKPOINTS)
    checkpoints.append(checkpoint_rows(1000), 1)
    checkpoints.append(checkpoint_rows(1000, first=1000), 2)
    checkpoints.append(checkpoint_rows(2000, first=2000), 4)
    runs = HandWritten(store, RUNS)
    runs.append(run_rows(("run-000000", 1, day(1)), ("run-000001", 3, day(2))), 3)
    assert rows(store, "SELECT count(*) FROM checkpoints") == [(4000,)]
    assert rows(store, "SELECT count(*) FROM runs") == [(2,)]
    both = "SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM runs)"
    # Batch 4 is not in `runs`; one of the two batches in the last file is seen.
    assert rows(store, both) == [(3000, 2)]


def test_a_table_that_no_batch_has_reached(store: Store) -> None:
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(10), 1)
    HandWritten(store, RUNS)
    assert rows(store, "SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM runs)") == [(0, 0)]


@pytest.mark.parametrize("with_stats", [True, False])
def test_as_of(store: Store, with_stats: bool) -> None:
    table = HandWritten(store, CHECKPOINTS)
    table.append(checkpoint_rows(20_000), 20, with_stats=with_stats)
    asked = engine(store)
    count = "SELECT count(*), max(committed_at) FROM checkpoints"
    assert rows(asked, count, day(1)) == [(1, day(1))]
    assert rows(asked, count, datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)) == [
        (8928, datetime(2026, 1, 31, 23, 55, tzinfo=UTC))
    ]
    assert rows(asked, count, day(1, 2)) == [(8929, day(1, 2))]
    assert rows(asked, count, day(1, 12))[0][0] == 20_000
    assert rows(asked, count, datetime(2025, 1, 1, tzinfo=UTC)) == [(0, None)]


def test_as_of_reads_no_later_month() -> None:
    counting = CountingStore(MemoryStore())
    keys = HandWritten(counting, CHECKPOINTS).append(checkpoint_rows(30_000), 30)
    assert len(keys) == 4
    counting.reset()
    assert rows(counting, "SELECT count(*) FROM checkpoints", day(31)) == [(8641,)]
    assert counting.requests["fetch"] == 1


def test_statistics_that_say_nothing() -> None:
    store = MemoryStore()
    table = HandWritten(store, RUNS)
    add = table.put(run_rows(("a", 1, day(1)), ("b", 1, day(3))))
    add["add"]["stats"] = '{"minValues":{"recorded_at":"long ago"},"maxValues":{"recorded_at":7}}'
    table.commit(add, {"txn": {"appId": "ckpt-archive", "version": 1}})
    assert rows(store, "SELECT run FROM runs", day(2)) == [("a",)]


def test_the_filters_are_left_out_where_they_say_nothing() -> None:
    store = MemoryStore()
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(1000), 1)
    HandWritten(store, RUNS).append(run_rows(("a", 1, day(1))), 1)
    (plan,) = rows(store, "EXPLAIN SELECT checkpoints.run FROM checkpoints, runs", day(1, 12))
    assert "log_seq" not in plan[1]
    assert "_at" not in plan[1]
    (plan,) = rows(store, "EXPLAIN SELECT run FROM checkpoints", day(2))
    assert "committed_at" in plan[1]


def test_a_newer_schema(store: Store) -> None:
    """Its columns are there, old files have none of them, and a note says so."""
    more = {
        "shiny": "double",
        "parts": {"type": "array", "elementType": "long", "containsNull": True},
        "pair": {"type": "struct", "fields": [{"name": 'a "b"', "type": "string", "nullable": True, "metadata": {}}]},
        "named": {"type": "map", "keyType": "string", "valueType": "decimal(10,2)", "valueContainsNull": True},
    }
    HandWritten(store, RUNS, more=more, version=VERSION + 1).append(run_rows(("a", 1, day(1))), 1)
    answer = engine(store).answer(Question("SELECT run, shiny, parts, pair, named FROM runs"))
    assert answer.rows == (("a", None, None, None, None),)
    assert "newer release (schema 2; this one knows 1)" in answer.notes[0]


def test_a_type_nobody_knows() -> None:
    store = MemoryStore()
    HandWritten(store, RUNS, more={"odd": "hyperlong"})
    with pytest.raises(IntegrityError, match="hyperlong"):
        rows(store, "SELECT run FROM runs")


def test_no_index(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        rows(store, "SELECT * FROM checkpoints")
    assert "ckpt-archive index sync" in caught.value.hint
    with pytest.raises(NotFoundError):
        rows(store, "SELECT * FROM nothing")
    assert rows(store, "SELECT 1") == [(1,)]


def test_a_table_that_is_not_there_yet(store: Store) -> None:
    HandWritten(store, CHECKPOINTS)
    with pytest.raises(NotFoundError, match="has no table runs"):
        rows(store, "SELECT * FROM runs, checkpoints")
    assert rows(store, "WITH runs AS (SELECT 1 AS a) SELECT a FROM runs") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM checkpoint", ["no table 'checkpoint'", "Did you mean checkpoints?", "Tables: checkpoints, files"]),
        ("SELECT manifst_sha FROM checkpoints", ['"manifst_sha" not found', "Did you mean manifest_sha256", "run, attempt"]),
        ("SELECT c.stepp FROM checkpoints c", ["stepp", "Did you mean step"]),
        ("SELECT run FROM checkpoints WHERE zzz = 1", ['"zzz" not found', "Columns of checkpoints: run"]),
        ("SELECT run FRM checkpoints", ["syntax error", "checkpoints"]),
        ("SELECT CAST(run AS BIGINT) FROM checkpoints", ["Could not convert string 'run-000000' to INT64"]),
        ("SELECT nofunction(run) FROM checkpoints", ["Scalar Function with name nofunction does not exist"]),
        ("SELECT error('stop') FROM checkpoints", ["stop"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_noise(store: Store, sql: str, words: list[str]) -> None:
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(1), 1)
    with pytest.raises(InvalidInputError) as caught:
        rows(store, sql)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    for noise in ("Traceback", "Error:", "^", "\n", "LINE 1:  "):
        assert noise not in str(caught.value)


def test_memory_is_bounded_and_nothing_is_spilled() -> None:
    with pytest.raises(CapacityError, match="more memory"):
        rows(
            engine(MemoryStore(), Limits(memory_bytes=64 << 20)),
            "SELECT list(i) FROM range(30000000) r(i)",
        )


def test_a_damaged_file(store: Store) -> None:
    table = HandWritten(store, RUNS)
    table.commit(table.put_bytes(b"PAR1" + b"\0" * 100 + b"PAR1"), {"txn": {"appId": "ckpt-archive", "version": 1}})
    with pytest.raises(IntegrityError) as caught:
        rows(store, "SELECT * FROM runs")
    assert "index rebuild" in caught.value.hint


def test_a_file_in_another_folder_than_its_partition_is_refused(store: Store) -> None:
    table = HandWritten(store, CHECKPOINTS)
    add = table.put(checkpoint_rows(1), "2026-01")
    add["add"]["partitionValues"]["month"] = "2026-02"
    table.commit(add, {"txn": {"appId": "ckpt-archive", "version": 1}})
    with pytest.raises(IntegrityError, match="folder of its partition"):
        rows(store, "SELECT count(*) FROM checkpoints")


def test_what_only_another_release_knows_can_be_asked_too(store: Store) -> None:
    HandWritten(store, replace(RUNS, name="auditors")).append(run_rows(("a", 1, day(1)), ("b", 1, day(3))), 1)
    assert rows(store, "SELECT run FROM auditors", day(2)) == [("a",)]


def test_tables_are_shown(store: Store) -> None:
    HandWritten(store, CHECKPOINTS)
    HandWritten(store, TENSOR_LAYOUTS)
    assert rows(store, "SHOW TABLES") == [("checkpoints",), ("tensor_layouts",)]
    found = rows(store, "SELECT table_name FROM information_schema.tables ORDER BY 1")
    assert found == [("checkpoints",), ("tensor_layouts",)]


def test_names_are_made_single(store: Store) -> None:
    answer = engine(store).answer(Question("SELECT 1 AS a, 2 AS a, 3 AS a_2"))
    assert [column.name for column in answer.columns] == ["a", "a_2", "a_2_2"]


def test_a_folder_with_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[b]*{c}/.tmp").mkdir(parents=True)
    store = store_at(f"file://{tmp_path}/a[b]*{{c}}", system_machine())
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(5), 1)
    assert rows(store, "SELECT count(*) FROM checkpoints") == [(5,)]


def test_a_folder_with_a_quote(tmp_path: Path) -> None:
    (tmp_path / 'it\'s a = "b"/.tmp').mkdir(parents=True)
    store = store_at(f'file://{tmp_path}/it\'s%20a%20=%20"b"', system_machine())
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(5), 1)
    assert rows(store, "SELECT count(*), max(month) FROM checkpoints") == [(5, "2026-01")]


class VacuumedStore(CountingStore):
    """Files are compacted and removed as soon as somebody has seen the log."""

    def __init__(self, inner: Store, compact: Callable[[], None]) -> None:
        super().__init__(inner)
        self._compact = compact

    def list(self, *args: Any, **kwargs: Any) -> Any:
        page = super().list(*args, **kwargs)
        self._compact()
        return page


def replace_files(store: Store, table: HandWritten, times: int) -> Callable[[], None]:
    """Puts other files in the place of all there are, so often."""
    left = [times]
    live = [table.append(checkpoint_rows(1000), 1)]

    def compact() -> None:
        if not left[0]:
            return
        left[0] -= 1
        new = table.append(checkpoint_rows(1000), 1)
        table.remove(*live[0])
        for key in live[0]:
            store.delete(key)
        live[0] = new

    return compact


def test_files_that_are_vacuumed_meanwhile(store: Store) -> None:
    compact = replace_files(store, HandWritten(store, CHECKPOINTS), times=1)
    vacuumed = VacuumedStore(store, compact)
    assert rows(vacuumed, "SELECT count(*) FROM checkpoints") == [(1000,)]
    assert vacuumed.requests["list"] == 2


def test_files_that_are_vacuumed_again_and_again(store: Store) -> None:
    compact = replace_files(store, HandWritten(store, CHECKPOINTS), times=1000)
    with pytest.raises(VanishedError) as caught:
        rows(VacuumedStore(store, compact), "SELECT count(*) FROM checkpoints")
    assert "Ask again" in caught.value.hint


class BrokenStore(CountingStore):
    """No bytes come."""

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        self._count("fetch")
        raise UnavailableError("the store is gone", hint="Wait.")


def test_a_store_that_does_not_answer() -> None:
    memory = MemoryStore()
    HandWritten(memory, CHECKPOINTS).append(checkpoint_rows(10), 1)
    broken = BrokenStore(memory)
    with pytest.raises(UnavailableError, match="the store is gone"):
        rows(RetryingStore(broken, SystemClock(), RetryPolicy(max_tries=1)), "SELECT count(*) FROM checkpoints")


def test_an_engine_remembers(store: Store) -> None:
    counting = CountingStore(store)
    table = HandWritten(store, CHECKPOINTS)
    table.append(checkpoint_rows(1000), 1)
    asked = engine(counting)
    assert rows(asked, "SELECT count(*) FROM checkpoints") == [(1000,)]
    counting.reset()
    assert rows(asked, "SELECT count(*) FROM checkpoints") == [(1000,)]
    assert counting.requests == {"list": 1}
    table.append(checkpoint_rows(1000, first=1000), 2)
    assert rows(asked, "SELECT count(*) FROM checkpoints") == [(2000,)]


def test_many_threads(store: Store) -> None:
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(5000), 5)
    asked = engine(store)

    def ask(number: int) -> Rows:
        return rows(asked, f"SELECT count(*) FROM checkpoints WHERE run = 'run-{number % 5:06d}'")

    assert list(ThreadExecutor().map_unordered(ask, range(24), limit=8)) == [[(1000,)]] * 24


def test_an_answer_of_which_only_the_beginning_is_wanted(store: Store) -> None:
    """What is still being read is given up, and nobody waits for anybody."""
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(50_000), 50)
    asked = engine(store)
    for _ in range(10):
        answer = asked.answer(Question("SELECT * FROM checkpoints"), 3)
        assert (len(answer.rows), answer.has_more) == (3, True)


def test_what_can_not_be_meant() -> None:
    with pytest.raises(InvalidInputError, match="no zone"):
        rows(MemoryStore(), "SELECT 1", datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidInputError, match="can not be taken"):
        engine(MemoryStore()).answer(Question("SELECT 1"), -1)


def test_as_of_of_a_table_without_a_clock() -> None:
    store = MemoryStore()
    HandWritten(store, replace(RUNS, name="odd", columns=RUNS.columns[:1], known_at=""))
    with pytest.raises(CkptArchiveError, match="does not say when"):
        rows(store, "SELECT * FROM odd", day(1))
