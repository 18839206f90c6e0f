"""Ranges in blocks: what is read is right, what is held is not asked for again, and what fails is tried anew."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.blocks import BLOCK_BYTES, Blocks, Room
from ckpt_archive.index.query.files import IndexFiles, url_of
from ckpt_archive.index.query.shelf import DiskShelf
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Sink
from ckpt_archive.testing.conformance_base import pattern
from ckpt_archive.testing.counting import CountingStore

SIZE = 21 * BLOCK_BYTES + 1234
DATA = pattern(SIZE)


def with_object(data: bytes = DATA) -> CountingStore:
    store = CountingStore(MemoryStore())
    store.create("key", Body.of(data))
    store.reset()
    return store


STORE = with_object()


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=6), st.integers(0, 40))
def test_what_is_read_is_right(ranges: list[tuple[int, int]], room_blocks: int) -> None:
    blocks = Blocks(STORE, room=Room(room_blocks * BLOCK_BYTES))
    for offset, length in ranges:
        assert blocks.read("key", SIZE, offset, length) == DATA[offset : offset + length]


@given(st.integers(1, 3 * BLOCK_BYTES), st.data())
def test_objects_of_any_size(size: int, data: st.DataObject) -> None:
    store = with_object(DATA[:size])
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size + 10))
    blocks = Blocks(store)
    assert blocks.read("key", size, offset, length) == DATA[:size][offset : offset + length]
    assert blocks.read("key", size, 0, size) == DATA[:size]
    assert store.requests["fetch"] == (1 if size <= 4 * BLOCK_BYTES else 2)


def test_requests() -> None:
    store = with_object()
    blocks = Blocks(store)
    blocks.read("key", SIZE, SIZE - 8, 8)
    assert (store.requests, blocks.fetched_bytes) == ({"fetch": 1}, BLOCK_BYTES + 1234)  # a tail that is worth it
    blocks.read("key", SIZE, SIZE - 16_384, 16_384)
    assert store.requests == {"fetch": 1}
    blocks.read("key", SIZE, 4, 100)
    blocks.read("key", SIZE, 104, 3 * BLOCK_BYTES)
    assert store.requests == {"fetch": 2}  # small reads go ahead of themselves
    blocks.read("key", SIZE, 0, 10 * BLOCK_BYTES)
    assert store.requests == {"fetch": 3}
    blocks.read("key", SIZE, 0, SIZE)
    assert store.requests == {"fetch": 4}
    assert blocks.fetched_bytes == SIZE
    blocks.read("key", SIZE, 0, SIZE)
    assert store.requests == {"fetch": 4}


def test_what_is_asked_for_at_once_is_fetched_once() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(CountingStore):
        def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
            begun.set()
            assert go_on.wait(30)
            super().fetch(key, offset=offset, length=length, etag=etag, sink=sink)

    store = Slow(with_object())
    blocks = Blocks(store)

    def read(number: int) -> bytes:
        if number:
            assert begun.wait(30)
        if number == 3:
            go_on.set()
        return blocks.read("key", SIZE, 100, 50)

    assert set(ThreadExecutor().map_unordered(read, range(4), limit=4)) == {DATA[100:150]}
    assert store.requests["fetch"] == 1


def test_what_failed_is_tried_again() -> None:
    class Failing(CountingStore):
        left = 1

        def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
            if self.left:
                self.left -= 1
                raise UnavailableError("not now")
            super().fetch(key, offset=offset, length=length, etag=etag, sink=sink)

    blocks = Blocks(Failing(with_object()))
    with pytest.raises(UnavailableError):
        blocks.read("key", SIZE, 0, SIZE)
    assert blocks.read("key", SIZE, 0, SIZE) == DATA


def test_what_is_gone() -> None:
    with pytest.raises(NotFoundError):
        Blocks(MemoryStore()).read("key", SIZE, 0, 1)


def test_the_file_system_shows_what_it_was_told_of_and_only_reads() -> None:
    files = IndexFiles(Blocks(with_object()))
    files.show({"key": SIZE})
    assert files.glob(url_of("key")) == ["key"]
    assert files.glob(url_of("k*")) == files.glob("other") == []
    assert files.info("key") == {"name": "key", "size": SIZE, "type": "file"}
    assert files.modified("key").year == 2000
    with files.open(url_of("key")) as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.seek(10) == file.tell() == 10
        assert file.read(5) == DATA[10:15]
        assert file.seek(-5, 1) == 10
        assert file.seek(-4, 2) == SIZE - 4
        assert file.read() == DATA[-4:]
        assert file.read(10) == b""
    for mode in ("wb", "ab", "r+b", "xb"):
        with pytest.raises(PermissionError):
            files.open("key", mode)
    with pytest.raises(FileNotFoundError):
        files.open("other")
    with pytest.raises(FileNotFoundError):
        files.info("other")


class TestShelf:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "deep/cache"

    def shelf(self, folder: Path, most_bytes: int = 1 << 30, url: str = "s3://a/b") -> DiskShelf:
        numbers = iter(range(1 << 30))
        return DiskShelf(PosixFileSystem(), str(folder), url, lambda: f"{next(numbers):032x}", most_bytes)

    def test_another_process_needs_no_store(self, folder: Path) -> None:
        store = with_object()
        Blocks(store, self.shelf(folder)).read("key", SIZE, 0, SIZE)
        store.reset()
        blocks = Blocks(store, self.shelf(folder))
        assert blocks.read("key", SIZE, 0, SIZE) == DATA
        assert not store.requests
        assert blocks.fetched_bytes == 0

    def test_what_is_missing_in_between_is_fetched(self, folder: Path) -> None:
        shelf = self.shelf(folder)
        for number in (0, 2, 3, 7):
            shelf.put("key", SIZE, number, DATA[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES])
        store = with_object()
        assert Blocks(store, shelf).read("key", SIZE, 0, 9 * BLOCK_BYTES) == DATA[: 9 * BLOCK_BYTES]
        assert store.requests == {"fetch": 3}

    def test_others_do_not_get_it(self, folder: Path) -> None:
        self.shelf(folder).put("key", SIZE, 0, b"x")
        assert self.shelf(folder).get("key", SIZE, 0, 1) == b"x"
        for url, key, size, number in [
            ("s3://a/c", "key", SIZE, 0),
            ("s3://a/b", "kez", SIZE, 0),
            ("s3://a/b", "key", SIZE + 1, 0),
            ("s3://a/b", "key", SIZE, 1),
        ]:
            assert self.shelf(folder, url=url).get(key, size, number, 1) is None

    @pytest.mark.parametrize("damage", [b"", b"\0\0\0\0x", b"longer than it was", None])
    def test_what_is_damaged_is_not_there(self, folder: Path, damage: bytes | None) -> None:
        shelf = self.shelf(folder)
        shelf.put("key", SIZE, 0, b"block")
        (path,) = [path for path in folder.rglob("*") if path.is_file()]
        path.unlink()
        if damage is None:
            path.symlink_to(__file__)
        else:
            path.write_bytes(damage)
        assert shelf.get("key", SIZE, 0, 5) is None
        shelf.put("key", SIZE, 0, b"block")
        assert shelf.get("key", SIZE, 0, 5) == b"block"

    def test_it_is_bounded_and_only_ours_is_removed(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_bytes(b"x" * 100_000)
        shelf = self.shelf(folder, most_bytes=80_000)
        for number in range(100):
            shelf.put("key", SIZE, number, bytes([number]) * 2000)
        held = [number for number in range(100) if shelf.get("key", SIZE, number, 2000)]
        assert 25 <= len(held) <= 45
        # The oldest went; a file system tells apart what is a few milliseconds old.
        assert held[-1] == 99
        assert held[0] > 30
        assert (folder / "thesis.txt").exists()

    def test_short_lived_processes_keep_it_bounded_too(self, folder: Path) -> None:
        for number in range(100):
            self.shelf(folder, most_bytes=80_000).put("key", SIZE, number, bytes([number]) * 2000)
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 82_000

    def test_many_at_once(self, folder: Path) -> None:
        store = with_object()
        shelves = [
            DiskShelf(PosixFileSystem(), str(folder), "s3://a/b", lambda n=n: f"{n:08x}" + SERIAL(), 8 * BLOCK_BYTES)  # type: ignore[misc]
            for n in range(4)
        ]

        def read(number: int) -> bool:
            return Blocks(store, shelves[number % 4]).read("key", SIZE, 0, SIZE) == DATA

        assert all(ThreadExecutor().map_unordered(read, range(16), limit=8))

    def test_a_folder_that_can_not_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(InvalidInputError, match="cache folder"):
            self.shelf(tmp_path / "file/below")

    def test_a_folder_that_went_away_is_no_failure(self, folder: Path) -> None:
        shelf = self.shelf(folder)
        folder.rmdir()
        folder.write_bytes(b"a file now")
        shelf.put("key", SIZE, 0, b"x")
        assert shelf.get("key", SIZE, 0, 1) is None


_serials = iter(range(1 << 40))


def SERIAL() -> str:  # noqa: N802
    return f"{next(_serials):024x}"
