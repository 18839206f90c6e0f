"""How long-running work tells how far it is. A value and a callback type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """How far a phase is.

    Attributes:
        phase: What is going on: "digest", "upload", "download", "verify".
        done_bytes: So far.
        total_bytes: In the end.
    """

    phase: str
    done_bytes: int
    total_bytes: int


Progress: TypeAlias = Callable[[ProgressEvent], None]


class Meter:
    """Turns "so many bytes more" into events.

    Args:
        progress: Told; None if nobody watches.
        phase: What is going on.
        total_bytes: In the end.
    """

    def __init__(self, progress: Progress | None, phase: str, total_bytes: int) -> None:
        self._progress = progress
        self._phase = phase
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self(0)

    def __call__(self, more_bytes: int) -> None:
        """So many bytes more are done."""
        self._done_bytes += more_bytes
        if self._progress is not None:
            self._progress(ProgressEvent(self._phase, self._done_bytes, self._total_bytes))
