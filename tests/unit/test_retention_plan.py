"""What a policy changes for the checkpoints of a run: values in, values out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.commit.fate import Fate
from ckpt_archive.place import Place
from ckpt_archive.retention.money.prices import shipped
from ckpt_archive.retention.plans.plan import Basis, Kind, Looked, Need, RunPlan, RunSurvey, Surveyed, needs, plan_run
from ckpt_archive.retention.policy.values import TRASH
from ckpt_archive.store.bucket import ObjectLockState
from ckpt_archive.store.protocol import ObjectInfo
from ckpt_archive.testing.retaining import POLICY, policy

NOW = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BASIS = Basis(policy(), has_tags=True)


def midnight(day: int, month: int = 3) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


def item(
    step: int,
    *,
    age: timedelta = timedelta(hours=1),
    ordinal: int = 1,
    fate: Fate | None = None,
    cases: tuple[str, ...] = (),
    lock: ObjectLockState | None = None,
    objects: int = 2,
    said: str = "",
    tag: str = "",
    storage_class: str = "",
) -> Surveyed:
    """A checkpoint."""
    infos = tuple(
        ObjectInfo(f"data/{step}/{number}", 10**9, "e", NOW - age, storage_class) for number in range(objects)
    )
    promotion = {"rule": "every", "ordinal": ordinal}
    return Surveyed(Place("run", 0, step), fate or Fate(), cases, Looked(infos, promotion, said, lock, tag))


def planned(*items: Surveyed, basis: Basis = BASIS, newest: int = 2, latest: Place | None = None) -> RunPlan:
    """The plan for these, below as many newer ones as are kept."""
    newer = [item(1000 + number) for number in range(newest)]
    survey = RunSurvey("run", NOW, tuple(sorted([*newer, *items], key=lambda one: one.place, reverse=True)), latest)
    return plan_run(basis, survey)


def done(plan: RunPlan) -> list[tuple[Kind, datetime | None]]:
    return [(change.kind, change.ends_after) for change in plan.changes]


def announced(tag: str, ends_at: datetime | None, *, is_tagged: bool = False, **said: object) -> Fate:
    return Fate(ends_at=ends_at, announced=(tag,), tagged=tag if is_tagged else "", **said)  # type: ignore[arg-type]


# --- ends ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "end", "is_tagged_now"),
    [
        (timedelta(hours=1), midnight(13), True),  # two days, and up to midnight
        (timedelta(hours=16), midnight(13), False),  # of yesterday: due on the 12th, with too little notice
        (10 * DAY, midnight(13), False),
    ],
)
def test_the_end_is_by_age_and_never_without_notice(age: timedelta, end: datetime, is_tagged_now: bool) -> None:
    kinds = [Kind.ANNOUNCE, Kind.TAG] if is_tagged_now else [Kind.ANNOUNCE]
    assert done(planned(item(1, age=age))) == [(kind, end) for kind in kinds]


def test_objects_of_one_checkpoint_end_together() -> None:
    slow = item(1, age=timedelta(hours=2), ordinal=12)
    assert slow.looked is not None
    old, *rest = slow.looked.objects
    assert old.modified is not None
    mixed = replace(slow, looked=replace(slow.looked, objects=(replace(old, modified=old.modified - 3 * DAY), *rest)))
    # The class keeps 14 days: the older one decides, and the engine takes the younger one later.
    assert done(planned(mixed)) == [(Kind.ANNOUNCE, midnight(22)), (Kind.TAG, midnight(22))]


def test_reasons_are_sentences() -> None:
    (change, _) = planned(item(1, ordinal=24)).changes
    assert change.reason == "2 newer ones are committed; class hourly because promotion 24, every 12; ends 2026-03-25"
    (late,) = planned(item(1, age=9 * DAY)).changes
    assert late.reason.endswith("ends 2026-03-13, and not sooner because that is said beforehand")


def test_what_was_dropped_stays_for_its_days() -> None:
    end = midnight(18)
    dropped = item(1, age=30 * DAY, fate=Fate(assigned=TRASH, assigned_number=1))
    assert done(planned(dropped)) == [(Kind.ANNOUNCE, end)]


def test_an_end_that_was_announced_stays_where_it_is() -> None:
    fate = announced("recent.2d", midnight(12))
    assert done(planned(item(1, age=30 * DAY, fate=fate))) == []


def test_on_its_day_it_is_tagged() -> None:
    fate = announced("recent.2d", midnight(10))
    assert done(planned(item(1, age=30 * DAY, fate=fate))) == [(Kind.TAG, midnight(10))]
    an_hour_before = announced("recent.2d", datetime(2026, 3, 10, 15, 30, tzinfo=UTC))
    assert done(planned(item(1, age=30 * DAY, fate=an_hour_before))) == []


def test_when_the_data_is_gone_it_has_ended() -> None:
    fate = announced("recent.2d", midnight(9), is_tagged=True)
    assert done(planned(item(1, fate=fate, objects=0))) == [(Kind.ENDED, midnight(9))]
    assert done(planned(item(1, fate=replace(fate, has_ended=True), objects=0))) == []


def test_an_engine_that_does_not_come_is_told_of() -> None:
    fate = announced("recent.2d", midnight(9), is_tagged=True)
    assert planned(item(1, fate=fate, tag="recent.2d")).problems == ()
    plan = planned(item(1, fate=replace(fate, ends_at=midnight(7)), tag="recent.2d"))
    assert plan.changes == ()
    assert plan.problems[0].endswith("is still there: nobody carries out the rule of 'recent.2d'")


def test_what_lost_its_tags_to_somebody_slow_gets_them_again_when_its_end_has_come() -> None:
    fate = announced("recent.2d", midnight(9), is_tagged=True)
    assert done(planned(item(1, fate=fate, tag=""))) == [(Kind.TAG, midnight(9))]


# --- what does not end -----------------------------------------------------------------------------------------------------


def test_the_newest_of_a_run_are_left_alone() -> None:
    assert planned(newest=2).changes == ()
    assert [change.place.step for change in planned(newest=4).changes] == [1001, 1001, 1000, 1000]


def test_ended_ones_are_not_among_the_newest() -> None:
    over = item(2000, fate=announced("recent.2d", midnight(9), is_tagged=True), tag="recent.2d")
    survey = RunSurvey("run", NOW, (over, item(2), item(1)))
    assert plan_run(BASIS, survey).changes == ()


def test_what_a_launch_would_go_on_from_is_left_alone() -> None:
    assert planned(item(1), latest=Place("run", 0, 1)).changes == ()
    fate = announced("recent.2d", midnight(13), is_tagged=True)
    (change,) = planned(item(1, fate=fate), latest=Place("run", 0, 1)).changes
    assert (change.kind, change.reason) == (Kind.TAKE_BACK, "what a launch of its run would go on from")


def test_what_is_held_is_left_alone() -> None:
    assert planned(item(1, cases=("A",))).changes == ()
    fate = announced("recent.2d", midnight(13), is_tagged=True)
    (change,) = planned(item(1, fate=fate, cases=("A", "B"))).changes
    assert (change.kind, change.before, change.reason) == (Kind.TAKE_BACK, "recent.2d", "held for A and B")


def test_a_run_that_was_dropped_ends_as_a_whole() -> None:
    dropped = Fate(assigned=TRASH, assigned_number=1)
    survey = RunSurvey("run", NOW, tuple(item(step, fate=dropped) for step in (3, 2, 1)), Place("run", 0, 3))
    assert {change.place.step for change in plan_run(BASIS, survey).changes} == {1, 2, 3}
    again = RunSurvey("run", NOW, (item(4), *survey.checkpoints), Place("run", 0, 4))
    assert {change.place.step for change in plan_run(BASIS, again).changes} == {1, 2}


def test_what_no_class_chooses_is_kept() -> None:
    nothing = policy('[classes.milestone]\nmilestone = "*"\nkeep_for = "forever"\n')
    basis = replace(BASIS, policy=nothing)
    assert planned(item(1), basis=basis, newest=3).changes == ()
    fate = announced("recent.2d", midnight(13), is_tagged=True)
    (change,) = planned(item(1, fate=fate), basis=basis, newest=3).changes
    assert (change.kind, change.reason) == (Kind.TAKE_BACK, "no class chooses it")


def test_a_class_that_is_not_there_any_more_keeps() -> None:
    assert planned(item(1, said="gone")).changes == ()
    assert planned(item(1, fate=Fate(assigned="gone", assigned_number=1))).changes == ()


def test_a_checkpoint_without_data_needs_nothing() -> None:
    assert planned(item(1, objects=0)).changes == ()


def test_what_can_not_be_read_is_told_and_left() -> None:
    broken = Surveyed(Place("run", 0, 1), problem="its manifest is damaged")
    plan = planned(broken)
    assert (plan.changes, plan.problems) == ((), ("run step 1 (attempt 0): its manifest is damaged",))


# --- other classes ---------------------------------------------------------------------------------------------------------


def test_another_class_takes_back_first() -> None:
    fate = announced("recent.2d", midnight(13), is_tagged=True, assigned="explicit", assigned_number=1)
    changes = planned(item(1, fate=fate)).changes
    assert [(change.kind, change.before, change.after) for change in changes] == [
        (Kind.TAKE_BACK, "recent.2d", ""),
        (Kind.ANNOUNCE, "recent.2d", "explicit.30d"),
        (Kind.TAG, "recent.2d", "explicit.30d"),
    ]
    assert not changes[1].is_sooner


@pytest.mark.parametrize(
    ("before", "sooner"),
    [(midnight(30), True), (None, True), (midnight(11), False)],
    ids=["later", "for ever", "sooner"],
)
def test_sooner_is_told(before: datetime | None, sooner: bool) -> None:
    fate = announced("other.9d" if before else "other.forever", before, is_tagged=True)
    change = planned(item(1, fate=fate)).changes[1]
    assert (change.kind, change.is_sooner) == (Kind.ANNOUNCE, sooner)


def test_two_tags_at_once_are_sorted_out() -> None:
    fate = Fate(ends_at=midnight(13), announced=("hourly.14d", "recent.2d"))
    assert [change.kind for change in planned(item(1, fate=fate)).changes] == [Kind.TAKE_BACK, Kind.ANNOUNCE, Kind.TAG]


def test_what_was_taken_back_half_is_cleared_before_anything_else() -> None:
    assert [change.kind for change in planned(item(1, fate=Fate(generation=1, clearing=0))).changes] == [
        Kind.CLEAR,
        Kind.ANNOUNCE,
        Kind.TAG,
    ]
    held = item(1, fate=Fate(generation=1, clearing=0), cases=("A",))
    assert [change.kind for change in planned(held).changes] == [Kind.CLEAR]


def test_an_end_that_has_come_is_the_last_word() -> None:
    fate = announced("hourly.14d", midnight(10))
    over = item(1, fate=fate)
    (change,) = planned(over).changes
    assert (change.kind, change.after) == (Kind.TAG, "hourly.14d")
    assert planned(over, latest=Place("run", 0, 1)).changes == (change,)


def test_without_tags_ends_are_announced_alone() -> None:
    basis = replace(BASIS, has_tags=False)
    assert [change.kind for change in planned(item(1), basis=basis).changes] == [Kind.ANNOUNCE]
    assert planned(item(1, fate=announced("recent.2d", midnight(10))), basis=basis).changes == ()


# --- locks -----------------------------------------------------------------------------------------------------------------

LOCKED = policy(POLICY.replace('keep_for = "14d"', 'keep_for = "14d"\nlock = { mode = "GOVERNANCE", for = "10d" }'))
LOCKING = Basis(LOCKED, has_tags=True, has_locks=True)


def test_a_lock_comes_before_the_end_is_announced() -> None:
    unlocked = item(1, ordinal=12, lock=ObjectLockState())
    changes = planned(unlocked, basis=LOCKING).changes
    assert [change.kind for change in changes] == [Kind.LOCK, Kind.ANNOUNCE, Kind.TAG]
    assert (changes[0].after, changes[0].until_at) == ("GOVERNANCE", NOW - timedelta(hours=1) + 10 * DAY)


@pytest.mark.parametrize(("until", "kinds"), [(9, [Kind.LOCK]), (20, [])])
def test_a_longer_lock_stays(until: int, kinds: list[Kind]) -> None:
    locked = item(1, ordinal=12, lock=ObjectLockState(False, "GOVERNANCE", NOW + until * DAY), cases=("A",))
    found = [change.kind for change in planned(locked, basis=LOCKING).changes]
    assert found == [Kind.HOLD, *kinds]


def test_a_lock_that_has_run_out_is_not_renewed() -> None:
    old = item(1, age=12 * DAY, ordinal=12, lock=ObjectLockState(False, "GOVERNANCE", NOW - 2 * DAY))
    assert Kind.LOCK not in [change.kind for change in planned(old, basis=LOCKING).changes]


def test_nothing_ends_while_it_is_locked() -> None:
    locked = item(1, lock=ObjectLockState(False, "COMPLIANCE", NOW + 100 * DAY))
    (change,) = planned(locked, basis=LOCKING).changes
    assert (change.kind, change.ends_after) == (Kind.ANNOUNCE, midnight(19, 6))


# --- money, ids, needs -----------------------------------------------------------------------------------------------------


def test_money_before_and_after() -> None:
    basis = replace(BASIS, prices=shipped("hdd"))
    (change, _) = planned(item(1), basis=basis).changes
    assert change.usd_before == pytest.approx(0.04)
    assert change.usd_after == 0
    forever = item(1, fate=Fate(assigned="milestone", assigned_number=1))
    (change, _) = planned(forever, basis=basis).changes
    assert change.usd_before == change.usd_after == pytest.approx(0.04)


def test_what_has_no_price_has_none() -> None:
    basis = replace(BASIS, prices=shipped("hdd"))
    (change, _) = planned(item(1, storage_class="GLACIER_IR"), basis=basis).changes
    assert (change.usd_before, change.usd_after) == (None, None)


def test_the_digest_is_about_what_is_done() -> None:
    plan = planned(item(1), item(2))
    assert plan.digest == planned(item(2), item(1)).digest
    assert plan.digest != planned(item(1)).digest


def _asked(fate: Fate, *, basis: Basis = BASIS, cases: tuple[str, ...] = ()) -> Need:
    newer = tuple(Surveyed(Place("run", 0, 1000 + number)) for number in (1, 0))
    survey = RunSurvey("run", NOW, (*newer, Surveyed(Place("run", 0, 1), fate, cases)))
    return needs(basis, survey).get(Place("run", 0, 1), Need.NOTHING)


def test_only_what_has_to_be_known_is_asked_for() -> None:
    compared = replace(BASIS, compared=frozenset({"recent.2d", "explicit.30d"}))
    tagged = announced("recent.2d", midnight(13), is_tagged=True)
    assert _asked(Fate()) is Need.ALL
    assert _asked(tagged) is Need.ALL
    assert _asked(tagged, basis=compared) is Need.NOTHING
    assert _asked(replace(tagged, assigned="explicit", assigned_number=1), basis=compared) is Need.ALL
    assert _asked(announced("recent.2d", midnight(13)), basis=compared) is Need.DATA
    assert _asked(announced("recent.2d", midnight(9), is_tagged=True), basis=compared) is Need.DATA
    assert _asked(replace(tagged, has_ended=True)) is Need.NOTHING
    assert _asked(Fate(), cases=("A",)) is Need.NOTHING
    assert _asked(tagged, cases=("A",)) is Need.DATA


def test_what_was_compared_before_is_tagged_by_what_was_said() -> None:
    compared = replace(BASIS, compared=frozenset({"hourly.14d"}))
    fate = announced("hourly.14d", midnight(25))
    waiting = item(1, fate=fate)
    assert waiting.looked is not None
    unread = replace(waiting, looked=replace(waiting.looked, promotion=None))
    (change,) = planned(unread, basis=compared).changes
    assert (change.kind, change.after) == (Kind.TAG, "hourly.14d")


def test_the_tags_in_use_are_told() -> None:
    fate = announced("old.9d", midnight(20), is_tagged=True)
    plan = planned(item(1, fate=fate), item(2, fate=announced("other.5d", midnight(9), is_tagged=True), tag="other.5d"))
    assert plan.in_use == {"old.9d", "other.5d", "recent.2d"}
    assert plan.in_use_after == {"other.5d", "recent.2d"}
