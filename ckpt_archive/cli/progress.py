"""How far a transfer is, for people who read a log: a line now and then."""

from collections.abc import Callable

from ckpt_archive.clock import Clock
from ckpt_archive.progress import ProgressEvent

# Often enough to see that it lives, seldom enough for a log that is kept.
_SECONDS_BETWEEN_LINES = 10.0


class PlainProgress:
    """A progress callback that says a line every ten seconds, and one when a long phase is done.

    Args:
        clock: Tells the time.
        say: Takes a line.
        unit: What is counted; "" for bytes.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None], unit: str = "") -> None:
        self._unit = unit
        self._clock = clock
        self._say = say
        self._phase = ""
        self._began_at = self._said_at = clock.monotonic()
        self._spoke = False

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event."""
        now = self._clock.monotonic()
        if event.phase != self._phase:
            self._phase = event.phase
            self._began_at = self._said_at = now
            self._spoke = False
        done = event.done_bytes >= event.total_bytes
        if now - self._said_at >= _SECONDS_BETWEEN_LINES or (done and self._spoke):
            self._said_at = now
            self._spoke = not done
            self._say(progress_text(event, now - self._began_at, self._unit))


def progress_text(event: ProgressEvent, seconds: float, unit: str = "") -> str:
    """One line: phase, amount, percent, rate."""
    percent = 100 * event.done_bytes // event.total_bytes if event.total_bytes else 100
    rate = f", {amount_text(event.done_bytes / seconds, unit)}/s" if seconds > 0 else ""
    done, total = amount_text(event.done_bytes, unit), amount_text(event.total_bytes, unit)
    return f"{event.phase}: {done} of {total} ({percent} %{rate})"


def amount_text(amount: float, unit: str) -> str:
    """So many of a unit; bytes where it is ""."""
    return f"{amount:.0f} {unit}" if unit else size_text(amount)


def size_text(size_bytes: float) -> str:
    """Bytes in binary units, such as ``1.5 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} TiB"
