"""Drops: what nobody wants ends some days later, what is held or newest does not, and there is time to change one's mind."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fate import Fate, read_fate
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import ConflictError, EndedError, InvalidInputError, NotFoundError
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.assigning import Assigned, assign
from ckpt_archive.retention.by_hand.dropping import Droppable, Dropped, drop, look
from ckpt_archive.retention.by_hand.holding import hold, release
from ckpt_archive.retention.by_hand.selection import Selection
from ckpt_archive.retention.by_hand.undropping import Undropped, undrop
from ckpt_archive.retention.passes.carrying import Done, carry_out
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.plan import plan_run
from ckpt_archive.retention.plans.survey import basis_of, survey_run
from ckpt_archive.retention.policy.file import load, preset
from ckpt_archive.retention.policy.values import TAG_KEY, Policy
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store, StoreLimits
from ckpt_archive.testing.archives import SMALL, archive_on, content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.hooked import Hook, HookedStore, Request
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "config.json": b"{}"}
STEPS = (100, 200, 300, 400, 500)
OLDEST, *_, NEWEST = (Place("run", 0, step) for step in STEPS)
DAY = timedelta(days=1)
# Dropped at noon on March 1: seven days later is noon on March 8, and the next midnight is the end.
ENDS = datetime(2026, 3, 9, tzinfo=UTC)
POLICY = preset("default")


class Scene:
    """A run of five checkpoints, of which the policy keeps three newest ones."""

    def __init__(self, *, object_lock: bool = False) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)
        self.bucket = MemoryBucket(self.store, object_lock=object_lock, versioned=object_lock)
        archive_on(self.store)
        self.launch("launch-1", None)
        for step in STEPS:
            self.commit(step)
        self.machine = local_machine(clock=self.clock)

    def launch(self, key: str, back: Place | None) -> None:
        request = LaunchRequest(ARCHIVE_ID, "run", key, 1, self.clock.now())
        open_launch(self.store, request, lambda _: Resumption(back, explicit=back is not None))

    def commit(self, step: int, attempt: int = 0) -> None:
        archive_files(
            self.store, Place("run", attempt, step), FILES, launch_key=f"launch-{attempt + 1}", settings=SMALL
        )

    def connection(self, store: Store | None = None, bucket: HookedBucket | None = None) -> Connection:
        return Connection(store or self.store, ARCHIVE_ID, SMALL, None, lambda: True, bucket or self.bucket)

    def hooked(self, *, before: Hook | None = None, after: Hook | None = None) -> Connection:
        """One where somebody steps in before or after the requests to the store and to the bucket, numbered together."""
        number = -1

        def counted(request: Request) -> None:
            nonlocal number
            number += 1
            if before is not None:
                before(replace(request, number=number))

        def told(request: Request) -> None:
            if after is not None:
                after(request)

        store = HookedStore(self.store, before=counted, after=told)
        return self.connection(store, HookedBucket(self.bucket, before=counted, after=told))

    def look(self, first: int | None = None, last: int | None = None, **told: object) -> Droppable:
        return look(self.machine, self.connection(), POLICY, selection(first, last, **told))

    def drop(
        self, first: int | None = None, last: int | None = None, connection: Connection | None = None, **told: object
    ) -> Dropped:
        chosen = selection(first, last, **told)
        return drop(self.machine, connection or self.connection(), POLICY, chosen, reason="diverged", actor="ann")

    def undrop(
        self, first: int | None = None, last: int | None = None, connection: Connection | None = None
    ) -> Undropped:
        chosen = selection(first, last)
        return undrop(self.machine, connection or self.connection(), chosen, reason="it was right", actor="bob")

    def assign(self, class_name: str, place: Place = OLDEST, policy: Policy = POLICY) -> Assigned:
        return assign(
            self.machine, self.connection(), policy, place, class_name, reason="the auditor asks", actor="ann"
        )

    def maintain(self, policy: Policy = POLICY) -> Done:
        connection = self.connection()
        basis = basis_of(connection, policy)
        plan = plan_run(basis, survey_run(self.machine, connection, basis, "run").run)
        done = Done()
        carry_out(Voice(self.machine, connection, "policy", policy.sha256), policy, plan, done)
        return done

    def fate(self, place: Place) -> Fate:
        return read_fate(self.store, place)[0]

    def ends(self) -> dict[int, datetime | None]:
        return {step: self.fate(Place("run", 0, step)).ends_at for step in STEPS}

    def tags(self, place: Place) -> set[str]:
        folder = layout.data_folder(place.run, place.attempt, place.step)
        return {self.bucket.read_tags(key).get(TAG_KEY, "") for key in keys(self.store, folder)}

    def events(self, kind: str) -> list[Event]:
        found = [read_event(content(self.store, key), key) for key in keys(self.store, layout.EVENTS)]
        return [event for event in found if event.kind == kind]

    def wait(self, time: timedelta) -> None:
        self.clock.sleep(time.total_seconds())


def selection(first: int | None = None, last: int | None = None, **told: object) -> Selection:
    return Selection("run", first, first if last is None else last, **told)  # type: ignore[arg-type]


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- dropped -------------------------------------------------------------------------------------------------------------


def test_what_is_dropped_ends_seven_days_later(scene: Scene) -> None:
    before = scene.look(100, 200)
    assert [place.step for place in before.places] == [100, 200]
    assert (before.ends_at, before.before) == (ENDS, ())
    assert before.size_bytes == 2 * sum(len(data) for data in FILES.values())
    assert scene.drop(100, 200).places == ((OLDEST, ENDS), (Place("run", 0, 200), ENDS))
    fate = scene.fate(OLDEST)
    assert (fate.assigned, fate.announced, fate.ends_at) == ("trash", ("trash.7d",), ENDS)
    assert scene.ends() == {100: ENDS, 200: ENDS, 300: None, 400: None, 500: None}
    (event,) = scene.events("dropped")
    assert (event.until_at, event.outcome, event.reason, event.actor) == (ENDS, "trash", "diverged", "ann")
    assert [place.step for place in event.places] == [100, 200]
    assert not fate.is_over(scene.clock.now() + 6 * DAY)
    assert fate.is_over(ENDS)


def test_who_drops_again_changes_nothing(scene: Scene) -> None:
    first = scene.drop(100)
    stored = keys(scene.store)
    scene.wait(DAY)
    assert scene.look(100).places == ()
    assert scene.look(100).before == ((OLDEST, ENDS),)
    assert scene.drop(100) == first
    assert keys(scene.store) == stored


def test_maintenance_leaves_a_drop_alone_and_tags_it_on_its_last_day(scene: Scene) -> None:
    scene.wait(DAY)
    scene.drop(100)
    scene.maintain()
    assert scene.fate(OLDEST).ends_at == ENDS + DAY
    assert scene.tags(OLDEST) == {""}  # it is a day old: the engine would be a day too early
    scene.wait(ENDS + DAY - scene.clock.now())
    scene.maintain()
    assert scene.tags(OLDEST) == {"trash.7d"}


def test_a_drop_of_what_ends_by_its_class_takes_that_back_first(scene: Scene) -> None:
    scene.wait(10 * DAY)
    scene.maintain()
    assert scene.fate(OLDEST).announced == ("recent.2d",)
    scene.drop(100)
    fate = scene.fate(OLDEST)
    assert (fate.generation, fate.announced, fate.clearing) == (1, ("trash.7d",), None)
    assert fate.ends_at == ENDS + 10 * DAY
    assert scene.tags(OLDEST) == {""}


def test_a_drop_of_what_is_kept_for_ever_ends_it(scene: Scene) -> None:
    scene.assign("milestone")
    scene.maintain()
    assert scene.fate(OLDEST).tagged == "milestone.forever"
    scene.drop(100)
    assert scene.fate(OLDEST).ends_at == ENDS
    assert scene.tags(OLDEST) == {""}


def test_what_the_policy_keeps_what_is_dropped_for_counts(scene: Scene) -> None:
    policy = load('[classes.x]\nkeep_for = "forever"\n[classes.trash]\nkeep_for = "30d"\n', "p")
    dropped = drop(scene.machine, scene.connection(), policy, selection(100), reason="r", actor="")
    assert dropped.places == ((OLDEST, datetime(2026, 4, 1, tzinfo=UTC)),)


def test_what_is_locked_ends_when_its_lock_does() -> None:
    scene = Scene(object_lock=True)
    until = NOON + 40 * DAY
    for key in keys(scene.store, layout.data_folder("run", 0, 100)):
        scene.bucket.write_retention(key, "GOVERNANCE", until)
    assert scene.drop(100, 200).places == ((OLDEST, datetime(2026, 4, 11, tzinfo=UTC)), (Place("run", 0, 200), ENDS))
    assert {event.until_at for event in scene.events("dropped")} == {datetime(2026, 4, 11, tzinfo=UTC), ENDS}


def test_a_store_without_a_bucket_drops_by_statements(scene: Scene) -> None:
    connection = replace(scene.connection(), bucket=None)
    assert scene.drop(100, connection=connection).places == ((OLDEST, ENDS),)


# --- refused -------------------------------------------------------------------------------------------------------------


def refused(scene: Scene, *steps: int, **told: object) -> str:
    before = keys(scene.store)
    with pytest.raises(ConflictError) as caught:
        scene.drop(*steps, **told)  # type: ignore[arg-type]
    with pytest.raises(ConflictError):
        scene.look(*steps, **told)  # type: ignore[arg-type]
    assert keys(scene.store) == before, "something was written"
    return str(caught.value)


def test_the_newest_ones_are_refused_and_each_is_named(scene: Scene) -> None:
    said = refused(scene, 200, 400)
    assert "step 300 (attempt 0) is one of the 3 newest of its run" in said
    assert "step 400 (attempt 0) is one of the 3 newest" in said
    assert "step 200" not in said
    assert "--whole-run" in said
    assert "step 500 (attempt 0) is one of" in refused(scene)


def test_what_a_launch_goes_on_from_is_refused(scene: Scene) -> None:
    scene.launch("launch-2", OLDEST)
    assert "step 100 (attempt 0) is what a launch of its run would go on from" in refused(scene, 100)


def test_what_is_held_is_refused_always_and_each_is_named(scene: Scene) -> None:
    hold(scene.machine, scene.connection(), "run", OLDEST, "ABC.1", "claim", "eve")
    assert "step 100 (attempt 0) is held for ABC.1" in refused(scene, 100, 200)
    assert "step 100 (attempt 0) is held for ABC.1" in refused(scene, whole_run=True)
    hold(scene.machine, scene.connection(), "run", None, "DEF", "claim", "eve")
    assert "is held for ABC.1 and DEF" in refused(scene, 100)
    release(scene.machine, scene.connection(), "run", OLDEST, "ABC.1", "settled", "eve")
    release(scene.machine, scene.connection(), "run", None, "DEF", "settled", "eve")
    scene.drop(100)
    assert scene.fate(OLDEST).ends_at == ENDS


def test_of_many_that_are_refused_twenty_are_named(scene: Scene) -> None:
    for step in range(600, 630):
        scene.commit(step)
    hold(scene.machine, scene.connection(), "run", None, "DEF", "claim", "eve")
    assert "; and 15 more" in refused(scene)


def test_what_is_not_there_and_what_nobody_gives_a_reason_for_is_refused(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match="no checkpoint of run is meant"):
        scene.drop(150)
    with pytest.raises(NotFoundError, match="the run 'other' has no"):
        drop(scene.machine, scene.connection(), POLICY, Selection("other"), reason="r", actor="")
    with pytest.raises(InvalidInputError, match="no reason"):
        drop(scene.machine, scene.connection(), POLICY, selection(100), reason=" ", actor="")
    with pytest.raises(InvalidInputError, match="at once"):
        selection(100, whole_run=True)
    with pytest.raises(InvalidInputError, match="Write 100-200"):
        selection(200, 100)


# --- whole runs ----------------------------------------------------------------------------------------------------------


def test_a_whole_run_ends_the_newest_too_and_maintenance_lets_it(scene: Scene) -> None:
    scene.drop(whole_run=True)
    assert scene.ends() == dict.fromkeys(STEPS, ENDS)
    scene.maintain()
    assert scene.ends() == dict.fromkeys(STEPS, ENDS)
    scene.wait(ENDS - scene.clock.now())
    scene.maintain()
    assert scene.tags(NEWEST) == {"trash.7d"}


def test_a_run_that_goes_on_after_it_was_dropped_keeps_its_newest_ones(scene: Scene) -> None:
    scene.drop(whole_run=True)
    scene.commit(600)
    scene.maintain()
    assert scene.ends() == {100: ENDS, 200: ENDS, 300: ENDS, 400: None, 500: None}
    for step in (700, 800):
        scene.commit(step)
    scene.maintain()
    assert scene.ends()[400] is not None  # nobody wants it, and it is none of the newest any more


def test_an_attempt_can_be_dropped(scene: Scene) -> None:
    scene.launch("launch-2", Place("run", 0, 300))
    for step in (310, 320, 330):
        scene.commit(step, attempt=1)
    scene.drop(attempt=0)
    assert scene.ends() == dict.fromkeys(STEPS, ENDS)
    assert "is one of the 3 newest" in refused(scene, attempt=1)


# --- taken back ----------------------------------------------------------------------------------------------------------


def test_a_drop_is_taken_back_while_there_is_time(scene: Scene) -> None:
    scene.drop(100, 200)
    scene.wait(ENDS - scene.clock.now() - timedelta(hours=2))
    undropped = scene.undrop(100)
    assert (undropped.places, undropped.too_late) == ((OLDEST,), ())
    fate = scene.fate(OLDEST)
    assert (fate.assigned, fate.ends_at, fate.announced, fate.clearing) == (None, None, (), None)
    assert scene.ends()[200] == ENDS
    (event,) = scene.events("undropped")
    assert (event.places, event.reason, event.actor) == ((OLDEST,), "it was right", "bob")


def test_who_takes_it_back_again_changes_nothing(scene: Scene) -> None:
    scene.drop(100)
    scene.undrop()
    stored = keys(scene.store)
    assert scene.undrop() == Undropped((), ())
    assert keys(scene.store) == stored


def test_what_somebody_had_given_a_class_before_has_it_again(scene: Scene) -> None:
    scene.assign("milestone")
    scene.drop(100)
    scene.undrop()
    assert scene.fate(OLDEST).assigned == "milestone"
    scene.maintain()
    assert scene.fate(OLDEST).announced == ("milestone.forever",)


def test_tags_are_removed_when_it_is_taken_back(scene: Scene) -> None:
    scene.drop(100)  # minutes old: the engine would not come before its end
    scene.maintain()
    assert scene.tags(OLDEST) == {"trash.7d"}
    scene.undrop()
    assert scene.tags(OLDEST) == {""}
    assert scene.fate(OLDEST).is_open


def test_what_came_too_late_is_said(scene: Scene) -> None:
    scene.drop(100)
    scene.wait(DAY)
    scene.drop(200)
    scene.wait(ENDS - scene.clock.now() - timedelta(minutes=30))
    assert scene.undrop() == Undropped((Place("run", 0, 200),), ((OLDEST, ENDS),))
    assert scene.fate(OLDEST).ends_at == ENDS
    assert scene.drop(100) == Dropped((), ())


def test_a_drop_after_it_was_taken_back_has_seven_days_again(scene: Scene) -> None:
    scene.drop(100)
    scene.wait(3 * DAY)
    scene.undrop()
    scene.drop(100)
    assert scene.fate(OLDEST).ends_at == ENDS + 3 * DAY
    assert scene.fate(OLDEST).assigned_number == 3


# --- died in between, and at the same time -------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is dead."""


