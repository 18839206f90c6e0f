"""A run in another archive: the same bytes, whatever happens on the way."""

from pathlib import Path

import pytest

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.ship.copying import CopyReport, copy_run, make_replica
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
from ckpt_archive.testing.checkpoints import NOON
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
    with pytest.raises(IntegrityError, match="other bytes"):
        copy(source, target)
    assert not list_all(target, layout.MANIFESTS)


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
    file = RemoteFile(counting, "some/object", len(data))
    buffer = memoryview(bytearray(70))
    found = b""
    while count := file.read_into(buffer, len(found)):
        found += bytes(buffer[:count])
    assert found == data
    assert counting.requests["fetch"] == 6
    assert Body.of(data).size_bytes == 512
