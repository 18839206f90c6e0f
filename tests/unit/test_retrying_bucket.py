"""A bucket that insists: every verb, in every order of a lost answer and a landed request."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from ckpt_archive.errors import DeniedError, ThrottledError, UnavailableError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Bucket, ObjectLockState, RawRule, Warmth
from ckpt_archive.store.insistence import Insistence
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.open import bucket_of
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.store.retrying_bucket import RetryingBucket
from ckpt_archive.testing.checkpoints import NOON, ManualClock
from ckpt_archive.testing.cold import make_cold

POLICY = RetryPolicy(max_tries=3)
RULE: RawRule = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
UNTIL_AT = NOON + timedelta(days=2)

READING: dict[str, Callable[[Bucket], object]] = {
    "features": lambda bucket: bucket.features(),
    "read_rules": lambda bucket: bucket.read_rules(),
    "read_tags": lambda bucket: bucket.read_tags("key"),
    "read_lock": lambda bucket: bucket.read_lock("key"),
    "temperature": lambda bucket: bucket.temperature("key"),
    "version_page": lambda bucket: list(bucket.versions("")),
}
WRITING: dict[str, Callable[[Bucket], object]] = {
    "write_rules": lambda bucket: bucket.write_rules([RULE]),
    "write_tags": lambda bucket: bucket.write_tags("key", {"a": "b"}),
    "write_legal_hold": lambda bucket: bucket.write_legal_hold("key", on=True),
    "write_retention": lambda bucket: bucket.write_retention("key", "COMPLIANCE", UNTIL_AT),
    "request_thaw": lambda bucket: bucket.request_thaw("key", days=1, tier="Bulk"),
}
VERBS = READING | WRITING


class Weathered(MemoryBucket):
    """Fails as it is told to: before it does anything, or after it has done it."""

    def __init__(self, store: MemoryStore) -> None:
        self.failures: list[Exception] = []
        self.landed: list[Exception] = []
        self.asked: list[str] = []
        super().__init__(store, object_lock=True)

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in VERBS:
            return found
        assert callable(found)

        def ask(*given: object, **named: object) -> object:
            self.asked.append(name)
            if self.failures:
                raise self.failures.pop(0)
            answer = found(*given, **named)
            if self.landed:
                raise self.landed.pop(0)
            return answer

        return ask


@pytest.fixture
def weathered() -> Weathered:
    store = MemoryStore(clock=ManualClock())
    store.create("key", Body.of(b"data"))
    made = Weathered(store)
    make_cold(store, "key")
    return made


def insisting(inner: Bucket, throttled: Callable[[], None] | None = None) -> RetryingBucket:
    return RetryingBucket(inner, Insistence(inner.name, ManualClock(), POLICY, random.Random(1), throttled=throttled))


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_not_answered_is_asked_again(weathered: Weathered, verb: str) -> None:
    weathered.failures = [UnavailableError("it is away"), ThrottledError("too many")]
    VERBS[verb](insisting(weathered))
    assert weathered.asked == [verb] * 3


@pytest.mark.parametrize("verb", VERBS)
def test_who_is_refused_does_not_ask_again(weathered: Weathered, verb: str) -> None:
    weathered.failures = [DeniedError("no")]
    with pytest.raises(DeniedError):
        VERBS[verb](insisting(weathered))
    assert weathered.asked == [verb]


@pytest.mark.parametrize("verb", WRITING)
def test_what_landed_although_the_answer_was_lost_is_as_if_written_once(weathered: Weathered, verb: str) -> None:
    weathered.landed = [UnavailableError("the answer was lost")]
    bucket = insisting(weathered)
    WRITING[verb](bucket)
    assert weathered.asked == [verb] * 2
    state = {
        "write_rules": lambda: bucket.read_rules() == (RULE,),
        "write_tags": lambda: bucket.read_tags("key") == {"a": "b"},
        "write_legal_hold": lambda: bucket.read_lock("key") == ObjectLockState(legal_hold=True),
        "write_retention": lambda: bucket.read_lock("key") == ObjectLockState(mode="COMPLIANCE", until_at=UNTIL_AT),
        "request_thaw": lambda: bucket.temperature("key").warmth is Warmth.THAWING,
    }
    assert state[verb]()


def test_it_gives_up_and_tells_of_throttling(weathered: Weathered) -> None:
    told: list[None] = []
    weathered.failures = [ThrottledError("too many")] * 9
    with pytest.raises(ThrottledError):
        insisting(weathered, throttled=lambda: told.append(None)).read_tags("key")
    assert len(weathered.asked) == 3
    assert len(told) == 3


def test_the_bucket_of_a_store_insists_as_the_store_does(weathered: Weathered) -> None:
    store = MemoryStore(clock=ManualClock())
    inner = MemoryBucket(store, prefix="site")
    patient = RetryingStore(store, ManualClock(), POLICY)
    bucket = bucket_of(patient)
    assert isinstance(bucket, RetryingBucket)
    assert bucket.inner is inner
    assert (bucket.name, bucket.prefix) == (store.url, "site/")
    with pytest.raises(UnavailableError, match="in the time allowed"):
        bucket_of(patient.with_deadline(0)).features()  # type: ignore[union-attr]
