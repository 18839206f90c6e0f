"""The rule of what a new launch goes on from, against the same in a few words.

The newest launch that has a checkpoint anywhere answers with its newest one; a launch whose start was chosen, and that has
none, answers with what was chosen; nothing older than that is looked at.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import standing
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, Origin, PastLaunch, choose, choose_offline
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, ManualClock

At = tuple[int, int]
"""(launch, step)."""


@dataclass
class Past:
    chosen: At | None = None
    ring: set[int] = field(default_factory=set)
    archived: set[int] = field(default_factory=set)


def by_word(history: list[Past], *, archive: bool = True) -> At | None:
    for number in range(len(history) - 1, -1, -1):
        launch = history[number]
        steps = launch.ring | (launch.archived if archive else set())
        if steps:
            return number, max(steps)
        if launch.chosen is not None:
            return launch.chosen
    return None


@st.composite
def histories(draw: st.DrawFn, *, everything_stays: bool = False) -> list[Past]:
    """Launches on one node, one after the other; what the ring still holds of each, and what the archive."""
    history: list[Past] = []
    for _ in range(draw(st.integers(0, 6))):
        known = [(number, step) for number, past in enumerate(history) for step in past.ring | past.archived]
        chosen = draw(st.sampled_from(known)) if known and draw(st.integers(0, 3)) == 0 else None
        saved = draw(st.sets(st.integers(1, 9), max_size=4))
        archived = draw(st.sets(st.sampled_from(sorted(saved)))) if saved else set()
        ring = saved if everything_stays else draw(st.sets(st.sampled_from(sorted(saved)))) if saved else set()
        history.append(Past(chosen, set(ring), set(archived)))
    return history


def points_of(history: list[Past]) -> list[LocalPoint]:
    return [LocalPoint(number, number, step) for number, past in enumerate(history) for step in sorted(past.ring)]


@given(histories())
def test_with_the_archive(history: list[Past]) -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    for number, past in enumerate(history):
        clock.sleep(60)
        # Without a choice, as `choose` says; the record is about that, so it need not be true to the ring of later.
        came_from = past.chosen or by_word(history[:number])
        place = None if came_from is None else Place("run", *came_from)
        request = LaunchRequest(ARCHIVE_ID, "run", f"key-{number}", 1, clock.now(), maybe_recorded=False)
        resumption = Resumption(place, explicit=past.chosen is not None)
        assert open_launch(store, request, lambda _, chosen=resumption: chosen).attempt == number  # type: ignore[misc]
        for step in past.archived:
            store.create(layout.manifest("run", number, step), Body.of(b"a manifest"))
    answer = choose(points_of(history), standing(store, "run"))
    expected = by_word(history)
    if expected is None:
        assert answer is None
    elif expected[1] in history[expected[0]].ring:
        assert answer == LocalPoint(expected[0], expected[0], expected[1])
    else:
        assert answer == Place("run", *expected)


@given(histories(everything_stays=True), st.booleans())
def test_without_the_archive_where_everything_is_still_here(history: list[Past], numbered: bool) -> None:
    points = points_of(history)
    if not numbered:
        points = [LocalPoint(point.launch, None, point.step) for point in points]
    launches = []
    for number, past in enumerate(history):
        came_from = past.chosen or by_word(history[:number])
        origin = None if came_from is None else Origin(came_from[0], None, came_from[1], past.chosen is not None)
        launches.append(PastLaunch(number, origin))
    expected = by_word(history)
    if expected is None:
        with pytest.raises(UnavailableError):
            choose_offline(points, launches)
    else:
        answer = choose_offline(points, launches)
        assert (answer.launch, answer.step) == expected


@given(histories())
def test_without_the_archive_nothing_is_answered_that_is_not_here(history: list[Past]) -> None:
    launches = []
    for number, past in enumerate(history):
        came_from = past.chosen or by_word(history[:number])
        origin = None if came_from is None else Origin(None, came_from[0], came_from[1], past.chosen is not None)
        launches.append(PastLaunch(number, origin))
    try:
        answer = choose_offline(points_of(history), launches)
    except UnavailableError:
        return
    assert answer in points_of(history)
    # Never from before the last choice, but for what was chosen.
    branch = max((number for number, past in enumerate(history) if past.chosen is not None), default=0)
    assert answer.launch >= branch or (answer.launch, answer.step) == history[branch].chosen


def test_launches_that_the_archive_has_not_heard_of_are_the_newest() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    request = LaunchRequest(ARCHIVE_ID, "run", "key-0", 1, clock.now())
    open_launch(store, request, lambda _: Resumption(None, explicit=False))
    store.create(layout.manifest("run", 0, 900), Body.of(b"a manifest"))
    numbered, unheard_of = LocalPoint(0, 0, 900), LocalPoint(1, None, 20)
    assert choose([numbered, unheard_of], standing(store, "run")) == unheard_of
    # But not if this node has had a launch with a number since.
    later = LocalPoint(2, 0, 900)
    assert choose([unheard_of, later], standing(store, "run")) == later
