"""The promises of the whole product where a node loses power at any one of its I/Os, before it or after it."""

import pytest

from ckpt_archive.testing.simulation.faults import Crash
from ckpt_archive.testing.simulation.lives import BRIEF, brief_life, brief_options_of
from ckpt_archive.testing.simulation.search import every_crash_point


@pytest.mark.parametrize("seed", BRIEF)
def test_no_promise_is_broken_wherever_a_life_breaks_off(seed: int) -> None:
    tally = every_crash_point(brief_life, seed, brief_options_of(seed), Crash.NODE)
    assert tally.lives > 100
