"""A store and its bucket that tell the oracle of everything that lands, and let an engine at what lies there."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ckpt_archive.clock import Clock
from ckpt_archive.errors import NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import RawRule
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import ObjectInfo, PartInfo, StoreLimits
from ckpt_archive.testing.executed_bucket import ExecutedMemoryBucket
from ckpt_archive.testing.lifecycle_configuration import parse_rules


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


class WatchedBucket(ExecutedMemoryBucket):
    """Tells of tags, takes no rules that S3 would refuse, and is what a lifecycle engine works on."""

    def __init__(
        self, store: WatchedStore, witness: Witness, *, versioned: bool, object_lock: bool, transitions: bool
    ) -> None:
        super().__init__(store, prefix="team", versioned=versioned, object_lock=object_lock, transitions=transitions)
        self._witness = witness

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        parse_rules(rules)
        super().write_rules(rules)

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        self._witness.tagging(key, self.read_tags(key), tags)
        super().write_tags(key, tags)
