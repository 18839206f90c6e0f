"""Answers while the index is written, compacted and vacuumed: each is the state after some batch, in all tables alike."""

import threading
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.failures import VanishedError
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.schema import CHECKPOINTS, RUNS
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.delta import HandWritten, rows_of

BATCHES = 60
ROWS = 10
SQL = """
SELECT (SELECT count(*) FROM checkpoints), (SELECT coalesce(max(log_seq), 0) FROM checkpoints),
       (SELECT count(DISTINCT step) FROM checkpoints), (SELECT count(*) FROM runs),
       (SELECT coalesce(max(log_seq), 0) FROM runs)
"""


def checkpoints_of(numbers: range) -> pa.Table:
    """Ten rows for each batch."""
    count = len(numbers) * ROWS
    columns = {
        "run": ["a"] * count,
        "step": list(range(numbers.start * ROWS, numbers.stop * ROWS)),
        "log_seq": [number for number in numbers for _ in range(ROWS)],
        "committed_at": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
    }
    return rows_of(CHECKPOINTS, columns, count)


class Writer:
    """Appends batches, now to one table first, now to the other; compacts; removes what was replaced some time ago."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._checkpoints = HandWritten(store, CHECKPOINTS)
        self._runs = HandWritten(store, RUNS)
        self._live: list[str] = []
        self._replaced: list[list[str]] = []

    def batch(self, number: int) -> None:
        steps = [self._add_checkpoints, self._add_run]
        for step in steps if number % 2 else reversed(steps):
            step(number)
        if number % 5 == 0:
            self._compact(number)

    def _add_checkpoints(self, number: int) -> None:
        self._live += self._checkpoints.append(checkpoints_of(range(number, number + 1)), number)

    def _add_run(self, number: int) -> None:
        self._runs.append(rows_of(RUNS, {"run": ["a"], "log_seq": [number]}, 1), number)

    def _compact(self, number: int) -> None:
        add = self._checkpoints.put(checkpoints_of(range(1, number + 1)), "2026-01")
        removed = [
            {"remove": {"path": key.removeprefix(self._checkpoints.folder), "dataChange": False}} for key in self._live
        ]
        self._checkpoints.commit(*removed, add)
        self._replaced.append(self._live)
        self._live = [self._checkpoints.folder + add["add"]["path"]]
        if len(self._replaced) > 2:
            for key in self._replaced.pop(0):
                self._store.delete(key)


@pytest.mark.parametrize("shares_an_engine", [True, False])
def test_every_answer_is_the_state_after_some_batch(shares_an_engine: bool) -> None:
    store = MemoryStore()
    writer = Writer(store)
    ended = threading.Event()
    shared = Engine(store, ThreadExecutor())
    seen: set[int] = set()

    def write() -> None:
        try:
            for number in range(1, BATCHES + 1):
                writer.batch(number)
        finally:
            ended.set()

    def read() -> None:
        newest = 0
        engine = shared if shares_an_engine else Engine(store, ThreadExecutor())
        is_last = False
        while not is_last:
            is_last = ended.is_set()
            try:
                ((count, batch, steps, runs, run_batch),) = engine.answer(Question(SQL)).rows
            except VanishedError:
                continue  # overtaken twice within one question: it says so, and is asked again
            assert (count, steps, runs) == (batch * ROWS, batch * ROWS, batch)
            assert batch == run_batch >= newest
            newest = batch
            seen.add(batch)
        assert newest == BATCHES

    list(ThreadExecutor().map_unordered(lambda work: work(), [write, read, read], limit=3))
    assert len(seen) > 2
