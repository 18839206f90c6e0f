"""What a bucket can be asked about objects that are there for good: tags, locks, lifecycle rules, versions, thawing.

Not every store can; `Store` has what all can. An implementation converts every foreign error, and is wrapped by
`store.retry` as stores are. What a server does not know raises `UnsupportedError`.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ckpt_archive.errors import ConflictError, NotFoundError
from ckpt_archive.strictjson import Json

_COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})

RawRule = Mapping[str, Json]
"""A lifecycle rule as S3's API has it, times as texts: foreign ones must come through unchanged."""


class NotSetError(NotFoundError):
    """Nothing of the kind that was asked for was ever set: of no use to callers, adapters make a value of it."""


class UnderWayError(ConflictError):
    """It was asked for before: of no use to callers, adapters take it for success."""


@dataclass(frozen=True, slots=True)
class BucketFeatures:
    """What the bucket is set up for.

    Attributes:
        versioned: Whether what is deleted stays as an old version.
        object_lock: Whether objects can be locked.
    """

    versioned: bool
    object_lock: bool


@dataclass(frozen=True, slots=True)
class ObjectLockState:
    """What stands against the deletion of an object's current version.

    Attributes:
        legal_hold: Whether it is held.
        mode: ``GOVERNANCE``, ``COMPLIANCE`` or "".
        until_at: Until when; None without a mode.
    """

    legal_hold: bool = False
    mode: str = ""
    until_at: datetime | None = None


class Warmth(enum.StrEnum):
    """Whether an object can be read."""

    WARM = "warm"
    COLD = "cold"
    THAWING = "thawing"
    THAWED = "thawed"


@dataclass(frozen=True, slots=True)
class Temperature:
    """Whether an object can be read.

    Attributes:
        key: Relative to the archive's prefix.
        size_bytes: Length.
        storage_class: As the store spells it; "" for its default.
        warmth: Whether it can be read.
        until_at: Until when a thawed one can.
    """

    key: str
    size_bytes: int
    storage_class: str
    warmth: Warmth
    until_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or a mark that it was deleted."""

    key: str
    version_id: str
    is_latest: bool
    is_marker: bool
    modified: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions.

    Attributes:
        versions: Of one object the current one first, then the newer before the older, as far as their times tell.
        next_token: Pass it on for the next page; None on the last one.
    """

    versions: tuple[ObjectVersion, ...]
    next_token: tuple[str, str] | None


def is_cold(storage_class: str) -> bool:
    """Whether what lies in a storage class must be thawed before it can be read (``GLACIER_IR`` need not)."""
    return storage_class in _COLD_CLASSES


class Bucket(Protocol):
    """The verbs. Keys are relative to the archive's prefix; rules are the whole bucket's."""

    @property
    def name(self) -> str:
        """The bucket's name, for messages."""
        ...

    @property
    def prefix(self) -> str:
        """What the archive's keys begin with in the bucket: "" or ending in '/'."""
        ...

    def features(self) -> BucketFeatures:
        """What the bucket is set up for."""
        ...

    def read_rules(self) -> tuple[RawRule, ...]:
        """The bucket's lifecycle rules, everybody's."""
        ...

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """Replace all of the bucket's lifecycle rules; none removes the configuration.

        Raises:
            UnsupportedError: If the server can not carry them out (SeaweedFS and transitions): nothing was changed.
        """
        ...

    def read_tags(self, key: str) -> Mapping[str, str]:
        """All tags of an object. Raises `NotFoundError`."""
        ...

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace all tags of an object; none removes them. Raises `NotFoundError`."""
        ...

    def read_lock(self, key: str) -> ObjectLockState:
        """What stands against deletion. Raises `NotFoundError`; `UnsupportedError` where the bucket has no Object Lock."""
        ...

    def write_legal_hold(self, key: str, *, on: bool) -> None:
        """Hold an object, or release it. Raises as `read_lock`."""
        ...

    def write_retention(self, key: str, mode: str, until_at: datetime) -> None:
        """Lock an object until then. Raises as `read_lock`; `DeniedError` where a longer lock stands."""
        ...

    def temperature(self, key: str) -> Temperature:
        """Whether an object can be read. Raises `NotFoundError`."""
        ...

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """Ask for a cold object; that it is asked for already is fine, and may prolong it. Nothing happens to a warm one.

        Raises:
            UnsupportedError: If the server knows no thawing.
            NotFoundError: If there is no such object.
        """
        ...

    def version_page(self, prefix: str, token: tuple[str, str] | None = None) -> VersionPage:
        """Versions of the objects whose key begins with `prefix`, and the marks of deletions: up to 1,000."""
        ...

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """All of them. Where nothing was ever versioned, each object has one version, which is called ``null``."""
        ...


def all_versions(bucket: Bucket, prefix: str) -> Iterator[ObjectVersion]:
    """The pages of `Bucket.version_page`, one after the other."""
    token: tuple[str, str] | None = None
    while True:
        page = bucket.version_page(prefix, token)
        yield from page.versions
        if page.next_token is None:
            return
        token = page.next_token
