"""How a call is tried again: which failures may pass, how long to wait, when to give up."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from ckpt_archive.clock import Clock
from ckpt_archive.errors import ColdError, DeniedError, ThrottledError, UnavailableError, UnmountedError

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


class Insistence:
    """Calls that are tried again.

    Args:
        url: Of what is asked, for messages.
        clock: Measures deadlines and passes pauses.
        policy: How long to insist.
        chance: Draws the pauses.
        throttled: Told each time the store asked for fewer requests.
        until_seconds: A moment of `clock.monotonic` after which nothing is tried.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        policy: RetryPolicy | None = None,
        chance: random.Random | None = None,
        *,
        throttled: Callable[[], None] | None = None,
        until_seconds: float = float("inf"),
    ) -> None:
        self._url = url
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._chance = chance or random.Random()  # noqa: S311 (spreads load; nothing secret)
        self._throttled = throttled
        self._until_seconds = until_seconds

    def until(self, seconds: float) -> "Insistence":
        """The same, but no try of any call begins later than `seconds` from now."""
        return Insistence(
            self._url,
            self._clock,
            self._policy,
            self._chance,
            throttled=self._throttled,
            until_seconds=min(self._until_seconds, self._clock.monotonic() + seconds),
        )

    def insist(self, call: Callable[[], T], again: Callable[[BaseException], bool] | None = None) -> T:
        """What `call` returns, tried again while it fails with what `again` (else `is_passing`) says may pass."""
        now = self._clock.monotonic()
        if now >= self._until_seconds:
            raise UnavailableError(f"{self._url} did not answer in the time allowed", hint="Try again later.")
        may_pass = again or is_passing
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


def is_passing(error: BaseException) -> bool:
    """Whether it may go by itself."""
    return isinstance(error, UnavailableError) and not isinstance(error, DeniedError | ColdError | UnmountedError)


def did_nothing(error: BaseException) -> bool:
    """Whether it may go by itself, and the store said that it had done nothing."""
    return isinstance(error, ThrottledError)
