"""A long search in a file: what of it is done, what it came to, and the summary that people read."""

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import click

_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: what, and the options of the command that tells it again."""

    what: str
    options: str


@dataclass(slots=True)
class Totals:
    """What some lives came to.

    Attributes:
        lives: How many.
        ios: Their I/Os.
        points: Crash points among them.
        cpu_seconds: What they cost.
        faults: How often each fault happened to each kind of call.
        violations: The promises they broke.
    """

    lives: int = 0
    ios: int = 0
    points: int = 0
    cpu_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Count those too."""
        self.lives += other.lives
        self.ios += other.ios
        self.points += other.points
        self.cpu_seconds += other.cpu_seconds
        self.faults.update(other.faults)
        self.violations += other.violations


class Campaign:
    """A search that may be broken off and gone on with.

    Args:
        path: Where it is kept; None: nowhere.
        start: Its first seed.
        totals: What it came to so far.
        reached: Of each kind of lives the first seed that is still to be run.
        seconds: How long it has taken in earlier sittings.
    """

    def __init__(
        self, path: Path | None, start: int, totals: Totals, reached: Mapping[str, int], seconds: float
    ) -> None:
        self._path = path
        self.start = start
        self.totals = totals
        self._reached = dict(reached)
        self._seconds_before = seconds
        self._began = time.perf_counter()

    @classmethod
    def begin(cls, folder: Path | None, start: int) -> Self:
        """Begin a search, or go on with the one of the same code from the same seed that is kept in `folder`.

        Raises:
            click.UsageError: If what is kept there is no search.
        """
        if folder is None:
            return cls(None, start, Totals(), {}, 0.0)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{code_digest()[:16]}-{start}.json"
        if not path.exists():
            return cls(path, start, Totals(), {}, 0.0)
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            totals = kept["totals"]
            totals["violations"] = [Violation(**item) for item in totals["violations"]]
            totals["faults"] = Counter(totals["faults"])
            before = Totals(**totals)
            reached, seconds = kept["reached"], kept["seconds"]
        except (ValueError, KeyError, TypeError) as error:
            raise click.UsageError(f"{path} is not the state of a search: {error}") from error
        return cls(path, start, before, reached, seconds)

    def reached(self, kind: str) -> int:
        """The first seed that is still to be run of a kind of lives."""
        return self._reached.get(kind, self.start)

    def did(self, kind: str, last: int, totals: Totals) -> None:
        """All seeds up to `last` are done, for good: a search that is killed now goes on behind them."""
        self._reached[kind] = last + 1
        self.totals.add(totals)
        if self._path is None:
            return
        kept = {
            "seconds": self._seconds(),
            # `asdict` would take a counter of texts for something else.
            "totals": {**asdict(replace(self.totals, faults=Counter())), "faults": dict(self.totals.faults)},
            "reached": self._reached,
        }
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(json.dumps(kept))
        os.replace(new, self._path)

    def summary(self, jobs: int, *, possible_faults: int) -> str:
        """What it came to, fit for a release note.

        Args:
            jobs: How many processes there were.
            possible_faults: How many pairs of fault and call there are.
        """
        totals, seconds = self.totals, self._seconds()
        hours, minutes = divmod(round(seconds / 60), 60)
        return (
            f"ckpt-archive {metadata.version('ckpt-archive')} (code {code_digest()[:12]}), "
            f"Python {platform.python_version()}, {jobs} processes, {hours} h {minutes} min\n"
            f"lives         {totals.lives:,}, from seed {self.start}: {totals.lives / max(seconds, 1e-9):.0f} a second, "
            f"{totals.lives / max(totals.cpu_seconds, 1e-9):.0f} a second of CPU\n"
            f"I/Os          {totals.ios:,}\n"
            f"faults        {totals.faults.total():,}: {len(totals.faults)} of {possible_faults} pairs of fault and call\n"
            f"crash points  {totals.points:,}\n"
            f"violations    {len(totals.violations)}\n"
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._began


@cache
def code_digest() -> str:
    """SHA-256 of the package's sources: a search says something about these alone."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
