"""Doctor: what is wrong with an archive, what it costs, and the command that mends it; nothing foreign stops it."""

from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.audit.doctor import _push_anew, examine
from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import Action, Decision, decide
from ckpt_archive.errors import UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.ship.push import PushRequest
from ckpt_archive.ship.push import push as ship_push
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, StoreLimits
from ckpt_archive.testing.archives import archive_on, connected, flip, keys, put
from ckpt_archive.testing.checkpoints import (
    ARCHIVE_ID,
    NOON,
    ManualClock,
    archive_files,
    contribute_files,
    contribution_of,
)
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 40}
DAY = timedelta(days=1).total_seconds()
PLACE = Place("run", 0, 100)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=clock)
    connected(store)
    return store


def findings(store: Store, clock: ManualClock) -> tuple[DoctorFinding, ...]:
    return examine(local_machine(clock=clock), connected(store))


def test_nothing_is_wrong_with_an_empty_archive_or_a_good_one(store: MemoryStore, clock: ManualClock) -> None:
    assert findings(store, clock) == ()
    for step in (100, 200):
        archive_files(store, Place("run", 0, step), FILES, {"other": b"o"})
    clock.sleep(9 * DAY)
    assert findings(store, clock) == ()


def test_what_it_costs_does_not_grow_with_committed_checkpoints(store: MemoryStore, clock: ManualClock) -> None:
    counting = CountingStore(store)
    costs = []
    for step in (10, 100):
        for number in range(step):
            archive_files(store, Place("run", 0, number), FILES)
        counting.reset()
        assert findings(counting, clock) == ()
        costs.append(dict(counting.requests))
    assert costs[0] == costs[1]


def test_awaited_writers_are_named(store: MemoryStore, clock: ManualClock) -> None:
    for rank in (0, 2):
        contribute_files(store, PLACE, {f"{rank}": b"x"}, rank=rank, contribution=contribution_of(4))
    (found,) = findings(store, clock)
    assert (found.severity, found.what) == ("warning", "awaiting writers")
    assert "run step 100 (attempt 0): ranks 1, 3 of 4 writers never arrived, since 2026-03-01 12:00 UTC" in found.detail
    assert "drain" in found.command


def test_thousands_of_awaited_writers_are_not_all_listed(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(5000))
    (found,) = findings(store, clock)
    assert "ranks 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, … of 5000" in found.detail


