"""The bucket of a store in memory, beyond what every bucket does: time, what it may lack, what engines need."""

from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.errors import ColdError, DeniedError, InvalidInputError, NotFoundError, UnsupportedError
from ckpt_archive.store import memory_bucket
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import ObjectLockState, RawRule, Warmth
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.open import bucket_of
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.archives import content
from ckpt_archive.testing.checkpoints import NOON, ManualClock
from ckpt_archive.testing.cold import make_all_cold, make_cold

HOUR = timedelta(hours=1)
RULE: dict[str, Json] = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
MOVING: dict[str, Json] = RULE | {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    made = MemoryStore(clock=clock)
    made.create("key", Body.of(b"data"))
    return made


def test_a_store_has_one_bucket(store: MemoryStore) -> None:
    bucket = MemoryBucket(store, versioned=True)
    assert bucket_of(store) is bucket
    other = MemoryStore()
    found = bucket_of(other)
    assert found is not None
    assert bucket_of(other) is found
    found.write_rules([RULE])
    assert found.read_rules() == (RULE,)


@pytest.mark.parametrize(("mode", "held"), [("", True), ("GOVERNANCE", False), ("COMPLIANCE", False)])
def test_where_nothing_is_versioned_what_is_locked_is_not_deleted(
    store: MemoryStore, clock: ManualClock, mode: str, held: bool
) -> None:
    bucket = MemoryBucket(store, object_lock=True)
    if held:
        bucket.write_legal_hold("key", on=True)
    else:
        bucket.write_retention("key", mode, NOON + HOUR)
    for remove in (store.delete, bucket.expire, lambda key: bucket.remove_version(key, "null")):
        with pytest.raises(DeniedError, match="held" if held else "locked"):
            remove("key")
    assert content(store, "key") == b"data"
    if held:
        bucket.write_legal_hold("key", on=False)
    clock.sleep(3600)
    store.delete("key")
    with pytest.raises(NotFoundError):
        store.head("key")


def test_a_lock_that_has_run_out_can_be_replaced_by_a_shorter_one(store: MemoryStore, clock: ManualClock) -> None:
    bucket = MemoryBucket(store, object_lock=True)
    bucket.write_retention("key", "COMPLIANCE", NOON + HOUR)
    clock.sleep(2 * 3600)
    bucket.write_retention("key", "GOVERNANCE", NOON + 3 * HOUR)
    assert bucket.read_lock("key") == ObjectLockState(mode="GOVERNANCE", until_at=NOON + 3 * HOUR)
    with pytest.raises(InvalidInputError, match="'SOFT'"):
        bucket.write_retention("key", "SOFT", NOON + 9 * HOUR)


def test_versions_that_are_removed_expose_what_was_before(store: MemoryStore) -> None:
    bucket = MemoryBucket(store, versioned=True)
    first = next(bucket.versions("key")).version_id
    bucket.expire("key")
    with pytest.raises(NotFoundError):
        store.read("key", limit_bytes=10)
    with pytest.raises(NotFoundError, match="nothing"):
        bucket.remove_version("key", "nothing")
    marker, old = bucket.versions("key")
    assert (marker.is_marker, old.version_id) == (True, first)
    bucket.remove_version("key", marker.version_id)
    assert content(store, "key") == b"data"
    bucket.remove_version("key", first)
    assert list(bucket.versions("")) == []
    assert store.list("").objects == ()


def test_versions_come_in_pages(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_bucket, "_PAGE", 2)
    bucket = MemoryBucket(store, versioned=True)
    for number in range(5):
        store.create(f"data/{number}", Body.of(b""))
        store.delete(f"data/{number}")
    assert [(item.key, item.is_marker) for item in bucket.versions("data/")] == [
        (f"data/{number}", is_marker) for number in range(5) for is_marker in (True, False)
    ]


def test_an_engine_sees_objects_with_all_it_decides_by(store: MemoryStore, clock: ManualClock) -> None:
    bucket = MemoryBucket(store)
    clock.sleep(60)
    store.create("data/other", Body.of(b""))
    bucket.write_tags("key", {"a": "b"})
    bucket.move("key", "GLACIER")
    other, found = bucket.objects()
    assert (found.key, found.created, found.size_bytes, found.storage_class) == ("key", NOON, 4, "GLACIER")
    assert (found.tags, found.version_id, found.lock) == ({"a": "b"}, "null", ObjectLockState())
    assert (other.key, other.created, other.tags) == ("data/other", NOON + timedelta(seconds=60), {})
    assert bucket.objects("data/") == (other,)


def test_thawing_takes_its_time_and_does_not_last(store: MemoryStore, clock: ManualClock) -> None:
    bucket = MemoryBucket(store)
    assert make_all_cold(store, "") == ["key"]
    bucket.request_thaw("key", days=1, tier="Standard")
    assert bucket.temperature("key").warmth is Warmth.THAWING
    with pytest.raises(ColdError, match="GLACIER"):
        store.read("key", limit_bytes=10)
    clock.sleep(5 * 3600)
    # Until the midnight after a whole day.
    until_at = datetime(2026, 3, 3, tzinfo=UTC)
    assert bucket.temperature("key").until_at == until_at
    assert content(store, "key") == b"data"
    bucket.request_thaw("key", days=2, tier="Standard")
    assert bucket.temperature("key").until_at == until_at + timedelta(days=1)
    clock.sleep(3 * 24 * 3600)
    assert bucket.temperature("key").warmth is Warmth.COLD
    with pytest.raises(ColdError):
        store.read("key", limit_bytes=10)


def test_tiers_are_those_of_the_storage_class(store: MemoryStore) -> None:
    bucket = MemoryBucket(store)
    make_cold(store, "key", "DEEP_ARCHIVE")
    with pytest.raises(InvalidInputError, match="Expedited"):
        bucket.request_thaw("key", days=1, tier="Expedited")
    with pytest.raises(InvalidInputError, match="0 days"):
        bucket.request_thaw("key", days=0, tier="Bulk")


@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "GLACIER_IR"])
def test_what_is_only_cheaper_is_warm(store: MemoryStore, storage_class: str) -> None:
    bucket = MemoryBucket(store)
    make_cold(store, "key", storage_class)
    found = bucket.temperature("key")
    assert (found.storage_class, found.warmth) == (storage_class, Warmth.WARM)
    assert content(store, "key") == b"data"
    make_cold(store, "key", "STANDARD")
    assert bucket.temperature("key").storage_class == ""


