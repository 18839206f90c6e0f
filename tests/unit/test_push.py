"""One folder, archived in place: what is refused, what a repetition costs, what the archive holds in the end."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.errors import (
    CkptArchiveError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.machine import Machine
from ckpt_archive.progress import ProgressEvent
from ckpt_archive.ship.push import PushReport, PushRequest, push
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import (
    SMALL,
    archive_on,
    connected,
    content,
    flip,
    keys,
    memory_store,
    put,
    read_tree,
    write_tree,
)
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine
from ckpt_archive.transfer.settings import TransferSettings

FILES = {"model.bin": b"weights!" * 400, "optim/state.bin": b"moments" * 60, "config.json": b"{}", "empty": b""}
RECEIPT = layout.receipt("run", 0, 100, 0)
MANIFEST = layout.manifest("run", 0, 100)


@pytest.fixture
def store() -> MemoryStore:
    return memory_store()


@pytest.fixture
def archive(store: MemoryStore) -> Archive:
    return archive_on(store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "checkpoint-100", FILES)


def restored(archive: Archive, to: Path, run: str = "run", step: int | None = None) -> dict[str, bytes]:
    return read_tree(archive.restore(run, step, to=to, exact_folder=True).path)


def pushed(store: Store, folder: Path, machine: Machine | None = None) -> PushReport:
    used = machine or local_machine(clock=ManualClock())
    return push(used, connected(store), PushRequest(str(folder), "run", 100))


def test_a_folder_comes_back_as_it_was(archive: Archive, folder: Path, tmp_path: Path) -> None:
    report = archive.push(folder, "run", 100, metrics={"loss": 2.5}, labels={"project": "x"})
    size = sum(map(len, FILES.values()))
    assert (report.state, report.attempt, report.files, report.size_bytes) == ("committed", 0, 4, size)
    assert (report.bytes_sent, report.bytes_resumed, report.awaiting) == (size, 0, ())
    assert restored(archive, tmp_path / "back") == FILES
    assert read_tree(folder) == FILES


def test_what_a_push_costs(store: MemoryStore, folder: Path) -> None:
    counting = CountingStore(store)
    connection = connected(counting)
    counting.reset()
    push(local_machine(clock=ManualClock()), connection, PushRequest(str(folder), "run", 100))
    # Launch: list, and as there is none a list of manifests, marker, create. Dead commits: 2 lists. Receipt: list. Data:
    # list, uploads, a multipart object of 4 parts, two objects sent whole. Receipt: create. Commit: 2 lists, marker,
    # manifest.
    assert counting.requests == {
        "list": 8,
        "list_uploads": 1,
        "start_upload": 1,
        "upload_part": 4,
        "complete_upload": 1,
        "head": 1,
        "create": 7,
    }


def test_the_same_content_again_sends_nothing(archive: Archive, store: MemoryStore, folder: Path) -> None:
    archive.push(folder, "run", 100)
    before = {key: content(store, key) for key in keys(store)}
    again = archive.push(folder, "run", 100, metrics={"loss": 1.0})
    assert (again.state, again.attempt, again.bytes_sent, again.parts_sent) == ("already-committed", 0, 0, 0)
    assert {key: content(store, key) for key in keys(store)} == before


@pytest.mark.parametrize("change", ["other bytes", "one more", "one less"])
def test_other_content_is_a_conflict_before_any_byte_is_sent(store: MemoryStore, folder: Path, change: str) -> None:
    archive_on(store).push(folder, "run", 100)
    before = keys(store)
    if change == "one less":
        (folder / "config.json").unlink()
    else:
        (folder / ("more" if change == "one more" else "model.bin")).write_bytes(b"x" * 3200)
    counting = CountingStore(store)
    with pytest.raises(ConflictError, match=r"run step 100 \(attempt 0\)") as caught:
        pushed(counting, folder)
    assert caught.value.exit_code == 5
    assert {"create", "upload_part", "start_upload"} & counting.requests.keys() == {"create"}  # archive.json
    assert counting.requests["create"] == 1
    assert keys(store) == before


def test_a_new_attempt_takes_other_content_and_answers_latest(archive: Archive, folder: Path, tmp_path: Path) -> None:
    archive.push(folder, "run", 100)
    archive.push(folder, "run", 200)
    (folder / "config.json").write_bytes(b"{1}")
    report = archive.push(folder, "run", 100, new_attempt=True)
    assert (report.state, report.attempt) == ("committed", 1)
    found = archive.find("run")
    assert (found.attempt, found.step) == (1, 100)
    assert archive.find("run", 100).attempt == 1
    assert archive.find("run", 200).attempt == 0
    # The next one goes on with it.
    assert archive.push(folder, "run", 100).state == "already-committed"


def test_a_step_filled_in_later_does_not_become_the_latest(archive: Archive, folder: Path) -> None:
    archive.push(folder, "run", 500)
    assert archive.push(folder, "run", 400).attempt == 0
    assert archive.find("run").step == 500
    assert [info.step for info in archive.checkpoints("run")] == [500, 400]


def test_a_link_to_a_folder_may_be_pushed(archive: Archive, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    archive.push(tmp_path / "latest", "run", 100)
    assert restored(archive, tmp_path / "back") == FILES


def _symlink(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "config.json")


def _folder_link(folder: Path) -> None:
    (folder / "sub").symlink_to("/etc")


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(folder)
        opened.bind("socket")
        os.chdir(here)


def _write(name: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")

    return write


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_symlink, "link"),
        (_folder_link, "sub"),
        (_fifo, "pipe"),
        (_socket, "socket"),
        (_write("back\\slash"), "backslash"),
        (_write("new\nline"), "control"),
        (_write(b"not-utf8-\xff"), "UTF-8"),
        (_write("Model.bin"), "case"),
        (_write("e\u0301"), "NFC"),
        (_write("/".join(["deep"] * 40)), "deeper"),
    ],
)
def test_what_could_not_be_restored_is_refused_by_name(
    store: MemoryStore, folder: Path, spoil: Callable[[Path], None], named: str
) -> None:
    spoil(folder)
    counting = CountingStore(store)
    connection = connected(counting)
    counting.reset()
    with pytest.raises(InvalidInputError, match=named) as caught:
        push(local_machine(), connection, PushRequest(str(folder), "run", 100))
    assert caught.value.hint
    assert counting.total == 0
    str(caught.value).encode()  # it can be printed


def test_an_empty_folder_is_refused_unless_there_are_other_writers(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="holds no files"):
        archive.push(tmp_path / "empty", "run", 100)
    assert archive.push(tmp_path / "empty", "run", 100, writers=2).state == "awaiting"


def test_there_must_be_a_folder(archive: Archive, folder: Path, tmp_path: Path) -> None:
    for missing in (tmp_path / "none", folder / "config.json" / "below"):
        with pytest.raises(NotFoundError, match="there is no folder"):
            archive.push(missing, "run", 100)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for other in (folder / "config.json", tmp_path / "dangling"):
        with pytest.raises(InvalidInputError, match="is not a folder"):
            archive.push(other, "run", 100)


class _Locked(PosixFileSystem):
    """One file may not be read."""

    def open_beneath(self, root: str, relative: str) -> PosixFile:
        if relative == "model.bin":
            raise PermissionError(13, "Permission denied", relative)
        return super().open_beneath(root, relative)


def test_a_file_that_may_not_be_read_is_said_to_be_that(store: MemoryStore, folder: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"model\.bin.*Permission denied"):
        pushed(store, folder, local_machine(_Locked(), ManualClock()))
    assert keys(store, "receipts/") == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"rank": 2, "writers": 2}, "rank 2 of 2"),
        ({"writers": 0}, "writers = 0"),
        ({"writers": True}, "writers = True"),
        ({"rank": -1}, "rank"),
        ({"step": -1}, "step"),
        ({"run": "Run"}, "run name"),
        ({"new_attempt": True, "writers": 2}, "several writers"),
    ],
)
def test_what_can_not_be_a_push(said: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        PushRequest(**{"directory": "/x", "run": "run", "step": 1} | said)  # type: ignore[arg-type]


def test_metrics_are_recorded_also_those_that_are_no_number(archive: Archive, folder: Path) -> None:
    archive.push(folder, "run", 100, metrics={"loss": float("nan"), "steps": 3})
    assert archive.checkpoints("run")[0].metrics == {"loss": "nan", "steps": 3}


def test_progress_ends_at_the_whole(store: MemoryStore, folder: Path) -> None:
    events: list[ProgressEvent] = []
    archive_on(store).push(folder, "run", 100, progress=events.append)
    size = sum(map(len, FILES.values()))
    for phase in ("digest", "upload"):
        done = [event.done_bytes for event in events if event.phase == phase]
        assert (done[0], done[-1], done) == (0, size, sorted(done))


def test_stray_keys_under_a_step_are_orphans_and_no_error(
    archive: Archive, store: MemoryStore, folder: Path, tmp_path: Path
) -> None:
    for stray in ("000000.json.tmp", "notes.txt", "deeper/000000.json"):
        put(store, layout.receipts_folder("run", 0, 100) + stray, b"?")
    put(store, layout.receipts_of_attempt("run", 0) + "stray", b"?")
    put(store, layout.share_folder("run", 0, 100, 0) + "stray", b"?")
    put(store, layout.data_folder("run", 0, 100) + "stray", b"?")
    assert archive.push(folder, "run", 100).state == "committed"
    assert restored(archive, tmp_path / "back") == FILES
    assert archive.verify(deep=True).findings == ()


def test_other_settings_go_on_with_how_it_was_packed_before(store: MemoryStore, folder: Path, tmp_path: Path) -> None:
    archive_on(store).push(folder, "run", 100)
    before = keys(store)
    (lost, *_) = keys(store, "data/")
    store.delete(lost)
    other = archive_on(store, settings=TransferSettings(part_size_bytes=77, pack_below_bytes=0))
    report = other.push(folder, "run", 100)
    assert report.state == "already-committed"
    assert report.bytes_sent > 0
    assert keys(store) == before
    assert restored(other, tmp_path / "back") == FILES


def test_an_object_that_was_lost_before_the_commit_is_sent_again(
    store: MemoryStore, folder: Path, tmp_path: Path
) -> None:
    """The receipt stands, the committer died, and then an object vanished."""
    archive = archive_on(store)
    archive.push(folder, "run", 100)
    store.delete(MANIFEST)
    for key in keys(store, "data/"):
        store.delete(key)
    assert archive.push(folder, "run", 100).state == "committed"
    assert restored(archive, tmp_path / "back") == FILES


def test_a_store_that_checks_nothing_is_read_back(folder: Path, tmp_path: Path) -> None:
    store = memory_store()

    def rot(request: Request) -> None:
        if request.verb == "complete_upload":
            flip(store, request.key, 77)

    machine = local_machine(clock=ManualClock())
    hooked = HookedStore(store, after=rot)
    with pytest.raises(IntegrityError, match=r"read back, has the CRC32C .* in part 1"):
        push(machine, connected(hooked, checks=False), PushRequest(str(folder), "run", 100))
    assert keys(store, "receipts/") == []
    assert read_tree(folder) == FILES


def test_a_damaged_object_under_our_key_is_found_by_its_size(store: MemoryStore, folder: Path) -> None:
    archive_on(store).push(folder, "run", 100)
    (key, *_) = keys(store, "data/")
    put(store, key, b"short")
    store.delete(RECEIPT)
    store.delete(MANIFEST)
    with pytest.raises(IntegrityError, match=key):
        pushed(store, folder)
    assert RECEIPT not in keys(store)


class _Failing(PosixFileSystem):
    """The disk can not be read any more after so many reads."""

    def __init__(self, reads: int) -> None:
        self.left = reads

    def open_beneath(self, root: str, relative: str) -> PosixFile:
        return _FailingFile(os.dup(super().open_beneath(root, relative).fileno()), self)


class _FailingFile(PosixFile):
    def __init__(self, descriptor: int, disk: _Failing) -> None:
        super().__init__(descriptor)
        self._disk = disk

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self._disk.left -= 1
        if self._disk.left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().read_into(buffer, offset)


def test_a_disk_that_fails_at_any_read_is_an_error_that_names_the_file(folder: Path) -> None:
    plenty = _Failing(1_000_000)
    pushed(memory_store(), folder, local_machine(plenty, ManualClock()))
    needed = 1_000_000 - plenty.left
    assert needed > 20
    for reads in range(needed):
        store = memory_store()
        with pytest.raises(IntegrityError, match="Input/output error") as caught:
            pushed(store, folder, local_machine(_Failing(reads), ManualClock()))
        assert any(path in caught.value.message for path in FILES)
        assert keys(store, "receipts/") == []


# --- changed while it is pushed, at every point


class Points:
    """Counts the moments at which something may happen, and does something at one of them."""

    def __init__(self, at: int, do: Callable[[], None]) -> None:
        self._at = at
        self._do = do
        self.reached = 0

    def __call__(self, *_: object) -> None:
        if self.reached == self._at:
            self._do()
        self.reached += 1


class _Watched(PosixFileSystem):
    """Tells of every call about files that are read."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def open_beneath(self, root: str, relative: str) -> PosixFile:
        self._points()
        return _WatchedFile(os.dup(super().open_beneath(root, relative).fileno()), self._points)


