"""The promises of the whole product, over thousands of simulated lives and every place where one can break off."""

import subprocess
import sys
from collections import Counter

import pytest

from ckpt_archive.testing.simulation.faults import CANDIDATES, Crash, Options
from ckpt_archive.testing.simulation.lives import brief_life, brief_options_of, life, options_of
from ckpt_archive.testing.simulation.search import every_crash_point, run_life, search
from ckpt_archive.testing.simulation.world import World

SEEDS = 2_000
CHUNK = 100
BROKEN_OFF = 20


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    tally = search(life, range(first, first + CHUNK), options_of)
    assert tally.ios > 100 * CHUNK


@pytest.mark.parametrize("what", list(Crash))
@pytest.mark.parametrize("seed", range(BROKEN_OFF))
def test_no_promise_is_broken_wherever_a_life_breaks_off(seed: int, what: Crash) -> None:
    tally = every_crash_point(brief_life, seed, brief_options_of(seed), what)
    assert tally.lives > 100


def test_without_faults_everything_is_archived_and_nobody_is_told_of_an_error() -> None:
    for seed in range(30):
        with World(seed, Options(), trace=True) as world:
            life(world)
        complaints = [step for step in world.trace or () if step.kind.startswith("  meets")]
        allowed = ("UserError", "NotFoundError", "ConflictError", "CapacityError", "IntegrityError")
        assert all(step.kind.split()[-1] in allowed for step in complaints), f"seed {seed}: {complaints}"


def test_over_many_seeds_every_kind_of_fault_happens() -> None:
    tally = search(life, range(0, SEEDS, 5), options_of)
    kinds = Counter(kind for kind, _ in tally.faults)
    # Nothing in a life replaces a file, or deletes an object but the probe's.
    assert set(CANDIDATES) - set(kinds) <= {"disk.space", "disk.mount_kind", "disk.replace", "store.delete"}


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
