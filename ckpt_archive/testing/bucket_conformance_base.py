"""What the checks of the bucket conformance suite share: the known deviations, sites, rules."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Bucket, RawRule
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.cold import make_cold

_NO_QUESTION = "moto does not know the question for a lock, and answers it with the object's bytes."

KNOWN_BUCKET_DEVIATIONS: dict[tuple[str, str], str] = {
    ("moto", "test_conditions_of_rules_come_back"): "moto loses conditions on size and on newer versions.",
    ("moto", "test_there_are_no_tags_of_no_object"): "moto answers 500 when tags of no object are removed.",
    ("moto", "test_locks_where_there_are_none"): "moto tells of a legal hold, released, where there is no Object Lock.",
    ("moto", "test_a_legal_hold_stands_until_it_is_released"): _NO_QUESTION,
    ("moto", "test_a_lock_tells_its_mode_and_its_end"): _NO_QUESTION,
    ("moto", "test_a_lock_can_only_be_made_longer"): "moto lets every lock be made shorter.",
    ("moto", "test_compliance_does_not_become_governance"): "moto lets every lock be made another one.",
    ("moto", "test_a_hold_and_a_lock_know_nothing_of_each_other"): _NO_QUESTION,
    ("moto", "test_a_lock_ends_in_the_future"): "moto lets a lock end in the past.",
    ("seaweedfs", "test_transitions_come_back"): "SeaweedFS refuses the whole configuration (501).",
    ("seaweedfs", "test_a_cold_object_is_thawed"): "SeaweedFS has no cold storage; it answers 405.",
}
"""(server, check): what it does instead. `docs/servers.md` says what the archive does about each."""


@dataclass(frozen=True, slots=True)
class Site:
    """A bucket, and what only its owner does.

    Attributes:
        store: Where objects come from; empty.
        bucket: Its bucket, without rules.
        remove_version: Deletes one version of a key for good.
        make_cold: Puts an object into GLACIER.
        clock: The server's, as far as anybody knows.
        started_at: When the test began, in whole seconds.
    """

    store: Store
    bucket: Bucket
    remove_version: Callable[[str, str], None]
    make_cold: Callable[[str], None]
    clock: Clock
    started_at: datetime


def memory_site(
    store: MemoryStore, *, versioned: bool = False, object_lock: bool = False, transitions: bool = True
) -> Site:
    """The site of a store in memory."""
    bucket = MemoryBucket(store, versioned=versioned, object_lock=object_lock, transitions=transitions)
    return Site(
        store, bucket, bucket.remove_version, lambda key: make_cold(store, key), store.clock, _second(store.clock)
    )


def s3_site(store: S3Store, bucket: Bucket) -> Site:
    """The site of a store on a server."""

    def remove_version(key: str, version_id: str) -> None:
        with store.asking("delete a version of", key) as (client, _):
            client.delete_object(Bucket=store.bucket, Key=store.full_key(key), VersionId=version_id)

    clock = SystemClock()
    return Site(store, bucket, remove_version, lambda key: make_cold(store, key), clock, _second(clock))


def _second(clock: Clock) -> datetime:
    return clock.now().replace(microsecond=0)


class Checks:
    """Of every group."""

    @pytest.fixture
    def server(self) -> str:
        """The name of the server, as `KNOWN_BUCKET_DEVIATIONS` spells it."""
        return ""

    @pytest.fixture(autouse=True)
    def _known_deviation(self, request: pytest.FixtureRequest, server: str) -> None:
        reason = KNOWN_BUCKET_DEVIATIONS.get((server, request.function.__name__))
        if reason is not None:
            failures = (AssertionError, pytest.fail.Exception, CkptArchiveError)
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=reason, raises=failures))


def by_id(rules: Iterable[RawRule]) -> dict[Json, RawRule]:
    """In whatever order: servers have one of their own."""
    return {rule["ID"]: rule for rule in rules}


def soon(site: Site, *, hours: int = 2) -> datetime:
    """In some hours; the same moment during one test, in whole seconds as servers keep it."""
    return site.started_at + timedelta(hours=hours)


def made(site: Site, key: str, how: str) -> str:
    """Make an object; its version."""
    if how == "put":
        site.store.create(key, Body.of(b"data"))
    else:
        by_multipart(site.store, key)
    return only_version(site, key)


def only_version(site: Site, key: str) -> str:
    """The one version of an object."""
    (found,) = site.bucket.versions(key)
    assert found.is_latest
    assert not found.is_marker
    return found.version_id


def by_multipart(store: Store, key: str) -> None:
    """Make an object of two parts."""
    upload_id = store.start_upload(key)
    pieces = (bytes(store.limits.min_part_size_bytes), b"end")
    parts = [store.upload_part(key, upload_id, number, Body.of(piece)) for number, piece in enumerate(pieces, start=1)]
    store.complete_upload(key, upload_id, tuple(parts))