class _WatchedFile(PosixFile):
    def __init__(self, descriptor: int, points: Points) -> None:
        super().__init__(descriptor)
        self._points = points

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self._points()
        return super().read_into(buffer, offset)


def _rewrite(folder: Path) -> None:
    path = folder / "model.bin"
    path.write_bytes(b"WEIGHTS?" * 400)
    os.utime(path, ns=(1, 1))


def _append(folder: Path) -> None:
    with (folder / "model.bin").open("ab") as file:
        file.write(b"more")


def _truncate(folder: Path) -> None:
    os.truncate(folder / "model.bin", 1500)


def _replace(folder: Path) -> None:
    (folder / "new").write_bytes(b"weights!" * 400)
    (folder / "new").rename(folder / "model.bin")


def _remove(folder: Path) -> None:
    (folder / "config.json").unlink()


def _remove_all(folder: Path) -> None:
    folder.rename(folder.parent / "gone")


def _add(folder: Path) -> None:
    (folder / "late.bin").write_bytes(b"")


def _swap_for_link(folder: Path) -> None:
    (folder / "optim").rename(folder.parent / "elsewhere")
    (folder / "optim").symlink_to(folder.parent / "elsewhere")


CHANGES = [_rewrite, _append, _truncate, _replace, _remove, _remove_all, _add, _swap_for_link]


