"""Every workload of up to three operations, broken off everywhere: ``python -m ckpt_archive.testing.simulation.exhaustive``.

After ACE and CrashMonkey (Mohan et al., OSDI 2018): most bugs of storage systems need no more than a few operations on
a system that was just made. So all words of up to three operations are run, with a crash at each I/O, before it and
after it, of the process that makes it or of its node; then there is a recovery, and an oracle judges.

Two things are the same, and are not done twice:

- A life does not know the rest of its word, so a crash in an operation of a word is the crash in the last operation of
  its prefix: of every word only the last operation is broken off.
- What is not on the disk or in the store is gone with a process. So between two of its calls that have an effect there is
  one state, and it is judged once: before the second one, when all has been acknowledged that will be. See `states`.
"""

import itertools
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import click

from ckpt_archive.testing.simulation.faults import CANDIDATES, Crash, CrashPoint, Options, When
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.script import Operation, Order, Script, Start, Word
from ckpt_archive.testing.simulation.scripted import Scripted
from ckpt_archive.testing.simulation.world import World

_MODULE = "ckpt_archive.testing.simulation.exhaustive"
_LAST_STEPS = 80


@dataclass(frozen=True, slots=True)
class Case:
    """One life: a script and where it is broken off."""

    script: Script
    crashes: tuple[CrashPoint, ...] = ()

    def __str__(self) -> str:
        """As `--case` takes it."""
        script = self.script
        word = "+".join(operation.value for operation in script.word)
        points = ",".join(f"{point.io}:{point.when.name}:{point.what.name}" for point in self.crashes)
        return f"{script.start.name}/{word}/{script.order.name}/{script.loss}/{points}".lower()

    @classmethod
    def parse(cls, text: str) -> "Case":
        """The case of such a text.

        Raises:
            ValueError, KeyError: If it is none.
        """
        start, word, order, loss, points = text.upper().split("/")
        operations = tuple(Operation[name] for name in word.split("+") if name)
        crashes = []
        for point in filter(None, points.split(",")):
            io, when, what = point.split(":")
            crashes.append(CrashPoint(int(io), When[when], Crash[what]))
        return cls(Script(Start[start], operations, Order[order], int(loss)), tuple(crashes))


@dataclass(frozen=True, slots=True)
class Call:
    """An I/O of a life: its number, who made it, and whether it has changed anything outside of that process."""

    io: int
    process: str
    has_effect: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a life was.

    Attributes:
        calls: Its I/Os, if its trace was kept.
        ios: How many there were.
        begun_io: The last one before the last operation of its word.
        done_io: The last one of its word.
        recovered_io: The last one of its recovery.
    """

    calls: Sequence[Call]
    ios: int
    begun_io: int
    done_io: int
    recovered_io: int

    def between(self, after_io: int, until_io: int) -> list[Call]:
        """The calls of a part of it."""
        return [call for call in self.calls if after_io < call.io <= until_io]

    @property
    def word(self) -> list[Call]:
        """The calls of all operations."""
        return self.between(0, self.done_io)

    @property
    def last_operation(self) -> list[Call]:
        """Those of the last one: the others are those of a shorter word."""
        return self.between(self.begun_io, self.done_io)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and in which case."""

    case: str
    what: str


@dataclass(slots=True)
class Totals:
    """What some words came to.

    Attributes:
        workloads: Scripts that were run.
        points: Places where they could be broken off, in all of their operations: I/O, side, and what crashes.
        covered: Those of their last operation.
        double_points: Pairs of a state in a word's last operation and one in the recovery from it that were tried.
        lives: Worlds that were run.
        ios: Their I/Os.
        violations: What was found.
    """

    workloads: int = 0
    points: int = 0
    covered: int = 0
    double_points: int = 0
    lives: int = 0
    ios: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Count those too."""
        self.workloads += other.workloads
        self.points += other.points
        self.covered += other.covered
        self.double_points += other.double_points
        self.lives += other.lives
        self.ios += other.ios
        self.violations += other.violations


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it is done.

    Attributes:
        losses: How many outcomes of each power loss there are.
        in_turns: Whether each state is recovered from in one way alone, another one for the next: by either order of
            recovery, and with either outcome of a power loss. Else in all of them.
        stride: Of the states only every so many, beginning elsewhere in every word.
        double_stride: Of the states every so many, and of those in the recovery from each of them too, for a second crash
            there; 0 for none of them.
    """

    losses: int = 2
    in_turns: bool = False
    stride: int = 1
    double_stride: int = 0


