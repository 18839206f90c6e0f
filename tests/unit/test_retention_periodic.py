"""The step of maintenance: once a day, by many, broken off anywhere, by the policy in force."""

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.report import State, StepReport
from ckpt_archive.maintain.retaining import retain
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.retaining import POLICY, Archived, policy


@pytest.fixture
def archived() -> Archived:
    """A policy is in force, and there is something to do."""
    found = Archived()
    found.commit_many(3)
    found.apply()
    found.commit_many(3, first=4, hours=0.1)
    found.commit_many(4, run="run-b", hours=0.1)
    return found


def step(archived: Archived, connection: Connection | None = None, *, seconds: float = 600) -> StepReport:
    return retain(archived.machine, connection or archived.connection, Budget(archived.clock, seconds))


def test_where_no_policy_was_applied_nothing_is_done() -> None:
    archived = Archived()
    archived.commit_many(5)
    store = HookedStore(archived.store)
    report = step(archived, archived.connect(store))
    assert (report.state, report.did) == (State.NOTHING, "")
    assert [(request.verb, request.key) for request in store.requests] == [("list", layout.APPLIED)]


def test_a_day_is_gone_through_once(archived: Archived) -> None:
    report = step(archived)
    assert (report.state, report.did) == (State.DONE, "5 checkpoints announced, 5 checkpoints tagged")
    store = HookedStore(archived.store)
    assert step(archived, archived.connect(store)).state is State.NOTHING
    assert [request.verb for request in store.requests] == ["list", "read", "head"]
    archived.later(days=1)
    assert step(archived).did == ""
    assert not archived.plan().runs


def test_another_policy_is_gone_through_on_the_same_day(archived: Archived) -> None:
    step(archived)
    archived.apply(policy(POLICY.replace("14d", "15d")))
    archived.commit_many(1, first=20)
    assert step(archived).did == "1 checkpoints announced, 1 checkpoints tagged"


def test_a_policy_file_that_nobody_applied_does_nothing(archived: Archived) -> None:
    step(archived)
    archived.later(days=1)
    assert archived.plan(policy(POLICY.replace('"2d"', '"1d"'))).runs
    assert step(archived).did == ""


def test_what_there_was_no_time_for_is_left(archived: Archived) -> None:
    def slow(request: Request) -> None:
        if "-ends-" in request.key:
            archived.later(minutes=20)

    report = step(archived, archived.connect(HookedStore(archived.store, after=slow)))
    assert report.state is State.LEFT
    assert report.left == "2 runs are to be gone through"
    report = step(archived)
    assert report.state is State.DONE
    assert not archived.plan().runs


def test_two_at_once_share_the_runs(archived: Archived) -> None:
    seen: list[StepReport] = []

    def other(request: Request) -> None:
        if "-ends-" in request.key and not seen:
            seen.append(StepReport.of("", ()))
            seen.append(step(archived))

    first = step(archived, archived.connect(HookedStore(archived.store, before=other)))
    assert [first.did, seen[1].did] == [
        "3 checkpoints announced, 3 checkpoints tagged",
        "2 checkpoints announced, 2 checkpoints tagged",
    ]
    assert len(archived.events("ending")) == 3  # one of the apply
    assert step(archived).did == ""
    assert not archived.plan().runs


def test_who_died_in_a_run_is_relieved_after_an_hour(archived: Archived) -> None:
    class Death(BaseException):
        pass

    def die(request: Request) -> None:
        if "-ends-" in request.key:
            raise Death

    with pytest.raises(Death):
        step(archived, archived.connect(HookedStore(archived.store, before=die)))
    report = step(archived)
    assert report.did == "2 checkpoints announced, 2 checkpoints tagged"
    archived.later(hours=1.1)
    assert step(archived).did == "3 checkpoints announced, 3 checkpoints tagged"
    assert not archived.plan().runs


def test_marks_of_days_that_are_over_are_removed(archived: Archived) -> None:
    for _ in range(3):
        step(archived)
        archived.later(days=1)
    step(archived)
    today = archived.clock.now().date()
    assert [info.key for info in list_all(archived.store, layout.RETENTION_DAYS)] == [layout.retention_day(today, 1)]
    keys = [info.key for info in list_all(archived.store, layout.RETENTION_RUNS)]
    assert len(keys) == 4
    assert all(key.startswith(layout.retention_runs(today, 1)) for key in keys)


def test_one_broken_run_does_not_stop_the_others(archived: Archived) -> None:
    archived.store.delete(layout.attempt_record("run-a", 0))
    report = step(archived)
    assert report.did == "2 checkpoints announced, 2 checkpoints tagged"
    assert (report.findings, report.state) == (1, State.LEFT)
    assert "run-a: nothing is done with it" in report.left


def test_a_policy_that_was_changed_in_the_store_is_not_carried_out(archived: Archived) -> None:
    archived.store.delete(layout.policy(policy().sha256))
    with pytest.raises(IntegrityError, match="the policy in force, is missing"):
        step(archived)


def test_years_of_maintenance() -> None:
    """Everything comes to the end that its class says, and the rest stays."""
    archived = Archived()
    kept = archived.commit(50, milestone="v1")
    archived.apply()
    ordinal = 0
    for _ in range(30):
        for _ in range(6):
            ordinal += 1
            archived.commit(ordinal * 100, ordinal=ordinal)
            archived.later(hours=4)
        step(archived)
        archived.engine()
    left = [place for place in archived.committed() if archived.keys(place)]
    assert kept in left
    steps = sorted(place.step // 100 for place in left if place != kept)
    assert steps[-2:] == [ordinal - 1, ordinal]
    hourly = [number for number in steps if number % 12 == 0]
    assert hourly[0] * 4 > (ordinal * 4 - 17 * 24)
    assert all(number % 12 == 0 or number * 4 > ordinal * 4 - 5 * 24 for number in steps)
    ended = [place for place in archived.committed() if archived.fate(place).has_ended]
    assert len(ended) > 120
    assert Place("run-a", 0, 100) in ended
