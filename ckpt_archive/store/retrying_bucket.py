"""A bucket that insists, as `store.retry` does: the same policy, and the same failures are worth another try.

Trying again is right for every verb. Those that read change nothing. Those that write replace: tags, rules, a hold or a lock
that were written twice are what they were after the first time, and a thaw that was asked for twice is under way. A lock
that landed although its answer was lost stands already, until the same moment, and setting it again to that is allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ckpt_archive.store.bucket import (
    Bucket,
    BucketFeatures,
    ObjectLockState,
    ObjectVersion,
    RawRule,
    Temperature,
    VersionPage,
    all_versions,
)
from ckpt_archive.store.insistence import Insistence


class RetryingBucket:
    """A bucket that insists.

    Args:
        inner: Asked; must not try again itself.
        insistence: How long.
    """

    def __init__(self, inner: Bucket, insistence: Insistence) -> None:
        self._inner = inner
        self._insistence = insistence

    @property
    def inner(self) -> Bucket:
        """What is asked, which does not insist."""
        return self._inner

    @property
    def name(self) -> str:
        """See `Bucket.name`."""
        return self._inner.name

    @property
    def prefix(self) -> str:
        """See `Bucket.prefix`."""
        return self._inner.prefix

    def features(self) -> BucketFeatures:
        """See `Bucket.features`."""
        return self._insistence.insist(self._inner.features)

    def read_rules(self) -> tuple[RawRule, ...]:
        """See `Bucket.read_rules`."""
        return self._insistence.insist(self._inner.read_rules)

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        self._insistence.insist(lambda: self._inner.write_rules(rules))

    def read_tags(self, key: str) -> Mapping[str, str]:
        """See `Bucket.read_tags`."""
        return self._insistence.insist(lambda: self._inner.read_tags(key))

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        self._insistence.insist(lambda: self._inner.write_tags(key, tags))

    def read_lock(self, key: str) -> ObjectLockState:
        """See `Bucket.read_lock`."""
        return self._insistence.insist(lambda: self._inner.read_lock(key))

    def write_legal_hold(self, key: str, *, on: bool) -> None:
        """See `Bucket.write_legal_hold`."""
        self._insistence.insist(lambda: self._inner.write_legal_hold(key, on=on))

    def write_retention(self, key: str, mode: str, until_at: datetime) -> None:
        """See `Bucket.write_retention`."""
        self._insistence.insist(lambda: self._inner.write_retention(key, mode, until_at))

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`."""
        return self._insistence.insist(lambda: self._inner.temperature(key))

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`."""
        self._insistence.insist(lambda: self._inner.request_thaw(key, days=days, tier=tier))

    def version_page(self, prefix: str, token: tuple[str, str] | None = None) -> VersionPage:
        """See `Bucket.version_page`."""
        return self._insistence.insist(lambda: self._inner.version_page(prefix, token))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See `Bucket.versions`."""
        return all_versions(self, prefix)
