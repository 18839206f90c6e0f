"""The archives that an agent works for: connected to once, and made sure of now and then."""

from collections.abc import Callable
from dataclasses import dataclass

from ckpt_archive.clock import Clock
from ckpt_archive.commit.archive_record import open_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.store.protocol import StoreLimits

# An agent may live for months: an archive that was made anew meanwhile has another id, and none of what was sent.
_CONFIRM_SECONDS = 600.0


@dataclass(slots=True)
class _Known:
    connection: Connection
    confirmed_at_seconds: float


class Archives:
    """Connections by URL.

    Args:
        clock: Of this machine.
        connect: Connects to the archive at a URL.
    """

    def __init__(self, clock: Clock, connect: Callable[[str], Connection]) -> None:
        self._clock = clock
        self._connect = connect
        self._known: dict[str, _Known] = {}

    def at(self, url: str) -> tuple[Connection, bool]:
        """The archive at `url`, and whether it is another one than the last time.

        Raises:
            NotFoundError: If there is none.
            UnavailableError: If the store does not answer.
        """
        now_seconds = self._clock.monotonic()
        known = self._known.get(url)
        if known is not None:
            if now_seconds < known.confirmed_at_seconds + _CONFIRM_SECONDS:
                return known.connection, False
            if open_archive(known.connection.store).archive_id == known.connection.archive_id:
                known.confirmed_at_seconds = now_seconds
                return known.connection, False
        connection = self._connect(url)
        self._known[url] = _Known(connection, now_seconds)
        return connection, known is not None

    @property
    def limits(self) -> StoreLimits:
        """What a store accepts: one of those that are known, else what any does."""
        return next((known.connection.store.limits for known in self._known.values()), StoreLimits())