def killed_at(count: int) -> Callable[[Request], None]:
    left = count

    def hook(_: Request) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    return hook


def requests_of(prepare: Callable[[Scene], None], act: Callable[[Scene, Connection], object]) -> int:
    scene = Scene()
    prepare(scene)
    seen: list[Request] = []
    act(scene, scene.hooked(before=seen.append))
    return len(seen)


def end_by_class(scene: Scene) -> None:
    scene.wait(10 * DAY)
    scene.maintain()


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("prepare", [lambda _: None, end_by_class], ids=["fresh", "ends by its class"])
def test_who_dies_anywhere_drops_again(prepare: Callable[[Scene], None], *, landed: bool) -> None:
    count = requests_of(prepare, lambda scene, connection: scene.drop(100, 200, connection))
    assert count > 10
    for number in range(count):
        scene = Scene()
        prepare(scene)
        hook = {"after" if landed else "before": killed_at(number)}
        with pytest.raises(Killed):
            scene.drop(100, 200, scene.hooked(**hook))
        ends = ENDS + (10 * DAY if prepare is end_by_class else timedelta())
        assert {end for end in scene.ends().values() if end} <= {ends, *([datetime(2026, 3, 14, tzinfo=UTC)])}
        scene.maintain()
        assert scene.drop(100, 200).places == ((OLDEST, ends), (Place("run", 0, 200), ends)), number
        fate = scene.fate(OLDEST)
        assert (fate.assigned, fate.announced, fate.clearing) == ("trash", ("trash.7d",), None)
        assert scene.ends()[300] in (None, datetime(2026, 3, 14, tzinfo=UTC))


