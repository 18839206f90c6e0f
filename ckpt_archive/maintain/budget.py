"""How long a pass may take: asked before something more is begun."""

from collections.abc import Callable

from ckpt_archive.clock import Clock


class Budget:
    """Time that runs out, or is cut short by somebody who has something better to do.

    Args:
        clock: The time.
        seconds: How long there is.
        should_stop: Whether nothing more is to be begun, however much time is left.
    """

    def __init__(self, clock: Clock, seconds: float, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._ends_at = clock.monotonic() + seconds
        self._should_stop = should_stop

    @property
    def left_seconds(self) -> float:
        """How much is left; 0 when it is over."""
        return max(0.0, self._ends_at - self._clock.monotonic())

    def is_over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.left_seconds <= 0 or self._should_stop()
