"""The periodic pass: what it does, what it leaves, what it costs, and what happens when it is killed."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.committing import try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.marks import is_marked, mark
from ckpt_archive.errors import ConflictError, DeniedError, IntegrityError, UnavailableError
from ckpt_archive.log.batch import Batch
from ckpt_archive.log.looking import Keep, forget
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.maintaining import maintain, sync
from ckpt_archive.maintain.marks import forget_old
from ckpt_archive.maintain.report import MaintainReport, State, StepReport
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, StoreLimits, list_all
from ckpt_archive.testing.archives import connected, keys, put
from ckpt_archive.testing.checkpoints import (
    ARCHIVE_ID,
    INLINE,
    ManualClock,
    archive_files,
    contribute_files,
    contribution_of,
)
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights"}
OLD = Place("run-a", 0, 100)
DEAD = Place("run-a", 0, 200)


class Death(BaseException):
    """What nobody catches."""


class Scene:
    """An archive whose clock moves when it is told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bare = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)
        self.counting = CountingStore(self.bare)
        self.machine = local_machine(clock=self.clock)
        connected(self.bare)

    def maintain(self, store: Store | None = None, seconds: float = 600.0, **said: object) -> MaintainReport:
        connection = connected(store or self.counting)
        return maintain(self.machine, connection, budget_seconds=seconds, **said)  # type: ignore[arg-type]

    def later(self, **passed: float) -> None:
        self.clock.sleep(timedelta(**passed).total_seconds())

    def commit(self, place: Place = OLD) -> None:
        archive_files(self.bare, place, FILES)

    def die_before_the_marker(self, place: Place = DEAD, writers: int = 1) -> None:
        """The last receipt is there, and nothing else."""
        contribute_files(self.bare, place, FILES, contribution=contribution_of(writers))

    def die_before_the_manifest(self, place: Place = DEAD) -> None:
        contributed = contribute_files(self.bare, place, FILES)

        def die(request: Request) -> None:
            if request.verb == "create" and request.key.startswith(layout.MANIFESTS):
                raise Death

        store = HookedStore(self.bare, before=die)
        with pytest.raises(Death):
            try_commit(store, INLINE, place, archive_id=ARCHIVE_ID, writers=1, own={0: contributed.data})

    def sealed(self) -> list[str]:
        """The keys of all entries of the log."""
        batches = [
            Batch.decode(self.bare.read(info.key, limit_bytes=1 << 20).data, info.key)
            for info in list_all(self.bare, layout.SEQUENCE)
        ]
        return [entry.key for batch in batches for entry in batch.entries]

    def is_committed(self, place: Place) -> bool:
        key = layout.manifest(place.run, place.attempt, place.step)
        return bool(list_all(self.bare, key))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def states(report: MaintainReport) -> dict[str, State]:
    return {step.step: step.state for step in report.steps}


