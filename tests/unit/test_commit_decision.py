"""Decisions: the first one stands, for everybody."""

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import GAP, PROMOTE, Action, Decision, decide, read_decision, read_decisions
from ckpt_archive.commit.marker import Marker, read_marker, store_time, write_marker
from ckpt_archive.errors import IntegrityError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, rewritten
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

KEY = layout.decision("run", 2, 100)


def decision(step: int = 100, action: Action = PROMOTE, by: str = "node-1", attempt: int = 2) -> Decision:
    return Decision(ARCHIVE_ID, "run", attempt, step, action, "milestone:best", by, NOON)


def test_a_decision_is_read_back_by_everybody() -> None:
    store = MemoryStore()
    assert decide(store, decision()) == decision()
    assert read_decision(store, "run", 2, 100) == decision()
    assert read_decision(store, "run", 2, 101) is None


def test_two_deciders_at_once_follow_the_first() -> None:
    store = MemoryStore()

    def before(request: Request) -> None:
        if (request.verb, request.key) == ("create", KEY):
            decide(store, decision(action=GAP, by="node-2"))

    assert decide(HookedStore(store, before=before), decision()) == decision(action=GAP, by="node-2")


def test_decision_landed_and_answer_was_lost() -> None:
    store = MemoryStore()

    def after(request: Request) -> None:
        if request.key == KEY:
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        decide(HookedStore(store, after=after), decision())
    assert decide(store, decision(action=GAP, by="node-2")) == decision()


def test_died_right_after_the_marker_of_a_decision() -> None:
    """Nothing was decided; whoever decides next decides."""
    store = MemoryStore()

    def after(request: Request) -> None:
        if request.key.startswith(layout.PENDING):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decide(HookedStore(store, after=after), decision())
    assert read_decision(store, "run", 2, 100) is None
    (key,) = keys(store)
    assert read_marker(content(store, key), key).record_key == KEY
    assert decide(store, decision(action=GAP, by="node-2")) == decision(action=GAP, by="node-2")


def test_marker_of_a_decision_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    store = MemoryStore(clock=ManualClock())

    def before(request: Request) -> None:
        if (request.verb, len(keys(store))) == ("create", 0):
            place = Place("run", 2, 100)
            write_marker(store, Marker.of_decision(ARCHIVE_ID, place, decision().encode()), store_time(store))

    hooked = HookedStore(store, before=before)
    assert decide(hooked, decision()) == decision()
    assert [request.verb for request in hooked.requests] == ["list", "create", "read", "create"]


def test_what_a_decision_costs() -> None:
    """A listing for the store's time, the marker, the decision; one that stands is read."""
    counting = CountingStore(MemoryStore())
    decide(counting, decision())
    assert counting.requests == {"list": 1, "create": 2}
    counting.reset()
    decide(counting, decision(action=GAP, by="node-2"))
    assert counting.requests == {"list": 1, "create": 2, "read": 1}


def test_all_decisions_of_an_attempt_and_those_after_a_step() -> None:
    store = MemoryStore()
    for step in (5, 100, 1_000):
        decide(store, decision(step, GAP if step == 100 else PROMOTE))
    decide(store, decision(7, attempt=3))
    found = read_decisions(store, "run", 2)
    assert {step: item.action for step, item in found.items()} == {5: PROMOTE, 100: GAP, 1_000: PROMOTE}
    counting = CountingStore(store)
    assert set(read_decisions(counting, "run", 2, after=100)) == {1_000}
    assert counting.requests == {"list": 1, "read": 1}


def test_a_decision_under_another_key_is_refused() -> None:
    store = MemoryStore()
    store.create(layout.decision("run", 2, 101), Body.of(decision(100).encode()))
    with pytest.raises(IntegrityError, match="step 100"):
        read_decision(store, "run", 2, 101)


def test_an_action_that_is_not_known_is_refused() -> None:
    data = rewritten(decision().encode(), b'"promote"', b'"perhaps"')
    with pytest.raises(IntegrityError, match="perhaps"):
        Decision.decode(data, "it")
