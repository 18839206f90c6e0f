"""A run in another archive: the same bytes, whatever happens on the way."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ckpt_archive.commit import catalog, fating, layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.latest import latest
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import hold
from ckpt_archive.share import DataObject
from ckpt_archive.ship.adopting import adopt, find_candidates
from ckpt_archive.ship.copying import CopyReport, check_apart, copy_run, make_replica
from ckpt_archive.ship.remote import RemoteFile
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.archives import (
    SMALL,
    archive_on,
    connected,
    content,
    flip,
    memory_store,
    put,
    read_tree,
    write_tree,
)
from ckpt_archive.testing.checkpoints import NOON, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "optim/state.bin": b"moments" * 60, "config.json": b"{}", "empty": b""}
STEPS = (100, 200)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def source(tmp_path: Path) -> MemoryStore:
    """An archive with two checkpoints of one run."""
    store = memory_store()
    archive = archive_on(store)
    for step in STEPS:
        folder = write_tree(tmp_path / str(step), {**FILES, "step": str(step).encode()})
        archive.push(str(folder), run="run", step=step)
    return store


def copy(source: Store, target: Store) -> CopyReport:
    make_replica(source, target)
    return copy_run(local_machine(), replica(source), replica(target), "run")


def replica(store: Store) -> Connection:
    return Connection(store, connected(store).archive_id, SMALL, None, lambda: True)


def records(store: Store) -> dict[str, bytes]:
    """Everything but what the feed of this very store says."""
    return {info.key: content(store, info.key) for info in list_all(store, "") if not info.key.startswith("log/")}


def test_the_copy_has_the_same_bytes_under_the_same_keys(source: MemoryStore, tmp_path: Path) -> None:
    target = memory_store()
    report = copy(source, target)
    assert [place.step for place in report.copied] == [100, 200]
    assert records(target) == records(source)
    archive = archive_on(target)
    assert archive.find("run", "latest") == Place("run", 0, 200)
    assert not archive.verify("run", deep=True).findings
    archive.restore("run", 200, to=str(tmp_path / "out"), exact_folder=True)
    assert read_tree(tmp_path / "out") == {**FILES, "step": b"200"}


def test_both_archives_are_told(source: MemoryStore) -> None:
    target = memory_store()
    copy(source, target)
    for store in (source, target):
        assert [key for key in records_of(store) if "-copied-" in key]
    markers = [info.key for info in list_all(target, layout.PENDING)]
    assert len([key for key in markers if "-commit-" in key]) == len(STEPS)
    assert any("-launch-" in key for key in markers)


def records_of(store: Store) -> list[str]:
    return [info.key for info in list_all(store, layout.EVENTS)]


def test_what_is_there_is_not_sent_again(source: MemoryStore) -> None:
    target = memory_store()
    copy(source, target)
    counting = CountingStore(target)
    connection = replica(counting)
    counting.reset()
    report = copy_run(local_machine(), replica(source), connection, "run")
    assert (report.copied, report.present, report.bytes_sent) == ([], 2, 0)
    assert not [verb for verb in counting.requests if verb in ("create", "upload_part", "start_upload")]


def test_killed_at_any_request_and_run_again_it_ends_in_the_same_state(source: MemoryStore) -> None:
    whole = memory_store()
    watched = HookedStore(whole)
    copy(source, watched)
    expected = records(whole)
    for number in range(len(watched.requests)):
        for after in (False, True):
            target = memory_store()

            def die(request: Request, number: int = number) -> None:
                if request.number == number:
                    raise Killed

            died = False
            try:
                copy(source, HookedStore(target, after=die) if after else HookedStore(target, before=die))
            except Killed:
                died = True
            # A request that finds the key taken has no answer that could be lost.
            assert died or after
            seen = {Place(*layout.manifest_place(info.key)) for info in list_all(target, layout.MANIFESTS)}
            if seen:
                assert not archive_on(target).verify(deep=True).findings  # nothing partial is ever visible
            copy(source, target)
            assert records(target) == expected


def test_what_if_the_manifest_landed_and_the_answer_was_lost(source: MemoryStore) -> None:
    target = memory_store()

    def lose(request: Request) -> None:
        if request.verb == "create" and request.key.startswith(layout.MANIFESTS):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        copy(source, HookedStore(target, after=lose))
    assert copy(source, target).present == 1
    assert records(target) == records(source)


def test_what_if_two_copy_at_once(source: MemoryStore) -> None:
    target = memory_store()
    state = {"busy": False}

    def other(request: Request) -> None:
        if request.verb == "create" and request.key.startswith("receipts/") and not state["busy"]:
            state["busy"] = True
            copy(source, target)

    copy(source, HookedStore(target, before=other))
    assert records(target) == records(source)


def test_a_damaged_object_is_found_and_nothing_is_committed(source: MemoryStore) -> None:
    victim = max(list_all(source, layout.data_folder("run", 0, 100)), key=lambda info: info.size_bytes).key
    flip(source, victim, 8 * 700)
    target = memory_store()
    report = copy(source, target)
    assert [(place.step, type(error)) for place, error in report.failed] == [(100, IntegrityError)]
    assert "other bytes" in report.failed[0][1].message
    # The newer one is not kept from the second site.
    assert [place.step for place in catalog.places(target, "run")] == [200]


def test_a_wrong_byte_never_lands_where_nobody_checks_and_so_does_not_stand_in_the_way_of_the_mended_one(
    source: MemoryStore,
) -> None:
    victim = max(list_all(source, layout.data_folder("run", 0, 100)), key=lambda info: info.size_bytes).key
    flip(source, victim, 8 * 700)
    target = memory_store()
    make_replica(source, target)
    unchecked = Connection(target, connected(target).archive_id, SMALL, None, lambda: False)
    report = copy_run(local_machine(), replica(source), unchecked, "run")
    assert [place.step for place, _ in report.failed] == [100]
    assert victim not in {info.key for info in list_all(target, layout.DATA)}
    flip(source, victim, 8 * 700)
    assert copy_run(local_machine(), replica(source), unchecked, "run").copied == [Place("run", 0, 100)]
    assert not archive_on(target).verify("run", deep=True).findings


def test_an_object_that_is_gone_is_damage_of_the_source(source: MemoryStore) -> None:
    source.delete(list_all(source, layout.data_folder("run", 0, 100))[0].key)
    ((place, error),) = copy(source, memory_store()).failed
    assert (place.step, type(error)) == (100, IntegrityError)
    assert "is missing" in error.message


def test_whoever_may_only_read_the_source_can_copy(source: MemoryStore) -> None:
    def refuse(request: Request) -> None:
        if request.verb in ("create", "delete"):
            raise DeniedError("read only")

    target = memory_store()
    make_replica(source, target)
    reading = HookedStore(source, before=refuse)
    reader = Connection(reading, connected(source).archive_id, SMALL, None, lambda: True)
    report = copy_run(local_machine(), reader, replica(target), "run")
    assert (len(report.copied), report.source_told) == (2, False)


def test_a_case_that_both_sites_hold_is_no_conflict(source: MemoryStore) -> None:
    target = memory_store()
    copy(source, target)
    for store in (source, target):
        hold(local_machine(), connected(store), "run", None, "C-1", f"said at {store.url}", "somebody")
    copy(source, target)
    for store in (source, target):
        assert read_fates(store, "run").whole.cases == ("C-1",)


def test_classes_and_holds_go_along_and_ends_do_not(source: MemoryStore) -> None:
    oldest = Place("run", 0, 100)
    told = Told("somebody", "node", "why", NOON)
    fating.assign(source, connected(source).archive_id, oldest, 1, "daily", told)
    fating.hold(source, connected(source).archive_id, oldest, "C-1", 1, told)
    fating.announce(source, connected(source).archive_id, oldest, 0, datetime(2036, 1, 1, tzinfo=UTC), "daily.9d", told)
    target = memory_store()
    copy(source, target)
    fate = read_fates(target, "run").fate(oldest)
    assert (fate.assigned, fate.cases, fate.ends_at) == ("daily", ("C-1",), None)


def test_the_latest_of_the_replica_is_never_one_that_was_rolled_back(source: MemoryStore, tmp_path: Path) -> None:
    target = memory_store()
    copy(source, target)
    assert latest(target, "run") == Place("run", 0, 200)
    request = LaunchRequest(connected(source).archive_id, "run", "again", 1, NOON)
    open_launch(source, request, lambda _: Resumption(Place("run", 0, 100), explicit=True))
    archive_files(source, Place("run", 1, 150), FILES, launch_key="again", settings=SMALL)
    seen: list[Place | None] = []

    def look(request: Request) -> None:
        if any(info.key.startswith(layout.attempt_record("run", 1)) for info in list_all(target, layout.RUNS)):
            seen.append(latest(target, "run"))

    connection = replica(HookedStore(target, before=look, after=look))
    copy_run(local_machine(), replica(source), connection, "run")
    assert set(seen) == {Place("run", 0, 100), Place("run", 1, 150)}
    assert latest(target, "run") == latest(source, "run") == Place("run", 1, 150)


def test_many_writers_and_empty_files_alone(tmp_path: Path) -> None:
    source, target = memory_store(), memory_store()
    archive_on(source)
    place = Place("run", 0, 1)
    request = LaunchRequest(connected(source).archive_id, "run", "launch", 1, NOON)
    open_launch(source, request, lambda _: Resumption(None, explicit=False))
    archive_files(source, place, {"empty": b""}, launch_key="launch", settings=SMALL)
    for rank in range(3):
        folder = write_tree(tmp_path / str(rank), {f"rank-{rank}": b"x" * 2500, f"small-{rank}": b"y", "same": b"z"})
        archive_on(source).push(str(folder), run="many", step=7, rank=rank, writers=3)
    for run in ("run", "many"):
        make_replica(source, target)
        copy_run(local_machine(), replica(source), replica(target), run)
    assert records(target) == records(source)
    assert not archive_on(target).verify(deep=True).findings


@pytest.mark.parametrize("there", ["s3://bucket/a", "s3://bucket/a/data", "s3://bucket"])
def test_an_archive_within_itself_is_refused(there: str) -> None:
    check_apart("s3://bucket/a", "s3://bucket/ab")
    with pytest.raises(InvalidInputError, match="within"):
        check_apart("s3://bucket/a", there)


def test_what_an_archived_checkpoint_costs_again(source: MemoryStore) -> None:
    """Per checkpoint two small reads; all else is of the run."""
    target = memory_store()
    copy(source, target)
    here, there = CountingStore(source), CountingStore(target)
    connections = replica(here), replica(there)
    here.reset()
    there.reset()
    copy_run(local_machine(), *connections, "run")
    assert (here.requests["read"], there.requests["read"]) == (len(STEPS) + 1, len(STEPS) + 1)  # and the launch
    assert (here.requests["list"], there.requests["list"]) == (5, 1)


def test_what_is_adopted_is_left_and_the_others_are_copied(source: MemoryStore, tmp_path: Path) -> None:
    put(source, "checkpoint-50/model.bin", b"x" * 2000)
    connection = connected(source)
    list(adopt(local_machine(), connection, source, "", "run", find_candidates(source, "checkpoint-{step}")))
    target = memory_store()
    report = copy(source, target)
    assert [place.step for place in report.copied] == list(STEPS)
    assert [(place.step, error.exit_code) for place, error in report.failed] == [(50, 2)]


def test_another_archive_is_refused(source: MemoryStore) -> None:
    target = memory_store()
    create_archive(target, "another", NOON)
    with pytest.raises(ConflictError, match="another archive"):
        copy(source, target)


def test_a_replica_that_went_on_by_itself_is_refused(source: MemoryStore, tmp_path: Path) -> None:
    target = memory_store()
    copy(source, target)
    for store, text in ((source, b"here"), (target, b"there")):
        folder = write_tree(tmp_path / text.decode(), {"file": text})
        archive_on(store).push(str(folder), run="run", step=300)
    with pytest.raises(ConflictError, match="is another record"):
        copy(source, target)
    assert catalog.load_manifest(target, Place("run", 0, 300)).manifest.files == 1


def test_a_run_without_checkpoints_is_not_found(source: MemoryStore) -> None:
    with pytest.raises(NotFoundError):
        copy_run(local_machine(), replica(source), replica(source), "none")


def test_an_object_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_archive.ship.remote.BLOCK_BYTES", 100)
    store = memory_store()
    data = bytes(range(256)) * 2
    put(store, "some/object", data)
    counting = CountingStore(store)
    crcs = tuple(crc32c(data[at : at + 512]) for at in range(0, len(data), 512))
    file = RemoteFile(counting, "some/object", DataObject("0" * 64, len(data), 512, crcs))
    buffer = memoryview(bytearray(70))
    found = b""
    while count := file.read_into(buffer, len(found)):
        found += bytes(buffer[:count])
    assert found == data
    assert counting.requests["fetch"] == 6
    assert Body.of(data).size_bytes == 512
