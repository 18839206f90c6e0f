"""The command: many histories, and what they came to."""

import logging
import sys
import time
from dataclasses import replace

import click

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.testing.retained.drawing import draw
from ckpt_archive.testing.retained.exhaustive import cases, every_request
from ckpt_archive.testing.retained.life import Tally, live
from ckpt_archive.testing.retained.mistakes import MISTAKES, find
from ckpt_archive.testing.retained.oracle import ViolationError
from ckpt_archive.testing.retained.story import History

_TOLD = 10


def shortest(history: History) -> History:
    """The same, without what is not needed to break a promise."""
    found = history
    number = len(found.steps) - 1
    while number >= 0:
        fewer = replace(found, steps=(*found.steps[:number], *found.steps[number + 1 :]))
        try:
            live(fewer)
        except ViolationError:
            found = fewer
        except CkptArchiveError:
            pass  # something else goes wrong without it
        number -= 1
    return found


@click.command()
@click.option("--seeds", default=1000, show_default=True, help="How many histories.")
@click.option("--start", default=0, show_default=True, help="The first seed.")
@click.option("--minutes", type=float, help="Stop after that long, however many that were.")
@click.option("--every-request", "exhaustive", is_flag=True, help="Also break small histories off at every request.")
@click.option("--mistakes", is_flag=True, help="Plant mistakes instead, and see that each is found.")
def main(seeds: int, start: int, minutes: float | None, *, exhaustive: bool, mistakes: bool) -> None:
    """Live through random histories of retention, and see that nothing ends too soon, and all in the end."""
    logging.disable(logging.CRITICAL)
    if mistakes:
        sys.exit(_plant(seeds))
    began = time.perf_counter()
    total, wrong = Tally(), 0
    for seed in range(start, start + seeds):
        if minutes is not None and time.perf_counter() - began > minutes * 60:
            break
        try:
            total.add(live(draw(seed)))
        except ViolationError as error:
            wrong += 1
            if wrong <= _TOLD:
                click.echo(f"VIOLATION  seed {seed}: {error}\n{shortest(draw(seed)).spelled()}")
    if exhaustive:
        for case in cases():
            try:
                total.add(every_request(case))
            except ViolationError as error:
                wrong += 1
                click.echo(f"VIOLATION  {case}: {error}")
    click.echo(f"{total.text()}\n{wrong} histories broke a promise; {time.perf_counter() - began:.0f} s")
    sys.exit(bool(wrong))


def _plant(most: int) -> bool:
    missed = False
    for item in MISTAKES:
        found = find(replace(item, seed=0), most)
        missed |= found is None
        click.echo(f"{item}: " + ("not found" if found is None else f"seed {found[0]}: {found[1][:160]}"))
    return missed


if __name__ == "__main__":
    main()
