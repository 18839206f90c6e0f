"""Run until somebody asks us to stop."""

import signal
import threading
from types import FrameType
from typing import Self


class Stop:
    """While the context lasts, SIGINT and SIGTERM set `requested` instead of ending the process.

    Attributes:
        requested: Set by the first signal; a second one ends the process as usual.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.requested.is_set()

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, self._before[signal.Signals(number)])
        self.requested.set()
