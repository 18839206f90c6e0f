"""The promises of the whole product where recovery itself is broken off: a crash, and another one soon after it."""

from dataclasses import replace

import pytest

from ckpt_archive.testing.simulation.faults import Crash, CrashPoint, Options
from ckpt_archive.testing.simulation.lives import brief_life, brief_options_of
from ckpt_archive.testing.simulation.search import crash_points, run_life

SEEDS = (1, 3, 5, 7, 9, 11, 13, 17, 19, 21, 23, 35, 43, 49, 51)
"""Brief lives in which somebody begins again after a crash."""

FIRST = 8
SECOND = 8
SOON_IOS = 150


@pytest.mark.parametrize("what", Crash)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_is_broken_where_recovery_breaks_off_too(seed: int, what: Crash) -> None:
    usual = brief_options_of(seed)
    pairs = 0
    for first in spread(points(seed, usual, what, 0), FIRST, seed):
        broken = replace(usual, crashes=(first,))
        for second in spread(points(seed, broken, what, first.io), SECOND, seed + first.io):
            run_life(brief_life, seed, replace(usual, crashes=(first, second)))
            pairs += 1
    assert pairs > FIRST


def points(seed: int, options: Options, what: Crash, after_io: int) -> list[CrashPoint]:
    """Where the life could be broken off; after an earlier crash soon after it, before there was calm."""
    world = run_life(brief_life, seed, options, trace=True)
    calm_io = world.calm_after_io or world.ios
    until_io = min(calm_io, after_io + SOON_IOS) if after_io else calm_io
    return list(crash_points(world.trace or (), what, after_io=after_io, until_io=until_io))


def spread(items: list[CrashPoint], count: int, seed: int) -> list[CrashPoint]:
    """At most so many of them, evenly spread; other ones for another seed."""
    stride = max(1, len(items) // count)
    return items[seed % stride :: stride][:count]
