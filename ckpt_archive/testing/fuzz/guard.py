"""Runs one thing at a time and says how it ended: how long it took, how much memory it held, and that it ended at all."""

import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CPU_SECONDS = 1.0
"""The longest that one input may keep a processor busy."""

_WALL_SECONDS = 20.0  # other processes share this machine: only a wait that never ends is one


class Hang(BaseException):
    """It did not end. Not an `Exception`, so that no code under test can catch it."""


class Slow(AssertionError):  # noqa: N818 - what it was
    """It ended, too late."""


class Greedy(AssertionError):  # noqa: N818 - what it was
    """It held more memory than its input explains."""


@contextmanager
def ending() -> Iterator[None]:
    """Raise `Hang` in a block that does not end; for the main thread."""

    def ring(_: int, __: FrameType | None) -> None:
        raise Hang(f"not done after {_WALL_SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(action: Callable[[], object]) -> float:
    """Seconds of processor time that `action` took.

    Raises:
        Hang: If it does not end.
        Slow: If it took longer than `CPU_SECONDS`.
    """
    began = time.process_time()
    with ending():
        action()
    seconds = time.process_time() - began
    if seconds > CPU_SECONDS:
        raise Slow(f"{seconds:.1f} s of processor time")
    return seconds


def peak_bytes(action: Callable[[], object], limit_bytes: int) -> int:
    """The most memory that `action` held at once.

    Raises:
        Hang: If it does not end.
        Greedy: If that was more than `limit_bytes`.
    """
    tracemalloc.start()
    try:
        with ending():
            action()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > limit_bytes:
        raise Greedy(f"{peak >> 20} MiB held at once, more than {limit_bytes >> 20} MiB")
    return peak
