"""The uploaders of simulated nodes: beside training, two that contend for one node, started by a trainer, or draining."""

from datetime import datetime

from ckpt_archive.agent.node import Pass
from ckpt_archive.testing.simulation.clock import SimClock

_RAREST = 64


class DrowsyClock:
    """A clock on which an agent that finds nothing new looks ever more rarely: lives are about events, not about waiting.

    Args:
        clock: Of its node.
        poll_seconds: The pause between two passes: that one alone grows.
    """

    def __init__(self, clock: SimClock, poll_seconds: float) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._left: tuple[int, int] | None = None
        self._factor = 1

    def told(self, done: Pass) -> None:
        """What a pass did and left."""
        left = len(done.pending), done.untold
        is_new = bool(done.archived) or left != self._left
        self._left = left
        self._factor = 1 if is_new else min(4 * self._factor, _RAREST)

    def now(self) -> datetime:
        """See `Clock`."""
        return self._clock.now()

    def now_ns(self) -> int:
        """See `Clock`."""
        return self._clock.now_ns()

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        self._clock.sleep(seconds * self._factor if seconds == self._poll_seconds else seconds)
