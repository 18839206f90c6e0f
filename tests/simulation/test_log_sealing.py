"""The log in simulated lives: several sealers beside writers, everybody killed and begun again, answers lost or late."""

from dataclasses import replace

import pytest

from ckpt_archive.testing.simulation.faults import Options
from ckpt_archive.testing.simulation.sealing import NEVER, sealing_life
from ckpt_archive.testing.simulation.search import every_crash_point, search


def options(seed: int) -> Options:
    drawn = Options.drawn(seed, never=NEVER)
    # What a store that compares nothing lets pass lies wrong in it for good.
    return replace(drawn, checksums_enforced=True)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_whatever_happens_each_record_is_in_the_log_once(first: int) -> None:
    search(sealing_life, range(first, first + 50), options)


def test_wherever_somebody_is_killed_each_record_is_in_the_log_once() -> None:
    tally = every_crash_point(sealing_life, 3, Options(switch_chance=0.3))
    assert tally.lives > 100
