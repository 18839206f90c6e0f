"""Plans are carried out: what is said, tagged and taken back, in which order, and what somebody else did meanwhile."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.fate import Pass
from ckpt_archive.commit.fating import Told
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import hold
from ckpt_archive.retention.passes.apply import apply, plan_again
from ckpt_archive.retention.plans.plan import Kind
from ckpt_archive.retention.plans.planning import make_plan
from ckpt_archive.retention.policy.in_force import TRANSITIONS, read_in_force, read_policy
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.retaining import POLICY, Archived, kinds, policy

FOREIGN = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "elsewhere/"}, "Expiration": {"Days": 3}}


@pytest.fixture
def archived() -> Archived:
    return Archived()


def rule_names(archived: Archived) -> list[str]:
    assert archived.bucket is not None
    return sorted(str(raw["ID"]).removeprefix("ckpt-archive::") for raw in archived.bucket.read_rules())


# --- what is done ----------------------------------------------------------------------------------------------------------


def test_what_is_not_among_the_newest_is_announced_and_tagged(archived: Archived) -> None:
    places = archived.commit_many(5)
    assert kinds(archived.plan()) == {place: [Kind.ANNOUNCE, Kind.TAG] for place in places[:3]}
    assert archived.apply().is_complete
    assert {tuple(archived.tags(place)) for place in places[:3]} == {("recent.2d",)}
    assert {tuple(archived.tags(place)) for place in places[3:]} == {("",)}
    assert {archived.fate(place).tagged for place in places[:3]} == {"recent.2d"}
    assert archived.plan().is_empty


def test_ending_is_told_before_it_is_said_and_said_before_anything_is_tagged(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    seen: list[str] = []

    def note(request: Request) -> None:
        if request.verb in ("create", "write_tags"):
            seen.append(request.key)

    connection = archived.connect(
        HookedStore(archived.store, after=note),
        HookedBucket(archived.connection.bucket, after=note),  # type: ignore[arg-type]
    )
    archived.apply(connection=connection)
    order = [
        next(at for at, key in enumerate(seen) if what in key)
        for what in ("log/events/", "/0000-ends-", "data/", "/0000-tagged-")
    ]
    assert order == sorted(order)
    (event,) = archived.events("ending")
    assert (event.places, event.outcome, event.until_at) == ((place,), "recent", archived.fate(place).ends_at)
    assert event.reason == "2 newer ones are committed; class recent because no other class chooses it; ends 2026-03-04"


def test_what_is_overdue_is_announced_first_and_tagged_on_its_day(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    archived.later(days=30)
    archived.apply()
    end = archived.fate(place).ends_at
    assert end is not None
    assert end - archived.clock.now() > timedelta(days=2)
    assert archived.tags(place) == {""}
    assert archived.plan().is_empty
    archived.later(days=3)
    assert kinds(archived.plan()) == {place: [Kind.TAG]}
    archived.apply()
    assert archived.engine() == 2
    assert kinds(archived.plan()) == {place: [Kind.ENDED]}
    archived.apply()
    assert archived.fate(place).has_ended
    assert archived.plan().is_empty
    (ended,) = archived.events("ended")
    assert (ended.places, ended.outcome) == ((place,), "recent")


def test_what_is_kept_for_ever_is_tagged_and_never_ends(archived: Archived) -> None:
    place = archived.commit(50, milestone="v1")
    archived.commit_many(3)
    archived.apply()
    assert (archived.fate(place).ends_at, archived.fate(place).tagged) == (None, "milestone.forever")
    archived.later(days=10_000)
    archived.apply()
    archived.engine()
    assert archived.keys(place)
    assert not archived.fate(place).is_over(archived.clock.now())


def test_other_tags_stay(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    assert archived.bucket is not None
    key = archived.keys(place)[-1]
    archived.bucket.write_tags(key, {"cost-centre": "7"})
    archived.apply()
    assert archived.bucket.read_tags(key) == {"cost-centre": "7", "ckpt-archive-class": "recent.2d"}
    hold(archived.machine, archived.connection, "run-a", place, "A", "why", "")
    assert archived.bucket.read_tags(key) == {"cost-centre": "7"}


def test_a_store_without_a_bucket_is_told_of_ends_alone() -> None:
    archived = Archived(with_bucket=False)
    places = archived.commit_many(4)
    assert kinds(archived.plan()) == {place: [Kind.ANNOUNCE] for place in places[:2]}
    archived.apply()
    assert archived.plan().is_empty
    assert archived.fate(places[0]).ends_at is not None


# --- policies --------------------------------------------------------------------------------------------------------------


def test_the_policy_is_put_into_force_once(archived: Archived) -> None:
    archived.commit_many(3)
    assert read_in_force(archived.store, archived.connection.archive_id).applied is None
    plan = archived.plan()
    outcome = apply(archived.voice(policy()), plan)
    applied = read_in_force(archived.store, archived.connection.archive_id).applied
    assert applied is not None
    assert (applied.number, applied.plan, applied.by, applied.name) == (1, plan.id, "owner", "retention.toml")
    assert read_policy(archived.store, applied).sha256 == policy().sha256
    assert outcome.number == 1
    archived.commit_many(3, first=10)
    assert archived.apply().number == 1


@pytest.mark.parametrize(("keep", "sooner"), [("1d", True), ("5d", False)])
def test_an_edited_keep_time_takes_back_and_announces_anew(archived: Archived, keep: str, sooner: bool) -> None:
    place = archived.commit_many(3)[0]
    archived.apply()
    before = archived.fate(place).ends_at
    edited = policy(POLICY.replace('keep_for = "2d"', f'keep_for = "{keep}"'))
    (taken_back, announced, *tagged) = archived.plan(edited).changes
    assert (taken_back.kind, announced.kind) == (Kind.TAKE_BACK, Kind.ANNOUNCE)
    assert (announced.ends_before, announced.before, announced.after) == (before, "recent.2d", f"recent.{keep}")
    assert not announced.is_sooner  # not within the notice
    assert bool(tagged) is not sooner
    archived.apply(edited)
    assert archived.plan(edited).is_empty
    fate = archived.fate(place)
    assert (fate.generation, fate.announced, fate.clearing) == (1, (f"recent.{keep}",), None)
    assert archived.tags(place) == ({""} if sooner else {f"recent.{keep}"})
    assert rule_names(archived).count("class:recent.2d") == 0


def test_what_ends_sooner_than_was_announced_is_marked(archived: Archived) -> None:
    place = archived.commit_many(3, first=12)[0]
    archived.apply()
    edited = policy(POLICY.replace('keep_for = "14d"', 'keep_for = "7d"'))
    plan = archived.plan(edited)
    (announced,) = [change for change in plan.changes if change.kind is Kind.ANNOUNCE]
    assert (announced.place, announced.is_sooner) == (place, True)
    assert plan.totals[Kind.ANNOUNCE, "hourly"].sooner == 1


def test_a_rule_stays_while_anything_has_its_tag(archived: Archived) -> None:
    places = archived.commit_many(3, first=12)
    archived.apply()
    assert "class:hourly.14d" in rule_names(archived)
    without = policy(POLICY.replace("every = 12", "every = 1200"))
    hold(archived.machine, archived.connection, "run-a", places[0], "A", "why", "")
    archived.apply(without)
    assert "class:hourly.14d" in rule_names(archived)  # the policy has the class, although it chooses nothing
    gone = policy(POLICY.replace('[classes.hourly]\nevery = 12\nkeep_for = "14d"', ""))
    archived.apply(gone)
    assert "class:hourly.14d" not in rule_names(archived)


def test_a_class_that_is_gone_leaves_its_checkpoints_to_others(archived: Archived) -> None:
    place = archived.commit_many(3, first=12)[0]
    archived.apply()
    assert archived.fate(place).class_name == "hourly"
    gone = policy(POLICY.replace('[classes.hourly]\nevery = 12\nkeep_for = "14d"', ""))
    archived.apply(gone)
    assert archived.fate(place).class_name == "recent"
    assert archived.plan(gone).is_empty


def test_what_no_class_chooses_any_more_is_kept(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    archived.apply()
    nothing = policy('keep_newest = 2\n[classes.milestone]\nmilestone = "*"\nkeep_for = "forever"\n')
    archived.apply(nothing)
    assert archived.tags(place) == {""}
    fate = archived.fate(place)
    assert (fate.ends_at, fate.announced, fate.clearing) == (None, (), None)
    assert archived.plan(nothing).is_empty


def test_an_end_that_has_come_is_not_taken_back_by_another_policy(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    archived.apply()
    archived.later(days=5)
    longer = policy(POLICY.replace('keep_for = "2d"', 'keep_for = "20d"'))
    archived.apply(longer)
    assert archived.tags(place) == {"recent.2d"}
    assert "class:recent.2d" in rule_names(archived)
    assert archived.engine() == 2
    archived.apply(longer)
    assert archived.fate(place).has_ended
    archived.apply(longer)
    assert "class:recent.2d" not in rule_names(archived)
    assert archived.plan(longer).is_empty


# --- rules -----------------------------------------------------------------------------------------------------------------


def test_rules_of_others_stay_as_they_are(archived: Archived) -> None:
    assert archived.bucket is not None
    archived.bucket.write_rules([FOREIGN])
    archived.commit_many(3)
    plan = archived.plan()
    assert plan.rules is not None
    assert plan.rules.foreign == (FOREIGN,)
    archived.apply()
    assert FOREIGN in archived.bucket.read_rules()
    assert archived.plan().is_empty


def test_with_terraform_no_rule_is_written(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    owned = policy(f'lifecycle_owner = "terraform"\n{POLICY}')
    plan = archived.plan(owned)
    assert plan.rules is not None
    assert len(plan.rules.add) > 3
    archived.apply(owned)
    assert rule_names(archived) == []
    assert archived.tags(place) == {"recent.2d"}
    assert archived.plan(owned).is_empty


def test_where_transitions_are_refused_rules_are_without_and_that_is_remembered() -> None:
    archived = Archived(transitions=False)
    moving = policy(
        POLICY.replace('keep_for = "14d"', 'keep_for = "1y"\ntransitions = [{after = "30d", to = "GLACIER_IR"}]')
    )
    archived.commit_many(3)
    outcome = archived.apply(moving)
    assert outcome.limits == (TRANSITIONS,)
    assert archived.plan(moving).is_empty
    assert read_in_force(archived.store, archived.connection.archive_id).limits == (TRANSITIONS,)


def test_a_rule_that_became_broader_is_taken_back(archived: Archived) -> None:
    archived = Archived(forgets_conditions=True)
    assert archived.bucket is not None
    wide = {**FOREIGN, "Filter": {"And": {"Prefix": "elsewhere/", "ObjectSizeGreaterThan": 5}}}
    archived.bucket._rules = (wide,)  # as before an update of the server
    archived.commit_many(3)
    with pytest.raises(IntegrityError, match="'theirs' became broader"):
        archived.apply()
    assert read_in_force(archived.store, archived.connection.archive_id).applied is None
    assert not archived.events("ending")


def test_rules_that_were_written_since_the_plan_are_a_conflict(archived: Archived) -> None:
    archived.commit_many(3)
    plan = archived.plan()
    assert archived.bucket is not None
    archived.bucket.write_rules([FOREIGN])
    with pytest.raises(ConflictError, match="have changed since"):
        apply(archived.voice(policy()), plan)
    assert archived.bucket.read_rules() == (FOREIGN,)


def test_rules_that_somebody_writes_at_the_same_moment_stay(archived: Archived) -> None:
    archived.commit_many(3)
    bucket = archived.bucket
    assert bucket is not None

    def theirs(request: Request) -> None:
        if request.verb == "write_rules":
            bucket.write_rules([FOREIGN])

    connection = archived.connect(bucket=HookedBucket(bucket, after=theirs))
    with pytest.raises(ConflictError, match="somebody else has written the lifecycle rules"):
        archived.apply(connection=connection)
    assert bucket.read_rules() == (FOREIGN,)
    assert archived.apply().is_complete
    assert archived.plan().is_empty


# --- the id ----------------------------------------------------------------------------------------------------------------


def test_a_plan_keeps_its_id_while_training_goes_on(archived: Archived) -> None:
    archived.commit_many(4)
    plan = archived.plan()
    archived.later(hours=1)
    archived.commit_many(3, first=10)
    assert archived.plan().id != plan.id
    again = plan_again(archived.machine, archived.connection, policy(), plan.id)
    assert again.id == plan.id
    apply(archived.voice(policy()), again)
    assert archived.fate(Place("run-a", 0, 200)).tagged
    assert archived.fate(Place("run-a", 0, 400)).is_open


@pytest.mark.parametrize("what", ["policy", "rules", "hold", "day"])
def test_a_plan_of_what_has_changed_is_refused(archived: Archived, what: str) -> None:
    places = archived.commit_many(4)
    plan = archived.plan()
    chosen = policy()
    assert archived.bucket is not None
    match what:
        case "policy":
            chosen = policy(POLICY.replace("14d", "15d"))
        case "rules":
            archived.bucket.write_rules([FOREIGN])
        case "hold":
            hold(archived.machine, archived.connection, "run-a", places[0], "A", "why", "")
        case _:
            archived.later(days=2)
    with pytest.raises(ConflictError, match="is not the one that would be made now"):
        plan_again(archived.machine, archived.connection, chosen, plan.id)


def test_what_is_no_id_is_told(archived: Archived) -> None:
    for text in ("", "latest", "20261399T000000-0123456789abcdef"):
        with pytest.raises(InvalidInputError, match="is no id of a plan"):
            plan_again(archived.machine, archived.connection, policy(), text)


def test_a_run_that_moved_after_the_plan_is_left(archived: Archived) -> None:
    places = archived.commit_many(4)
    archived.commit_many(3, run="run-b")
    plan = archived.plan()
    hold(archived.machine, archived.connection, "run-a", places[0], "A", "why", "")
    outcome = apply(archived.voice(policy()), plan)
    assert outcome.moved_runs == ["run-a"]
    assert archived.fate(places[1]).is_open
    assert archived.fate(Place("run-b", 0, 100)).tagged
    assert not archived.plan().is_empty


# --- somebody else ---------------------------------------------------------------------------------------------------------


def at_request(archived: Archived, verb: str, part: str, what: Callable[[], None]) -> tuple[HookedStore, HookedBucket]:
    """Wrappers that do something before the first request like this."""
    done: list[bool] = []

    def before(request: Request) -> None:
        if request.verb == verb and part in request.key and not done:
            done.append(True)
            what()

    assert archived.bucket is not None
    return HookedStore(archived.store, before=before), HookedBucket(archived.bucket, before=before)


@pytest.mark.parametrize(
    ("verb", "part"),
    [
        ("create", "-begun"),
        ("create", "-ends-"),
        ("list", "data/"),
        ("read_tags", "data/"),
        ("write_tags", "data/"),
        ("create", "-tagged-"),
        ("create", "-ended"),
    ],
)
def test_a_hold_that_comes_at_any_moment_wins(archived: Archived, verb: str, part: str) -> None:
    place = archived.commit_many(3)[0]

    def hold_it() -> None:
        told = Told("", "", "why", archived.clock.now())
        fating.hold(archived.store, archived.connection.archive_id, place, "A", 1, told)

    connection = archived.connect(*at_request(archived, verb, part, hold_it))
    archived.apply(connection=connection)
    # Whoever holds goes on looking until the pass has ended.
    hold(archived.machine, archived.connection, "run-a", place, "A", "why", "")
    assert archived.tags(place) == {""}
    assert archived.fate(place).ends_at is None
    archived.later(hours=2)
    archived.apply()
    assert archived.tags(place) == {""}
    assert archived.plan().is_empty


def test_what_was_held_after_its_end_keeps_what_is_left(archived: Archived) -> None:
    place = archived.commit_many(3)[0]
    archived.apply()
    archived.later(days=4)
    told = Told("", "", "why", archived.clock.now())
    fating.hold(archived.store, archived.connection.archive_id, place, "A", 1, told)
    assert kinds(archived.plan()) == {place: [Kind.CLEAR]}
    archived.apply()
    assert archived.tags(place) == {""}
    assert archived.engine() == 0
    assert archived.plan().is_empty
    assert archived.fate(place).is_over(archived.clock.now())
    fating.release(archived.store, archived.connection.archive_id, place, "A", 2, told)
    assert kinds(archived.plan()) == {place: [Kind.TAG]}
    archived.apply()
    assert archived.engine() == 2


def test_who_goes_back_to_what_was_announced_has_it_taken_back(archived: Archived) -> None:
    place = archived.commit_many(4)[0]
    archived.apply()
    archived.launch(back_to=place)
    assert kinds(archived.plan())[place] == [Kind.TAKE_BACK]
    archived.apply()
    assert archived.tags(place) == {""}
    assert archived.fate(place).is_open
    (event,) = [event for event in archived.events("ending") if event.until_at is None]
    assert event.reason == "taken back: what a launch of its run would go on from"
    assert archived.plan().is_empty


def test_what_is_taken_back_is_not_cleared_while_somebody_may_still_be_tagging(archived: Archived) -> None:
    place = archived.commit_many(4)[0]
    archived.apply()
    told = Told("", "", "slow", archived.clock.now())
    other = Pass(archived.clock.now(), "ab" * 16)
    fating.begin_pass(archived.store, archived.connection.archive_id, "run-a", other, told)
    archived.launch(back_to=place)
    outcome = archived.apply()
    assert outcome.done.moved == [place]
    assert archived.tags(place) == {""}
    assert archived.fate(place).clearing == 0
    archived.later(hours=2)
    assert kinds(archived.plan()) == {place: [Kind.CLEAR]}
    archived.apply()
    assert archived.fate(place).clearing is None
    assert archived.plan().is_empty


def test_two_policies_at_once_are_a_conflict(archived: Archived) -> None:
    archived.commit_many(3)
    mine, other = archived.plan(), policy(POLICY.replace("14d", "15d"))
    theirs = archived.plan(other)
    assert archived.bucket is not None
    archived.bucket.write_rules([])
    store, bucket = at_request(archived, "create", layout.APPLIED, lambda: None)
    first = True

    def overtaken(request: Request) -> None:
        nonlocal first
        if request.verb == "create" and request.key.startswith(layout.APPLIED) and first:
            first = False
            archived.bucket.write_rules([])  # type: ignore[union-attr]
            apply(archived.voice(other), theirs)

    del store, bucket
    connection = archived.connect(HookedStore(archived.store, before=overtaken))
    with pytest.raises(ConflictError, match="at the same time"):
        apply(archived.voice(policy(), connection), mine)


# --- locks -----------------------------------------------------------------------------------------------------------------

LOCKED = POLICY.replace('keep_for = "14d"', 'keep_for = "14d"\nlock = { mode = "COMPLIANCE", for = "10d" }')


def test_locks_are_written_also_for_the_newest(archived: Archived) -> None:
    archived = Archived(versioned=True, object_lock=True)
    newest = archived.commit(100, ordinal=12)
    plan = archived.plan(policy(LOCKED))
    assert kinds(plan) == {newest: [Kind.LOCK]}
    archived.apply(policy(LOCKED))
    assert archived.bucket is not None
    key = archived.keys(newest)[-1]
    lock = archived.bucket.read_lock(key)
    assert (lock.mode, lock.until_at) == ("COMPLIANCE", archived.store.head(key).modified + timedelta(days=10))  # type: ignore[operator]
    assert archived.plan(policy(LOCKED)).is_empty


def test_nothing_is_announced_to_end_while_it_is_locked() -> None:
    archived = Archived(versioned=True, object_lock=True)
    place = archived.commit_many(3, first=12)[0]
    assert archived.bucket is not None
    key = archived.keys(place)[-1]
    archived.bucket.write_retention(key, "COMPLIANCE", archived.clock.now() + timedelta(days=100))
    archived.apply(policy(LOCKED))
    end = archived.fate(place).ends_at
    assert end is not None
    assert end >= archived.clock.now() + timedelta(days=100)
    lock = archived.bucket.read_lock(key)
    assert lock.until_at is not None
    assert lock.until_at > archived.clock.now() + timedelta(days=50)  # not shortened
    assert archived.tags(place) == {""}


def test_checkpoints_of_a_held_run_get_native_holds_later() -> None:
    archived = Archived(versioned=True, object_lock=True)
    archived.commit_many(2)
    hold(archived.machine, archived.connection, "run-a", None, "A", "why", "")
    later = archived.commit(1000)
    assert kinds(archived.plan())[later] == [Kind.HOLD]
    archived.apply()
    assert archived.bucket is not None
    assert all(archived.bucket.read_lock(key).legal_hold for key in archived.keys(later))
    assert archived.plan().is_empty


# --- what it costs ---------------------------------------------------------------------------------------------------------


def test_what_a_plan_costs(archived: Archived) -> None:
    for run in ("run-a", "run-b"):
        archived.commit_many(10, run=run)
    archived.apply()
    store = HookedStore(archived.store)
    assert make_plan(archived.machine, archived.connect(store), policy()).is_empty
    by_key = [(request.verb, request.key.split("/")[0]) for request in store.requests]
    assert by_key.count(("read", "manifests")) == 0  # all were compared with this policy
    assert by_key.count(("list", "data")) == 11  # they are tagged on their last day, or now if nobody has done it
    assert len(store.requests) == 4 + 2 * 5 + 11
    other = policy(POLICY.replace("14d", "15d"))
    store.requests.clear()
    make_plan(archived.machine, archived.connect(store), other)
    by_key = [(request.verb, request.key.split("/")[0]) for request in store.requests]
    assert by_key.count(("read", "manifests")) == 16  # all but the newest
    assert by_key.count(("list", "data")) == 16


def test_nothing_is_left_behind_by_a_pass(archived: Archived) -> None:
    archived.commit_many(3)
    archived.apply()
    names = [info.key.rpartition("/")[2] for info in list_all(archived.store, layout.run_statements("run-a"))]
    assert sorted(name.rpartition("-")[2] for name in names) == ["begun.json", "ended.json"]
