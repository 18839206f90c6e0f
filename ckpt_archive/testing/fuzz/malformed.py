"""Feeds the product what nobody of ours wrote: a million malformed inputs, each made from its number alone.

Every input ends as a value or as one of our own errors, soon, with little memory, and leaves nothing outside its folder.
"""

import gc
import logging
import random
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ckpt_archive.testing.fuzz import guard
from ckpt_archive.testing.fuzz.kinds import Input, Kind
from ckpt_archive.testing.fuzz.mutate import minimised

_MEASURED_EVERY = 250
_MEMORY_BYTES = 96 << 20
_SHOWN = 3_000


@dataclass(slots=True)
class Tally:
    """How the inputs of one kind fared.

    Attributes:
        tried: How many.
        accepted: Of these.
        slowest_seconds: Processor time of the slowest one.
        peak_bytes: The most memory that a measured one held.
        found: How many broke a promise.
    """

    tried: int = 0
    accepted: int = 0
    slowest_seconds: float = 0.0
    peak_bytes: int = 0
    found: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a promise.

    Attributes:
        number: Which.
        kind: Of which kind.
        problem: What happened.
        input: The input, as small as it could be made.
    """

    number: int
    kind: str
    problem: str
    input: Input

    @property
    def signature(self) -> tuple[str, str]:
        """The same for findings of one cause, most probably."""
        return self.kind, "".join(character for character in self.problem[:60] if not character.isdigit())

    def __str__(self) -> str:
        shown = repr(self.input)
        text = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}… ({len(shown)} characters)"
        return f"FOUND {self.kind}, --start {self.number} --count 1: {self.problem}\n  {text}"


@dataclass(slots=True)
class Result:
    """What some inputs came to."""

    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def schedule(kinds: Sequence[Kind]) -> list[Kind]:
    """The kinds in the order in which they take turns: each as often as its weight says, evenly spread."""
    total = sum(kind.weight for kind in kinds)
    spread = [
        ((turn + 0.5) / kind.weight, number, kind) for number, kind in enumerate(kinds) for turn in range(kind.weight)
    ]
    assert len(spread) == total
    return [kind for _, _, kind in sorted(spread, key=lambda item: item[:2])]


def run(
    kinds: Sequence[Kind],
    count: int,
    start: int = 0,
    told: Callable[[Finding], None] = lambda _: None,
    most: int = 2_000,
) -> Result:
    """Take inputs `start` to `start + count`.

    Args:
        kinds: Of which kinds.
        count: How many.
        start: The first number.
        told: Called with every finding.
        most: After so many findings it ends.
    """
    turns = schedule(kinds)
    result = Result()
    began = time.perf_counter()
    logging.disable(logging.CRITICAL)
    try:
        for number in range(start, start + count):
            kind = turns[number % len(turns)]
            value = kind.make(random.Random(number))
            finding = take(kind, number, value, result.tallies[kind.name])
            if finding is not None:
                if finding.signature not in {other.signature for other in result.findings}:
                    told(finding)
                result.findings.append(finding)
                if len(result.findings) >= most:
                    break
    finally:
        logging.disable(logging.NOTSET)
    result.seconds = time.perf_counter() - began
    return result


def take(kind: Kind, number: int, value: Input, tally: Tally) -> Finding | None:
    """One input; what is wrong with what became of it, if anything is."""
    accepted = False

    def action() -> None:
        nonlocal accepted
        accepted = kind.take(value)

    try:
        # In turns of the kind itself, so that every kind is measured.
        if tally.tried % _MEASURED_EVERY == 0:
            tally.peak_bytes = max(tally.peak_bytes, guard.peak_bytes(action, _MEMORY_BYTES + 12 * _size(value)))
        else:
            tally.slowest_seconds = max(tally.slowest_seconds, guard.timed(action))
    except (Exception, guard.Hang) as error:  # noqa: BLE001 - that is what is looked for
        failure = error
        problem = f"{type(error).__name__}: {str(error)[:300]}"
        smaller = (
            minimised(value, lambda less: _fails_alike(kind, less, failure), tries=300) if tally.found < 5 else value
        )
        tally.found += 1
        return Finding(number, kind.name, problem, smaller)
    finally:
        tally.tried += 1
    tally.accepted += accepted
    return None


def _fails_alike(kind: Kind, value: Input, error: BaseException) -> bool:
    if isinstance(error, (guard.Hang, guard.Slow, guard.Greedy)):
        return False  # each try would take as long
    try:
        with guard.ending():
            kind.take(value)
    except (Exception, guard.Hang) as other:  # noqa: BLE001 - see `take`
        return type(other) is type(error)
    return False


def _size(value: Input) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 0


def report(result: Result) -> str:
    """A table of what was tried."""
    lines = [f"{'kind':24} {'tried':>8} {'accepted':>9} {'refused':>8} {'slowest ms':>11} {'peak MiB':>9}"]
    for name, tally in sorted(result.tallies.items()):
        lines.append(
            f"{name:24} {tally.tried:8} {tally.accepted:9} {tally.tried - tally.accepted:8} "
            f"{tally.slowest_seconds * 1000:11.1f} {tally.peak_bytes / (1 << 20):9.1f}"
        )
    tried = sum(tally.tried for tally in result.tallies.values())
    accepted = sum(tally.accepted for tally in result.tallies.values())
    gc.collect()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines.append(
        f"{tried} inputs in {result.seconds:.0f} s: {accepted} accepted, {tried - accepted} refused, "
        f"{len(result.findings)} findings; resident at most {resident:.0f} MiB"
    )
    return "\n".join(lines)
