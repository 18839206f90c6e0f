"""Every bucket against the one suite: that in memory, and those of real servers on loopback, plain and with Object Lock."""

from collections.abc import Iterator

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.store import s3_bucket
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.open import bucket_of
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.testing.archives import memory_store
from ckpt_archive.testing.bucket_conformance import (
    KNOWN_BUCKET_DEVIATIONS,
    BucketConformance,
    LockedBucketConformance,
    Site,
    memory_site,
    s3_site,
)

SERVERS = ("memory", "seaweedfs", "moto")
PATIENCE = RetryPolicy(max_tries=2, deadline_seconds=5)


def site_on(store: S3Store) -> Iterator[Site]:
    """With its bucket as products get it: insisting."""
    bucket = bucket_of(RetryingStore(store, SystemClock(), PATIENCE))
    assert bucket is not None
    bucket.write_rules(())
    yield s3_site(store, bucket)
    bucket.write_rules(())


@pytest.mark.parametrize("server", SERVERS, scope="class")
class TestPlain(BucketConformance):
    @pytest.fixture
    def site(self, server: str, request: pytest.FixtureRequest) -> Iterator[Site]:
        if server == "memory":
            yield memory_site(memory_store())
        else:
            yield from site_on(request.getfixturevalue({"seaweedfs": "seaweed_store", "moto": "moto_store"}[server]))


@pytest.mark.parametrize("server", SERVERS, scope="class")
class TestLocked(LockedBucketConformance):
    @pytest.fixture
    def site(self, server: str, request: pytest.FixtureRequest) -> Iterator[Site]:
        if server == "memory":
            yield memory_site(memory_store(), versioned=True, object_lock=True)
        else:
            names = {"seaweedfs": "seaweed_locked_store", "moto": "moto_locked_store"}
            yield from site_on(request.getfixturevalue(names[server]))


@pytest.mark.parametrize("server", ["seaweed_locked_store", "moto_locked_store"])
def test_versions_on_many_pages_are_told_once_each(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: S3Store = request.getfixturevalue(server)
    for number in range(7):
        store.create(f"data/{number}", Body.of(b"data"))
        if number % 2:
            store.delete(f"data/{number}")
    bucket: Bucket = s3_bucket.S3Bucket(store)
    whole = list(bucket.versions("data/"))
    monkeypatch.setattr(s3_bucket, "_PAGE", 3)
    assert list(bucket.versions("data/")) == whole
    assert len(whole) == 10


def test_every_known_deviation_is_of_a_check_and_a_server_that_exist() -> None:
    for server, check in KNOWN_BUCKET_DEVIATIONS:
        assert server in SERVERS
        assert hasattr(BucketConformance, check) or hasattr(LockedBucketConformance, check)
