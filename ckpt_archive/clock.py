"""The only place that reads a clock or sleeps; everything else is handed a `Clock`."""

import time
from datetime import UTC, datetime
from typing import Protocol

_TEXT_LENGTH = len("2026-03-01T12:00:00.000000Z")


class Clock(Protocol):
    """Time as the rest of the code sees it."""

    def now(self) -> datetime:
        """Wall-clock time in UTC; may jump in either direction."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds`."""
        time.sleep(seconds)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one spelling of a time in stored files."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def from_text(text: str) -> datetime:
    """The moment that `to_text` wrote.

    Raises:
        ValueError: If the text is not in exactly that form.
    """
    # Compared, because ISO 8601 has many spellings.
    moment = datetime.fromisoformat(text) if len(text) == _TEXT_LENGTH and text[-1] == "Z" else None
    if moment is None or to_text(moment) != text:
        raise ValueError(f"{text[:40]!r} is not of the form 2026-03-01T12:00:00.000000Z")
    return moment
