"""Looks for every mutant: ``python -m ckpt_archive.testing.simulation.mutants [--record] [NAME …]``."""

import logging
import sys
import time

import click

from ckpt_archive.testing.simulation.mutants.find import MOST_SEEDS, find
from ckpt_archive.testing.simulation.mutants.mutant import load_all
from ckpt_archive.testing.simulation.mutants.table import TESTS, Finding, load_found, record


@click.command()
@click.argument("names", nargs=-1)
@click.option("--record", "recording", is_flag=True, help="Write what was found into found.json and docs/mutants.md.")
@click.option("--seeds", default=MOST_SEEDS, show_default=True, help="In how many lives each is looked for.")
def main(names: tuple[str, ...], seeds: int, *, recording: bool) -> None:
    """Put every mutant, or those whose names begin with one of NAMES, into the code, one by one, and look for it.

    The life that is recorded is tried first, so that little is to be done where little has changed.
    """
    logging.disable(logging.CRITICAL)
    mutants = [mutant for mutant in load_all() if not names or mutant.name.startswith(names)]
    # What only tests have found is looked for in lives once more.
    recorded = {name: finding for name, finding in load_found().items() if finding.judge != TESTS}
    found: dict[str, Finding] = {}
    missed = 0
    for mutant in mutants:
        began = time.perf_counter()
        problem = ""
        finding = None
        try:
            finding = None if mutant.equivalent else find(mutant, seeds, known=recorded.get(mutant.name))
        except RuntimeError as error:
            problem = str(error)
        seconds = time.perf_counter() - began
        if finding is not None:
            found[mutant.name] = finding
            click.echo(f"found       {mutant}  {finding}  ({seconds:.1f} s)")
        elif mutant.equivalent:
            click.echo(f"equivalent  {mutant}")
        else:
            missed += 1
            click.echo(f"NOT FOUND   {mutant}  {problem}  ({seconds:.1f} s)")
    click.echo(f"{len(mutants)} mutants: {len(found)} found, {missed} not")
    if recording:
        record(mutants, found)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
