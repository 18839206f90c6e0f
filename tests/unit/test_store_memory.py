"""The store in memory, beyond what every store does."""

import tracemalloc
from datetime import UTC, datetime

import pytest

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, StoreLimits


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError


class Zeros:
    def read_into(self, buffer: memoryview, offset: int) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_it_tells_the_time_of_its_clock() -> None:
    store: Store = MemoryStore(clock=FixedClock())
    store.create("key", Body.of(b""))
    assert store.head("key").modified == store.list("").store_time == FixedClock().now()


def test_small_limits_make_small_multipart_uploads_possible_and_are_kept() -> None:
    store = MemoryStore(limits=StoreLimits(min_part_size_bytes=2, max_part_size_bytes=3, max_parts=2))
    upload_id = store.start_upload("key")
    small = store.upload_part("key", upload_id, 1, Body.of(b"1"))
    second = store.upload_part("key", upload_id, 2, Body.of(b"2"))
    with pytest.raises(InvalidInputError, match="part 1 has only 1 bytes"):
        store.complete_upload("key", upload_id, (small, second))
    with pytest.raises(InvalidInputError, match="can not have a part 3"):
        store.upload_part("key", upload_id, 3, Body.of(b"3"))
    with pytest.raises(InvalidInputError, match="at most 3"):
        store.upload_part("key", upload_id, 1, Body.of(b"1234"))
    with pytest.raises(InvalidInputError, match="at most 3"):
        store.create("key", Body.of(b"1234"))


@pytest.mark.parametrize("numbers", [(), (2,), (2, 1), (1, 1), (1, 3)])
def test_parts_are_joined_only_if_they_are_named_1_to_n(numbers: tuple[int, ...]) -> None:
    store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1))
    upload_id = store.start_upload("key")
    parts = {number: store.upload_part("key", upload_id, number, Body.of(b"part")) for number in (1, 2, 3)}
    with pytest.raises(InvalidInputError, match="can not be joined"):
        store.complete_upload("key", upload_id, tuple(parts[number] for number in numbers))


def test_it_holds_an_object_once_and_reads_it_through_a_small_buffer() -> None:
    store = MemoryStore()
    size = 32 << 20
    body = Body((Region(Zeros(), 0, size),), crc32c(bytes(size)))
    upload_id = store.start_upload("key")
    tracemalloc.start()
    try:
        part = store.upload_part("key", upload_id, 1, body)
        store.complete_upload("key", upload_id, (part,))
        store.fetch("key", offset=0, length=size, etag=store.head("key").etag, sink=lambda _: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A growing bytearray may be an eighth too large, and be copied when it grows.
    assert peak < 2.3 * size