def test_an_unfinished_commit_and_the_push_that_mends_it(
    store: MemoryStore, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive_files(store, PLACE, FILES, {"more": b"x"})
    store.delete(layout.manifest("run", 0, 100))
    (found,) = findings(store, clock)
    assert (found.severity, found.what) == ("warning", "commit not finished")
    assert "all 2 receipts are there" in found.detail
    assert found.command == "ckpt-archive drain --staging DIR"


def test_what_was_staged_is_sent_by_the_nodes_that_have_it(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    (found,) = findings(store, clock)
    assert found.command.startswith("ckpt-archive drain --staging DIR")


@pytest.mark.parametrize("launch_key", ["", "job 7:1"])
def test_the_pushes_that_are_missing_mend_it(store: MemoryStore, tmp_path: Path, launch_key: str) -> None:
    machine = local_machine()

    def push(rank: int, writers: int, key: str) -> str:
        (folder := tmp_path / f"rank-{rank}").mkdir(exist_ok=True)
        (folder / f"{rank}.bin").write_bytes(b"%d" % rank)
        request = PushRequest(str(folder), "run", 100, rank=rank, writers=writers, launch_key=key)
        return ship_push(machine, connected(store), request).state

    assert push(1, 6, launch_key) == "awaiting"
    (found,) = examine(machine, connected(store))
    said = "CKPT_ARCHIVE_LAUNCH_KEY='job 7:1' " if launch_key else ""
    commands = found.command.split("; ")
    assert commands == [
        *(f"{said}ckpt-archive push DIR --run run --step 100 --rank {rank} --writers 6" for rank in (0, 2, 3)),
        "…",
    ]
    assert "a CKPT_ARCHIVE_LAUNCH_KEY that is new" in found.detail
    # Without the others, as it says there.
    assert push(1, 6, launch_key) == "awaiting"
    request = PushRequest(str(tmp_path / "rank-1"), "run", 100, launch_key="new")
    assert ship_push(machine, connected(store), request).state == "committed"
    # With them, as the commands say.
    assert [push(rank, 6, launch_key) for rank in (0, 2, 3, 4, 5)] == ["awaiting"] * 4 + ["committed"]
    assert examine(machine, connected(store)) == ()


def test_pushes_whose_commit_was_not_finished_are_finished_by_one_of_them(
    store: MemoryStore, clock: ManualClock
) -> None:
    archive_files(store, PLACE, FILES, {"more": b"x"}, launch_key="push:run")
    store.delete(layout.manifest("run", 0, 100))
    (found,) = findings(store, clock)
    assert found.command == "ckpt-archive push DIR --run run --step 100 --rank 0 --writers 2"


@pytest.mark.parametrize(("writers", "command"), [(1, "--new-attempt"), (2, "CKPT_ARCHIVE_LAUNCH_KEY=NEW-TEXT ")])
def test_what_can_not_be_committed_is_pushed_anew(writers: int, command: str, store: MemoryStore) -> None:
    """As `push` allows it: several writers need a key to find each other."""
    assert command in _push_anew(PLACE, writers)


@pytest.mark.parametrize("change", ["bytes", "writers", "key"])
def test_a_checkpoint_that_can_never_be_committed_is_an_error_with_the_reason(
    store: MemoryStore, clock: ManualClock, change: str
) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    said = contribution_of(3 if change == "writers" else 2, "other" if change == "key" else "launch-1")
    contribute_files(store, PLACE, {"model.bin": b"y"} if change == "bytes" else {"z": b"z"}, rank=1, contribution=said)
    (found,) = findings(store, clock)
    assert (found.severity, found.what) == ("error", "can not be committed")
    assert "rank" in found.detail


def test_an_unreadable_receipt_is_an_error_that_names_it(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    key = layout.receipt("run", 0, 100, 0)
    for data in (b"", b"{}", b"x" * ((64 << 20) + 1)):
        put(store, key, data)
        (found,) = findings(store, clock)
        assert (found.severity, found.what) == ("error", "unreadable receipt")
        assert key in found.detail


def test_data_without_a_receipt_is_a_note_while_it_may_still_come(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES)
    store.delete(layout.receipt("run", 0, 100, 0))
    (young,) = findings(store, clock)
    assert (young.severity, young.what) == ("note", "data without a receipt")
    assert "1 objects, 320 bytes" in young.detail
    clock.sleep(2 * DAY)
    (old,) = findings(store, clock)
    assert (old.severity, old.command) == ("warning", "ckpt-archive push DIR --run run --step 100")


@pytest.mark.parametrize("with_receipt", [False, True])
def test_what_was_given_up_is_awaited_by_nobody(store: MemoryStore, clock: ManualClock, with_receipt: bool) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    if not with_receipt:
        store.delete(layout.receipt("run", 0, 100, 0))
    decide(store, Decision(ARCHIVE_ID, "run", 0, 100, Action.GAP, "no room", "node", NOON))
    found, gaps = findings(store, clock)
    assert (found.severity, found.what, found.command) == ("note", "given up", "")
    assert (gaps.severity, gaps.what) == ("note", "gaps")
    assert "1 checkpoints were given up and will never be archived: 100; the last one because no room" in gaps.detail


def test_a_gap_of_a_run_that_has_nothing_else_is_told(store: MemoryStore, clock: ManualClock) -> None:
    for step in (300, 100, 200):
        decide(store, Decision(ARCHIVE_ID, "lost", 7, step, Action.GAP, f"reason {step}", "node", NOON))
    decide(store, Decision(ARCHIVE_ID, "lost", 7, 400, Action.PROMOTE, "milestone", "node", NOON))
    (found,) = findings(store, clock)
    assert found.detail == (
        "lost (attempt 7): 3 checkpoints were given up and will never be archived: 100, 200, 300; the last one because "
        "reason 300"
    )


def test_a_gap_that_was_committed_after_all_is_none(store: MemoryStore, clock: ManualClock) -> None:
    archive_files(store, PLACE, FILES)
    decide(store, Decision(ARCHIVE_ID, "run", 0, 100, Action.GAP, "no room", "node", NOON))
    assert findings(store, clock) == ()


def test_a_damaged_decision_hides_nothing(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    put(store, layout.decision("run", 0, 100), b"{")
    assert [found.what for found in findings(store, clock)] == ["awaiting writers", "unreadable decision"]


def test_uploads_begun_long_ago_are_forgotten_ones(store: MemoryStore, clock: ManualClock) -> None:
    for number in range(3):
        store.start_upload(f"data/run/00000000/000000000100/00000{number}/{'a' * 64}")
    assert findings(store, clock) == ()
    clock.sleep(2 * DAY)
    (found,) = findings(store, clock)
    assert (found.severity, found.what) == ("warning", "forgotten uploads")
    assert "3 multipart uploads" in found.detail


FOREIGN = [
    "data/README",
    "data/Run With Spaces/x",
    "data/run/x",
    "data/run/1/2/3/abc",
    "data/run/00000000/7/000000/abc",
    "data/run/00000000/notes/000000/abc",
    f"data/run/{chr(0x660) * 8}/000000000001/000000/abc",
    "receipts/x",
    "receipts/UPPER/00000000/000000000100/000000.json",
    "receipts/run/0/100/000000.json",
    "receipts/run/00000000/000000000300/notes.txt",
    "receipts/run/00000000/000000000300/000000.json.bak",
    "manifests/.DS_Store",
    "manifests/UPPER/x",
    "manifests/run/x",
    "manifests/run/99999999/notes.json",
    "manifests/run/12/000000000001.json",
    "elsewhere/x",
    "runs/run/attempts/x",
    "log/x",
]


def test_no_foreign_key_stops_it(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    for key in FOREIGN:
        put(store, key, b"?")
        assert "awaiting writers" in {found.what for found in findings(store, clock)}, key
    found = findings(store, clock)
    strangers = {item.detail.split("'")[1] for item in found if item.what == "not ours"}
    assert strangers >= {key for key in FOREIGN if key.startswith("manifests/run/")}
    assert {"UPPER/", "Run With Spaces/"} <= strangers


def test_a_receipt_that_vanishes_meanwhile_does_not_stop_it(store: MemoryStore, clock: ManualClock) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))

    def vanish(request: Request) -> None:
        if request.verb == "read" and request.key.startswith("receipts/"):
            store.delete(request.key)

    assert [found.what for found in findings(HookedStore(store, before=vanish), clock)] == ["unreadable receipt"]


def test_one_damaged_run_does_not_hide_the_others(store: MemoryStore, clock: ManualClock) -> None:
    for run in ("a", "b", "c"):
        contribute_files(store, Place(run, 0, 1), FILES, contribution=contribution_of(2))
    flip(store, keys(store, "receipts/a/")[0], 0)
    assert [(found.what, found.detail[0]) for found in findings(store, clock)] == [
        ("unreadable receipt", "a"),
        ("awaiting writers", "b"),
        ("awaiting writers", "c"),
    ]


def test_a_store_that_does_not_answer_is_an_error(store: MemoryStore, clock: ManualClock) -> None:
    def fail(request: Request) -> None:
        if request.key.startswith("data/"):
            raise UnavailableError("gone")

    with pytest.raises(UnavailableError):
        findings(HookedStore(store, before=fail), clock)


def test_the_archive_asks_it(store: MemoryStore) -> None:
    contribute_files(store, PLACE, FILES, contribution=contribution_of(2))
    assert [found.what for found in archive_on(store).doctor()] == ["awaiting writers"]
