"""What the search would find: every mutant is found, in a life in which the code as it is breaks no promise."""

import pytest

from ckpt_archive.testing.simulation.mutants.find import find
from ckpt_archive.testing.simulation.mutants.mutant import Mutant, PatchError, load_all
from ckpt_archive.testing.simulation.mutants.table import DOCUMENT, document, load_found

MUTANTS = load_all()
FOUND = load_found()


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if not mutant.equivalent], ids=str)
def test_a_mistake_that_somebody_could_make_is_found(mutant: Mutant) -> None:
    known = FOUND.get(mutant.name)
    assert find(mutant, known=known) is not None, f"nothing finds out that: {mutant.mistake}"


def test_there_are_mutants_of_every_part() -> None:
    assert {mutant.room for mutant in MUTANTS} == {"agent", "commit", "restore", "ring", "seal", "transfer"}
    assert len([mutant for mutant in MUTANTS if mutant.lives]) > 50
    for mutant in MUTANTS:
        assert mutant.mistake.endswith(".")
        assert mutant.cost.endswith(".")


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.equivalent], ids=str)
def test_patches_of_equivalent_mutants_fit_too(mutant: Mutant) -> None:
    assert mutant.sources()


def test_a_patch_that_does_not_fit_is_an_error() -> None:
    mutant = MUTANTS[0]
    (first, *_) = mutant.changes
    twice = Mutant("seal/twice", "", "", (first, first))
    with pytest.raises(PatchError, match="0 times"):
        twice.sources()


def test_the_table_says_what_is_recorded() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document()