@pytest.mark.parametrize("landed", [False, True])
def test_who_dies_anywhere_takes_it_back_again(*, landed: bool) -> None:
    def dropped(scene: Scene) -> None:
        scene.drop(100, 200)
        scene.maintain()

    count = requests_of(dropped, lambda scene, connection: scene.undrop(connection=connection))
    assert count > 10
    for number in range(count):
        scene = Scene()
        dropped(scene)
        hook = {"after" if landed else "before": killed_at(number)}
        with pytest.raises(Killed):
            scene.undrop(connection=scene.hooked(**hook))
        scene.undrop()
        fate = scene.fate(OLDEST)
        assert (fate.assigned, fate.ends_at, fate.clearing) == (None, None, None), number
        assert scene.tags(OLDEST) == {""}
        assert len(scene.events("undropped")) in (1, 2)


def test_a_whole_run_whose_drop_was_broken_off_keeps_its_newest_ones_until_it_is_dropped_again() -> None:
    count = requests_of(lambda _: None, lambda scene, connection: scene.drop(connection=connection, whole_run=True))
    for number in range(count):
        scene = Scene()
        with pytest.raises(Killed):
            scene.drop(connection=scene.hooked(before=killed_at(number)), whole_run=True)
        scene.maintain()
        given_up = all(scene.fate(Place("run", 0, step)).assigned == "trash" for step in STEPS)
        assert given_up or scene.ends()[500] is None
        scene.drop(whole_run=True)
        assert scene.ends() == dict.fromkeys(STEPS, ENDS)
        scene.maintain()
        assert scene.ends() == dict.fromkeys(STEPS, ENDS)