def _points_of_a_push(folder: Path, at: int, do: Callable[[], None]) -> tuple[MemoryStore, Callable[[], int]]:
    store = memory_store()
    points = Points(at, do)
    hooked = HookedStore(store, before=points)
    connected(store)
    machine = local_machine(_Watched(points), ManualClock())

    def run() -> int:
        push(machine, Connection(hooked, ARCHIVE_ID, SMALL, None, lambda: True), PushRequest(str(folder), "run", 100))
        return points.reached

    return store, run


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_changed_at_any_point_is_a_conflict_or_was_archived_as_it_was(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    def never() -> None:
        raise AssertionError

    _, run = _points_of_a_push(write_tree(tmp_path / "probe", FILES), -1, never)
    outcomes = []
    said = {True}
    for at in range(run()):
        place = tmp_path / str(at)
        folder = write_tree(place / "ck", FILES)
        store, attempt = _points_of_a_push(folder, at, lambda folder=folder: change(folder))  # type: ignore[misc]
        try:
            attempt()
        except ConflictError as error:
            said.add("was changed while it was being archived" in error.message)
            assert keys(store, "receipts/") == keys(store, "manifests/") == []
            outcomes.append("conflict")
        else:
            assert restored(archive_on(store), place / "back") == FILES
            outcomes.append("archived")
    # Once the files have been looked at for the last time, nothing matters any more: never the other way round.
    assert outcomes == sorted(outcomes, reverse=True)
    assert {"conflict", "archived"} == set(outcomes)
    assert said == {True}


# --- lost answers, deaths


def _faults(folder: Path) -> Iterator[tuple[int, str]]:
    hooked = HookedStore(memory_store())
    pushed(hooked, folder)
    for number in range(len(hooked.requests)):
        yield number, "before"
        yield number, "after"


def test_every_request_may_fail_or_lose_its_answer_and_the_next_push_ends_it(folder: Path, tmp_path: Path) -> None:
    for number, when in _faults(folder):
        store = memory_store()

        def fail(request: Request, number: int = number) -> None:
            if request.number == number:
                raise UnavailableError("cut off", hint="Try again.")

        hooked = HookedStore(store, **{when: fail})
        try:
            pushed(hooked, folder)
        except UnavailableError:
            # Nothing is visible that is not whole.
            assert not keys(store, "manifests/") or when == "after"
        archive = archive_on(store)
        assert archive.push(folder, "run", 100).state in ("committed", "already-committed")
        place = tmp_path / f"{number}-{when}"
        assert restored(archive, place) == FILES
        assert store.list_uploads("") == ()
        assert archive.verify(deep=True).findings == ()
        assert len(archive.checkpoints("run")) == 1


class Died(BaseException):
    """Nobody catches it."""


def test_what_a_dead_push_had_sent_is_not_sent_again(store: MemoryStore, folder: Path) -> None:
    def die(request: Request) -> None:
        if request.verb == "upload_part":
            (upload,) = store.list_uploads("")
            if len(store.list_parts(request.key, upload.upload_id)) == 3:
                raise Died

    with pytest.raises(Died):
        pushed(HookedStore(store, before=die), folder)
    report = archive_on(store).push(folder, "run", 100)
    # The small objects had gone before the parts.
    assert (report.bytes_resumed, report.bytes_sent, report.state) == (3000, 200, "committed")


def test_a_commit_whose_committer_died_is_finished_by_the_next_push(
    store: MemoryStore, folder: Path, tmp_path: Path
) -> None:
    def die(request: Request) -> None:
        if request.verb == "create" and request.key == MANIFEST:
            raise Died

    with pytest.raises(Died):
        pushed(HookedStore(store, before=die), folder)
    assert RECEIPT in keys(store)
    archive = archive_on(store)
    other = write_tree(tmp_path / "checkpoint-200", {"other": b"other"})
    archive.push(other, "run", 200)
    assert [info.step for info in archive.checkpoints("run")] == [200, 100]
    assert restored(archive, tmp_path / "back", step=100) == FILES


def test_two_pushes_of_the_same_at_once(store: MemoryStore, folder: Path, tmp_path: Path) -> None:
    """Just before each of its requests, another push of the same runs to its end."""
    probe = HookedStore(memory_store())
    pushed(probe, folder)
    for number in range(len(probe.requests)):
        inner = memory_store()
        states: list[str] = []

        def race(
            request: Request, inner: MemoryStore = inner, number: int = number, states: list[str] = states
        ) -> None:
            if request.number == number:
                states.append(pushed(inner, folder).state)

        states.append(pushed(HookedStore(inner, before=race), folder).state)
        # It may be one's look for dead commits that commits the other's.
        assert set(states) <= {"already-committed", "committed"}
        assert inner.list_uploads("") == ()
        assert len(keys(inner, "manifests/")) == len(keys(inner, "receipts/")) == 1
        assert archive_on(inner).verify(deep=True).findings == ()


def test_two_pushes_of_different_content_at_once(folder: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", {"model.bin": b"other"})
    probe = HookedStore(memory_store())
    pushed(probe, folder)
    for number in range(1, len(probe.requests)):
        inner = memory_store()
        refused: list[CkptArchiveError] = []

        def race(request: Request, inner: MemoryStore = inner, number: int = number) -> None:
            if request.number == number:
                try:
                    pushed(inner, other)
                except ConflictError as error:
                    refused.append(error)  # noqa: B023

        try:
            pushed(HookedStore(inner, before=race), folder)
        except ConflictError as error:
            refused.append(error)
        assert len(refused) == 1
        back = read_tree(archive_on(inner).restore("run", to=tmp_path / f"back-{number}").path)
        assert back in (FILES, {"model.bin": b"other"})


def test_many_threads_push_at_once(store: MemoryStore, folder: Path, tmp_path: Path) -> None:
    def one(_: int) -> str:
        return pushed(store, folder).state

    states = sorted(ThreadExecutor().map_unordered(one, range(8), limit=8))
    assert states == ["already-committed"] * 7 + ["committed"]
    assert restored(archive_on(store), tmp_path / "back") == FILES
