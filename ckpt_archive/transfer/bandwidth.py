"""How fast and how parallel transfers may be: a token bucket for bytes, and AIMD on the parts in flight.

The number of parts in flight follows additive increase, multiplicative decrease (Chiu and Jain, 1989): halved when the store
throttles, one more after as many successes as parts may be in flight. One `Limiter` serves all transfers of a process.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ckpt_archive.clock import Clock
from ckpt_archive.errors import ThrottledError

# Short against the seconds a part takes; long against the cost of looking.
_POLL_SECONDS = 0.02
# All parts under way are refused together when a store is overloaded: that is one sign of congestion, not eight.
_HALVING_PAUSE_SECONDS = 1.0


class Limiter:
    """Shared by any number of threads.

    Args:
        clock: Tells and passes the time.
        bytes_per_second: None for no limit.
        parts_in_flight: The most, and what is allowed at first.
    """

    def __init__(self, clock: Clock, bytes_per_second: int | None, parts_in_flight: int) -> None:
        self._clock = clock
        self._bytes_per_second = bytes_per_second
        self._most = parts_in_flight
        self._lock = threading.Lock()
        self._allowed = parts_in_flight
        self._in_flight = 0
        self._successes = 0
        self._free_at_seconds = self._halve_from_seconds = clock.monotonic()

    @property
    def allowed_in_flight(self) -> int:
        """How many parts may be in flight now, from 1 on."""
        with self._lock:
            return self._allowed

    @contextmanager
    def part(self, size_bytes: int) -> Iterator[None]:
        """Wait until a part of `size_bytes` may go; what its transfer answers is learned from."""
        while not self._enter():
            self._clock.sleep(_POLL_SECONDS)
        try:
            delay_seconds = self._delay_seconds(size_bytes)
            if delay_seconds > 0:
                self._clock.sleep(delay_seconds)
            yield
        except ThrottledError:
            self.throttled()
            raise
        else:
            self.succeeded()
        finally:
            with self._lock:
                self._in_flight -= 1

    def throttled(self) -> None:
        """The store asked for fewer requests."""
        now = self._clock.monotonic()
        with self._lock:
            self._successes = 0
            if now >= self._halve_from_seconds:
                self._allowed = max(1, self._allowed // 2)
                self._halve_from_seconds = now + _HALVING_PAUSE_SECONDS

    def succeeded(self) -> None:
        """A part went through."""
        with self._lock:
            self._successes += 1
            if self._successes >= self._allowed:
                self._successes = 0
                self._allowed = min(self._most, self._allowed + 1)

    def _enter(self) -> bool:
        with self._lock:
            if self._in_flight >= self._allowed:
                return False
            self._in_flight += 1
            return True

    def _delay_seconds(self, size_bytes: int) -> float:
        # The bucket in its virtual-time form: a part begins when those before it have been paid for.
        if self._bytes_per_second is None:
            return 0.0
        now = self._clock.monotonic()
        with self._lock:
            begins_at = max(now, self._free_at_seconds)
            self._free_at_seconds = begins_at + size_bytes / self._bytes_per_second
        return begins_at - now


def paced(limiter: Limiter | None, size_bytes: int) -> AbstractContextManager[None]:
    """`limiter.part(size_bytes)`, or nothing to wait for where there is no limiter."""
    return nullcontext() if limiter is None else limiter.part(size_bytes)
