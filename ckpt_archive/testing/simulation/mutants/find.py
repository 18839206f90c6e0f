"""Finds the life that a mutant does not survive, and in which the code as it is breaks no promise."""

from dataclasses import replace

from ckpt_archive.testing.simulation.mutants import worker
from ckpt_archive.testing.simulation.mutants.hunt import is_fine
from ckpt_archive.testing.simulation.mutants.mutant import Mutant
from ckpt_archive.testing.simulation.mutants.table import TESTS, Finding

MOST_SEEDS = 3_000
"""In how many lives a mutant is looked for."""

_SELDOM = 20
_PATIENCE_SECONDS = 600.0


def find(mutant: Mutant, seeds: int = MOST_SEEDS, *, known: Finding | None = None) -> Finding | None:
    """What finds a mutant; None if nothing does.

    Args:
        mutant: Which.
        seeds: In the lives of how many seeds it is looked for.
        known: What has found it before: that life is tried first.

    Raises:
        RuntimeError: If it could not be looked for: most likely its patch does not fit the sources any more.
    """
    found: Finding | None = None
    if known is not None and known.judge != TESTS and mutant.lives:
        found = _find(mutant, known.seed, known.seed + 1)
        if found is not None:
            return replace(found, lives=known.lives)
    elif known is not None and mutant.tests:
        found = _find_by_tests(mutant)
    if found is None and mutant.lives:
        # Where tests find it anyway, nobody waits long for a life that does.
        found = _find(mutant, 0, seeds // _SELDOM if mutant.tests else seeds)
    if found is None and mutant.tests:
        found = _find_by_tests(mutant)
    return found


def _find_by_tests(mutant: Mutant) -> Finding | None:
    # That these tests pass with the code as it is, everybody sees who runs all tests.
    answer = worker.ask(mutant.name, 0, 0, timeout_seconds=_PATIENCE_SECONDS)
    return None if answer is None else Finding.of(answer)


def _find(mutant: Mutant, first: int, end: int) -> Finding | None:
    lives = 0
    while first < end:
        answer = worker.ask(mutant.name, first, end - first, timeout_seconds=_PATIENCE_SECONDS)
        if answer is None:
            return None
        found = Finding.of(answer)
        lives += found.lives
        if is_fine(mutant, found.seed):
            return replace(found, lives=lives)
        first = found.seed + 1
    return None
