"""What SeaweedFS does to locked and held versions: by hand, by others who may write, and by its own lifecycle engine.

A server of its own: its engine looks at all buckets, and it knows an identity that may write but is no admin.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.errors import DeniedError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import RawRule
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.bucket_conformance_base import by_multipart
from ckpt_archive.testing.seaweed_engine import make_older, run_lifecycle

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.server

ADMIN, WRITER = ("ADMIN", "a" * 30), ("WRITER", "w" * 30)
HOURS = timedelta(hours=2)
NOW = SystemClock().now().replace(microsecond=0)
TAG = "ckpt-archive-class"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("locks")
    identities = [
        {
            "name": key.lower(),
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": [*more, "Read", "Write", "List", "Tagging"],
        }
        for (key, secret), more in ((ADMIN, ["Admin"]), (WRITER, []))
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    found = DevServer(str(folder))
    yield found
    found.kill()


def store_on(server: DevServer, bucket: str, prefix: str, identity: tuple[str, str] = ADMIN) -> S3Store:
    return S3Store(bucket, prefix, connection=Connection(server.endpoint_url, *identity, REGION))


@pytest.fixture(scope="module")
def locked(server: DevServer) -> Iterator[S3Store]:
    """The admin's."""
    store = store_on(server, "locked", "site")
    store.client.create_bucket(Bucket=store.bucket, ObjectLockEnabledForBucket=True)
    yield store
    store.close()


@pytest.fixture(scope="module")
def written(server: DevServer, locked: S3Store) -> Iterator[S3Store]:
    """The same, as the writer has it."""
    store = store_on(server, locked.bucket, "site", WRITER)
    yield store
    store.close()


def protected(store: S3Store, key: str, how: str, until_at: datetime) -> str:
    """Make an object of two parts, protect it; its version."""
    by_multipart(store, key)
    bucket = S3Bucket(store)
    if how == "hold":
        bucket.write_legal_hold(key, on=True)
    else:
        bucket.write_retention(key, how, until_at)
    (version,) = bucket.versions(key)
    return version.version_id


def deleted(store: S3Store, key: str, version_id: str, way: str, *, bypass: bool) -> bool:
    """Whether one version can be deleted, alone or in a batch."""
    more: dict[str, Any] = {"BypassGovernanceRetention": True} if bypass else {}
    client: S3Client = store.client
    full = store.full_key(key)
    try:
        with store.asking("delete", key):
            if way == "single":
                client.delete_object(Bucket=store.bucket, Key=full, VersionId=version_id, **more)
                return True
            wanted: Any = {"Objects": [{"Key": full, "VersionId": version_id}]}
            answer = client.delete_objects(Bucket=store.bucket, Delete=wanted, **more)
    except DeniedError:
        return False
    return not answer.get("Errors")


@pytest.mark.parametrize("way", ["single", "batch"])
@pytest.mark.parametrize("how", ["COMPLIANCE", "GOVERNANCE", "hold"])
def test_nobody_deletes_a_version_that_is_locked_or_held(locked: S3Store, written: S3Store, how: str, way: str) -> None:
    key = f"data/{way}-{how}"
    version = protected(locked, key, how, NOW + HOURS)
    for store in (written, locked):
        assert not deleted(store, key, version, way, bypass=False)
    assert not deleted(written, key, version, way, bypass=True)
    # To go past GOVERNANCE is a right of its own, and an admin of SeaweedFS has it.
    assert deleted(locked, key, version, way, bypass=True) == (how == "GOVERNANCE")
    assert [item.version_id for item in S3Bucket(locked).versions(key)] == [version] * (how != "GOVERNANCE")


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_a_lock_is_not_made_shorter(locked: S3Store, written: S3Store, mode: str) -> None:
    key = f"data/shorter-{mode}"
    protected(locked, key, mode, NOW + HOURS)
    for store in (written, locked):
        with pytest.raises(DeniedError, match="can only be made longer"):
            S3Bucket(store).write_retention(key, mode, NOW + HOURS / 2)
    wanted: Any = {"Mode": mode, "RetainUntilDate": NOW + HOURS / 2}
    with pytest.raises(DeniedError), written.asking("lock", key) as (client, _):
        client.put_object_retention(
            Bucket=written.bucket, Key=written.full_key(key), Retention=wanted, BypassGovernanceRetention=True
        )
    assert S3Bucket(locked).read_lock(key).until_at == NOW + HOURS


