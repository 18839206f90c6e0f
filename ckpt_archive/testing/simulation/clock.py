"""The time of a simulated node: the world's, give or take how wrong the node's clock is."""

from datetime import UTC, datetime, timedelta

from ckpt_archive.testing.simulation.scheduler import MICROSECONDS, Scheduler

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""When every world begins."""

_BEGINNING_NS = int(BEGINNING.timestamp()) * 1_000_000_000


class SimClock:
    """A clock on which only `sleep` and I/O let time pass; reading it is free.

    Args:
        world: Whose time.
        skew_us: How far the wall clock is ahead; may be changed at any time: a jump.
    """

    def __init__(self, world: Scheduler, skew_us: int = 0) -> None:
        self._world = world
        self.skew_us = skew_us

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return BEGINNING + timedelta(microseconds=self._world.now_us + self.skew_us)

    def now_ns(self) -> int:
        """The same in nanoseconds since the epoch."""
        return _BEGINNING_NS + (self._world.now_us + self.skew_us) * 1000

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self._world.now_us / MICROSECONDS

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; others go on meanwhile."""
        self._world.sleep(seconds)
