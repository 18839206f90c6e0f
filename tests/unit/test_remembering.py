"""What was done with an archive is told to it, and nothing that was done depends on whether it could be told."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.audit import remembering
from ckpt_archive.audit.remembering import Memory
from ckpt_archive.audit.verify import VerifyFinding
from ckpt_archive.commit import layout
from ckpt_archive.commit.event import MAX_TEXT_BYTES, Event, read_event
from ckpt_archive.commit.marker import read_marker
from ckpt_archive.errors import (
    CkptArchiveError,
    ConflictError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.settings import Environment
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import SMALL, archive_on, connected, content, flip, keys, memory_store, read_tree
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.site import Site, kill, save
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "config.json": b"{}", "empty": b""}
SIZE = sum(map(len, FILES.values()))
FIRST, SECOND = Place("run", 0, 100), Place("run", 0, 200)


@pytest.fixture
def store() -> MemoryStore:
    """Two checkpoints of one writer."""
    store = memory_store()
    archive_on(store)
    for place in (FIRST, SECOND):
        archive_files(store, place, FILES, settings=SMALL)
    return store


def by(store: Store, actor: str = "anna", node: str = "desk-7") -> Archive:
    """The archive as somebody has it."""
    machine = replace(local_machine(clock=ManualClock()), node=node)
    return Archive(store.url, machine, lambda _: connected(store), lambda _: None, Environment(actor=actor), SMALL)


def events_in(store: MemoryStore) -> list[Event]:
    """What was recorded, all of it with its marker."""
    found = keys(store, layout.EVENTS)
    named = [
        read_marker(content(store, key), key).record_key for key in keys(store, layout.PENDING) if "-event-" in key
    ]
    assert sorted(named) == sorted(found)
    return [read_event(content(store, key), key) for key in found]


def refusing(error: CkptArchiveError, *, what: str = "log/") -> Callable[[Request], None]:
    def before(request: Request) -> None:
        if request.key.startswith(what):
            raise error

    return before


# --- restore


def test_a_restore_is_recorded(store: MemoryStore, tmp_path: Path) -> None:
    restored = by(store).restore("run", 100, to=tmp_path)
    (event,) = events_in(store)
    assert (event.archive_id, event.kind, event.happened_at) == (ARCHIVE_ID, "restored", NOON)
    assert (event.actor, event.node, event.places, event.outcome, event.reason) == (
        "anna",
        "desk-7",
        (FIRST,),
        "ok",
        "",
    )
    assert (event.size_bytes, event.rank) == (SIZE, None)
    assert event.details == {"partial": False, "files": 3, "bytes_fetched": SIZE, "to": str(restored.path)}


def test_of_a_part_it_is_said_which(store: MemoryStore, tmp_path: Path) -> None:
    by(store).restore("run", 100, to=tmp_path, include="*.json", rank=0)
    (event,) = events_in(store)
    assert (event.rank, event.size_bytes) == (0, 2)
    assert {**event.details, "to": ""} == {
        "partial": True, "include": ["*.json"], "files": 1, "bytes_fetched": 2, "to": "",
    }  # fmt: skip


def test_a_restore_that_failed_is_recorded_with_the_reason(store: MemoryStore, tmp_path: Path) -> None:
    flip(store, keys(store, layout.data_folder("run", 0, 100))[0], 11)
    with pytest.raises(IntegrityError) as caught:
        by(store).restore("run", 100, to=tmp_path)
    (event,) = events_in(store)
    assert (event.outcome, event.places, event.reason) == ("failed", (FIRST,), str(caught.value))
    assert event.size_bytes is None


def test_another_one_that_was_taken_instead_is_the_one_that_was_restored(store: MemoryStore, tmp_path: Path) -> None:
    flip(store, keys(store, layout.data_folder("run", 0, 200))[0], 11)
    # The launch that both are of is not on record here.
    assert by(store).restore("run", 200, to=tmp_path, fallback=True).step == 100
    (event,) = events_in(store)
    assert (event.outcome, event.places) == ("ok", (FIRST,))
    assert event.details["instead_of"] == SECOND.to_json()


def test_what_is_not_there_is_not_restored_and_not_recorded(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        by(store).restore("run", 300, to=tmp_path)
    assert events_in(store) == []


def test_what_it_costs(store: MemoryStore, tmp_path: Path) -> None:
    counting = CountingStore(store)
    archive = by(counting)
    archive.restore("run", 100, to=tmp_path)
    counting.reset()
    archive.restore("run", 100, to=tmp_path)
    # Where it is; a listing of what is said about its end, because half of what has ended may still be there; manifest,
    # receipt; a connection for what follows, which `connected` begins with a create of its own; a listing for the store's
    # time, the marker, the event.
    assert counting.requests == {"list": 3, "head": 1, "read": 3, "create": 3}


@pytest.mark.parametrize(
    "error", [DeniedError("no"), UnavailableError("no answer"), ConflictError("taken"), IntegrityError("rotten")]
)
@pytest.mark.parametrize("where", [layout.PENDING, layout.EVENTS])
def test_whoever_may_not_write_restores_and_verifies_all_the_same(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: CkptArchiveError, where: str
) -> None:
    archive = by(HookedStore(store, before=refusing(error, what=where)))
    assert read_tree(archive.restore("run", 100, to=tmp_path).path) == FILES
    assert archive.verify(deep=True).findings == ()
    assert keys(store, layout.EVENTS) == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"run step 100 (attempt 0) was restored, and the archive can not be told: {error}",
        f"run step 200 (attempt 0) and 1 more was verified, and the archive can not be told: {error}",
    ]


def test_a_restore_that_failed_says_why_although_that_can_not_be_recorded(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(store, keys(store, layout.data_folder("run", 0, 100))[0], 11)
    with pytest.raises(IntegrityError, match=r"wrong twice|SHA-256"):
        by(HookedStore(store, before=refusing(DeniedError("no")))).restore("run", 100, to=tmp_path)
    assert "can not be told: no" in caplog.text


def test_event_of_a_restore_landed_and_answer_was_lost(store: MemoryStore, tmp_path: Path) -> None:
    """It is there, and said not to be: nobody takes the event's absence for proof that nobody restored."""

    def after(request: Request) -> None:
        if request.key.startswith(layout.EVENTS):
            raise UnavailableError("no answer")

    by(HookedStore(store, after=after)).restore("run", 100, to=tmp_path)
    assert [event.outcome for event in events_in(store)] == ["ok"]


