"""The archive as its users see it: what it lists, in which order, and how many requests that takes."""

from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.testing.archives import SMALL, archive_on, content, flip, memory_store, put
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "a.json": b"{}", "b.json": b"[1]", "empty": b""}
SIZE = sum(map(len, FILES.values()))


def launched(store: MemoryStore, run: str, number: int, origin: Place | None = None, *, explicit: bool = False) -> None:
    request = LaunchRequest(ARCHIVE_ID, run, f"launch-{number}", 1, NOON)
    assert open_launch(store, request, lambda _: Resumption(origin, explicit)).attempt == number


def archived(store: MemoryStore, run: str, attempt: int, *steps: int) -> None:
    for step in steps:
        archive_files(store, Place(run, attempt, step), FILES, settings=SMALL)


@pytest.fixture
def store() -> MemoryStore:
    """Two runs: one has two attempts, the second of which began again from an earlier step."""
    store = memory_store()
    archive_on(store)
    launched(store, "b", 0)
    archived(store, "b", 0, 100, 200, 300)
    launched(store, "b", 1, Place("b", 0, 200), explicit=True)
    archived(store, "b", 1, 210)
    launched(store, "a", 0)
    archived(store, "a", 0, 5)
    return store


def test_runs_are_listed_by_name_with_their_latest(store: MemoryStore) -> None:
    found = [(run.run, run.newest_attempt, run.newest_step, run.size_bytes) for run in archive_on(store).runs()]
    assert found == [("a", 0, 5, SIZE), ("b", 1, 210, SIZE)]


def test_an_archive_without_checkpoints_lists_nothing() -> None:
    assert archive_on(memory_store()).runs() == []


def test_checkpoints_are_listed_newest_first(store: MemoryStore) -> None:
    archive = archive_on(store)
    assert [(info.attempt, info.step) for info in archive.checkpoints("b")] == [(1, 210), (0, 300), (0, 200), (0, 100)]
    assert [info.step for info in archive.checkpoints("b", attempt=0)] == [300, 200, 100]
    with pytest.raises(NotFoundError, match="attempt 2 of the run 'b'"):
        archive.checkpoints("b", attempt=2)
    with pytest.raises(NotFoundError, match="'c'"):
        archive.checkpoints("c")
    with pytest.raises(InvalidInputError, match="run name"):
        archive.checkpoints("../b")


def test_the_order_is_the_same_when_answers_come_in_any(store: MemoryStore) -> None:
    machine = local_machine()
    threads = Machine(machine.fs, machine.clock, ThreadExecutor(), machine.nonce, machine.node)
    archived(store, "b", 1, *range(300, 340))
    for _ in range(5):
        steps = [info.step for info in archive_on(store, threads).checkpoints("b", attempt=1)]
        assert steps == sorted(steps, reverse=True)
        assert [run.run for run in archive_on(store, threads).runs()] == ["a", "b"]


def test_what_looking_costs(store: MemoryStore) -> None:
    counting = CountingStore(store)
    archive = archive_on(counting)

    def cost(call: object) -> dict[str, int]:
        counting.reset()
        call()  # type: ignore[operator]
        return dict(counting.requests)

    # One listing tells the ends of a run's checkpoints; for one of them there is one about it and one about its run.
    assert cost(lambda: archive.checkpoints("b")) == {"list": 1 + 1, "read": 4}
    assert cost(lambda: archive.show("b", 210)) == {"list": 1 + 2, "head": 1, "read": 2}
    assert cost(lambda: archive.find("b", 210, attempt=1)) == {"head": 1}
    assert cost(lambda: archive.find("b", 100)) == {"list": 1, "head": 2}
    assert cost(lambda: archive.find("b", attempt=1)) == {"list": 1}
    few = cost(lambda: archive.find("b"))
    assert sum(few.values()) <= 4
    assert cost(archive.runs)["list"] == 1 + 2 * 2
    for number in range(2, 40):
        launched(store, "b", number)
    archived(store, "b", 39, *range(1000, 1100))
    assert cost(lambda: archive.find("b")) == few


def test_latest_follows_an_explicit_choice(store: MemoryStore) -> None:
    archive = archive_on(store)
    assert (
        archive.find("b") == archive.find("b", "latest") == archive.find("b", "latest-archived") == Place("b", 1, 210)
    )
    launched(store, "b", 2, Place("b", 0, 100), explicit=True)
    assert archive.find("b") == Place("b", 0, 100)
    assert archive.runs()[1].newest_step == 100


