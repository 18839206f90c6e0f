"""Stores around stores keep every promise of the one inside, and count what it is asked."""

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.errors import AlreadyExistsError, NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.testing.conformance import StoreConformance
from ckpt_archive.testing.counting import CountingStore


class TestWrapped(StoreConformance):
    @pytest.fixture
    def store(self) -> RetryingStore:
        return RetryingStore(CountingStore(MemoryStore()), SystemClock())


def test_every_request_is_counted_also_those_that_fail() -> None:
    store = CountingStore(MemoryStore())
    store.create("key", Body.of(b"data"))
    with pytest.raises(AlreadyExistsError):
        store.create("key", Body.of(b"data"))
    with pytest.raises(NotFoundError):
        store.head("nothing")
    assert store.requests == {"create": 2, "head": 1}
    assert store.total == 3
    store.reset()
    assert store.total == 0