def test_two_restores_at_once_are_two_events(store: MemoryStore, tmp_path: Path) -> None:
    def before(request: Request) -> None:
        if request.key.startswith(layout.EVENTS) and not keys(store, layout.EVENTS):
            by(store, "bert").restore("run", 100, to=tmp_path / "bert")

    by(HookedStore(store, before=before)).restore("run", 100, to=tmp_path / "anna")
    assert sorted(event.actor for event in events_in(store)) == ["anna", "bert"]


def test_training_tells_nothing_and_neither_does_a_ring(tmp_path: Path) -> None:
    site = Site(tmp_path)
    node = site.node()
    run = node.run(promote=Every(1))
    save(run, 10)
    node.ship()
    kill(run)
    elsewhere = site.node("node-b")
    assert elsewhere.run().resume() is not None
    assert elsewhere.run().restore(10).source == "archive"
    assert node.archive().restore("run-a", 10, to=tmp_path / "ring", staging=node.staging.root).source == "ring"
    assert keys(site.store, layout.EVENTS) == []
    asked = node.archive().restore("run-a", "latest-archived", to=tmp_path / "out", staging=node.staging.root)
    assert asked.source == "archive"
    assert [event.kind for event in events_in(site.store)] == ["restored"]


# --- verify


def test_what_was_verified_is_recorded(store: MemoryStore) -> None:
    by(store).verify(deep=True)
    (event,) = events_in(store)
    assert (event.kind, event.outcome, event.details) == ("verified", "ok", {"deep": True})
    assert sorted(event.places) == [FIRST, SECOND]


def test_what_was_found_is_recorded_apart(store: MemoryStore) -> None:
    key = keys(store, layout.data_folder("run", 0, 100))[0]
    store.delete(key)
    report = by(store).verify()
    damaged, good = sorted(events_in(store), key=lambda event: event.outcome)
    assert (good.outcome, good.places, good.details) == ("ok", (SECOND,), {"deep": False})
    assert (damaged.outcome, damaged.places) == ("findings", (FIRST,))
    (found,) = report.findings
    assert damaged.reason == f"{key}: {found.problem}"
    assert damaged.details == {"deep": False, "findings": 1, "first": [{"key": key, "problem": found.problem}]}


def test_what_was_looked_at_before_the_store_went_away_is_recorded(store: MemoryStore) -> None:
    def before(request: Request) -> None:
        if request.key == layout.manifest("run", 0, 100) and request.verb == "read":
            raise UnavailableError("gone")

    with pytest.raises(UnavailableError, match="gone"):
        by(HookedStore(store, before=before)).verify()
    assert [event.places for event in events_in(store)] == [(SECOND,)]


def memory_of(store: Store) -> Memory:
    return Memory(local_machine(clock=ManualClock()), lambda: connected(store), "anna")


def test_an_event_is_about_1000_checkpoints_at_most(store: MemoryStore) -> None:
    finding = VerifyFinding("run", 0, 7, "key", "", "wrong " * 2_000)
    with remembering.verified(memory_of(store), deep=False) as checked:
        for step in range(2_500):
            checked(Place("run", 0, step), [finding] * 3 if step % 2 else [])
    events = events_in(store)
    assert sorted((event.outcome, len(event.places)) for event in events) == [
        ("findings", 250), ("findings", 1_000), ("ok", 250), ("ok", 1_000),
    ]  # fmt: skip
    assert {place.step for event in events for place in event.places} == set(range(2_500))
    assert sum(event.details.get("findings", 0) for event in events) == 3 * 1_250
    assert max(len(event.details.get("first", ())) for event in events) == 10


def test_who_may_not_write_is_asked_once(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    hooked = HookedStore(store, before=refusing(DeniedError("no")))
    with remembering.verified(memory_of(hooked), deep=False) as checked:
        for step in range(3_000):
            checked(Place("run", 0, step), [])
    assert len([request for request in hooked.requests if request.key.startswith(layout.PENDING)]) == 1
    assert len(caplog.records) == 1


# --- texts


def test_a_name_that_is_no_text_and_a_message_without_end_can_be_recorded(store: MemoryStore) -> None:
    memory = Memory(replace(local_machine(clock=ManualClock()), node="\udcff"), lambda: connected(store), "ann\udce9")
    memory.record("restored", [FIRST], reason=remembering.text("ü" * MAX_TEXT_BYTES))
    (event,) = events_in(store)
    assert (event.actor, event.node) == ("ann?", "?")
    assert len(event.reason.encode()) in range(MAX_TEXT_BYTES - 4, MAX_TEXT_BYTES + 1)
    assert event.reason.endswith("ü…")