def test_a_choice_that_was_never_archived_does_not_stop_the_listing(store: MemoryStore) -> None:
    launched(store, "b", 2, Place("b", 1, 219), explicit=True)
    run = archive_on(store).runs()[1]
    assert (run.newest_attempt, run.newest_step, run.committed_at, run.size_bytes) == (1, 219, None, None)


@pytest.mark.parametrize("step", [-1, 10**12, True, 1.5, "newest", "100"])
def test_what_is_no_step_is_refused(store: MemoryStore, step: object) -> None:
    with pytest.raises(InvalidInputError, match="the step"):
        archive_on(store).find("b", step)  # type: ignore[arg-type]


def test_show_names_every_file_its_object_and_every_receipt(store: MemoryStore) -> None:
    shown = archive_on(store).show("b", 210)
    assert [file.path for file in shown.files] == sorted(FILES)
    for file in shown.files:
        if file.size_bytes:
            data = content(store, file.key)[file.offset : file.offset + file.size_bytes]
            assert data == FILES[file.path]
        else:
            assert file.key == ""
    assert shown.receipts == ((0, layout.receipt("b", 1, 210, 0), shown.manifest["receipts"][0]["sha256"]),)
    assert shown.info == archive_on(store).checkpoints("b")[0]


def test_one_damaged_manifest_is_named(store: MemoryStore) -> None:
    key = layout.manifest("b", 0, 200)
    flip(store, key, 3)
    with pytest.raises(IntegrityError, match=key):
        archive_on(store).checkpoints("b")
    with pytest.raises(IntegrityError, match=key):
        archive_on(store).show("b", 200)
    # What does not need it is there.
    assert archive_on(store).find("b").step == 210
    assert archive_on(store).show("b", 300).info.step == 300


@pytest.mark.parametrize(
    "stray", ["manifests/b/x", "manifests/b/99999998/x.json", "manifests/b/99999998/999999999899.json/x"]
)
def test_something_else_among_the_manifests_is_named(store: MemoryStore, stray: str) -> None:
    put(store, stray, b"?")
    with pytest.raises(IntegrityError, match=stray):
        archive_on(store).checkpoints("b")


def test_checkpoints_whose_launches_are_gone_are_not_taken_for_none(store: MemoryStore, tmp_path: Path) -> None:
    """A copy of the bucket without runs/: whoever is told that there is nothing begins anew, over what is there."""
    for number in range(2):
        store.delete(layout.attempt_record("b", number))
    archive = archive_on(store)
    (tmp_path / "x").write_bytes(b"x")
    for look in (lambda: archive.find("b"), archive.runs, lambda: archive.push(tmp_path, "b", 1)):
        with pytest.raises(IntegrityError, match="its launch was never recorded"):
            look()
    assert archive.find("b", 210) == Place("b", 1, 210)


def test_times_are_the_stores(tmp_path: Path) -> None:
    ahead = ManualClock(NOON + timedelta(hours=5))
    store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=ManualClock())
    archive = archive_on(store, local_machine(clock=ahead))
    (tmp_path / "x").write_bytes(b"x")
    archive.push(tmp_path, "run", 1)
    (info,) = archive.checkpoints("run")
    assert (info.committed_at, info.staged_at) == (NOON, NOON + timedelta(hours=5))


def test_no_url_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_URL", raising=False)
    with pytest.raises(InvalidInputError, match="no archive is named") as caught:
        Archive.open()
    assert "CKPT_ARCHIVE_URL" in caught.value.hint
    monkeypatch.setenv("CKPT_ARCHIVE_URL", f"file://{tmp_path}/archive")
    assert Archive.open().url == f"file://{tmp_path}/archive"


def test_what_was_never_created_is_no_archive(tmp_path: Path) -> None:
    archive = Archive.open(f"file://{tmp_path}/none")
    for look in (archive.runs, lambda: archive.checkpoints("run"), archive.verify, archive.doctor, lambda: archive.id):
        with pytest.raises(Exception, match="init") as caught:
            look()
        assert caught.value.exit_code in (3, 6)  # type: ignore[attr-defined]
    assert not (tmp_path / "none").exists()


def test_creating_twice_is_one_archive(tmp_path: Path) -> None:
    first = Archive.create(f"file://{tmp_path}/archive")
    assert Archive.create(f"file://{tmp_path}/archive").id == first.id == Archive.open(first.url).id
