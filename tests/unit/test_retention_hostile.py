"""Whoever may write into the bucket writes nonsense, and clocks lie: nothing ends early, and all else goes on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.fate import LAST_GENERATION, fold
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.restore.hidden import hidden_hint
from ckpt_archive.retention.by_hand.holding import hold, release
from ckpt_archive.retention.engineless.execute import MARGIN, find_endings
from ckpt_archive.retention.engineless.orphans import find_orphans
from ckpt_archive.retention.passes.apply import apply, check_revocable
from ckpt_archive.retention.passes.periodic import go_through
from ckpt_archive.retention.policy.in_force import read_in_force
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.retaining import POLICY, Archived, policy
from ckpt_archive.testing.staged import local_machine

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def archived() -> Archived:
    return Archived()


def say(archived: Archived, place: Place, name: str) -> None:
    key = layout.checkpoint_statement(place.run, place.attempt, place.step, name)
    archived.store.create(key, Body.of(b"{}"))


def maintain(archived: Archived) -> list[str]:
    return go_through(
        lambda _: archived.voice(policy()), archived.store, archived.connection.archive_id, lambda: True
    ).problems


@pytest.mark.parametrize("day", ["00010101", "00010102", "99991231", "99990101", "00000101", "20271301"])
def test_absurd_days_are_read(archived: Archived, day: str) -> None:
    fate = fold([f"0000-ends-{day}-daily.2d.json"])
    assert isinstance(fate.is_over(NOW), bool)
    places = archived.commit_many(5)
    archived.apply()
    say(archived, places[0], f"0000-ends-{day}-daily.2d")
    only = archived.commit(600, "run-b")
    say(archived, only, f"0000-ends-{day}-daily.2d")
    assert not archived.fate(only).is_over(archived.clock.now())
    archived.later(days=2)
    maintain(archived)
    tuple(find_endings(archived.machine, archived.connection, policy(), MARGIN))
    assert archived.fate(places[1]).tagged


@pytest.mark.parametrize(
    "tag", ["x.99999999999999d", "x.0d", "x.-5d", "x.999999d", "x.2d.GLACIER-999999d", "x", "x..", "x.forever"]
)
def test_absurd_tags_are_read(archived: Archived, tag: str) -> None:
    places = archived.commit_many(5)
    say(archived, places[0], f"0000-ends-20260303-{tag}")
    archived.apply()
    archived.later(days=20)
    maintain(archived)
    maintain(archived)
    tuple(find_endings(archived.machine, archived.connection, policy(), MARGIN))
    assert archived.fate(places[1]).tagged


@pytest.mark.parametrize("word", ["revoked", "cleared", "ends-20260601-recent.2d", "keeps-a.forever"])
def test_last_generation_keeps_and_all_else_goes_on(archived: Archived, word: str) -> None:
    places = archived.commit_many(5)
    say(archived, places[1], f"{LAST_GENERATION}-{word}")
    archived.apply()
    archived.later(days=1)
    assert any("used up the numbers" in text for text in maintain(archived)) or word.startswith("ends")
    assert archived.fate(places[0]).tagged
    assert archived.fate(places[2]).tagged
    for _ in range(3):
        archived.later(days=1)
        maintain(archived)
    assert archived.tags(places[1]) == {""}


def test_strange_names_are_left_alone(archived: Archived) -> None:
    places = archived.commit_many(5)
    for name in ("0000-ends", "-1-ends-20260101-a.1d", "x" * 200, "0000-ENDED", "10000-ended", "0000-ended.json"):
        say(archived, places[0], name)
    archived.apply()
    assert archived.fate(places[0]).tagged
    assert not archived.fate(places[0]).has_ended


def test_thousands_of_statements(archived: Archived) -> None:
    places = archived.commit_many(5)
    for number in range(2500):
        say(archived, places[0], f"case-C{number}-0001-held")
    archived.apply()
    assert archived.tags(places[0]) == {""}
    assert archived.tags(places[1]) == {"recent.2d"}


def test_largest_numbers(archived: Archived) -> None:
    places = archived.commit_many(5)
    say(archived, places[0], "case-X-9999-held")
    with pytest.raises(InvalidInputError):
        release(archived.machine, archived.connection, "run-a", places[0], "X", "over", "ada")
    say(archived, places[0], "case-Y-9999-released")
    with pytest.raises(InvalidInputError):
        hold(archived.machine, archived.connection, "run-a", places[0], "Y", "why", "ada")
    hold(archived.machine, archived.connection, "run-a", places[0], "Z", "why", "ada")


def test_applied_number_jumps_to_the_largest(archived: Archived) -> None:
    archived.commit_many(5)
    archived.apply()
    found = read_in_force(archived.store, archived.connection.archive_id).applied
    assert found is not None
    record = replace(found, number=99_999_999, policy="0" * 64)
    archived.store.create(layout.policy_applied(99_999_999), Body.of(record.encode()))
    with pytest.raises(IntegrityError, match="is missing"):
        maintain(archived)
    with pytest.raises(InvalidInputError, match="no policy can have the number 100000000") as caught:
        archived.apply()
    assert "policy/applied/00000000.json" in caught.value.hint


def test_eleventh_tag(archived: Archived) -> None:
    places = archived.commit_many(5)
    assert archived.bucket is not None
    key = archived.keys(places[0])[0]
    archived.bucket.write_tags(key, {f"t{n}": "x" for n in range(10)})
    archived.apply()
    assert archived.tags(places[1]) == {"recent.2d"}
    assert len(archived.bucket.read_tags(key)) == 10
    assert any("can not have 11 tags" in text for text in maintain(archived))


def test_foreign_rules(archived: Archived) -> None:
    archived.commit_many(5)
    assert archived.bucket is not None
    rules = [
        {"ID": f"r{n}", "Status": "Enabled", "Filter": {"Prefix": f"o{n}/"}, "Expiration": {"Days": 3}}
        for n in range(1000)
    ]
    archived.bucket.write_rules(rules)
    with pytest.raises(InvalidInputError, match="1000 of them not ours"):
        archived.apply()
    assert archived.bucket.read_rules() == tuple(rules)


def test_impostor_rule_with_our_id_is_named(archived: Archived) -> None:
    archived.commit_many(5)
    archived.apply()
    assert archived.bucket is not None
    impostor = {
        "ID": "ckpt-archive::class:gone.1d",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": 1},
    }
    archived.bucket.write_rules([*archived.bucket.read_rules(), impostor])
    assert any("class:gone.1d" in text for text in archived.plan().problems)


def test_store_whose_clock_is_a_year_ahead_ends_nothing(archived: Archived) -> None:
    places = archived.commit_many(5)
    archived.apply()
    right = local_machine(clock=ManualClock())
    archived.later(days=365)
    found = list(find_endings(right, archived.connection, policy(), MARGIN))
    assert {ending.place for ending in found} == set(places[:3])
    assert all("set the clocks right" in ending.objection for ending in found)
    assert not any(ending.objection for ending in find_endings(archived.machine, archived.connection, policy(), MARGIN))


def test_store_whose_clock_is_behind_announces_nothing(archived: Archived) -> None:
    archived.commit_many(5)
    ahead = ManualClock()
    ahead.sleep(timedelta(days=365).total_seconds())
    voice = replace(archived.voice(policy()), machine=local_machine(clock=ahead))
    outcome = apply(voice, archived.plan())
    assert not outcome.is_complete
    assert not archived.events("ending")


def test_locks_that_nobody_can_undo_are_told_of() -> None:
    archived = Archived(versioned=True, object_lock=True)
    archived.commit_many(5)
    chosen = policy(
        POLICY.replace('keep_for = "2d"', 'keep_for = "400d"\nlock = { mode = "COMPLIANCE", for = "300d" }')
    )
    plan = archived.plan(chosen)
    assert "recent for 300 days" in plan.irrevocable
    assert "until 20" in plan.irrevocable
    with pytest.raises(InvalidInputError, match="nobody can undo this") as caught:
        check_revocable(plan)
    assert f"--plan {plan.id}" in caught.value.hint
    archived.apply(chosen)
    check_revocable(archived.plan(chosen))
    assert not archived.plan(chosen).irrevocable
    assert not archived.plan(policy(POLICY)).irrevocable


def test_checkpoint_whose_records_somebody_removed_is_no_orphan(archived: Archived) -> None:
    place = archived.commit_many(5)[0]
    archived.apply()
    archived.store.delete(layout.manifest(place.run, place.attempt, place.step))
    for info in list_all(archived.store, layout.receipts_folder(place.run, place.attempt, place.step)):
        archived.store.delete(info.key)
    archived.later(days=30)
    assert not find_orphans(archived.connection, archived.machine, archived.clock.now())


def test_machine_that_slept_asks_again_before_it_tags(archived: Archived) -> None:
    """While it sleeps, its monotonic clock stands still."""
    place = archived.commit_many(3)[0]
    clock = _Sleeping(archived)
    put: list[str] = []

    def note(request: Request) -> None:
        if request.verb == "read_tags" and not clock.slept:
            clock.slept = timedelta(hours=2)
            hold(archived.machine, archived.connection, place.run, place, "C", "why", "ada")
        if request.verb == "write_tags" and clock.slept:
            put.append(request.key)

    assert archived.bucket is not None
    connection = archived.connect(bucket=HookedBucket(archived.bucket, after=note))
    voice = replace(archived.voice(policy(), connection), machine=local_machine(clock=clock))
    apply(voice, archived.plan(connection=connection))
    assert archived.tags(place) == {""}
    assert not put


class _Sleeping:
    def __init__(self, archived: Archived) -> None:
        self._inner = archived.clock
        self.slept = timedelta()

    def now(self) -> datetime:
        return self._inner.now() + self.slept

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def test_what_a_delete_marker_hides_is_said() -> None:
    archived = Archived(versioned=True)
    places = archived.commit_many(3)
    assert archived.bucket is not None
    (old,) = {item.version_id for item in archived.bucket.versions(archived.keys(places[0])[0])}
    assert not hidden_hint(archived.bucket, places[0])
    for key in archived.keys(places[0])[:1]:
        archived.store.delete(key)
    hint = hidden_hint(archived.bucket, places[0])
    assert "Somebody deleted 1 of its objects on 2026-03-01" in hint
    assert f"such as {old} of data/run-a/" in hint
    assert not archived.fate(places[0]).has_ended
