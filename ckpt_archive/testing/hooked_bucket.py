"""A bucket that lets a test step in before and after every request, as `hooked` does for stores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

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
from ckpt_archive.testing.hooked import Hook, Request

T = TypeVar("T")


def _nothing(_: Request) -> None:
    """Let it pass."""


class HookedBucket:
    """Passes every verb on to `inner`.

    Args:
        inner: Does what is asked.
        before: Called before a request; what it raises is raised instead.
        after: Called after a request that succeeded; what it raises is raised instead of the answer.
    """

    def __init__(self, inner: Bucket, *, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self._inner = inner
        self._before = before
        self._after = after
        self._count = 0

    def _do(self, verb: str, key: str, call: Callable[[], T]) -> T:
        request = Request(self._count, verb, key)
        self._count += 1
        self._before(request)
        answer = call()
        self._after(request)
        return answer

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
        return self._do("features", "", self._inner.features)

    def read_rules(self) -> tuple[RawRule, ...]:
        """See `Bucket.read_rules`."""
        return self._do("read_rules", "", self._inner.read_rules)

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        self._do("write_rules", "", lambda: self._inner.write_rules(rules))

    def read_tags(self, key: str) -> Mapping[str, str]:
        """See `Bucket.read_tags`."""
        return self._do("read_tags", key, lambda: self._inner.read_tags(key))

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        self._do("write_tags", key, lambda: self._inner.write_tags(key, tags))

    def read_lock(self, key: str) -> ObjectLockState:
        """See `Bucket.read_lock`."""
        return self._do("read_lock", key, lambda: self._inner.read_lock(key))

    def write_legal_hold(self, key: str, *, on: bool) -> None:
        """See `Bucket.write_legal_hold`."""
        self._do("write_legal_hold", key, lambda: self._inner.write_legal_hold(key, on=on))

    def write_retention(self, key: str, mode: str, until_at: datetime) -> None:
        """See `Bucket.write_retention`."""
        self._do("write_retention", key, lambda: self._inner.write_retention(key, mode, until_at))

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`."""
        return self._do("temperature", key, lambda: self._inner.temperature(key))

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`."""
        self._do("request_thaw", key, lambda: self._inner.request_thaw(key, days=days, tier=tier))

    def version_page(self, prefix: str, token: tuple[str, str] | None = None) -> VersionPage:
        """See `Bucket.version_page`."""
        return self._do("version_page", prefix, lambda: self._inner.version_page(prefix, token))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See `Bucket.versions`."""
        return all_versions(self, prefix)
