"""What "latest" answers, and what it costs."""

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import Standing, latest, standing
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import IntegrityError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request


def begin(store: Store, key: str, ended: bool = False) -> int:
    asked = LaunchRequest(ARCHIVE_ID, "run", key, 1, NOON, ended=ended, maybe_recorded=False)
    return open_launch(store, asked, lambda now: Resumption(now.head, explicit=False)).attempt


def commit(store: Store, attempt: int, step: int) -> None:
    """Only that the manifest is there matters here: nobody reads it."""
    store.create(layout.manifest("run", attempt, step), Body.of(b"{}"))


def cost_of_latest(store: Store) -> dict[str, int]:
    counting = CountingStore(store)
    latest(counting, "run")
    return dict(counting.requests)


def cost_of_launch(store: Store, key: str) -> dict[str, int]:
    """Two objects are created: the marker, and the record that it names."""
    counting = CountingStore(store)
    begin(counting, key)
    return dict(counting.requests)


def test_a_run_that_never_began_has_no_latest() -> None:
    assert standing(MemoryStore(), "run") == Standing(None, None)


def test_uncommitted_steps_are_not_seen() -> None:
    store = MemoryStore()
    begin(store, "a")
    store.create(layout.receipt("run", 0, 100, 0), Body.of(b"{}"))
    assert latest(store, "run") is None


def test_a_run_whose_name_begins_like_another_is_another() -> None:
    store = MemoryStore()
    begin(store, "a")
    store.create(layout.manifest("run-2", 0, 5), Body.of(b"{}"))
    store.create(layout.manifest("run", 0, 3), Body.of(b"{}"))
    assert latest(store, "run") == Place("run", 0, 3)


@pytest.mark.parametrize("count", [3, 3_000])
def test_latest_costs_the_same_after_3_and_3000_checkpoints(count: int) -> None:
    store = MemoryStore()
    begin(store, "a")
    for step in range(count):
        commit(store, 0, step)
    assert latest(store, "run") == Place("run", 0, count - 1)
    assert cost_of_latest(store) == {"list": 2, "read": 1}
    assert cost_of_launch(store, "b") == {"list": 2, "read": 1, "create": 2}


@pytest.mark.parametrize("count", [3, 3_000])
def test_latest_costs_the_same_after_3_and_3000_launches_that_committed_nothing(count: int) -> None:
    store = MemoryStore()
    begin(store, "first")
    commit(store, 0, 100)
    for index in range(count):
        begin(store, f"empty-{index}")
    assert latest(store, "run") == Place("run", 0, 100)
    assert cost_of_latest(store) == {"list": 2, "read": 2}
    assert cost_of_launch(store, "next") == {"list": 2, "read": 2, "create": 2}


@pytest.mark.parametrize("count", [3, 300])
def test_latest_costs_the_same_after_3_and_300_late_launches(count: int) -> None:
    clock = ManualClock()
    clock.sleep(60)
    store = MemoryStore(clock=clock)
    begin(store, "first")
    commit(store, 0, 100)
    begin(store, "empty")
    for index in range(count):
        late = begin(store, f"late-{index}", ended=True)
        commit(store, late, 1_000 + index)
    assert latest(store, "run") == Place("run", 0, 100)
    assert cost_of_latest(store) == {"list": 2, "read": 3}
    assert cost_of_launch(store, "next") == {"list": 2, "read": 3, "create": 2}
    assert latest(store, "run") == Place("run", 0, 100)
    assert cost_of_latest(store) == {"list": 3, "read": 3}


def test_latest_after_a_roll_back_does_not_look_at_what_was_abandoned() -> None:
    store = MemoryStore()
    begin(store, "a")
    commit(store, 0, 100)
    commit(store, 0, 200)
    asked = LaunchRequest(ARCHIVE_ID, "run", "b", 1, NOON)
    open_launch(store, asked, lambda _: Resumption(Place("run", 0, 100), explicit=True))
    assert latest(store, "run") == Place("run", 0, 100)
    assert cost_of_latest(store) == {"list": 2, "read": 1}


def test_a_checkpoint_committed_after_the_next_launch_began_is_still_found() -> None:
    """The agent of the launch before goes on archiving."""
    store = MemoryStore()
    begin(store, "a")
    commit(store, 0, 100)
    begin(store, "b")
    commit(store, 0, 200)
    assert latest(store, "run") == Place("run", 0, 200)


def test_a_first_checkpoint_committed_after_the_next_launch_began_is_still_found() -> None:
    store = MemoryStore()
    begin(store, "a")
    begin(store, "b")
    begin(store, "c")
    commit(store, 1, 100)
    assert latest(store, "run") == Place("run", 1, 100)


def test_a_late_launch_that_commits_while_somebody_looks_does_not_answer() -> None:
    clock = ManualClock()
    clock.sleep(60)
    store = MemoryStore(clock=clock)
    begin(store, "a")
    commit(store, 0, 100)

    def before(request: Request) -> None:
        if request.number == 2:
            commit(store, begin(store, "late", ended=True), 900)

    hooked = HookedStore(store, before=before)
    assert latest(hooked, "run") == Place("run", 0, 100)
    assert len(hooked.requests) == 4


def test_a_checkpoint_without_a_launch_is_an_error_that_names_it() -> None:
    store = MemoryStore()
    begin(store, "a")
    commit(store, 0, 100)
    begin(store, "b")
    store.delete(layout.attempt_record("run", 0))
    with pytest.raises(IntegrityError, match=r"run step 100 \(attempt 0\) is committed"):
        latest(store, "run")


def test_manifests_that_vanished_are_an_error_and_not_a_new_beginning() -> None:
    store = MemoryStore()
    begin(store, "a")
    commit(store, 0, 100)
    begin(store, "b")
    store.delete(layout.manifest("run", 0, 100))
    with pytest.raises(IntegrityError, match="attempt 0 of run had checkpoints"):
        latest(store, "run")


def test_something_else_among_the_manifests_is_an_error_that_names_it() -> None:
    store = MemoryStore()
    begin(store, "a")
    commit(store, 0, 100)
    store.create(layout.manifests_folder("run", 0) + "000000000000.bundle", Body.of(b"{}"))
    with pytest.raises(IntegrityError, match="bundle"):
        latest(store, "run")
