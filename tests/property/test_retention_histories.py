"""Histories of retention: whatever happens, and whoever dies, nothing ends too soon; and all that should ends at last."""

import os

import pytest

from ckpt_archive.testing.retained.drawing import draw
from ckpt_archive.testing.retained.exhaustive import Case, cases, every_request
from ckpt_archive.testing.retained.life import Tally, live
from ckpt_archive.testing.retained.mistakes import MISTAKES, Planted, find

SEEDS = int(os.environ.get("RETENTION_SEEDS", "60"))
EACH = 12
CASES = list(cases())


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_nothing_ends_too_soon_and_all_at_last(first: int) -> None:
    total = Tally()
    for seed in range(first, min(SEEDS, first + EACH)):
        total.add(live(draw(seed)))
    assert total.counts["deletions"] > 0
    assert total.counts["ended"] > 0
    assert total.checked > 0


@pytest.mark.parametrize("case", CASES[:: 1 if "RETENTION_SEEDS" in os.environ else 23], ids=str)
def test_whoever_is_broken_off_at_any_request_leaves_nothing_that_is_listed_and_lost(case: Case) -> None:
    assert every_request(case).interrupted > 0


@pytest.mark.parametrize("item", MISTAKES, ids=str)
def test_a_mistake_that_somebody_could_make_is_found(item: Planted) -> None:
    assert find(item, 60) is not None, f"no history finds out that somebody {item}"


def test_a_seed_tells_the_same_history_again() -> None:
    assert draw(5) == draw(5)
    assert live(draw(5)) == live(draw(5))
