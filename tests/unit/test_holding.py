"""Holds: what is held does not end, whoever tags, releases or dies meanwhile; and what came too late is said to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.commit import fate as names
from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fate import Pass, read_fate, read_fates, read_run_fate
from ckpt_archive.commit.fating import Told, read_statement
from ckpt_archive.errors import InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import Report, hold, release
from ckpt_archive.retention.policy.values import TAG_KEY
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store, StoreLimits
from ckpt_archive.testing.archives import SMALL, archive_on, content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "config.json": b"{}", "more.bin": b"m" * 900}
TOLD = Told("policy", "node-1", "no other class chooses it", NOON)
DAY = datetime(2026, 3, 4, tzinfo=UTC)
TAG = "daily.365d"
OLD, NEW = Place("run", 0, 100), Place("run", 0, 200)


class Scene:
    """A run of two checkpoints in a bucket with Object Lock and versions; the older one ends, and is tagged."""

    def __init__(self, *, object_lock: bool = True, versioned: bool = True) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)
        self.bucket = MemoryBucket(self.store, object_lock=object_lock, versioned=versioned)
        archive_on(self.store)
        for place in (OLD, NEW):
            archive_files(self.store, place, FILES, settings=SMALL)
        self.machine = local_machine(clock=self.clock)

    def announce(self, place: Place = OLD, day: datetime | None = DAY, generation: int = 0) -> None:
        fating.announce(self.store, ARCHIVE_ID, place, generation, day, TAG, TOLD)

    def tag(self, place: Place = OLD) -> None:
        for key in self.data(place):
            self.bucket.write_tags(key, {**self.bucket.read_tags(key), TAG_KEY: TAG})
        fating.tagged(self.store, ARCHIVE_ID, place, 0, TAG, TOLD)

    def data(self, place: Place = OLD) -> list[str]:
        return keys(self.store, layout.data_folder(place.run, place.attempt, place.step))

    def tags(self, place: Place = OLD) -> set[str]:
        return {name for key in self.data(place) for name in self.bucket.read_tags(key)}

    def held(self, place: Place = OLD) -> int:
        return sum(self.bucket.read_lock(key).legal_hold for key in self.data(place))

    def connection(self, store: Store | None = None, bucket: HookedBucket | None = None) -> Connection:
        return Connection(store or self.store, ARCHIVE_ID, SMALL, None, lambda: True, bucket or self.bucket)

    def hold(self, place: Place | None = OLD, case: str = "ABC.1", connection: Connection | None = None) -> Report:
        return hold(self.machine, connection or self.connection(), "run", place, case, "claim of Smith", "ann")

    def release(self, place: Place | None = OLD, case: str = "ABC.1", connection: Connection | None = None) -> Report:
        return release(self.machine, connection or self.connection(), "run", place, case, "settled", "bob")

    def events(self, kind: str) -> list[Event]:
        found = [read_event(content(self.store, key), key) for key in keys(self.store, layout.EVENTS)]
        return [event for event in found if event.kind == kind]

    def to(self, moment: datetime) -> None:
        self.clock.sleep((moment - self.clock.now()).total_seconds())


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_checkpoint_is_held_by_statement_event_and_the_bucket(scene: Scene) -> None:
    report = scene.hold()
    count = len(scene.data())
    assert (report.checkpoints, report.objects, report.is_native, report.taken_back) == (1, count, True, ())
    assert (report.over, report.gone) == ((), ())
    found = read_fates(scene.store, "run")
    assert (found.cases(OLD), found.cases(NEW)) == (("ABC.1",), ())
    assert (scene.held(OLD), scene.held(NEW)) == (count, 0)
    (event,) = scene.events("held")
    assert (event.places, event.run, event.subject, event.reason, event.actor) == (
        (OLD,),
        None,
        "ABC.1",
        "claim of Smith",
        "ann",
    )
    said = read_statement(scene.store, OLD, "case-ABC.1-0001-held").told
    assert (said.reason, said.actor, said.event_id) == ("claim of Smith", "ann", event.event_id)
    versions = said.details["versions"]
    assert sorted(versions) == scene.data()


def test_a_run_is_held_with_what_it_has(scene: Scene) -> None:
    report = scene.hold(None)
    assert (report.checkpoints, report.objects) == (2, len(scene.data(OLD)) + len(scene.data(NEW)))
    assert scene.held(OLD)
    assert scene.held(NEW)
    assert read_run_fate(scene.store, "run")[0].cases == ("ABC.1",)
    (event,) = scene.events("held")
    assert (event.places, event.run) == ((), "run")
    assert read_statement(scene.store, "run", "case-ABC.1-0001-held").told.details == {}


def test_an_announced_end_is_taken_back_with_its_tags_and_others_stay(scene: Scene) -> None:
    scene.announce()
    scene.bucket.write_tags(scene.data()[0], {"owner": "ann"})
    scene.tag()
    report = scene.hold()
    assert report.taken_back == (OLD,)
    assert scene.tags() == {"owner"}
    found, _ = read_fate(scene.store, OLD)
    assert (found.ends_at, found.is_open, found.clearing, found.generation) == (None, True, None, 1)
    (event,) = scene.events("ending")
    assert (event.places, event.outcome, event.until_at) == ((OLD,), "daily", None)
    assert event.reason == "taken back: held for ABC.1"
    scene.to(DAY + timedelta(days=30))
    assert not found.is_over(scene.clock.now())


def test_a_hold_comes_before_all_and_no_tag_is_left_when_an_end_is_taken_back(scene: Scene) -> None:
    scene.announce()
    scene.tag()
    order: list[str] = []

    def noted(request: Request) -> None:
        if request.verb in ("create", "write_legal_hold", "write_tags"):
            order.append(request.key.rpartition("/")[2] if "/retention/" in request.key else request.verb)

    scene.hold(
        connection=scene.connection(HookedStore(scene.store, after=noted), HookedBucket(scene.bucket, after=noted))
    )
    count = len(scene.data())
    assert [name for name in order if name != "create"] == [
        "case-ABC.1-0001-held.json",
        *["write_legal_hold"] * count,
        *["write_tags"] * count,
        "0000-revoked.json",
        "0000-cleared.json",
    ]


def test_two_cases_and_only_the_last_release_lets_go(scene: Scene) -> None:
    scene.hold(case="A")
    scene.hold(case="B")
    report = scene.release(case="A")
    assert (report.others, report.objects) == (("B",), 0)
    assert scene.held() == len(scene.data())
    report = scene.release(case="B")
    assert (report.others, report.objects) == ((), len(scene.data()))
    assert scene.held() == 0
    assert sorted(event.subject for event in scene.events("released")) == ["A", "B"]


def test_what_is_held_with_its_run_stays_held_when_its_own_case_is_released(scene: Scene) -> None:
    scene.hold(None, case="RUN")
    scene.hold(OLD, case="OWN")
    assert scene.release(OLD, case="OWN").others == ("RUN",)
    assert scene.held(OLD) == len(scene.data(OLD))
    scene.hold(OLD, case="OWN")
    scene.release(None, case="RUN")
    assert (scene.held(OLD), scene.held(NEW)) == (len(scene.data(OLD)), 0)
    assert read_fates(scene.store, "run").cases(OLD) == ("OWN",)


def test_a_case_is_held_released_and_held_again(scene: Scene) -> None:
    for _ in range(2):
        scene.hold()
        assert read_fate(scene.store, OLD)[0].cases == ("ABC.1",)
        scene.release()
        assert read_fate(scene.store, OLD)[0].cases == ()
    assert read_fate(scene.store, OLD)[0].case_numbers == {"ABC.1": 4}


def test_who_holds_again_adds_no_statement_and_mends_what_was_left(scene: Scene) -> None:
    scene.hold()
    before = keys(scene.store, layout.RUNS)
    scene.bucket.write_legal_hold(scene.data()[0], on=False)
    scene.hold()
    assert keys(scene.store, layout.RUNS) == before
    assert scene.held() == len(scene.data())


def test_who_releases_again_goes_on_where_he_died(scene: Scene) -> None:
    scene.hold()

    def before(request: Request) -> None:
        if request.verb == "write_legal_hold" and request.key == scene.data()[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.release(connection=scene.connection(bucket=HookedBucket(scene.bucket, before=before)))
    # The last one was the first to go, so that one can tell that it is not held.
    assert not scene.bucket.read_lock(scene.data()[-1]).legal_hold
    assert scene.held()
    scene.release()
    assert scene.held() == 0


def test_what_was_never_held_can_not_be_released(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match=r"run step 100 \(attempt 0\) was never held for the case ABC.1") as caught:
        scene.release()
    assert caught.value.hint == "It is not held."
    scene.hold(case="A")
    with pytest.raises(NotFoundError) as caught:
        scene.release()
    assert caught.value.hint == "It is held for A."
    with pytest.raises(NotFoundError, match="the run run was never held"):
        scene.release(None)


@pytest.mark.parametrize("case", ["", "a b", "x" * 65, "ä", "a/b"])
def test_a_case_that_can_not_be_one_is_refused(scene: Scene, case: str) -> None:
    with pytest.raises(InvalidInputError):
        scene.hold(case=case)
    assert scene.events("held") == []


def test_a_hold_needs_a_reason_and_something_to_hold(scene: Scene) -> None:
    with pytest.raises(InvalidInputError, match="no reason"):
        hold(scene.machine, scene.connection(), "run", OLD, "A", " ", "ann")
    with pytest.raises(NotFoundError, match="step 7"):
        scene.hold(Place("run", 0, 7))
    with pytest.raises(NotFoundError, match="'other' has no committed checkpoint"):
        hold(scene.machine, scene.connection(), "other", None, "A", "r", "ann")
    assert keys(scene.store, layout.RUNS) == []


def test_without_object_lock_the_statement_holds_alone() -> None:
    scene = Scene(object_lock=False, versioned=False)
    scene.announce()
    scene.tag()
    report = scene.hold()
    assert (report.is_native, report.objects, report.taken_back) == (False, 0, (OLD,))
    assert scene.tags() == set()
    assert read_statement(scene.store, OLD, "case-ABC.1-0001-held").told.details == {}
    assert scene.release().is_native is False


def test_a_store_without_a_bucket_is_held_by_statements(scene: Scene) -> None:
    scene.announce()
    connection = scene.connection()
    bare = Connection(connection.store, ARCHIVE_ID, SMALL, None, lambda: True, None)
    report = scene.hold(connection=bare)
    assert (report.is_native, report.taken_back, report.gone) == (False, (OLD,), ())
    assert read_fate(scene.store, OLD)[0].clearing is None


# --- too late ------------------------------------------------------------------------------------------------------------


def test_what_had_ended_before_is_said_to_and_what_is_left_stays() -> None:
    scene = Scene(versioned=False)
    scene.announce()
    scene.tag()
    scene.to(DAY)
    first = scene.data()[0]
    scene.store.delete(first)
    count = len(scene.data()) + 1
    report = scene.hold()
    assert (report.over, report.taken_back, report.objects) == ((OLD,), (), count - 1)
    (gone,) = report.gone
    assert (gone.place, gone.missing, gone.objects) == (OLD, 1, count)
    assert gone.reason == "its end had come before it was held"
    assert (scene.tags(), scene.held()) == (set(), count - 1)
    # Readers have taken leave of it, and nobody gives them half of it.
    assert read_fates(scene.store, "run").is_over(OLD)


def test_of_a_run_only_what_has_not_ended_for_good_is_looked_at(scene: Scene) -> None:
    scene.announce()
    scene.to(DAY)
    fating.ended(scene.store, ARCHIVE_ID, OLD, 0, TOLD)
    report = scene.hold(None)
    assert (report.checkpoints, report.over, report.gone) == (1, (), ())
    assert scene.hold(OLD).over == (OLD,)


def test_what_somebody_has_removed_is_said_to() -> None:
    scene = Scene(object_lock=False, versioned=False)
    scene.store.delete(scene.data()[0])
    (gone,) = scene.hold().gone
    assert (gone.missing, gone.reason) == (1, "somebody removed it")
    scene.store.delete(layout.receipt("run", 0, 200, 0))
    (gone,) = scene.hold(NEW).gone
    assert "is missing" in gone.reason


# --- races ---------------------------------------------------------------------------------------------------------------


def under_way(scene: Scene, pass_id: str = "ab", begun_at: datetime | None = None) -> Pass:
    begun = Pass(begun_at or scene.clock.now(), pass_id)
    fating.begin_pass(scene.store, ARCHIVE_ID, "run", begun, TOLD)
    return begun


def later(scene: Scene, seconds: float, action: Callable[[], None]) -> HookedStore:
    """A store that lets something happen when so much time has passed."""
    at = scene.clock.now() + timedelta(seconds=seconds)
    done: list[bool] = []

    def before(request: Request) -> None:
        if scene.clock.now() >= at and not done:
            done.append(True)
            action()

    return HookedStore(scene.store, before=before)


def test_who_tags_meanwhile_is_waited_for_and_his_tags_are_removed(scene: Scene) -> None:
    scene.announce()
    begun = under_way(scene)

    def slow() -> None:
        scene.tag()
        fating.end_pass(scene.store, ARCHIVE_ID, "run", begun, TOLD)

    report = scene.hold(connection=scene.connection(later(scene, 11, slow)))
    assert report.taken_back == (OLD,)
    assert 10 <= (scene.clock.now() - NOON).total_seconds() <= 14
    assert scene.tags() == set()
    found, _ = read_fate(scene.store, OLD)
    assert (found.tagged, found.clearing) == ("", None)


def test_who_died_while_he_tagged_is_waited_for_a_minute_and_clearing_is_left_to_maintenance(scene: Scene) -> None:
    scene.announce()
    under_way(scene)
    report = scene.hold(connection=scene.connection(later(scene, 59, scene.tag)))
    assert report.taken_back == (OLD,)
    assert 60 <= (scene.clock.now() - NOON).total_seconds() <= 62
    assert scene.tags() == set()
    assert read_fate(scene.store, OLD)[0].clearing == 0


@pytest.mark.parametrize("kind", ["ended", "old"])
def test_nobody_is_waited_for_who_is_done_or_died_long_ago(scene: Scene, kind: str) -> None:
    scene.announce()
    scene.tag()
    begun = under_way(scene, begun_at=NOON - timedelta(hours=2 if kind == "old" else 0))
    if kind == "ended":
        fating.end_pass(scene.store, ARCHIVE_ID, "run", begun, TOLD)
    scene.hold()
    assert scene.clock.now() == NOON
    assert read_fate(scene.store, OLD)[0].clearing is None


def test_an_end_that_is_announced_while_it_is_held_is_taken_back(scene: Scene) -> None:
    under_way(scene)
    report = scene.hold(connection=scene.connection(later(scene, 20, scene.announce)))
    assert report.taken_back == (OLD,)
    assert read_fate(scene.store, OLD)[0].is_open


def test_who_holds_while_another_case_is_released_has_it_held(scene: Scene) -> None:
    """At whatever request of the release the hold comes, also between its statement and its last object."""
    number = 0
    while True:
        one = Scene()
        one.hold(case="A")
        seen: list[int] = []

        def before(request: Request, one: Scene = one, seen: list[int] = seen, number: int = number) -> None:
            seen.append(1)
            if len(seen) == number + 1:
                one.hold(case="B")

        hooked = one.connection(HookedStore(one.store, before=before), HookedBucket(one.bucket, before=before))
        one.release(case="A", connection=hooked)
        if len(seen) <= number:
            break
        assert read_fate(one.store, OLD)[0].cases == ("B",), number
        assert one.held() == len(one.data()), number
        number += 1
    assert number > 10


def test_who_dies_anywhere_holds_again(scene: Scene) -> None:
    """Broken off at any request, and said again: it is held, untagged, and readers know of no end."""
    number = 0
    while True:
        one = Scene()
        one.announce()
        one.tag()
        seen: list[int] = []

        def after(request: Request, seen: list[int] = seen, number: int = number) -> None:
            seen.append(1)
            if len(seen) == number + 1:
                raise UnavailableError("no answer")

        hooked = one.connection(HookedStore(one.store, after=after), HookedBucket(one.bucket, after=after))
        try:
            one.hold(connection=hooked)
        except UnavailableError:
            one.hold()
        else:
            break
        found, _ = read_fate(one.store, OLD)
        assert (found.cases, found.ends_at, found.clearing) == (("ABC.1",), None, None), number
        assert (one.tags(), one.held()) == (set(), len(one.data())), number
        number += 1
    assert number > 20


def test_nobody_reads_that_an_end_is_taken_back_while_there_are_tags(scene: Scene) -> None:
    """Whoever dies in between has not left a checkpoint that is listed as good, and that the bucket's rules remove."""
    scene.announce()
    scene.tag()
    tags: list[set[str]] = []

    def before(request: Request) -> None:
        if request.verb == "create" and request.key.endswith("0000-revoked.json"):
            tags.append(scene.tags())

    scene.hold(connection=scene.connection(HookedStore(scene.store, before=before)))
    assert tags == [set()]


def test_a_held_object_is_not_deleted_by_anybody() -> None:
    scene = Scene(versioned=False)
    scene.announce()
    scene.tag()
    scene.hold()
    scene.to(DAY + timedelta(days=400))
    for key in scene.data():
        with pytest.raises(UnavailableError):
            scene.bucket.expire(key)
    assert names.fold([f"{names.case_name('A', 1, held=True)}.json"]).cases == ("A",)