@dataclass
class FakeIndex:
    """What is done for an index: it notes that it was asked."""

    fails: dict[str, Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    keep: Keep = forget

    def _do(self, step: str) -> StepReport:
        self.asked.append(step)
        if step in self.fails:
            raise self.fails[step]
        return StepReport.of(step, ["something"])

    def project(self, machine: Machine, connection: Connection, newest: int, budget: Budget) -> StepReport:
        del machine, connection, newest, budget
        return self._do("index")

    def compact(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        del machine, connection, budget
        return self._do("compact")

    def vacuum(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        del machine, connection, budget
        return self._do("vacuum")


# --- what it does ----------------------------------------------------------------------------------------------------------


def test_what_was_committed_comes_into_the_log(scene: Scene) -> None:
    scene.commit()
    report = scene.maintain()
    assert states(report) == {
        "log": State.DONE,
        "commits": State.NOTHING,
        "index": State.NOTHING,
        "retention": State.NOTHING,
    }
    assert report.steps[0].did == "1 records sealed"
    assert scene.sealed() == [layout.manifest("run-a", 0, 100)]
    assert "pip install 'ckpt-archive[index]'" in report.steps[2].left


def test_an_archive_in_which_nothing_ever_happened(scene: Scene) -> None:
    report = scene.maintain()
    assert report.findings == 0
    assert report.errors == ()
    assert states(report)["commits"] is State.NOTHING


def test_the_index_is_worked_on_after_the_log(scene: Scene) -> None:
    index = FakeIndex()
    seen: list[StepReport] = []
    report = scene.maintain(index=index, on_step=seen.append)
    assert index.asked == ["index", "compact", "vacuum"]
    assert tuple(seen) == report.steps
    assert [step.step for step in seen] == ["log", "commits", "index", "compact", "vacuum", "retention"]


def test_a_sync_is_a_part_of_it(scene: Scene) -> None:
    scene.commit()
    index = FakeIndex()
    report = sync(scene.machine, connected(scene.bare), index=index)
    assert [step.step for step in report.steps] == ["log", "index"]
    assert index.asked == ["index"]
    assert len(scene.sealed()) == 1


# --- commits whose committer died ------------------------------------------------------------------------------------------


def test_a_commit_whose_committer_died_before_the_manifest_is_finished(scene: Scene) -> None:
    scene.commit()
    scene.die_before_the_manifest()
    scene.maintain()
    assert not scene.is_committed(DEAD)
    scene.later(minutes=11)
    report = scene.maintain()
    assert scene.is_committed(DEAD)
    assert "run-a step 200" in report.steps[1].did
    assert scene.sealed() == [layout.manifest("run-a", 0, step) for step in (100, 200)]


def test_it_is_found_below_the_newest_checkpoint_too(scene: Scene) -> None:
    scene.die_before_the_manifest(Place("run-a", 0, 50))
    scene.commit()
    scene.later(minutes=11)
    scene.maintain()
    assert scene.is_committed(Place("run-a", 0, 50))


def test_a_commit_whose_committer_died_before_the_marker_is_finished_when_its_attempt_is_quiet(scene: Scene) -> None:
    scene.commit()
    scene.die_before_the_marker()
    scene.maintain()
    scene.later(minutes=14)
    scene.maintain()
    assert not scene.is_committed(DEAD)
    scene.later(minutes=1)
    report = scene.maintain()
    assert scene.is_committed(DEAD)
    assert report.findings == 0
    assert scene.sealed() == [layout.manifest("run-a", 0, step) for step in (100, 200)]


def test_what_awaits_other_writers_is_left_to_them(scene: Scene) -> None:
    scene.commit()
    scene.die_before_the_marker(writers=2)
    scene.maintain()
    scene.later(minutes=20)
    report = scene.maintain()
    assert not scene.is_committed(DEAD)
    assert report.findings == 0
    assert states(report)["commits"] is State.NOTHING


def test_what_can_not_be_committed_is_a_finding_and_stops_nothing(scene: Scene) -> None:
    scene.commit()
    scene.die_before_the_marker()
    other = Place("run-a", 0, 300)
    scene.die_before_the_marker(other)
    put(scene.bare, layout.receipt("run-a", 0, 200, 0), b"no receipt")
    scene.maintain()
    scene.later(minutes=20)
    report = scene.maintain()
    assert report.findings == 1
    assert "run-a step 200" in report.steps[1].left
    assert scene.is_committed(other)


def test_an_attempt_that_has_been_quiet_for_long_is_looked_at_once_a_day(scene: Scene) -> None:
    scene.commit()
    scene.maintain()
    scene.die_before_the_marker()
    for hours in range(5, 24, 5):
        scene.later(hours=5)
        scene.maintain()
        assert not scene.is_committed(DEAD), hours
    # Something new, so that the sweep is due and told.
    scene.later(hours=4.5)
    scene.commit(Place("run-b", 0, 1))
    scene.maintain()
    assert scene.is_committed(DEAD)


def test_a_marker_that_can_not_be_read_is_the_logs_to_tell_of(scene: Scene) -> None:
    scene.die_before_the_manifest()
    scene.later(minutes=11)
    scene.maintain(HookedStore(scene.bare))
    marker = next(info.key for info in list_all(scene.bare, layout.PENDING))
    assert scene.is_committed(DEAD)
    put(scene.bare, marker, b"no marker")
    scene.later(minutes=11)
    assert scene.maintain().errors == ()


# --- costs -----------------------------------------------------------------------------------------------------------------


def test_an_idle_pass_costs_three_listings_and_a_few_reads(scene: Scene) -> None:
    for step in range(1, 51):
        scene.commit(Place("run-a", 0, step))
        scene.maintain()
        scene.later(minutes=5)
    scene.later(hours=3)
    scene.maintain()
    scene.counting.reset()
    report = scene.maintain()
    requests = scene.counting.requests
    assert all(step.state is State.NOTHING for step in report.steps)
    assert requests["list"] <= 3  # one of them for the retention policy in force
    # The archive's record, the newest batch for each of two steps, and those of two hours before it, one every five minutes.
    assert requests["read"] <= 3 + 24, requests
    assert requests["head"] <= 12  # to find the end of 50 batches without a hint
    assert requests["create"] == 1  # of the test: connecting makes sure that this is an archive
    assert set(requests) == {"list", "read", "head", "create"}


# --- budget ----------------------------------------------------------------------------------------------------------------


def test_without_time_nothing_is_begun_and_all_is_left(scene: Scene) -> None:
    scene.commit()
    index = FakeIndex()
    report = scene.maintain(seconds=0, index=index)
    assert set(states(report).values()) == {State.LEFT}
    assert not report.is_complete
    assert scene.sealed() == []
    assert index.asked == []


def test_who_has_something_better_to_do_is_let_go_between_steps(scene: Scene) -> None:
    scene.commit()
    index = FakeIndex()
    report = scene.maintain(index=index, should_stop=lambda: bool(index.asked))
    assert states(report) == {
        "log": State.DONE,
        "commits": State.NOTHING,
        "index": State.DONE,
        "compact": State.LEFT,
        "vacuum": State.LEFT,
        "retention": State.LEFT,
    }


def test_the_budget_counts_from_the_beginning(scene: Scene) -> None:
    budget = Budget(scene.clock, 10.0)
    assert (budget.is_over(), budget.left_seconds) == (False, 10.0)
    scene.later(seconds=9)
    assert not budget.is_over()
    scene.later(seconds=2)
    assert (budget.is_over(), budget.left_seconds) == (True, 0.0)


def test_what_the_budget_does_not_reach_is_counted(scene: Scene) -> None:
    for run in ("run-a", "run-b", "run-c"):
        scene.commit(Place(run, 0, 100))
        scene.die_before_the_marker(Place(run, 0, 200))
    scene.maintain()
    scene.later(minutes=20)

    def slow(request: Request) -> None:
        if request.verb == "create" and request.key.startswith(layout.MANIFESTS):
            scene.later(minutes=20)

    report = scene.maintain(HookedStore(scene.bare, before=slow))
    assert report.steps[1].left == "2 attempts are to be looked at"
    assert states(report)["commits"] is State.LEFT
    scene.maintain()
    assert all(scene.is_committed(Place(run, 0, 200)) for run in ("run-a", "run-b", "run-c"))


def test_an_attempt_is_found_however_many_batches_came_after_it(scene: Scene) -> None:
    scene.commit()
    scene.die_before_the_marker()
    for step in range(40):
        scene.maintain()
        scene.later(seconds=30)
        scene.commit(Place("run-b", 0, step))
    scene.maintain()
    assert scene.is_committed(DEAD)


def test_markers_that_nobody_has_looked_at_for_months_are_told_of(scene: Scene) -> None:
    scene.commit()
    scene.maintain()
    scene.later(days=100)
    scene.commit(Place("run-b", 0, 1))
    report = scene.maintain()
    assert report.findings == 1
    assert "index reconcile" in report.steps[0].left


# --- errors ----------------------------------------------------------------------------------------------------------------


def test_an_error_of_one_step_does_not_stop_the_others(scene: Scene) -> None:
    scene.commit()
    denied = DeniedError("no", hint="Ask.")
    index = FakeIndex(fails={"index": denied, "compact": ConflictError("twice")})
    report = scene.maintain(index=index)
    assert index.asked == ["index", "compact", "vacuum"]
    assert report.errors[0] is denied
    assert report.worst_error() is denied
    assert [step.problem for step in report.steps] == ["", "", "no", "twice", "", ""]


def test_that_the_store_does_not_answer_is_the_worst(scene: Scene) -> None:
    gone = UnavailableError("gone")
    index = FakeIndex(fails={"index": IntegrityError("damaged"), "vacuum": gone})
    assert scene.maintain(index=index).worst_error() is gone


def test_a_store_that_does_not_answer_fails_each_step_alone(scene: Scene) -> None:
    def fail(request: Request) -> None:
        if request.key.startswith("log/"):
            raise UnavailableError("the store is down")

    scene.commit()
    index = FakeIndex()
    report = scene.maintain(HookedStore(scene.bare, before=fail), index=index)
    assert (states(report)["log"], states(report)["index"]) == (State.FAILED, State.FAILED)
    assert index.asked == ["compact", "vacuum"]


# --- killed ----------------------------------------------------------------------------------------------------------------


def test_killed_before_or_after_any_request_the_next_pass_makes_it_whole() -> None:
    def begun() -> Scene:
        scene = Scene()
        scene.commit()
        scene.die_before_the_manifest()
        scene.maintain(HookedStore(scene.bare))
        scene.later(minutes=16)
        return scene

    whole = begun()
    watched = HookedStore(whole.bare)
    whole.maintain(watched)
    expected = set(whole.sealed())
    assert len(expected) == 2
    for number in range(len(watched.requests)):
        for when in ("before", "after"):
            scene = begun()

            def die(request: Request, number: int = number) -> None:
                if request.number == number:
                    raise Death

            hooks: dict[str, Callable[[Request], None]] = {when: die}
            with contextlib.suppress(Death):  # a request that is refused has no answer to die after
                scene.maintain(HookedStore(scene.bare, **hooks))
            scene.later(minutes=16)
            scene.maintain()
            sealed = scene.sealed()
            assert len(sealed) == len(set(sealed))
            assert set(sealed) == expected, (number, when)


def test_a_marker_of_a_manifest_that_differs_says_nothing_about_it(scene: Scene) -> None:
    """Its committer may have died before the manifest, and another one, of a later release, wrote other bytes."""
    scene.commit()
    key = layout.manifest("run-a", 0, 100)
    standing = Manifest.decode(scene.bare.read(key, limit_bytes=1 << 20).data, key)
    write_marker(scene.bare, Marker.of_commit(ARCHIVE_ID, standing.place, "0" * 64), scene.clock.now())
    scene.later(minutes=11)
    scene.maintain()
    scene.later(minutes=11)
    assert scene.maintain().findings == 0
    assert scene.sealed() == [key]


# --- marks -----------------------------------------------------------------------------------------------------------------


def test_a_mark_is_made_once(scene: Scene) -> None:
    key = layout.index_mark(7, 1, "a")
    assert not is_marked(scene.bare, key)
    assert mark(scene.bare, key)
    assert is_marked(scene.bare, key)
    assert not mark(scene.bare, key)


def test_old_marks_are_removed_and_nothing_else(scene: Scene) -> None:
    today = layout.index_day(scene.clock.now().date())
    yesterday = layout.index_day((scene.clock.now() - timedelta(days=1)).date())
    for key in (
        *(layout.index_mark(number, 1, "a") for number in range(1, 41)),
        today,
        yesterday,
        f"{layout.INDEX}marks/x",
    ):
        mark(scene.bare, key)
    forget_old(scene.bare, 40, today)
    assert keys(scene.bare, layout.INDEX_DAYS) == [today]
    assert keys(scene.bare, layout.INDEX_MARKS) == [
        *(layout.index_mark(number, 1, "a") for number in range(24, 41)),
        f"{layout.INDEX}marks/x",
    ]
