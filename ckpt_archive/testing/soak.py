"""Searches simulated lives for one that breaks a promise: ``python -m ckpt_archive.testing.soak --hours 2``.

Every violation is told with the steps that led to it and with the command that tells it again. A search may be broken off
at any moment: with ``--state FOLDER`` the same command goes on where it was, as long as the code is the same.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import click

from ckpt_archive.testing.campaign import Campaign, Totals, Violation
from ckpt_archive.testing.simulation.faults import CANDIDATES, Crash, CrashPoint, Fault, Options, When
from ckpt_archive.testing.simulation.lives import brief_life, brief_options_of, life, options_of
from ckpt_archive.testing.simulation.search import Life, crash_points, run_life
from ckpt_archive.testing.simulation.shrink import shrink, spelled
from ckpt_archive.testing.simulation.world import World

_MODULE = "ckpt_archive.testing.soak"
_CHUNK = 50
_LIVES = "lives"
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


@dataclass(slots=True)
class Found:
    """What the lives of a task came to."""

    task: Task
    lives: int = 0
    ios: int = 0
    points: int = 0
    cpu_seconds: float = 0.0
    faults: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def totals(self) -> Totals:
        """The same, to be counted."""
        faults = Counter({f"{fault.name} of {kind}": times for (kind, fault), times in self.faults.items()})
        return Totals(self.lives, self.ios, self.points, self.cpu_seconds, faults, list(self.violations))


def perform(task: Task) -> Found:
    """Run the lives of a task, all of them, whatever they come to."""
    logging.disable(logging.CRITICAL)
    found = Found(task)
    began = time.process_time()
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
    found.cpu_seconds = time.process_time() - began
    return found


def _points(seed: int, options: Options, crash: Crash) -> Iterator[CrashPoint]:
    with World(seed, options, trace=True) as world:
        brief_life(world)
    yield from crash_points(world.trace or (), crash, until_io=world.calm_after_io)


def _try(found: Found, what: Life, seed: int, options: Options, again: str) -> None:
    found.lives += 1
    try:
        world = run_life(what, seed, options)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the search goes on
        found.violations.append(Violation(f"{type(error).__name__}: {error}", again))
    else:
        found.ios += world.ios
        found.faults.update(world.faults_seen)


def _life_of(task: Task) -> tuple[Life, int, Options]:
    (seed,) = task.seeds
    if task.point is None:
        return life, seed, options_of(seed)
    return brief_life, seed, replace(brief_options_of(seed), crashes=(task.point,))


def _story(what: Life, seed: int, options: Options) -> str:
    """How it came to a violation."""
    world = World(seed, options, trace=True)
    try:
        what(world)
    except Exception as error:  # noqa: BLE001 - that is what is to be told
        return f"{spelled(options)}\n{world.story(last=_LAST_STEPS)}\n{type(error).__name__}: {error}\n"
    finally:
        world.close()
    return "nothing: something in this life is not determined by its seed\n"


def _tasks(campaign: Campaign, seeds: int | None, crash_lives: int) -> Iterator[Task]:
    """What is still to be done, the crash points first."""
    for crash in Crash:
        for seed in range(campaign.reached(crash.name), campaign.start + crash_lives):
            yield Task((seed,), crash)
    for first in count(campaign.reached(_LIVES), _CHUNK):
        left = _CHUNK if seeds is None else min(_CHUNK, campaign.start + seeds - first)
        if left <= 0:
            return
        yield Task(tuple(range(first, first + left)))


def _perform_all(tasks: Iterator[Task], jobs: int) -> Iterator[Found]:
    """In their order, so that what is done is all that comes before a seed."""
    if jobs == 1:
        yield from map(perform, tasks)
        return
    # Whoever breaks it off asks this process alone, which keeps what is done.
    with multiprocessing.get_context("spawn").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        # A pool would take all tasks at once, and there may be no end of them.
        under_way = [pool.apply_async(perform, (task,)) for _, task in zip(range(2 * jobs), tasks, strict=False)]
        while under_way:
            yield under_way.pop(0).get()
            under_way += [pool.apply_async(perform, (task,)) for _, task in zip(range(1), tasks, strict=False)]


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
@click.option("--hours", type=float, help="Run for that long instead, as many lives as that gives.")
@click.option("--start", default=0, show_default=True, help="The first seed.")
@click.option("--crash-points", default=0, show_default=True, help="How many brief lives to break off at each I/O.")
@click.option("--crash-point", callback=_crash_point, help="Break the brief life of --start off at this one alone.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="all cores", help="How many processes.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="Go on from what is kept in this folder."
)
@click.option("--shrink", "shrinks", is_flag=True, help="Look for fewer things that go wrong and still break it.")
def main(
    seeds: int,
    hours: float | None,
    start: int,
    crash_points: int,
    crash_point: CrashPoint | None,
    jobs: int,
    state: Path | None,
    shrinks: bool,
) -> None:
    """Search simulated lives for one that breaks a promise."""
    alone = Task((start,), None if crash_point is None else crash_point.what, crash_point)
    if crash_point is not None or seeds + crash_points == 1:
        sys.exit(_tell(alone, shrinks=shrinks))
    campaign = Campaign.begin(state, start)
    ends_at = None if hours is None else time.perf_counter() + hours * 3600
    tasks = _until(ends_at, _tasks(campaign, None if hours is not None else seeds, crash_points))
    try:
        for found in _perform_all(tasks, jobs):
            _note(campaign, found)
    except KeyboardInterrupt:
        click.echo(
            "broken off" if state is None else f"broken off; the same command goes on where it was (see {state})"
        )
    click.echo(campaign.summary(jobs, possible_faults=sum(map(len, CANDIDATES.values()))), nl=False)
    sys.exit(bool(campaign.totals.violations))


def _note(campaign: Campaign, found: Found) -> None:
    for violation in found.violations:
        if len(campaign.totals.violations) < _TOLD:
            click.echo(f"VIOLATION  {violation.what}\n  again: python -m {_MODULE} {violation.options}")
    task = found.task
    campaign.did(_LIVES if task.crash is None else task.crash.name, task.seeds[-1], found.totals())


def _until(ends_at: float | None, tasks: Iterator[Task]) -> Iterator[Task]:
    for task in tasks:
        if ends_at is not None and time.perf_counter() >= ends_at:
            return
        yield task


def _tell(task: Task, *, shrinks: bool) -> bool:
    """Run one life and tell what it came to; whether it broke a promise."""
    found = perform(task)
    for violation in found.violations:
        what, seed, options = _life_of(task)
        if shrinks:
            options = shrink(what, seed, options)
        click.echo(f"VIOLATION  {violation.what}\n{_story(what, seed, options)}", nl=False)
    if not found.violations:
        click.echo(f"{found.lives} life, {found.ios} I/Os, no violation")
    return bool(found.violations)


if __name__ == "__main__":
    main()
