"""Files fetched into a private folder: what is believed of it, what is refused, what it costs."""

import errno
import os
from pathlib import Path

import pytest

from ckpt_archive.commit import catalog
from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.disk.protocol import Space
from ckpt_archive.errors import CapacityError, ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.place import Place
from ckpt_archive.share import FileEntry
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import SMALL, content, keys, memory_store, put, read_tree, write_tree
from ckpt_archive.testing.checkpoints import INLINE, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.transfer.download import DownloadReport, download_files
from ckpt_archive.transfer.verify import Wanted

FS = PosixFileSystem()
PLACE = Place("run", 0, 1)
FILES = {"model.bin": b"weights!" * 400, "sub/state.bin": b"s" * 900, "a.json": b"{}", "b.json": b"[1]", "empty": b""}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def store() -> MemoryStore:
    store = memory_store()
    archive_files(store, PLACE, FILES, settings=SMALL)
    return store


@pytest.fixture
def wanted(store: MemoryStore) -> list[Wanted]:
    manifest = catalog.load_manifest(store, PLACE).manifest
    return catalog.wanted(catalog.load_receipts(store, INLINE, manifest))


def download(
    store: Store, root: Path, wanted: list[Wanted], fs: PosixFileSystem = FS, progress: list[int] | None = None
) -> DownloadReport:
    seen = [] if progress is None else progress
    return download_files(store, INLINE, fs, str(root), wanted, SMALL, progress=seen.append)


def test_what_a_download_costs(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    """A HEAD per object, and a ranged read per part; the small files of one object come in one."""
    counting = CountingStore(store)
    report = download(counting, tmp_path / "x", wanted)
    assert counting.requests == {"head": 3, "fetch": 4 + 1 + 1}
    assert report == DownloadReport(len(FILES), SIZE, 0, 6)
    assert read_tree(tmp_path / "x") == FILES


def test_what_is_right_is_kept_and_what_is_not_fetched_again(
    store: MemoryStore, wanted: list[Wanted], tmp_path: Path
) -> None:
    download(store, tmp_path / "x", wanted)
    with (tmp_path / "x" / "model.bin").open("r+b") as file:
        file.seek(1500)
        file.write(bytes(100))
    progress: list[int] = []
    report = download(store, tmp_path / "x", wanted, progress=progress)
    assert (report.bytes_fetched, report.bytes_kept, report.ranges_fetched) == (1000, SIZE - 1000, 1)
    assert sum(progress) == SIZE
    assert read_tree(tmp_path / "x") == FILES


def test_a_file_with_a_second_name_is_made_anew(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    """Whoever has the other name could change the bytes after they were checked."""
    download(store, tmp_path / "x", wanted)
    os.link(tmp_path / "x" / "model.bin", tmp_path / "handle")
    report = download(store, tmp_path / "x", wanted)
    assert report.bytes_fetched == len(FILES["model.bin"])
    (tmp_path / "handle").write_bytes(b"changed")
    assert read_tree(tmp_path / "x") == FILES


def test_a_link_in_the_place_of_the_folder_is_refused(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    victim = write_tree(tmp_path / "victim", {"precious": b"1"})
    (tmp_path / "x").symlink_to(victim)
    with pytest.raises(ConflictError):
        download(store, tmp_path / "x", wanted)
    assert read_tree(victim) == {"precious": b"1"}


def test_nothing_begins_without_room(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    class Small(PosixFileSystem):
        def space(self, path: str) -> Space:
            return Space(SIZE - 1, 1 << 40)

    counting = CountingStore(store)
    with pytest.raises(CapacityError, match=f"{SIZE} are still to be fetched"):
        download(counting, tmp_path / "x", wanted, Small())
    assert counting.total == 0


class _Filling(PosixFileSystem):
    """The disk is full after so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def create_beneath(self, root: str, relative: str) -> PosixFile:
        return _FillingFile(os.dup(super().create_beneath(root, relative).fileno()), self)

    def reopen_beneath(self, root: str, relative: str) -> PosixFile:
        return _FillingFile(os.dup(super().reopen_beneath(root, relative).fileno()), self)

    def take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FillingFile(PosixFile):
    def __init__(self, descriptor: int, disk: _Filling) -> None:
        super().__init__(descriptor)
        self._disk = disk

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        self._disk.take(len(data))
        super().write_at(data, offset)


@pytest.mark.parametrize("room", [0, 1, 500, 1500, 3000, SIZE - 1])
def test_a_disk_that_fills_up_on_the_way_is_said_to_be_full_and_gone_on_with(
    store: MemoryStore, wanted: list[Wanted], tmp_path: Path, room: int
) -> None:
    with pytest.raises(CapacityError, match="No space left"):
        download(store, tmp_path / "x", wanted, _Filling(room))
    report = download(store, tmp_path / "x", wanted)
    assert read_tree(tmp_path / "x") == FILES
    assert report.bytes_kept + report.bytes_fetched == SIZE


def test_an_object_that_is_missing_is_named(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    for key in keys(store, "data/"):
        before = content(store, key)
        store.delete(key)
        with pytest.raises(NotFoundError, match=key):
            download(store, tmp_path / key[-8:], wanted)
        put(store, key, before)


def test_an_object_that_vanishes_while_it_is_read_is_named(
    store: MemoryStore, wanted: list[Wanted], tmp_path: Path
) -> None:
    def vanish(request: Request) -> None:
        if request.verb == "fetch":
            store.delete(request.key)

    with pytest.raises(NotFoundError, match="data/run"):
        download(HookedStore(store, before=vanish), tmp_path / "x", wanted)


def test_a_file_that_is_not_empty_and_has_no_object_is_damage(store: MemoryStore, tmp_path: Path) -> None:
    for entry in (FileEntry("x", 0, "0" * 64, None, 0, ()), FileEntry("x", 5, sha256_hex(b""), None, 0, ())):
        with pytest.raises(IntegrityError, match="no object is recorded for 'x'"):
            download(store, tmp_path / "x", [Wanted(entry, None, "")])


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a\\b", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused_here_too(store: MemoryStore, tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidInputError):
        download(store, tmp_path / "x", [Wanted(FileEntry(path, 0, sha256_hex(b""), None, 0, ()), None, "")])
    assert list(tmp_path.iterdir()) == []


def test_in_many_threads(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    for number in range(20):
        download_files(store, ThreadExecutor(), FS, str(tmp_path / str(number)), wanted, SMALL)
        assert read_tree(tmp_path / str(number)) == FILES