def test_who_only_writes_neither_holds_nor_releases(locked: S3Store, written: S3Store) -> None:
    protected(locked, "data/released", "hold", NOW)
    locked.create("data/free", Body.of(b"data"))
    for key, on in (("data/released", False), ("data/free", True)):
        with pytest.raises(DeniedError):
            S3Bucket(written).write_legal_hold(key, on=on)
    assert S3Bucket(locked).read_lock("data/released").legal_hold


def test_versions_can_not_be_switched_off_where_there_are_locks(locked: S3Store) -> None:
    with pytest.raises(Exception, match="InvalidBucketState"):
        locked.client.put_bucket_versioning(Bucket=locked.bucket, VersioningConfiguration={"Status": "Suspended"})


def rule_of(prefix: str, tag: str, days: int) -> RawRule:
    """One of ours."""
    return {
        "ID": f"ckpt-archive:{prefix}:class:{tag}",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": f"{prefix}/data/", "Tags": [{"Key": TAG, "Value": tag}]}},
        "Expiration": {"Days": days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }


def test_the_engine_of_the_store_carries_out_our_rules(server: DevServer) -> None:
    """By prefix and tag, after the days: not before, nothing without the tag, nothing of another archive."""
    store = store_on(server, "plain", "site")
    store.client.create_bucket(Bucket=store.bucket)
    bucket = S3Bucket(store)
    tags = {
        "data/due": "trash.7d",
        "data/later": "daily.30d",
        "data/other": "milestone.forever",
        "runs/due": "trash.7d",
    }
    for key, tag in tags.items():
        by_multipart(store, key)
        bucket.write_tags(key, {TAG: tag})
    store.create("data/untagged", Body.of(b"data"))
    neighbour = store_on(server, "plain", "neighbour")
    neighbour.create("data/due", Body.of(b"data"))
    S3Bucket(neighbour).write_tags("data/due", {TAG: "trash.7d"})
    bucket.write_rules([rule_of("site", "trash.7d", 7), rule_of("site", "daily.30d", 30)])

    def left(days: int) -> set[str]:
        before = {info.key: info.modified for info in list_all(store, "")}
        make_older(server, store.bucket, days=days)
        for info in list_all(store, ""):
            assert info.modified == (before[info.key] or NOW) - timedelta(days=days)
        run_lifecycle(server)
        assert len(list_all(neighbour, "")) == 1
        return {info.key for info in list_all(store, "")}

    everything = {*tags, "data/untagged"}
    assert left(6) == everything
    assert left(3) == everything - {"data/due"}
    assert left(30) == everything - {"data/due", "data/later"}
    bucket.write_rules(())
    store.close()
    neighbour.close()


def test_the_engine_of_the_store_leaves_what_is_locked_or_held(server: DevServer) -> None:
    store = store_on(server, "engine", "site")
    store.client.create_bucket(Bucket=store.bucket, ObjectLockEnabledForBucket=True)
    bucket = S3Bucket(store)
    versions = {
        f"data/{how}": protected(store, f"data/{how}", how, NOW + HOURS) for how in ("COMPLIANCE", "GOVERNANCE", "hold")
    }
    by_multipart(store, "data/free")
    for key in (*versions, "data/free"):
        bucket.write_tags(key, {TAG: "trash.7d"})
    bucket.write_rules([rule_of("site", "trash.7d", 7)])
    make_older(server, store.bucket, days=9)
    run_lifecycle(server)
    found = {item.key: (item.is_marker, item.version_id) for item in bucket.versions("") if item.is_latest}
    assert found.pop("data/free")[0]
    # It does not even mark them as deleted, as AWS would.
    assert found == {key: (False, version) for key, version in versions.items()}
    bucket.write_rules(())
    store.close()
