"""What did not work: when it is tried again, and what was wrong with it until it has worked."""

from collections.abc import Collection

from ckpt_archive.clock import Clock
from ckpt_archive.errors import CkptArchiveError, DeniedError


class Pauses:
    """Remembers by key: a share's folder, an archive's URL.

    Args:
        clock: Of this machine.
        seconds: How long what did not work is left alone.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until_seconds: dict[str, float] = {}
        self._errors: dict[str, CkptArchiveError] = {}

    def is_due(self, key: str) -> bool:
        """Whether it may be tried."""
        return self._clock.monotonic() >= self._until_seconds.get(key, float("-inf"))

    def postpone(self, key: str, error: CkptArchiveError | None = None) -> None:
        """Leave it alone for a while; with an error, because of that."""
        self._until_seconds[key] = self._clock.monotonic() + self._seconds
        if error is None:
            self._errors.pop(key, None)
        else:
            self._errors[key] = error

    def succeeded(self, key: str) -> None:
        """It worked."""
        self._errors.pop(key, None)
        self._until_seconds.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """Forget all others: they are about what is not there any more."""
        for known in (self._until_seconds, self._errors):
            for key in known.keys() - keys:
                del known[key]

    def troubles(self) -> list[str]:
        """What is wrong, one sentence each."""
        return list(dict.fromkeys(str(error) for error in self._errors.values()))

    @property
    def denied(self) -> bool:
        """Whether credentials or rights are among it."""
        return any(isinstance(error, DeniedError) for error in self._errors.values())
