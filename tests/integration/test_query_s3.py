"""Questions over a real S3 server: how many requests and bytes each takes, and that nothing else changes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.compose import system_machine
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.blocks import BLOCK_BYTES
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.shelf import DiskShelf
from ckpt_archive.index.schema import CHECKPOINTS
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows

pytestmark = pytest.mark.server

ROWS = 400_000
# A row every 6.57 s: one month, and so one file of four row groups.
MINUTES = 0.1095

ONE_STEP = "SELECT step, size_bytes FROM checkpoints WHERE run = 'run-000250' AND step = 500"
ONE_CHECKPOINT = "SELECT * FROM checkpoints WHERE run = 'run-000250' AND step = 500"


class Asked:
    """An engine over counted requests.

    Args:
        store: The archive's.
        shelf: See `Engine`.
    """

    def __init__(self, store: S3Store, shelf: DiskShelf | None = None) -> None:
        self.counting = CountingStore(store)
        self.engine = Engine(RetryingStore(self.counting, SystemClock()), ThreadExecutor(), shelf=shelf)

    def __call__(self, sql: str) -> tuple[list[tuple[Any, ...]], dict[str, int], int]:
        """Rows, requests, and bytes of files."""
        self.counting.reset()
        before = self.engine.fetched_bytes
        rows = list(self.engine.answer(Question(sql)).rows)
        return rows, dict(self.counting.requests), self.engine.fetched_bytes - before


@pytest.fixture(scope="module")
def big(seaweed: DevServer) -> S3Store:
    """One table of one file."""
    connection = Connection(seaweed.endpoint_url, seaweed.access_key, seaweed.secret_key, REGION)
    store = S3Store(seaweed.bucket, "query-big", connection=connection)
    keys = HandWritten(store, CHECKPOINTS).append(checkpoint_rows(ROWS, minutes=MINUTES), ROWS // 1000)
    assert len(keys) == 1
    return store


@pytest.fixture(scope="module")
def table_bytes(big: S3Store) -> int:
    return sum(info.size_bytes for info in list_all(big, "index/checkpoints/month="))


def test_a_lookup_by_run_and_step(big: S3Store, table_bytes: int) -> None:
    ask = Asked(big)
    rows, requests, fetched = ask(ONE_STEP)
    assert rows == [(500, 250_005 * 4096)]
    # The hint of the log that is not there and two commits; then the footer, and the columns of one row group.
    assert requests["list"] == 1
    assert requests["read"] == 3
    assert requests["fetch"] <= 4
    assert fetched <= table_bytes // 8
    assert ask(ONE_STEP) == (rows, {"list": 1}, 0)


def test_a_whole_row(big: S3Store, table_bytes: int) -> None:
    rows, requests, fetched = Asked(big)(ONE_CHECKPOINT)
    assert len(rows[0]) == len(CHECKPOINTS.columns)
    assert requests["fetch"] <= 9
    # One row group of four.
    assert fetched <= table_bytes // 2


def test_a_lookup_by_digest(big: S3Store, table_bytes: int) -> None:
    ask = Asked(big)
    digest = ask(ONE_CHECKPOINT)[0][0][6]
    ask = Asked(big)
    rows, requests, fetched = ask(f"SELECT run, step FROM checkpoints WHERE manifest_sha256 = '{digest}'")
    assert rows == [("run-000250", 500)]
    # Footer, bloom filters, and two columns of the one row group that may have it.
    assert requests["fetch"] <= 8
    assert fetched <= table_bytes // 2
    # One that is not there (nor one of the few in a hundred that a filter can not tell from those that are).
    other = hashlib.sha256(b"2").hexdigest()
    rows, requests, fetched = Asked(big)(f"SELECT run FROM checkpoints WHERE manifest_sha256 = '{other}'")
    assert rows == []
    assert requests["fetch"] <= 3
    assert fetched <= table_bytes // 16


def test_a_count_reads_footers_alone(big: S3Store) -> None:
    rows, requests, fetched = Asked(big)("SELECT count(*) FROM checkpoints")
    assert rows == [(ROWS,)]
    assert requests["fetch"] == 1
    assert fetched <= 2 * BLOCK_BYTES


def test_a_sum_reads_its_column_alone(big: S3Store, table_bytes: int) -> None:
    rows, requests, fetched = Asked(big)("SELECT sum(step) FROM checkpoints")
    assert rows == [(ROWS // 1000 * 100 * 499_500,)]
    assert requests["fetch"] <= 1 + 4 * 2
    assert fetched <= table_bytes // 3


def test_months_that_are_not_asked_for_are_not_opened(make_seaweed_store: Callable[[], S3Store]) -> None:
    store = make_seaweed_store()
    table = HandWritten(store, CHECKPOINTS)
    keys = table.append(checkpoint_rows(100_000), 100)
    assert len(keys) == 12
    ask = Asked(store)
    rows, requests, _ = ask("SELECT count(*) FROM checkpoints WHERE month = '2026-05'")
    assert rows == [(8928,)]
    assert requests["fetch"] == 1
    rows, requests, _ = ask("SELECT month, count(*) FROM checkpoints GROUP BY month")
    assert len(rows) == 12
    assert requests == {"list": 1, "fetch": 11}


def test_a_cache_serves_another_process(big: S3Store, tmp_path: Path) -> None:
    machine = system_machine()

    def shelf() -> DiskShelf:
        return DiskShelf(machine.fs, str(tmp_path / "cache"), big.url, machine.nonce)

    rows, requests, fetched = Asked(big, shelf())(ONE_CHECKPOINT)
    assert fetched > 0
    again, requests, fetched = Asked(big, shelf())(ONE_CHECKPOINT)
    assert (again, requests, fetched) == (rows, {"list": 1, "read": 3}, 0)


def test_asking_writes_nothing(big: S3Store) -> None:
    before = list_all(big, "")
    ask = Asked(big)
    for sql in (
        ONE_STEP,
        "SHOW TABLES",
        "SELECT run, max(step) FROM checkpoints GROUP BY run",
        "SUMMARIZE checkpoints",
    ):
        ask(sql)
        assert set(ask.counting.requests) <= {"list", "read", "fetch"}
    assert list_all(big, "") == before
