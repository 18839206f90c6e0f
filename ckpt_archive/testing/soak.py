"""Searches simulated lives for one that breaks a promise: ``python -m ckpt_archive.testing.soak --seeds 10000``.

Every violation is told with the steps that led to it and with the command that tells it again.
"""

import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import click

from ckpt_archive.testing.simulation.faults import Crash, CrashPoint, Options, When
from ckpt_archive.testing.simulation.lives import brief_life, brief_options_of, life, options_of
from ckpt_archive.testing.simulation.search import Life, crash_points, run_life
from ckpt_archive.testing.simulation.world import World

_MODULE = "ckpt_archive.testing.soak"
_CHUNK = 25
_TOLD = 10
_LAST_STEPS = 60


@dataclass(frozen=True, slots=True)
class Task:
    """Some lives: those of seeds, or one broken off at each of its I/Os.

    Attributes:
        seeds: Which.
        crash: What each crash takes with it; None for whole lives.
        point: Only this crash point.
    """

    seeds: tuple[int, ...]
    crash: Crash | None = None
    point: CrashPoint | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: what, and the options of the command that tells it again."""

    what: str
    options: str


@dataclass(slots=True)
class Findings:
    """What some lives came to."""

    lives: int = 0
    ios: int = 0
    points: int = 0
    violations: tuple[Violation, ...] = ()

    def add(self, other: "Findings") -> None:
        """Count those too."""
        self.lives += other.lives
        self.ios += other.ios
        self.points += other.points
        self.violations += other.violations


def perform(task: Task) -> Findings:
    """Run the lives of a task, all of them, whatever they come to."""
    logging.disable(logging.CRITICAL)
    found = Findings()
    for seed in task.seeds:
        if task.crash is None:
            _try(found, life, seed, options_of(seed), f"--start {seed} --seeds 1")
            continue
        options = brief_options_of(seed)
        for point in (task.point,) if task.point is not None else _points(seed, options, task.crash):
            spelling = f"{point.io}:{point.when.name}:{point.what.name}".lower()
            found.points += 1
            broken = replace(options, crashes=(point,))
            _try(found, brief_life, seed, broken, f"--start {seed} --seeds 0 --crash-point {spelling}")
    return found


def _points(seed: int, options: Options, crash: Crash) -> Iterator[CrashPoint]:
    with World(seed, options, trace=True) as world:
        brief_life(world)
    yield from crash_points(world.trace or (), crash, until_io=world.calm_after_io)


def _try(found: Findings, what: Life, seed: int, options: Options, again: str) -> None:
    found.lives += 1
    try:
        found.ios += run_life(what, seed, options).ios
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the search goes on
        found.violations += (Violation(f"{type(error).__name__}: {error}", again),)


def _story(task: Task) -> str:
    """How it came to the violation in a task of one life."""
    (seed,) = task.seeds
    what, options = (life, options_of(seed)) if task.point is None else (brief_life, brief_options_of(seed))
    if task.point is not None:
        options = replace(options, crashes=(task.point,))
    world = World(seed, options, trace=True)
    try:
        what(world)
    except Exception as error:  # noqa: BLE001 - that is what is to be told
        return f"{options}\n{world.story(last=_LAST_STEPS)}\n{type(error).__name__}: {error}\n"
    finally:
        world.close()
    return "nothing: something in this life is not determined by its seed\n"


def _tasks(start: int, seeds: int, crash_lives: int) -> list[Task]:
    chunks = [tuple(range(first, min(first + _CHUNK, start + seeds))) for first in range(start, start + seeds, _CHUNK)]
    return [
        *(Task(chunk) for chunk in chunks),
        *(Task((seed,), crash) for seed in range(start, start + crash_lives) for crash in Crash),
    ]


def _perform_all(tasks: Sequence[Task], jobs: int) -> Iterator[Findings]:
    if jobs == 1 or len(tasks) == 1:
        yield from map(perform, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(perform, tasks)


def _crash_point(_: click.Context, __: click.Parameter, value: str | None) -> CrashPoint | None:
    if value is None:
        return None
    try:
        io, when, what = value.upper().split(":")
        return CrashPoint(int(io), When[when], Crash[what])
    except (ValueError, KeyError) as error:
        raise click.BadParameter("write it as 123:before:process or 123:after:node") from error


@click.command()
@click.option("--seeds", default=1000, show_default=True, help="How many lives to run.")
@click.option("--start", default=0, show_default=True, help="The first seed.")
@click.option("--crash-points", default=0, show_default=True, help="How many brief lives to break off at each I/O.")
@click.option("--crash-point", callback=_crash_point, help="Break the brief life of --start off at this one alone.")
@click.option("--jobs", default=1, show_default=True, help="How many processes.")
def main(seeds: int, start: int, crash_points: int, crash_point: CrashPoint | None, jobs: int) -> None:
    """Search simulated lives for one that breaks a promise."""
    tasks = _tasks(start, seeds, crash_points)
    if crash_point is not None:
        tasks.append(Task((start,), crash_point.what, crash_point))
    began = time.perf_counter()
    total = Findings()
    for found in _perform_all(tasks, jobs):
        for violation in found.violations:
            if len(total.violations) < _TOLD:
                click.echo(f"VIOLATION  {violation.what}\n  again: python -m {_MODULE} {violation.options}")
        total.add(found)
    seconds = time.perf_counter() - began
    click.echo(
        f"{total.lives} lives ({total.lives / seconds:.0f} a second), {total.ios} I/Os, {total.points} crash points, "
        f"{len(total.violations)} violations"
    )
    if total.violations and len(tasks) == 1 and len(tasks[0].seeds) == 1:
        click.echo(_story(tasks[0]), nl=False)
    sys.exit(bool(total.violations))


if __name__ == "__main__":
    main()