def words(longest: int, shortest: int = 0) -> Iterator[Word]:
    """All of them, in a fixed order."""
    for length in range(shortest, longest + 1):
        yield from itertools.product(Operation, repeat=length)


def play(case: Case, *, trace: bool = False) -> Told:
    """Run a life.

    Raises:
        BaseException: What broke, with the case and, if it was kept, the end of the trace as notes.
    """
    with World(0, Options(switch_chance=0.0, crashes=case.crashes), trace=trace) as world:
        life = Scripted(world, case.script)
        try:
            life.play()
        except BaseException as error:
            error.add_note(f"again: python -m {_MODULE} --case {case}")
            raise
    marks = life.marks
    begun_io = marks[-2] if len(marks) > 1 else 0
    done_io = marks[-1] + 1 if marks else 0
    steps = [step for step in world.trace or () if step.kind in CANDIDATES]
    calls = [Call(step.io, step.process, step.io in life.effects) for step in steps]
    return Told(calls, world.ios, begun_io, done_io, life.recovered_io)


def points(calls: Iterable[Call], what: Crash) -> Iterator[CrashPoint]:
    """All places where a life could be broken off: before each call, and after it if it has an effect."""
    for call in calls:
        yield CrashPoint(call.io, When.BEFORE, what)
        if call.has_effect:
            yield CrashPoint(call.io, When.AFTER, what)


def states(calls: Iterable[Call], what: Crash) -> Iterator[CrashPoint]:
    """Those of them that leave something else than the one before, each where most was acknowledged.

    Before a call with an effect stands for all places since its process's last one. The last place of a process stands for
    what comes after its last effect.
    """
    for _, group in itertools.groupby(calls, key=lambda call: call.process):
        own = list(group)
        yield from (CrashPoint(call.io, When.BEFORE, what) for call in own if call.has_effect)
        yield CrashPoint(own[-1].io, When.AFTER if own[-1].has_effect else When.BEFORE, what)


def exhaust(word: Word, plan: Plan) -> Totals:
    """Run a word from every beginning, and break its last operation off everywhere."""
    logging.disable(logging.CRITICAL)
    totals = Totals()
    with remembering():
        for start in Start:
            _exhaust(Script(start, word), plan, totals)
    return totals


def _exhaust(script: Script, plan: Plan, totals: Totals) -> None:
    totals.workloads += 1
    told = _try(Case(script), totals, trace=True)
    if told is None:
        return
    for what in Crash:
        totals.points += len(list(points(told.word, what)))
        totals.covered += len(list(points(told.last_operation, what)))
        places = list(states(told.last_operation, what))
        for number, point in enumerate(places):
            if (number + _spread(script)) % plan.stride == 0:
                for case in _cases(script, point, plan, number):
                    _try(case, totals)
        if plan.double_stride:
            _crash_twice(script, places, plan, totals)


def _cases(script: Script, point: CrashPoint, plan: Plan, number: int) -> Sequence[Case]:
    """The ways to recover from a crash."""
    losses = range(plan.losses if point.what is Crash.NODE else 1)
    cases = [
        Case(replace(script, order=order, loss=loss), (point,)) for loss, order in itertools.product(losses, Order)
    ]
    return [cases[number % len(cases)]] if plan.in_turns else cases