def test_without_transitions_the_whole_configuration_is_refused(store: MemoryStore) -> None:
    bucket = MemoryBucket(store, transitions=False)
    bucket.write_rules([RULE])
    with pytest.raises(UnsupportedError):
        bucket.write_rules([RULE, MOVING | {"ID": "b"}])
    assert bucket.read_rules() == (RULE,)


def test_conditions_can_be_forgotten(store: MemoryStore) -> None:
    bucket = MemoryBucket(store, forgets_conditions=True)
    narrow: dict[str, Json] = RULE | {
        "Filter": {"And": {"Prefix": "x/", "ObjectSizeGreaterThan": 5, "Tags": [{"Key": "a", "Value": "b"}]}},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 3},
    }
    bucket.write_rules([narrow])
    assert bucket.read_rules() == (
        RULE
        | {
            "Filter": {"And": {"Prefix": "x/", "Tags": [{"Key": "a", "Value": "b"}]}},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
    )


@pytest.mark.parametrize(
    "rules",
    [[RULE, RULE], [RULE | {"ID": str(number)} for number in range(1001)], [{"ID": "a", "Status": "Enabled"}]],
    ids=["twice", "too many", "no filter"],
)
def test_what_no_server_takes_is_refused(store: MemoryStore, rules: list[RawRule]) -> None:
    with pytest.raises(InvalidInputError, match=f"these {len(rules)} rules"):
        MemoryBucket(store).write_rules(rules)


def test_too_many_tags_are_refused(store: MemoryStore) -> None:
    with pytest.raises(InvalidInputError, match="11 tags"):
        MemoryBucket(store).write_tags("key", {str(number): "" for number in range(11)})


def test_the_rules_handed_out_are_copies(store: MemoryStore) -> None:
    bucket = MemoryBucket(store, prefix="site/")
    chosen: dict[str, Json] = {"Prefix": "x/"}
    bucket.write_rules([{**RULE, "Filter": chosen}])
    chosen["Prefix"] = ""
    filter_read = bucket.read_rules()[0]["Filter"]
    assert isinstance(filter_read, dict)
    filter_read["Prefix"] = ""
    assert bucket.read_rules() == (RULE,)
    assert (bucket.prefix, bucket.name) == ("site/", store.url)
