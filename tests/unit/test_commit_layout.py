"""Keys: their order, and the way back from a key to its numbers."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.errors import IntegrityError
from ckpt_archive.names import MAX_ATTEMPT, MAX_RANK, MAX_STEP


def test_newer_manifests_and_attempts_list_first() -> None:
    keys = [layout.manifest("run", attempt, step) for attempt in (2, 1, 0) for step in (MAX_STEP, 1_000, 999, 0)]
    assert keys == sorted(keys)
    records = [layout.attempt_record("run", attempt) for attempt in (MAX_ATTEMPT, 10, 9, 0)]
    assert records == sorted(records)


def test_receipts_list_by_step_then_rank() -> None:
    keys = [layout.receipt("run", 3, step, rank) for step in (0, 9, 10, MAX_STEP) for rank in (0, 10, MAX_RANK)]
    assert keys == sorted(keys)
    assert all(key.startswith(layout.receipts_of_attempt("run", 3)) for key in keys)


@pytest.mark.parametrize("number", [0, 1, 7, MAX_ATTEMPT])
def test_every_number_is_read_back_from_its_key(number: int) -> None:
    assert layout.manifest_place(layout.manifest("run", number, number)) == ("run", number, number)
    assert layout.attempt_number(layout.attempt_record("run", number)) == number
    assert layout.manifests_attempt(layout.manifests_folder("run", number)) == number
    assert layout.decision_step(layout.decision("run", 1, number)) == number
    assert layout.receipt_step_rank(layout.receipt("run", 1, number, 5)) == (number, 5)
    assert layout.receipt_step_rank(layout.receipt("run", 1, 2, min(number, MAX_RANK))) == (2, min(number, MAX_RANK))
    assert layout.manifests_run(layout.manifests_folder("run")) == "run"


@pytest.mark.parametrize(
    ("parse", "key"),
    [
        (layout.manifest_place, "manifests/run/1/2.json"),
        (layout.manifest_place, "manifests/run/99999999/000000000001.bundle"),
        (layout.manifests_run, "manifests/Run/"),
        (layout.manifest_place, "manifests/run/99999999/more/999999999999.json"),
        (layout.attempt_number, "runs/run/attempts/latest.json"),
        (layout.attempt_number, f"runs/run/attempts/{chr(0x660) * 8}.json"),
        (layout.decision_step, "runs/run/decisions/00000000/x.json"),
        (layout.manifests_attempt, "manifests/run/12/"),
    ],
)
def test_a_foreign_key_is_refused_by_name(parse: Callable[[str], object], key: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse(key)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "receipts/run/00000000/000000000000/000000.json.tmp",
        "receipts/run/00000000/000000.json",
        "receipts/run/00000000/0/000000.json",
        "receipts/Run/00000000/000000000000/000000.json",
        f"receipts/run/00000000/{chr(0x660) * 12}/000000.json",
        "receipts/run/00000000/000000000000/000000.json\n",
    ],
)
def test_a_foreign_key_among_the_receipts_is_none_of_ours(key: str) -> None:
    assert layout.receipt_step_rank(key) is None


def test_a_marker_is_filed_under_the_hour_in_utc() -> None:
    moment = datetime(2026, 3, 1, 1, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    assert layout.pending_marker("commit", "ab", moment) == "log/pending/2026/02/28/23/20260228T233005-commit-ab.json"