def test_who_holds_while_it_is_dropped_wins() -> None:
    count = requests_of(lambda _: None, lambda scene, connection: scene.drop(100, connection=connection))
    for number in range(count):
        scene = Scene()

        def held(request: Request, scene: Scene = scene, number: int = number) -> None:
            if request.number == number:
                hold(scene.machine, scene.connection(), "run", OLDEST, "ABC", "claim", "eve")

        with suppress(ConflictError):
            scene.drop(100, connection=scene.hooked(before=held))
        scene.maintain()
        fate = scene.fate(OLDEST)
        assert (fate.ends_at, fate.cases) == (None, ("ABC",)), number
        assert scene.tags(OLDEST) == {""}


def test_who_drops_while_it_is_taken_back_leaves_it_dropped_or_wanted_and_never_tagged_and_wanted() -> None:
    def dropped(scene: Scene) -> None:
        scene.drop(100)
        scene.maintain()

    count = requests_of(dropped, lambda scene, connection: scene.undrop(100, connection=connection))
    for number in range(count):
        scene = Scene()
        dropped(scene)

        def again(request: Request, scene: Scene = scene, number: int = number) -> None:
            if request.number == number:
                scene.drop(100)

        scene.undrop(100, connection=scene.hooked(before=again))
        for _ in range(2):
            scene.maintain()
        fate = scene.fate(OLDEST)
        assert (fate.assigned == "trash") == (fate.announced == ("trash.7d",)), number
        assert fate.assigned == "trash" or "trash.7d" not in scene.tags(OLDEST)