def _crash_twice(script: Script, places: Sequence[CrashPoint], plan: Plan, totals: Totals) -> None:
    """Break recoveries off."""
    stride, spread = plan.double_stride, _spread(script)
    for number, first in enumerate(places):
        if (number + spread) % stride:
            continue
        case = Case(replace(script, order=list(Order)[number % len(Order)], loss=number % plan.losses), (first,))
        told = _try(case, totals, trace=True)
        if told is None:
            continue
        for what in Crash:
            seconds = list(states(told.between(first.io, told.recovered_io), what))
            for second in seconds[(number + spread) // stride % stride :: stride]:
                totals.double_points += 1
                _try(replace(case, crashes=(first, second)), totals)


def _spread(script: Script) -> int:
    """A number that differs from word to word."""
    number = list(Start).index(script.start)
    for operation in script.word:
        number = 11 * number + list(Operation).index(operation) + 1
    return number


def _try(case: Case, totals: Totals, *, trace: bool = False) -> Told | None:
    totals.lives += 1
    try:
        told = play(case, trace=trace)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the search goes on
        totals.violations.append(Violation(str(case), f"{type(error).__name__}: {error}"))
        return None
    totals.ios += told.ios
    return told


def exhaust_all(tasks: Sequence[Word], plan: Plan, jobs: int = 1) -> Iterator[Totals]:
    """Run many words, in several processes."""
    perform: Callable[[Word], Totals] = partial(exhaust, plan=plan)
    if jobs == 1:
        yield from map(perform, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(perform, tasks)


def _again(case: Case) -> int:
    """Tell one life with all its steps."""
    logging.disable(logging.CRITICAL)
    world = World(0, Options(switch_chance=0.0, crashes=case.crashes), trace=True)
    try:
        Scripted(world, case.script).play()
    except Exception as error:  # noqa: BLE001 - that is what is to be told
        click.echo(f"{world.story(last=_LAST_STEPS)}\n{type(error).__name__}: {error}")
        return 1
    finally:
        world.close()
    click.echo(world.story())
    return 0


@click.command()
@click.option("--longest", default=3, show_default=True, help="How many operations a word has at most.")
@click.option("--shortest", default=0, show_default=True, help="How many it has at least.")
@click.option("--stride", default=1, show_default=True, help="Only every so many crash points.")
@click.option("--losses", default=2, show_default=True, help="How many outcomes of each power loss.")
@click.option("--in-turns", is_flag=True, help="Recover from each crash in one way alone.")
@click.option(
    "--double",
    default=0,
    show_default=True,
    help="Crash twice too: at every so many states; 0: nowhere.",
)
@click.option("--case", "text", help="One life alone, with all its steps.")
@click.option("--told", default=10, show_default=True, help="How many violations to tell.")
@click.option("--jobs", default=2, show_default=True, help="How many processes.")
def main(
    longest: int,
    shortest: int,
    stride: int,
    losses: int,
    in_turns: bool,
    double: int,
    text: str | None,
    told: int,
    jobs: int,
) -> None:
    """Break every short workload off everywhere."""
    if text is not None:
        sys.exit(_again(Case.parse(text)))
    began = time.perf_counter()
    total = Totals()
    plan = Plan(losses, in_turns, stride, double)
    for found in exhaust_all(list(words(longest, shortest)), plan, jobs):
        for violation in found.violations:
            if len(total.violations) < told:
                click.echo(f"VIOLATION  {violation.what}\n  again: python -m {_MODULE} --case {violation.case}")
            total.violations.append(violation)
        found.violations = []
        total.add(found)
    seconds = time.perf_counter() - began
    click.echo(
        f"{total.workloads} workloads, {total.points} crash points ({total.covered} in last operations), "
        f"{total.double_points} double crashes, {total.lives} lives ({total.lives / seconds:.0f} a second), "
        f"{total.ios} I/Os, {len(total.violations)} violations, {seconds:.0f} s"
    )
    sys.exit(bool(total.violations))


if __name__ == "__main__":
    main()
