"""A store and its bucket that tell the oracle of everything that lands, and let an engine at what lies there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from ckpt_archive.clock import Clock
from ckpt_archive.errors import NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import ObjectLockState, RawRule
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import ObjectInfo, PartInfo, StoreLimits
from ckpt_archive.testing.lifecycle_configuration import parse_rules
from ckpt_archive.testing.lifecycle_engine import Act, Begun, Due, Version


class Witness(Protocol):
    """Who is told, before it happens; what it raises ends the history."""

    def created(self, info: ObjectInfo) -> None:
        """An object is there now."""
        ...

    def tagging(self, key: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """The tags of an object are about to be replaced."""
        ...

    def removing(self, key: str) -> None:
        """An object is about to be deleted, or to be hidden by a delete marker."""
        ...


class WatchedStore(MemoryStore):
    """Tells of what is created and deleted."""

    def __init__(self, witness: Witness, clock: Clock) -> None:
        super().__init__(limits=StoreLimits(min_part_size_bytes=1), clock=clock)
        self._witness = witness

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        info = super().create(key, body)
        self._witness.created(info)
        return info

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        super().complete_upload(key, upload_id, parts)
        self._witness.created(self.head(key))

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        if self.holds(key):
            self._witness.removing(key)
        super().delete(key)

    def holds(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            self.head(key)
        except NotFoundError:
            return False
        return True


class WatchedBucket(MemoryBucket):
    """Tells of tags, takes no rules that S3 would refuse, and is what a lifecycle engine works on."""

    def __init__(
        self, store: WatchedStore, witness: Witness, *, versioned: bool, object_lock: bool, transitions: bool
    ) -> None:
        super().__init__(store, prefix="team", versioned=versioned, object_lock=object_lock, transitions=transitions)
        self._watched = store
        self._witness = witness

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        parse_rules(rules)
        super().write_rules(rules)

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        self._witness.tagging(key, self.read_tags(key), tags)
        super().write_tags(key, tags)

    # --- `lifecycle_engine.Executed` ---------------------------------------------------------------------------------

    def rules(self) -> Sequence[RawRule]:
        """See `Executed.rules`."""
        return self.read_rules()

    def now(self) -> datetime:
        """See `Executed.now`."""
        return self._watched.clock.now()

    def is_versioned(self) -> bool:
        """See `Executed.is_versioned`."""
        return self.features().versioned

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
                is_locked=_is_locked(item.lock, self.now()),
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
                    is_locked=_is_locked(version.lock, self.now()),
                    noncurrent_since=None if is_latest else versions[at + 1].modified,
                    newer_noncurrent=max(0, len(versions) - 2 - at),
                    is_alone=len(versions) == 1,
                )

    def all_uploads(self) -> Iterable[Begun]:
        """See `Executed.all_uploads`."""
        for upload in self._watched.list_uploads(""):
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
                self._watched.abort_upload(key, due.version_id)


def _is_locked(lock: ObjectLockState, now: datetime) -> bool:
    return lock.legal_hold or (lock.until_at is not None and lock.until_at > now)