# --- classes that are given ------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_given_a_class(scene: Scene) -> None:
    assert scene.assign("daily") == Assigned(OLDEST, "", "daily", taken_back=False)
    assert scene.fate(OLDEST).assigned == "daily"
    (event,) = scene.events("classed")
    assert (event.outcome, event.places, event.reason, event.actor) == (
        "daily",
        (OLDEST,),
        "the auditor asks",
        "ann",
    )
    scene.maintain()
    assert scene.fate(OLDEST).announced == ("daily.366d",)


def test_who_gives_it_again_changes_nothing(scene: Scene) -> None:
    scene.assign("daily")
    stored = keys(scene.store)
    assert scene.assign("daily") == Assigned(OLDEST, "daily", "daily", taken_back=False)
    assert keys(scene.store) == stored


def test_what_was_announced_for_another_class_is_taken_back_at_once(scene: Scene) -> None:
    scene.wait(10 * DAY)
    scene.maintain()
    assert scene.fate(OLDEST).ends_at is not None
    assert scene.assign("milestone") == Assigned(OLDEST, "", "milestone", taken_back=True)
    assert scene.fate(OLDEST).is_open
    assert scene.tags(OLDEST) == {""}


def test_what_is_announced_for_this_class_already_stays(scene: Scene) -> None:
    scene.maintain()
    announced = scene.fate(OLDEST)
    assert announced.announced == ("recent.2d",)
    assert scene.assign("recent") == Assigned(OLDEST, "", "recent", taken_back=False)
    assert scene.fate(OLDEST).ends_at == announced.ends_at


