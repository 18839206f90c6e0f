"""The spelling of a batch: what is written, what is read, what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.log.batch import MAX_ENTRIES, MAX_UNRESOLVED, Batch, Entry, Unresolved
from ckpt_archive.testing.checkpoints import ARCHIVE_ID

GOLDEN = Path(__file__).parents[1] / "fixtures" / "log-1" / "00000000000000000002"
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MANIFEST = "manifests/llama-7b/99999996/999999999899.json"

BATCH = Batch(
    archive_id=ARCHIVE_ID,
    number=2,
    previous="5e" * 32,
    first_entry=3,
    sealed_at=NOON + timedelta(minutes=10, microseconds=5),
    sealed_by="node-1",
    watermark=NOON + timedelta(minutes=9),
    swept_at=NOON,
    entries=(
        Entry.of_record("commit", "", b"a manifest\n", NOON + timedelta(minutes=1), MANIFEST),
        Entry.of_record("launch", "", b"a launch\n", NOON, "runs/llama-7b/attempts/99999996.json"),
        Entry.of_record("decision", "", b"a decision\n", NOON, "runs/llama-7b/decisions/00000003/000000000200.json"),
        Entry.of_record(
            "event",
            "4e" * 16,
            b"an event\n",
            NOON + timedelta(minutes=2),
            f"log/events/2024/05/01/20240501T120200-verified-{'4e' * 16}.json",
        ),
        Entry.finding("log/pending/2024/notes.txt", NOON, "this is not the key of a marker"),
    ),
    unresolved=(Unresolved(f"log/pending/2024/05/01/12/20240501T120300-commit-{'ab' * 16}.json", "commit", NOON),),
)


def members(**changed: Any) -> dict[str, Any]:
    return {**strictjson.decode(BATCH.encode(), "it"), **changed}


def decoded(**changed: Any) -> Batch:
    return Batch.decode(record.with_checksum(members(**changed)), "log/seq/2")


def entry(**changed: Any) -> list[dict[str, Any]]:
    return [{**members()["entries"][0], **changed}]


def test_todays_code_writes_the_golden_batch() -> None:
    assert BATCH.encode() == GOLDEN.read_bytes()


def test_the_golden_batch_is_understood() -> None:
    assert Batch.decode(GOLDEN.read_bytes(), "it") == BATCH
    assert BATCH.end_entry == 8


def test_unknown_members_are_kept_at_the_top_and_in_entries() -> None:
    entries = [{**each, "leaf": "00"} for each in members()["entries"]]
    data = record.with_checksum(members(entries=entries, root={"size": 3}))
    assert Batch.decode(data, "it").encode() == data


def test_a_batch_that_was_never_swept_says_nothing_of_it() -> None:
    batch = replace(BATCH, swept_at=None)
    assert Batch.decode(batch.encode(), "it") == batch


def test_kinds_of_later_releases_are_read() -> None:
    assert decoded(entries=entry(kind="attestation")).entries[0].kind == "attestation"


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": 0},
        {"number": 1},
        {"number": 1, "previous": "", "first_entry": 3},
        {"previous": ""},
        {"previous": "5E" * 32},
        {"sealed_at": "2024-05-01"},
        {"entries": entry(kind="Commit")},
        {"entries": entry(kind="")},
        {"entries": entry(id="12")},
        {"entries": entry(digest="12")},
        {"entries": entry(digest=None)},
        {"entries": entry(key="")},
        {"entries": entry(key="k" * 1025)},
        {"entries": entry(time=None)},
        {"entries": {}},
        {"unresolved": [{"key": "k", "kind": "commit"}]},
        {"watermark": None},
    ],
    ids=str,
)
def test_what_no_sealer_writes_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="log/seq/2"):
        decoded(**wrong)


@pytest.mark.parametrize("newer", [{"requires": ["tree"]}, {"version": 2}])
def test_what_requires_a_newer_release_is_refused(newer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="needs a newer release"):
        decoded(**newer)


def test_more_than_a_batch_may_have_is_neither_written_nor_read() -> None:
    many = tuple(Entry.finding(f"key-{number}", NOON, "wrong") for number in range(MAX_ENTRIES + 1))
    assert len(replace(BATCH, entries=many[1:]).encode()) < 2 << 20
    with pytest.raises(InvalidInputError, match="4097 entries"):
        replace(BATCH, entries=many).encode()
    with pytest.raises(IntegrityError, match="4097 entries"):
        decoded(entries=[{**entry()[0], "key": f"{number}"} for number in range(MAX_ENTRIES + 1)])
    waiting = tuple(Unresolved(f"key-{number}", "commit", NOON) for number in range(MAX_UNRESOLVED + 1))
    with pytest.raises(InvalidInputError, match="100001 unresolved"):
        replace(BATCH, unresolved=waiting).encode()
    assert len(replace(BATCH, unresolved=waiting[1:]).encode()) < 16 << 20


def test_a_problem_has_a_bounded_length() -> None:
    found = Entry.finding("key", NOON, "x" * 5_000)
    assert len(found.problem) == 1_000
    assert found.problem.endswith("…")
