"""Every call of every operation fails, in every way it can, once and for good: the first, the last and one in between.

`python -m ckpt_archive.testing.failing` does it at every single call, and writes the table of `docs/failures.md`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_archive.testing import failing
from ckpt_archive.testing.simulation.failing import Sweep, places_of, some_of, sweep
from ckpt_archive.testing.simulation.faults import CANDIDATES, Fault
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.operations import MEANINGS, OPERATIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"
MOST = 3


@pytest.fixture(scope="module")
def found() -> Iterator[Sweep]:
    logging.disable(logging.CRITICAL)
    yield sweep(most=MOST)
    logging.disable(logging.NOTSET)


def test_no_promise_is_broken_wherever_something_fails(found: Sweep) -> None:
    told = "\n\n".join(f"{broken.place}\n{broken.what}\n{broken.story}" for broken in found.broken)
    assert not found.broken, told


def test_every_cell_is_visited(found: Sweep) -> None:
    with remembering():
        for operation in OPERATIONS:
            cells = {(place.operation, place.fault, place.lasts, place.kind) for place in places_of(operation)}
            assert cells == {key for key in found.outcomes if key[0] == operation.name}
    assert {fault for _, fault, _, _ in found.outcomes} == set(Fault)
    # Nothing here deletes an object that others could see, or moves one to another root: that is for retention.
    retention = {"store.delete", "disk.make_symlink", "disk.read_symlink", "disk.set_modified"}
    assert set(CANDIDATES) - {kind for _, _, _, kind in found.outcomes} <= {"disk.link", "disk.replace", *retention}


def test_who_fails_once_where_it_is_tried_again_does_it_all_the_same(found: Sweep) -> None:
    tried_again = (Fault.UNAVAILABLE, Fault.ANSWER_LOST, Fault.THROTTLED, Fault.CUT_BODY, Fault.CONTENDED, Fault.TAKEN)
    for operation in OPERATIONS:
        for fault in tried_again:
            outcomes = found.cell(operation.name, fault, lasts=False, side="store.")
            assert set(outcomes) <= {"done"}, f"{operation.name}, {fault.name}: {outcomes}"


def test_no_save_ever_waits_for_the_network_or_raises(found: Sweep) -> None:
    saves = {key: outcomes for key, outcomes in found.outcomes.items() if key[0] == "save"}
    assert all(kind.startswith("disk.") for _, _, _, kind in saves)
    assert {outcome for outcomes in saves.values() for outcome in outcomes} <= {"done", "unsaved", "user's"}


def test_the_document_says_what_comes_of_it(found: Sweep) -> None:
    """Also which cells there are; a cell may say more, for there every call has failed."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert failing.legend() in text
    expected = failing.tables(found).splitlines()
    start = text.splitlines().index(expected[0])
    said = text.splitlines()[start : start + len(expected)]
    again = "run: python -m ckpt_archive.testing.failing --write docs/failures.md"
    for mine, line in zip(expected, said, strict=True):
        for cell, there in zip(mine.split("|"), line.split("|"), strict=True):
            assert {*cell.strip().split(", ")} <= {*there.strip().split(", ")}, f"{line}\n{again}"


def test_some_places_are_the_first_the_last_and_what_lies_between() -> None:
    with remembering():
        places = places_of(OPERATIONS[0])
    chosen = [
        place.skip for place in some_of(places, 3) if (place.kind, place.fault.name) == ("disk.stat", "READ_ERROR")
    ]
    last = max(place.skip for place in places if place.kind == "disk.stat")
    assert chosen == [0, round(last / 2), last] * 2


def test_the_words_of_the_table_are_explained() -> None:
    assert all(word.islower() and meaning for word, meaning in MEANINGS.items())
