"""What the search would find: each mistake is found, within lives in which the code as it is does nothing wrong."""

import pytest

from ckpt_archive.testing.simulation.lives import life
from ckpt_archive.testing.simulation.planted import MISTAKES, Mistake, planted
from ckpt_archive.testing.simulation.search import run_life

MOST_SEEDS = 1_500


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_planted_mistake_is_found(mistake: Mistake) -> None:
    with planted(mistake):
        seed = next((seed for seed in range(MOST_SEEDS) if not _is_fine(mistake, seed)), None)
    assert seed is not None, f"{MOST_SEEDS} lives passed although {mistake}"
    assert _is_fine(mistake, seed)


def _is_fine(mistake: Mistake, seed: int) -> bool:
    try:
        run_life(life, seed, mistake.options_of(seed))
    except AssertionError:
        return False
    return True