def test_it_is_given_back_to_the_policy(scene: Scene) -> None:
    scene.assign("milestone")
    scene.maintain()
    assert scene.assign("none") == Assigned(OLDEST, "milestone", "", taken_back=True)
    scene.maintain()
    assert scene.fate(OLDEST).announced == ("recent.2d",)
    assert scene.assign("none") == Assigned(OLDEST, "", "", taken_back=True)


def test_a_class_that_is_none_of_the_policys_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidInputError, match=r"the policy default has no class 'dayly'. Use daily"):
        scene.assign("dayly")
    with pytest.raises(InvalidInputError, match="ckpt-archive drop"):
        scene.assign("trash")
    with pytest.raises(InvalidInputError, match="not allowed"):
        scene.assign("Daily")
    with pytest.raises(NotFoundError, match="step 150"):
        scene.assign("daily", Place("run", 0, 150))
    assert scene.events("classed") == []


def test_what_is_dropped_or_has_ended_is_given_no_class(scene: Scene) -> None:
    scene.drop(100)
    with pytest.raises(ConflictError, match="was dropped"):
        scene.assign("daily")
    scene.wait(ENDS - scene.clock.now())
    with pytest.raises(EndedError, match="ended on 2026-03-09 by class trash"):
        scene.assign("daily")


def test_of_two_who_give_a_class_at_once_one_is_told_that_it_is_not_his(scene: Scene) -> None:
    told = Told("bob", "node", "another reason", NOON)

    def other(request: Request) -> None:
        if request.verb == "create" and "/class-0001-daily" in request.key:
            fating.assign(scene.store, ARCHIVE_ID, OLDEST, 1, "milestone", told)

    connection = scene.hooked(before=other)
    with pytest.raises(ConflictError, match="gave run step 100 \\(attempt 0\\) the class 'milestone' at the same time"):
        assign(scene.machine, connection, POLICY, OLDEST, "daily", reason="r", actor="ann")


def test_who_dies_anywhere_gives_the_class_again() -> None:
    def give(scene: Scene, connection: Connection) -> object:
        return assign(scene.machine, connection, POLICY, OLDEST, "milestone", reason="r", actor="ann")

    count = requests_of(end_by_class, give)
    assert count > 10
    for number in range(count):
        scene = Scene()
        end_by_class(scene)
        with pytest.raises(Killed):
            give(scene, scene.hooked(after=killed_at(number)))
        give(scene, scene.connection())
        scene.maintain()
        fate = scene.fate(OLDEST)
        assert (fate.assigned, fate.announced, fate.ends_at) == ("milestone", ("milestone.forever",), None), number
