"""What an agent does beside uploading: on a small site nobody else brings its archives into the log and the index."""

import logging
from collections.abc import Callable, Iterable

from ckpt_archive.clock import Clock
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import CkptArchiveError

_log = logging.getLogger(__name__)

INTERVAL_SECONDS = 300.0
BUDGET_SECONDS = 30.0
LAST_BUDGET_SECONDS = 10.0

_HINT = "where something else maintains the archive: ckpt-archive agent --maintain external"

Maintain = Callable[[str, float, Callable[[], bool]], Iterable[CkptArchiveError]]
"""Maintains the archive at a URL for so many seconds, or until told to stop; the errors of its steps."""


class Upkeep:
    """Maintains archives to which something was committed, each at most once in five minutes.

    Nodes that commit together do not come together: the first time of each is somewhere within these minutes, at a place
    that its name decides.

    Args:
        clock: The time.
        node: The name of this node.
        maintain: Does the work.
    """

    def __init__(self, clock: Clock, node: str, maintain: Maintain) -> None:
        self._clock = clock
        self._maintain = maintain
        self._delay_seconds = INTERVAL_SECONDS * int(sha256_hex(node.encode())[:8], 16) / (1 << 32)
        self._news: set[str] = set()
        self._due_at: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def note(self, urls: Iterable[str]) -> None:
        """Something was committed to these archives."""
        for url in urls:
            self._news.add(url)
            self._due_at.setdefault(url, self._clock.monotonic() + self._delay_seconds)

    def work(self, should_stop: Callable[[], bool]) -> None:
        """Maintain what is due.

        Args:
            should_stop: Asked between steps: whether there is something better to do.
        """
        for url in sorted(self._news):
            if self._clock.monotonic() >= self._due_at[url] and not should_stop():
                self._do(url, BUDGET_SECONDS, should_stop)

    def finish(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Maintain what has news, due or not: this agent leaves, and there may be no other one."""
        for url in sorted(self._news):
            if not should_stop():
                self._do(url, LAST_BUDGET_SECONDS, should_stop)

    def _do(self, url: str, seconds: float, should_stop: Callable[[], bool]) -> None:
        # What is committed meanwhile is news again.
        self._news.discard(url)
        problem = ""
        try:
            problem = "; ".join(error.message for error in self._maintain(url, seconds, should_stop))
        except CkptArchiveError as error:
            problem = error.message
        if problem:
            self._news.add(url)
        self._due_at[url] = self._clock.monotonic() + INTERVAL_SECONDS
        self._say(url, problem)

    def _say(self, url: str, text: str) -> None:
        if text and text != self._said.get(url):
            _log.warning("%s is not maintained: %s (%s)", url, text, _HINT)
        self._said[url] = text
