"""Keys: their order, and the way back from a key to its numbers."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

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


IDENTITY = "0123456789abcdef" * 2
MOMENT = datetime(2026, 3, 1, 1, 30, 5, tzinfo=timezone(timedelta(hours=2)))
IN_UTC = datetime(2026, 2, 28, 23, 30, 5, tzinfo=UTC)


def test_the_markers_of_an_hour_lie_in_one_folder_and_list_by_time() -> None:
    assert layout.pending_hour(MOMENT) == "log/pending/2026/02/28/23/"
    seconds = [
        layout.pending_marker("launch", IDENTITY, MOMENT + timedelta(seconds=n)) for n in (0, 1, 29 * 60, 30 * 60)
    ]
    assert seconds == sorted(seconds)
    assert [key.startswith(layout.pending_hour(MOMENT)) for key in seconds] == [True, True, True, False]
    assert all(key.startswith(layout.PENDING) for key in seconds)


@pytest.mark.parametrize("kind", ["commit", "launch", "decision", "event", "a", "key-published", "a" * 32])
def test_a_marker_and_an_event_are_read_back_from_their_keys(kind: str) -> None:
    name = layout.RecordName(kind, IDENTITY, IN_UTC)
    assert layout.marker_name(layout.pending_marker(kind, IDENTITY, MOMENT)) == name
    assert layout.event_name(layout.event_record(kind, IDENTITY, MOMENT)) == name


def test_an_event_is_filed_under_the_day_in_utc() -> None:
    assert (
        layout.event_record("restored", IDENTITY, MOMENT)
        == f"log/events/2026/02/28/20260228T233005-restored-{IDENTITY}.json"
    )


@pytest.mark.parametrize(
    "name",
    [
        "2026/02/28/23/20260228T233005-commit-ab.json",
        f"2026/02/28/22/20260228T233005-commit-{IDENTITY}.json",
        f"2026/02/28/20260228T233005-commit-{IDENTITY}.json",
        f"2026/13/28/23/20261328T233005-commit-{IDENTITY}.json",
        f"2026/02/28/23/20260228T233005-Commit-{IDENTITY}.json",
        f"2026/02/28/23/20260228T233005--{IDENTITY}.json",
        f"2026/02/28/23/20260228T233005-{'a' * 33}-{IDENTITY}.json",
        f"2026/02/28/23/20260228T233005-commit-{IDENTITY.upper()}.json",
        f"2026/02/28/23/20260228T233005-commit-{IDENTITY}.json\n",
        f"2026/02/28/23/2026022{chr(0x668)}T233005-commit-{IDENTITY}.json",
        f"2026/02/28/23/more/20260228T233005-commit-{IDENTITY}.json",
    ],
)
def test_a_foreign_key_among_the_markers_or_events_is_none_of_ours(name: str) -> None:
    assert layout.marker_name(layout.PENDING + name) is None
    if name != f"2026/02/28/20260228T233005-commit-{IDENTITY}.json":
        with pytest.raises(IntegrityError):
            layout.event_name(layout.EVENTS + name)


@pytest.mark.parametrize("number", [1, 9, 10, 10**20 - 1])
def test_batches_list_by_number_and_are_read_back(number: int) -> None:
    assert layout.sequence_number(layout.sequence_batch(number)) == number
    assert layout.sequence_batch(1) <= layout.sequence_batch(number)
    assert layout.sequence_batch(7) == "log/seq/00000000000000000007"


@pytest.mark.parametrize(
    "name", ["0" * 20, "7", "1" * 21, "0" * 19 + chr(0x661), "0" * 19 + "1.json", "0" * 19 + "1\n"]
)
def test_a_foreign_key_among_the_batches_is_refused_by_name(name: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        layout.sequence_number(layout.SEQUENCE + name)
    assert layout.SEQUENCE + name in str(caught.value)


def test_a_table_has_a_folder_of_its_own() -> None:
    assert layout.index_table("checkpoints") == "index/checkpoints/"


def test_what_is_said_about_retention_lists_newest_first_and_is_read_back() -> None:
    places = [(attempt, step) for attempt in (MAX_ATTEMPT, 2, 0) for step in (MAX_STEP, 100, 0)]
    keys = [layout.checkpoint_statement("run", attempt, step, "0000-revoked") for attempt, step in places]
    assert keys == sorted(keys)
    for key, (attempt, step) in zip(keys, places, strict=True):
        assert layout.statement_key(key) == layout.StatementKey("run", attempt, step, "0000-revoked.json")
        assert key.startswith(layout.checkpoint_statements("run", attempt, step))
    key = layout.run_statement("run", "case-A-0001-held")
    assert layout.statement_key(key) == layout.StatementKey("run", None, None, "case-A-0001-held.json")
    assert all(key.startswith(layout.retention_folder("run")) for key in (*keys, key))


@pytest.mark.parametrize(
    "key",
    [
        "runs/run/retention/note.txt",
        "runs/run/retention/run/",
        "runs/run/retention/run/deep/er.json",
        "runs/run/retention/99999999/0000-revoked.json",
        "runs/run/retention/99999999/9/0000-revoked.json",
        "runs/Run/retention/run/case-A-0001-held.json",
        f"runs/run/retention/{chr(0x660) * 8}/999999999999/0000-revoked.json",
        "runs/run/decisions/00000000/000000000001.json",
    ],
)
def test_a_foreign_key_among_the_statements_is_none_of_ours(key: str) -> None:
    assert layout.statement_key(key) is None


def test_policies_that_were_put_into_force_list_newest_first() -> None:
    keys = [layout.policy_applied(number) for number in (99_999_999, 10, 9, 1)]
    assert keys == sorted(keys)
    assert [layout.policy_applied_number(key) for key in keys] == [99_999_999, 10, 9, 1]
    assert layout.policy_applied(1) == "policy/applied/99999998.json"
    for key in ("policy/applied/99999999.json", "policy/applied/1.json", "policy/applied/99999998.json.tmp"):
        with pytest.raises(IntegrityError, match=re.escape(key)):
            layout.policy_applied_number(key)


def test_a_policy_is_filed_under_its_digest() -> None:
    assert layout.policy_sha256(layout.policy("ab" * 32)) == "ab" * 32
    assert layout.policy_sha256("policy/draft.toml") is None
    assert layout.policy_sha256(layout.policy_applied(1)) is None
