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

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from ckpt_archive.clock import Clock
from ckpt_archive.errors import ColdError, DeniedError, ThrottledError, UnavailableError, UnmountedError
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, Store, StoredBytes, StoreLimits, UploadInfo

T = TypeVar("T")

_log = logging.getLogger(__name__)
_TRIES_IN_SILENCE = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to insist.

    The pause before try n + 1 is drawn evenly from 0 to `first_pause_seconds` · 2^(n-1), at most `longest_pause_seconds`
    ("full jitter": Brooker, "Exponential Backoff and Jitter", 2015).

    Attributes:
        max_tries: Of one call, the first included.
        first_pause_seconds: Bound of the first pause.
        longest_pause_seconds: Bound of every pause.
        deadline_seconds: No try of one call begins later than this after the first.
    """

    max_tries: int = 12
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 20.0
    deadline_seconds: float = 300.0


class RetryingStore:
    """A store that insists.

    Args:
        inner: Asked; must not try again itself.
        clock: Measures deadlines and passes pauses.
        policy: How long to insist.
        chance: Draws the pauses.
        throttled: Told each time the store asked for fewer requests, so that transfers can slow down.
        until_seconds: A moment of `clock.monotonic` after which nothing is tried; see `with_deadline`.
    """

    def __init__(
        self,
        inner: Store,
        clock: Clock,
        policy: RetryPolicy | None = None,
        chance: random.Random | None = None,
        *,
        throttled: Callable[[], None] | None = None,
        until_seconds: float = float("inf"),
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._chance = chance or random.Random()  # noqa: S311 (spreads load; nothing secret)
        self._throttled = throttled
        self._until_seconds = until_seconds

    def with_deadline(self, seconds: float) -> "RetryingStore":
        """The same store for a few quick questions: all calls together begin no try later than `seconds` from now.

        A request under way is not cut off: how long one may take is for the adapter to bound.
        """
        return RetryingStore(
            self._inner,
            self._clock,
            self._policy,
            self._chance,
            throttled=self._throttled,
            until_seconds=min(self._until_seconds, self._clock.monotonic() + seconds),
        )

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

        self._insist(rest, lambda error: _is_passing(error) and not delivery.sink_failed)

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
        return self._insist(lambda: self._inner.start_upload(key), _did_nothing)

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
        now = self._clock.monotonic()
        if now >= self._until_seconds:
            raise UnavailableError(f"{self.url} did not answer in the time allowed", hint="Try again later.")
        may_pass = again or _is_passing
        try:
            return call()
        except Exception as error:
            # Nearly every call is answered at once: only what was not is worth a plan.
            if not may_pass(error):
                raise
            return self._try_again(call, may_pass, error, since_seconds=now)

    def _try_again(
        self,
        call: Callable[[], T],
        may_pass: Callable[[BaseException], bool],
        first: Exception,
        *,
        since_seconds: float,
    ) -> T:
        latest = min(since_seconds + self._policy.deadline_seconds, self._until_seconds)
        failed: list[Exception] = [first]

        def attempt() -> T:
            if failed:
                raise failed.pop()
            return call()

        def is_over(state: RetryCallState) -> bool:
            late = self._clock.monotonic() + state.upcoming_sleep >= latest
            return late or state.attempt_number >= self._policy.max_tries

        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            wait=self._pause_seconds,
            stop=is_over,
            after=self._tell_of_throttling,
            before_sleep=self._tell_who_waits,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(attempt)

    def _pause_seconds(self, state: RetryCallState) -> float:
        bound = min(
            self._policy.first_pause_seconds * 2 ** (state.attempt_number - 1), self._policy.longest_pause_seconds
        )
        return self._chance.uniform(0, bound)

    def _tell_who_waits(self, state: RetryCallState) -> None:
        """Once per call, when it is no hiccup any more."""
        if state.attempt_number == _TRIES_IN_SILENCE and state.outcome is not None:
            _log.warning("%s; trying again for up to %.0f s", state.outcome.exception(), self._policy.deadline_seconds)

    def _tell_of_throttling(self, state: RetryCallState) -> None:
        if self._throttled and state.outcome and isinstance(state.outcome.exception(), ThrottledError):
            self._throttled()


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


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, UnavailableError) and not isinstance(error, DeniedError | ColdError | UnmountedError)


def _did_nothing(error: BaseException) -> bool:
    return isinstance(error, ThrottledError)
