"""Looking for a life that breaks a promise: many seeds, or every crash point of one; and telling it again when found."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ckpt_archive.testing.simulation.faults import CANDIDATES, EFFECTS, Crash, CrashPoint, Fault, Options, When
from ckpt_archive.testing.simulation.world import Step, World

Life = Callable[[World], None]
"""Builds nodes, stores and processes in a fresh world, runs it, and asserts what must be so."""


@dataclass(slots=True)
class Tally:
    """What a search has seen.

    Attributes:
        lives: How many worlds were run.
        ios: I/Os of all of them.
        faults: How often each fault happened to each kind of call.
    """

    lives: int = 0
    ios: int = 0
    faults: Counter[tuple[str, Fault]] = field(default_factory=Counter)

    def add(self, world: World) -> None:
        """Count one more."""
        self.lives += 1
        self.ios += world.ios
        self.faults.update(world.faults_seen)


def run_life(life: Life, seed: int, options: Options, *, trace: bool = False) -> World:
    """One life from beginning to end.

    Raises:
        BaseException: What broke, with the seed, the options and, if it was kept, the end of the trace as notes.
    """
    with World(seed, options, trace=trace) as world:
        life(world)
    return world


def search(life: Life, seeds: Iterable[int], options_of: Callable[[int], Options] = Options.drawn) -> Tally:
    """Run a life for every seed, and a failing one again with its trace.

    Raises:
        BaseException: As `run_life`, of the first seed that fails.
    """
    tally = Tally()
    for seed in seeds:
        tally.add(_run_or_tell(life, seed, options_of(seed)))
    return tally


def every_crash_point(life: Life, seed: int, options: Options, what: Crash = Crash.PROCESS) -> Tally:
    """Run a life once as it is, and then once for each place where it could be broken off.

    Args:
        life: What.
        seed: Of all of them; so they are alike up to the crash.
        options: Of all of them; crashes it has already come first.
        what: What each crash takes with it.
    """
    first = run_life(life, seed, options, trace=True)
    tally = Tally()
    tally.add(first)
    earlier = max((crash.io for crash in options.crashes), default=0)
    for point in crash_points(first.trace or (), what, after_io=earlier, until_io=first.calm_after_io):
        crashes = (*options.crashes, point)
        tally.add(_run_or_tell(life, seed, replace(options, crashes=crashes)))
    return tally


def crash_points(
    trace: Iterable[Step], what: Crash = Crash.PROCESS, *, after_io: int = 0, until_io: int | None = None
) -> Iterator[CrashPoint]:
    """All places where the life of a trace could be broken off.

    After a call without effect is the same as before the next one, so that is left out; so is what comes once the world has
    been told to be calm.
    """
    for step in trace:
        if step.kind in CANDIDATES and step.io > after_io and (until_io is None or step.io <= until_io):
            yield CrashPoint(step.io, When.BEFORE, what)
            if step.kind in EFFECTS:
                yield CrashPoint(step.io, When.AFTER, what)


def _run_or_tell(life: Life, seed: int, options: Options) -> World:
    try:
        return run_life(life, seed, options)
    except Exception as error:
        run_life(life, seed, options, trace=True)
        message = f"seed {seed} failed once and not again: something in this life is not determined by its seed"
        raise AssertionError(message) from error
