"""Ranges of objects that never change, read from a store in blocks that are kept: in memory, and on disk if asked to.

Parquet readers ask for a footer, a filter, a run of column chunks, each of which costs a request of its own and tens of
milliseconds far from the store. What is asked for is rounded to blocks, small reads to a few of them, and neighbours that
are missing come with one request.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from ckpt_archive.store.protocol import Store

BLOCK_BYTES = 128 << 10
# A request far from the store takes as long as moving this much.
_READ_AHEAD_BLOCKS = 4
# Half a block at the end of a file is no footer.
_LEAST_TAIL_BYTES = 64 << 10
# One request for more than this takes memory and gains nothing.
_MOST_BLOCKS = 64

Block = tuple[str, int]


class Shelf(Protocol):
    """Where blocks may be kept beyond this process."""

    def get(self, key: str, size_bytes: int, number: int, length: int) -> bytes | None:
        """A block of an object of `size_bytes`, if it is there and whole."""
        ...

    def put(self, key: str, size_bytes: int, number: int, data: bytes) -> None:
        """Keep a block; that it can not be kept is no failure."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be held in memory."""

    size_bytes: int = 256 << 20


class Blocks:
    """Reads ranges of a store's objects. Any number of threads may use it.

    Args:
        store: Whose.
        shelf: Asked before the store, and given what came from there.
        room: How much is held in memory.

    Attributes:
        fetched_bytes: How much came from the store.
    """

    def __init__(self, store: Store, shelf: Shelf | None = None, room: Room | None = None) -> None:
        self._store = store
        self._shelf = shelf
        self._most_blocks = max(_MOST_BLOCKS, (room or Room()).size_bytes // BLOCK_BYTES)
        self._lock = threading.Lock()
        self._held: OrderedDict[Block, Future[bytes]] = OrderedDict()
        self.fetched_bytes = 0

    def read(self, key: str, size_bytes: int, offset: int, length: int) -> bytes:
        """`length` bytes of an object from `offset`, fewer at its end.

        Raises:
            NotFoundError: If the object is gone.
            IntegrityError: If it is shorter than `size_bytes`.
            UnavailableError: If the store does not answer.
        """
        end = min(offset + length, size_bytes)
        if offset >= end:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        futures, mine = self._claim(key, _widened(first, last, size_bytes))
        try:
            self._fill(key, size_bytes, mine)
        except BaseException as error:
            self._give_up(key, mine, error)
            raise
        pieces = [futures[number].result() for number in range(first, last + 1)]
        pieces[-1] = pieces[-1][: end - last * BLOCK_BYTES]
        pieces[0] = pieces[0][offset - first * BLOCK_BYTES :]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _claim(self, key: str, numbers: range) -> tuple[dict[int, Future[bytes]], dict[int, Future[bytes]]]:
        """All these blocks, and those among them that the caller has to fetch."""
        futures: dict[int, Future[bytes]] = {}
        mine: dict[int, Future[bytes]] = {}
        with self._lock:
            for number in numbers:
                future = self._held.get((key, number))
                if future is None:
                    future = self._held[key, number] = mine[number] = Future()
                self._held.move_to_end((key, number))
                futures[number] = future
            # Whoever waits for a block holds it anyhow.
            while len(self._held) > self._most_blocks:
                self._held.popitem(last=False)
        return futures, mine

    def _fill(self, key: str, size_bytes: int, mine: dict[int, Future[bytes]]) -> None:
        missing: list[int] = []
        for number, future in mine.items():
            kept = self._shelf.get(key, size_bytes, number, _length(number, size_bytes)) if self._shelf else None
            if kept is None:
                missing.append(number)
            else:
                future.set_result(kept)
        for run in _runs(missing):
            data = bytearray()
            offset = run.start * BLOCK_BYTES
            length = min(run.stop * BLOCK_BYTES, size_bytes) - offset
            self._store.fetch(key, offset=offset, length=length, etag=None, sink=data.extend)
            with self._lock:
                self.fetched_bytes += length
            view = memoryview(data)
            for number in run:
                start = number * BLOCK_BYTES - offset
                block = bytes(view[start : start + BLOCK_BYTES])
                mine[number].set_result(block)
                if self._shelf:
                    self._shelf.put(key, size_bytes, number, block)

    def _give_up(self, key: str, mine: dict[int, Future[bytes]], error: BaseException) -> None:
        """Let those who wait know, and whoever comes later try again."""
        with self._lock:
            for number, future in mine.items():
                if not future.done():
                    future.set_exception(error)
                    self._held.pop((key, number), None)


def _length(number: int, size_bytes: int) -> int:
    return min((number + 1) * BLOCK_BYTES, size_bytes) - number * BLOCK_BYTES


def _widened(first: int, last: int, size_bytes: int) -> range:
    """The blocks to fetch for a read: some more than asked for, where that costs no more."""
    final = (size_bytes - 1) // BLOCK_BYTES
    if final < _READ_AHEAD_BLOCKS:
        return range(final + 1)
    if first == final and size_bytes - final * BLOCK_BYTES < _LEAST_TAIL_BYTES:
        return range(final - 1, final + 1)
    return range(first, min(final, max(last, first + _READ_AHEAD_BLOCKS - 1)) + 1)


def _runs(numbers: list[int]) -> Iterator[range]:
    """Neighbours together, as far as one request should go."""
    start = 0
    for index in range(1, len(numbers) + 1):
        is_end = index == len(numbers) or numbers[index] != numbers[index - 1] + 1
        if is_end or index - start == _MOST_BLOCKS:
            yield range(numbers[start], numbers[index - 1] + 1)
            start = index
