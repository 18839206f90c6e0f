"""The promises of the whole product, over thousands of simulated lives."""

import subprocess
import sys

import pytest

from ckpt_archive.testing.simulation.faults import CANDIDATES, Fault, Options
from ckpt_archive.testing.simulation.lives import life, options_of
from ckpt_archive.testing.simulation.search import run_life, search
from ckpt_archive.testing.simulation.world import World

SEEDS = 20_000
CHUNK = 500


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    tally = search(life, range(first, first + CHUNK), options_of)
    assert tally.ios > 100 * CHUNK


def test_where_nothing_goes_wrong_nobody_is_told_of_an_error() -> None:
    # What people do wrong themselves, or ask for too early, is told them all the same.
    allowed = {"UserError", "NotFoundError", "ConflictError", "CapacityError", "IntegrityError"}
    for seed in range(40):
        with World(seed, Options(), trace=True) as world:
            life(world)
        complaints = [step for step in world.trace or () if step.kind.startswith("  meets")]
        assert all(step.kind.split()[-1] in allowed for step in complaints), f"seed {seed}: {complaints}"


def test_over_many_seeds_everything_goes_wrong() -> None:
    tally = search(life, range(0, SEEDS, 10), options_of)
    assert {fault for _, fault in tally.faults} == set(Fault)
    assert len({kind for kind, _ in tally.faults}) > 0.75 * len(CANDIDATES)


@pytest.mark.parametrize("seed", range(10))
def test_a_seed_tells_the_same_story_again(seed: int) -> None:
    first = run_life(life, seed, options_of(seed), trace=True)
    assert run_life(life, seed, options_of(seed), trace=True).story() == first.story()
    assert run_life(life, seed, options_of(seed)).ios == first.ios


def test_a_story_does_not_depend_on_how_this_interpreter_hashes_text() -> None:
    script = (
        "import hashlib; from ckpt_archive.testing.simulation.lives import life, options_of; "
        "from ckpt_archive.testing.simulation.search import run_life; "
        "print(hashlib.sha256(''.join(run_life(life, seed, options_of(seed), trace=True).story() "
        "for seed in range(20)).encode()).hexdigest())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": number}, capture_output=True, check=True
        ).stdout
        for number in ("1", "2")
    }
    assert len(answers) == 1
