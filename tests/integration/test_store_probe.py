"""What the probe says of each store, and what it leaves behind."""

import secrets
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.digest import crc32c
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import AlreadyExistsError, DeniedError, NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import RawRule
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.open import features_of
from ckpt_archive.store.probe import PROBE_FOLDER, ProbeReport, State, checksums_enforced, probe
from ckpt_archive.store.protocol import ObjectInfo, Store
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket
from ckpt_archive.strictjson import Json

BASIC = ["conditional_create", "multipart", "pinned_read", "list_after_create", "clock", "create_race"]


def nonce() -> str:
    return secrets.token_hex(16)


def left_behind(store: Store) -> int:
    return len(store.list(PROBE_FOLDER).objects) + len(store.list_uploads(PROBE_FOLDER))


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_our_own_stores_can_do_everything(kind: str, tmp_path: Path) -> None:
    store: FileStore | MemoryStore = MemoryStore()
    if kind == "file":
        store = FileStore(PosixFileSystem(), str(tmp_path))
        store.prepare()
    report = probe(store, nonce, more=features_of(store))
    assert {item.state for item in report.capabilities} == {State.YES}
    assert report.many_writers_are_safe
    assert report.checksums_enforced
    assert checksums_enforced(store, nonce)
    assert left_behind(store) == 0


def test_seaweedfs(seaweed_store: S3Store) -> None:
    report = probe(seaweed_store, nonce, more=features_of(seaweed_store), budget_seconds=60)
    assert {name: report.state(name) for name in BASIC} == dict.fromkeys(BASIC, State.YES)
    assert report.many_writers_are_safe
    assert report.checksums_enforced
    assert report.state("list_order") is State.NO
    assert report.state("versioning") is State.NO
    assert report.state("object_lock") is State.NO
    assert report.state("lifecycle") is State.YES
    assert report.state("tagging") is State.YES
    assert checksums_enforced(seaweed_store, nonce)
    assert left_behind(seaweed_store) == 0


def test_moto_checks_no_checksums(moto_store: S3Store) -> None:
    report = probe(moto_store, nonce, more=features_of(moto_store), budget_seconds=60)
    assert {name: report.state(name) for name in BASIC} == dict.fromkeys(BASIC, State.YES)
    assert report.many_writers_are_safe
    assert not report.checksums_enforced
    assert "read back" in next(item.meaning for item in report.capabilities if item.name == "checksum_of_object")
    assert not checksums_enforced(moto_store, nonce)
    assert left_behind(moto_store) == 0


def test_a_bucket_with_versions_and_locks(moto_store: S3Store) -> None:
    bucket = f"locked-{secrets.token_hex(4)}"
    moto_store.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    store = S3Store(bucket, connection=moto_store._connection)
    report = probe(store, nonce, more=features_of(store), budget_seconds=60)
    assert report.state("versioning") is State.YES
    assert report.state("object_lock") is State.YES
    assert "put on every object" in meaning(report, "object_lock")
    store.close()


def meaning(report: ProbeReport, name: str) -> str:
    return next(item.meaning for item in report.capabilities if item.name == name)


def test_whose_rules_there_are_and_whether_uploads_end(moto_store: S3Store) -> None:
    bucket = S3Bucket(moto_store)

    def told() -> str:
        return meaning(probe(moto_store, nonce, more=features_of(moto_store), budget_seconds=60), "lifecycle")

    def rule(name: str, prefix: str, status: str = "Enabled") -> RawRule:
        ends: dict[str, Json] = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
        return {"ID": name, "Status": status, "Filter": {"Prefix": prefix}} | ends

    assert "0 rules of ckpt-archive are set and 0 of others" in told()
    bucket.write_rules([rule("elsewhere", "other/"), rule("off", "", "Disabled")])
    assert "0 rules of ckpt-archive are set and 2 of others, which are left alone; none removes" in told()
    bucket.write_rules([*bucket.read_rules(), rule(f"ckpt-archive:{bucket.prefix}:abort", bucket.prefix)])
    assert "1 rules of ckpt-archive are set and 2 of others" in told()
    assert told().endswith("incomplete uploads are removed")
    bucket.write_rules(())


def test_a_missing_bucket_is_the_callers_to_mend(moto_store: S3Store) -> None:
    store = S3Store("no-such-bucket", connection=moto_store._connection)
    with pytest.raises(NotFoundError, match="no bucket"):
        probe(store, nonce)
    store.close()


class Careless(MemoryStore):
    """Overwrites, as a versioned bucket of an old Ceph RGW does."""

    def create(self, key: str, body: Body) -> ObjectInfo:
        self.delete(key)
        return super().create(key, body)


def test_a_store_that_overwrites_is_for_one_writer_only() -> None:
    report = probe(Careless(), nonce)
    assert report.state("conditional_create") is State.NO
    assert not report.many_writers_are_safe
    assert "only one writer" in report.capabilities[0].meaning


class Racy(MemoryStore):
    """Looks first and creates then: right unless two look at once."""

    def create(self, key: str, body: Body) -> ObjectInfo:
        if "race" in key:
            self.delete(key)
        return super().create(key, body)


def test_a_store_that_only_looks_first_loses_the_race() -> None:
    report = probe(Racy(), nonce)
    assert report.state("conditional_create") is State.YES
    assert report.state("create_race") is State.NO
    assert not report.many_writers_are_safe


class NoDelete(MemoryStore):
    """Grants what a job has: no deletes."""

    def delete(self, key: str) -> None:
        raise DeniedError("no right to delete")

    def create(self, key: str, body: Body) -> ObjectInfo:
        # It checks no checksum either, so that there is something to delete.
        data = bytearray(body.size_bytes)
        body.read_into(memoryview(data), 0)
        return super().create(key, Body(body.regions, crc32c(data)))


def test_whoever_may_not_delete_can_probe() -> None:
    store = NoDelete()
    assert not checksums_enforced(store, nonce)
    report = probe(store, nonce)
    assert report.state("conditional_create") is State.YES
    assert left_behind(store) > 0


class SlowClock(SystemClock):
    """A second passes at each look."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 1
        return self._seconds


def test_a_slow_store_is_not_asked_everything() -> None:
    report = probe(MemoryStore(), nonce, clock=SlowClock(), budget_seconds=5)
    states = [item.state for item in report.capabilities]
    assert states[0] is State.YES
    assert states[-1] is State.UNKNOWN
    assert report.many_writers_are_safe


def test_what_the_first_create_meets_is_told() -> None:
    store = MemoryStore()
    store.create(f"{PROBE_FOLDER}same/first", Body.of(b""))
    with pytest.raises(AlreadyExistsError):
        probe(store, lambda: "same")
