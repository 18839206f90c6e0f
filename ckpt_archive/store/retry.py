"""The one place that tries a request again. Adapters answer once, and whoever calls a verb sees only its last answer.

What is tried again is what the store did not answer (`UnavailableError`), except that it refused us (`DeniedError`), the
object must be thawed first (`ColdError`) or its disk is not mounted (`UnmountedError`). Trying again is right for every verb
but one:

- A `create` that landed although its answer was lost meets itself: `AlreadyExistsError`, as if somebody else had been first.
  Callers read and compare in either case.
- A `complete_upload` that landed meets `UploadGoneError` or `AlreadyExistsError`: callers look at the object.
- A `fetch` goes on where its body broke off, pinned by the same ETag: no byte reaches the sink twice.
- A `start_upload` that landed would leave an upload that nobody knows. It is only tried again when the store said that it
  had done nothing (`ThrottledError`); otherwise the caller looks for the upload.
"""

import copy
import random
from collections.abc import Callable
from typing import TypeVar

from ckpt_archive.clock import Clock
from ckpt_archive.store.body import Body
from ckpt_archive.store.insistence import Insistence, RetryPolicy, did_nothing, is_passing
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, Store, StoredBytes, StoreLimits, UploadInfo

__all__ = ["RetryPolicy", "RetryingStore"]

T = TypeVar("T")


class RetryingStore:
    """A store that insists.

    Args:
        inner: Asked; must not try again itself.
        clock: Measures deadlines and passes pauses.
        policy: How long to insist.
        chance: Draws the pauses.
        throttled: Told each time the store asked for fewer requests, so that transfers can slow down.
    """

    def __init__(
        self,
        inner: Store,
        clock: Clock,
        policy: RetryPolicy | None = None,
        chance: random.Random | None = None,
        *,
        throttled: Callable[[], None] | None = None,
    ) -> None:
        self._inner = inner
        self._insistence = Insistence(inner.url, clock, policy, chance, throttled=throttled)

    def with_deadline(self, seconds: float) -> "RetryingStore":
        """The same store for a few quick questions: all calls together begin no try later than `seconds` from now.

        A request under way is not cut off: how long one may take is for the adapter to bound.
        """
        quick = copy.copy(self)
        quick._insistence = self._insistence.until(seconds)  # noqa: SLF001 (its own class)
        return quick

    @property
    def inner(self) -> Store:
        """What is asked, which does not insist."""
        return self._inner

    @property
    def insistence(self) -> Insistence:
        """How it is asked."""
        return self._insistence

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._inner.url

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self._inner.limits

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        return self._insist(lambda: self._inner.create(key, body))

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        return self._insist(lambda: self._inner.read(key, limit_bytes=limit_bytes))

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        delivery = _Delivery(sink)

        def rest() -> None:
            done = delivery.delivered_bytes
            if done < length or not length:
                self._inner.fetch(key, offset=offset + done, length=length - done, etag=etag, sink=delivery.take)

        self._insist(rest, lambda error: is_passing(error) and not delivery.sink_failed)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._insist(lambda: self._inner.head(key))

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`."""
        return self._insist(
            lambda: self._inner.list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)
        )

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._insist(lambda: self._inner.delete(key))

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        return self._insist(lambda: self._inner.start_upload(key), did_nothing)

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        return self._insist(lambda: self._inner.upload_part(key, upload_id, number, body))

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        self._insist(lambda: self._inner.complete_upload(key, upload_id, parts))

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        self._insist(lambda: self._inner.abort_upload(key, upload_id))

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        return self._insist(lambda: self._inner.list_uploads(prefix))

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        return self._insist(lambda: self._inner.list_parts(key, upload_id))

    def _insist(self, call: Callable[[], T], again: Callable[[BaseException], bool] | None = None) -> T:
        return self._insistence.insist(call, again)


class _Delivery:
    """Counts what reached a sink, and tells the sink's own failures from the store's."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.delivered_bytes = 0
        self.sink_failed = False

    def take(self, chunk: memoryview) -> None:
        self.sink_failed = True
        self._sink(chunk)
        self.sink_failed = False
        self.delivered_bytes += len(chunk)
