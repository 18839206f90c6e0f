"""Buckets that a lifecycle engine can work on: the one in memory, and those of servers that have none of their own."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ckpt_archive.store.bucket import Bucket, ObjectLockState, ObjectVersion, RawRule
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.testing.lifecycle_engine import Act, Begun, Due, Version


class ExecutedMemoryBucket(MemoryBucket):
    """The bucket of a store in memory; the arguments are those of `MemoryBucket`."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        prefix: str = "",
        versioned: bool = False,
        object_lock: bool = False,
        transitions: bool = True,
    ) -> None:
        super().__init__(store, prefix=prefix, versioned=versioned, object_lock=object_lock, transitions=transitions)
        self._executed = store

    def rules(self) -> Sequence[RawRule]:
        """See `Executed.rules`."""
        return MemoryBucket.read_rules(self)

    def now(self) -> datetime:
        """See `Executed.now`."""
        return self._executed.clock.now()

    def is_versioned(self) -> bool:
        """See `Executed.is_versioned`."""
        return MemoryBucket.features(self).versioned

    def all_versions(self) -> Iterator[Version]:
        """See `Executed.all_versions`."""
        for item in self.objects():
            yield Version(
                self.prefix + item.key,
                item.version_id,
                item.created,
                item.size_bytes,
                item.tags,
                item.storage_class or "STANDARD",
                is_locked=is_locked(item.lock, self.now()),
            )
        if self.is_versioned():
            yield from self._older()

    def _older(self) -> Iterator[Version]:
        """Old versions, and delete markers."""
        for key, versions in self._versions.items():
            for at, version in enumerate(versions):
                is_latest = at == len(versions) - 1
                if is_latest and version.etag:
                    continue
                yield Version(
                    self.prefix + key,
                    version.version_id,
                    version.modified,
                    version.size_bytes,
                    dict(version.tags),
                    is_latest=is_latest,
                    is_marker=not version.etag,
                    is_locked=is_locked(version.lock, self.now()),
                    noncurrent_since=None if is_latest else versions[at + 1].modified,
                    newer_noncurrent=max(0, len(versions) - 2 - at),
                    is_alone=len(versions) == 1,
                )

    def all_uploads(self) -> Iterator[Begun]:
        """See `Executed.all_uploads`."""
        for upload in self._executed.list_uploads(""):
            assert upload.started is not None
            yield Begun(self.prefix + upload.key, upload.upload_id, upload.started)

    def carry_out(self, due: Due) -> None:
        """See `Executed.carry_out`."""
        key = due.key.removeprefix(self.prefix)
        match due.act:
            case Act.EXPIRE | Act.MARK:
                self.expire(key)
            case Act.MOVE:
                self.move(key, due.storage_class)
            case Act.REMOVE_VERSION | Act.REMOVE_MARKER:
                self.remove_version(key, due.version_id)
            case Act.ABORT:
                self._executed.abort_upload(key, due.version_id)


class ExecutedServer:
    """The archive's part of a bucket on a server, through its API; nothing in it may be locked.

    Args:
        store: Where its objects come from.
        bucket: Its bucket.
        ahead: The engine lives so far in the future: nobody can wait for days, and servers have one clock.
    """

    def __init__(self, store: S3Store, bucket: Bucket, ahead: timedelta = timedelta()) -> None:
        self._store = store
        self._bucket = bucket
        self.ahead = ahead

    def rules(self) -> Sequence[RawRule]:
        """See `Executed.rules`."""
        return self._bucket.read_rules()

    def now(self) -> datetime:
        """See `Executed.now`."""
        return self._store.list("", limit=1).store_time + self.ahead

    def is_versioned(self) -> bool:
        """See `Executed.is_versioned`."""
        return self._bucket.features().versioned

    def all_versions(self) -> Iterator[Version]:
        """See `Executed.all_versions`."""
        by_key: dict[str, list[ObjectVersion]] = {}
        for item in self._bucket.versions(""):
            by_key.setdefault(item.key, []).append(item)
        for key, versions in by_key.items():
            for at, item in enumerate(versions):
                yield Version(
                    self._bucket.prefix + key,
                    item.version_id,
                    item.modified,
                    item.size_bytes,
                    self._bucket.read_tags(key) if item.is_latest and not item.is_marker else self._old_tags(item),
                    is_latest=item.is_latest,
                    is_marker=item.is_marker,
                    noncurrent_since=None if item.is_latest else versions[at - 1].modified,
                    newer_noncurrent=max(0, at - 1),
                    is_alone=len(versions) == 1,
                )

    def _old_tags(self, item: ObjectVersion) -> dict[str, str]:
        if item.is_marker:
            return {}
        with self._store.asking("read the tags of", item.key) as (client, _):
            answer = client.get_object_tagging(
                Bucket=self._store.bucket, Key=self._store.full_key(item.key), VersionId=item.version_id
            )
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def all_uploads(self) -> Iterator[Begun]:
        """See `Executed.all_uploads`."""
        for upload in self._store.list_uploads(""):
            assert upload.started is not None
            yield Begun(self._bucket.prefix + upload.key, upload.upload_id, upload.started)

    def carry_out(self, due: Due) -> None:
        """See `Executed.carry_out`."""
        key = due.key.removeprefix(self._bucket.prefix)
        with self._store.asking(due.act.value, key) as (client, _):
            match due.act:
                case Act.EXPIRE | Act.MARK:
                    client.delete_object(Bucket=self._store.bucket, Key=due.key)
                case Act.REMOVE_VERSION | Act.REMOVE_MARKER:
                    client.delete_object(Bucket=self._store.bucket, Key=due.key, VersionId=due.version_id)
                case Act.ABORT:
                    client.abort_multipart_upload(Bucket=self._store.bucket, Key=due.key, UploadId=due.version_id)
                case Act.MOVE:
                    client.copy_object(
                        Bucket=self._store.bucket,
                        Key=due.key,
                        CopySource={"Bucket": self._store.bucket, "Key": due.key},
                        StorageClass=due.storage_class,  # type: ignore[arg-type]
                    )


def is_locked(lock: ObjectLockState, now: datetime) -> bool:
    """Whether a lock protects at that moment."""
    return lock.legal_hold or (lock.until_at is not None and lock.until_at > now)
