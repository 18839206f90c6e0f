"""How far a question is: a number on the terminal that comes after two seconds and vanishes."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FIRST_SECONDS = 2.0
_NEXT_SECONDS = 0.5


@contextmanager
def shown(percent: Callable[[], float], *, first_seconds: float = _FIRST_SECONDS) -> Iterator[None]:
    """Show `percent`, which is negative as long as nobody knows, on stderr until the block is left."""
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(percent, ended, first_seconds), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(percent: Callable[[], float], ended: threading.Event, seconds: float) -> None:
    is_shown = False
    while not ended.wait(seconds):
        seconds, is_shown = _NEXT_SECONDS, True
        sys.stderr.write(f"\r{max(0.0, percent()):3.0f} %")
        sys.stderr.flush()
    if is_shown:
        sys.stderr.write("\r     \r")
        sys.stderr.flush()
