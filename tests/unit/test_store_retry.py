"""The one retry owner: what is tried again, for how long, and what an answer that was lost leads to."""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from ckpt_archive.errors import (
    AlreadyExistsError,
    CapacityError,
    ColdError,
    ConflictError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
    UnmountedError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import ObjectInfo, PartInfo, Sink
from ckpt_archive.store.retry import RetryingStore, RetryPolicy


class FakeClock:
    """Time passes only in `sleep`, and with every try as a `WeatheredStore` says."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.pauses: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


class WeatheredStore(MemoryStore):
    """Raises `before` instead of doing what was asked, then `after` having done it, as often as they are listed."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.fake_clock = clock
        self.before: list[BaseException] = []
        self.after: list[BaseException] = []
        self.seconds_a_try = 0.0
        self.tries = 0
        self.cut_after_bytes: list[int] = []
        self.fetches: list[tuple[int, int]] = []

    def _weather(self) -> None:
        self.tries += 1
        self.fake_clock.seconds += self.seconds_a_try
        if self.before:
            raise self.before.pop(0)

    def _afterwards(self) -> None:
        if self.after:
            raise self.after.pop(0)

    def create(self, key: str, body: Body) -> ObjectInfo:
        self._weather()
        info = super().create(key, body)
        self._afterwards()
        return info

    def head(self, key: str) -> ObjectInfo:
        self._weather()
        return super().head(key)

    def start_upload(self, key: str) -> str:
        self._weather()
        upload_id = super().start_upload(key)
        self._afterwards()
        return upload_id

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        self._weather()
        super().complete_upload(key, upload_id, parts)
        self._afterwards()

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        self._weather()
        self.fetches.append((offset, length))
        if not self.cut_after_bytes:
            super().fetch(key, offset=offset, length=length, etag=etag, sink=sink)
            return
        super().fetch(key, offset=offset, length=self.cut_after_bytes.pop(0), etag=etag, sink=sink)
        raise UnavailableError("the body broke off")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def inner(clock: FakeClock) -> WeatheredStore:
    return WeatheredStore(clock)


@pytest.fixture
def store(inner: WeatheredStore, clock: FakeClock) -> RetryingStore:
    return RetryingStore(inner, clock, RetryPolicy(), random.Random(1))


def no_answer(times: int) -> list[BaseException]:
    return [UnavailableError(f"no answer {number}") for number in range(times)]


def test_a_request_without_an_answer_is_made_again(store: RetryingStore, inner: WeatheredStore) -> None:
    inner.before = no_answer(5)
    assert store.create("key", Body.of(b"data")).size_bytes == 4
    assert inner.tries == 6


def test_who_waits_is_told_once_when_it_is_no_hiccup(
    store: RetryingStore, inner: WeatheredStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ckpt_archive"):
        inner.before = no_answer(2)
        store.create("one", Body.of(b"data"))
        assert not caplog.records
        inner.before = no_answer(8)
        store.create("two", Body.of(b"data"))
    assert [record.getMessage() for record in caplog.records] == ["no answer 2; trying again for up to 300 s"]


@pytest.mark.parametrize(
    "kind",
    [
        DeniedError,
        ColdError,
        UnmountedError,
        NotFoundError,
        IntegrityError,
        ConflictError,
        CapacityError,
        UploadGoneError,
        OSError,
    ],
)
def test_an_answer_is_an_answer(store: RetryingStore, inner: WeatheredStore, kind: Callable[[str], Exception]) -> None:
    error = kind("so it is")
    inner.before = [error]
    with pytest.raises(type(error)) as caught:
        store.head("key")
    assert caught.value is error
    assert inner.tries == 1


def test_a_process_that_is_told_to_die_dies(store: RetryingStore, inner: WeatheredStore) -> None:
    inner.before = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        store.head("key")
    assert inner.tries == 1


def test_create_landed_and_the_answer_was_lost(store: RetryingStore, inner: WeatheredStore) -> None:
    inner.after = no_answer(1)
    with pytest.raises(AlreadyExistsError):
        store.create("key", Body.of(b"mine"))
    assert store.read("key", limit_bytes=10).data == b"mine"


def test_complete_landed_and_the_answer_was_lost(store: RetryingStore, inner: WeatheredStore) -> None:
    upload_id = store.start_upload("key")
    part = store.upload_part("key", upload_id, 1, Body.of(b"part"))
    inner.after = no_answer(1)
    with pytest.raises(UploadGoneError):
        store.complete_upload("key", upload_id, (part,))
    assert store.head("key").size_bytes == 4


def test_start_upload_landed_and_the_answer_was_lost(store: RetryingStore, inner: WeatheredStore) -> None:
    inner.after = no_answer(1)
    with pytest.raises(UnavailableError):
        store.start_upload("key")
    assert len(store.list_uploads("key")) == 1, "a second upload would never be found by anybody"


def test_start_upload_is_made_again_when_the_store_was_too_busy_to_begin(
    store: RetryingStore, inner: WeatheredStore
) -> None:
    inner.before = [ThrottledError("slow down"), ThrottledError("slow down")]
    store.start_upload("key")
    assert inner.tries == 3


def test_a_body_that_breaks_off_goes_on_where_it_broke_off(store: RetryingStore, inner: WeatheredStore) -> None:
    store.create("key", Body.of(bytes(range(100))))
    inner.cut_after_bytes = [30, 0, 25]
    received = bytearray()
    store.fetch("key", offset=10, length=80, etag=store.head("key").etag, sink=received.extend)
    assert received == bytes(range(10, 90))
    assert inner.fetches == [(10, 80), (40, 50), (40, 50), (65, 25)]


def test_a_body_that_broke_off_after_its_last_byte_is_whole(store: RetryingStore, inner: WeatheredStore) -> None:
    store.create("key", Body.of(b"0123456789"))
    inner.cut_after_bytes = [10]
    received = bytearray()
    store.fetch("key", offset=0, length=10, etag=store.head("key").etag, sink=received.extend)
    assert received == b"0123456789"
    assert inner.fetches == [(0, 10)]


def test_what_the_sink_raises_is_never_tried_again(store: RetryingStore, inner: WeatheredStore) -> None:
    """Even if its own archive, say, is what does not answer."""
    store.create("key", Body.of(b"0123456789"))
    calls: list[int] = []

    def fail(chunk: memoryview) -> None:
        calls.append(len(chunk))
        raise UnavailableError("the sink's own store")

    with pytest.raises(UnavailableError, match="the sink's own store"):
        store.fetch("key", offset=0, length=10, etag=store.head("key").etag, sink=fail)
    assert calls == [10]


def test_pauses_are_drawn_from_a_range_that_doubles_up_to_a_bound(inner: WeatheredStore, clock: FakeClock) -> None:
    bounds: list[float] = []

    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            bounds.append(b)
            return b

    policy = RetryPolicy(max_tries=8, first_pause_seconds=0.5, longest_pause_seconds=4, deadline_seconds=1_000)
    inner.before = no_answer(100)
    with pytest.raises(UnavailableError, match="no answer 7"):
        RetryingStore(inner, clock, policy, Highest()).head("key")
    assert clock.pauses == [0.5, 1, 2, 4, 4, 4, 4]
    assert inner.tries == 8
    assert bounds[:7] == clock.pauses


def test_pauses_of_many_clients_differ(inner: WeatheredStore, clock: FakeClock) -> None:
    inner.before = no_answer(100)
    for seed in (1, 2):
        with pytest.raises(UnavailableError):
            RetryingStore(inner, clock, RetryPolicy(max_tries=2), random.Random(seed)).head("key")
    assert clock.pauses[0] != clock.pauses[1]


def test_no_try_begins_after_the_deadline(inner: WeatheredStore, clock: FakeClock) -> None:
    policy = RetryPolicy(max_tries=1_000, deadline_seconds=60)
    inner.seconds_a_try = 7
    inner.before = no_answer(1_000)
    began = clock.monotonic()
    with pytest.raises(UnavailableError):
        RetryingStore(inner, clock, policy, random.Random(3)).head("key")
    assert inner.tries > 2
    assert clock.monotonic() - began < 60 + 7


def test_a_quick_question_shares_its_deadline_among_all_calls(
    store: RetryingStore, inner: WeatheredStore, clock: FakeClock
) -> None:
    store.create("key", Body.of(b""))
    quick = store.with_deadline(5)
    began = clock.monotonic()
    quick.head("key")
    inner.before = no_answer(1_000)
    with pytest.raises(UnavailableError, match="no answer"):
        quick.head("key")
    assert clock.monotonic() - began < 5
    clock.seconds = began + 5
    tries = inner.tries
    with pytest.raises(UnavailableError, match="in the time allowed"):
        quick.head("key")
    assert inner.tries == tries
    inner.before = []
    store.head("key")


def test_a_deadline_within_a_deadline_only_shortens_it(store: RetryingStore, clock: FakeClock) -> None:
    store.create("key", Body.of(b""))
    quick = store.with_deadline(5).with_deadline(500)
    clock.seconds += 6
    with pytest.raises(UnavailableError):
        quick.head("key")


def test_transfers_are_told_of_throttling_each_time(inner: WeatheredStore, clock: FakeClock) -> None:
    told: list[float] = []
    store = RetryingStore(inner, clock, chance=random.Random(1), throttled=lambda: told.append(clock.monotonic()))
    inner.before = [ThrottledError("slow down"), UnavailableError("no answer"), ThrottledError("slow down")]
    store.create("key", Body.of(b""))
    assert len(told) == 2


def test_it_passes_on_what_it_is_a_view_of(store: RetryingStore, inner: WeatheredStore) -> None:
    assert (store.url, store.limits) == (inner.url, inner.limits)
