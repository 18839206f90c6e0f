"""Whoever may write into the bucket writes nonsense, and stores lie: nothing ends early, nobody crashes, all else goes on."""

from datetime import UTC, datetime, timedelta

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.fate import LAST_GENERATION, fold
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.place import Place
from ckpt_archive.retention.execute import MARGIN, find_endings
from ckpt_archive.retention.holding import hold, release
from ckpt_archive.retention.periodic import go_through
from ckpt_archive.store.body import Body
from ckpt_archive.testing.retaining import Archived, policy

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
    archived.later(days=2)
    maintain(archived)
    tuple(find_endings(archived.machine, archived.connection, policy(), MARGIN))
    assert archived.fate(places[1]).tagged


@pytest.mark.parametrize("tag", ["x.99999999999999d", "x.0d", "x.-5d", "x.999999d", "x.2d.GLACIER-999999d", "x", "x..", "x.forever"])
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
    assert maintain(archived)
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
    with pytest.raises(CkptArchiveError):
        release(archived.machine, archived.connection, "run-a", places[0], "X", "over", "ada")
    say(archived, places[0], "case-Y-9999-released")
    with pytest.raises(CkptArchiveError):
        hold(archived.machine, archived.connection, "run-a", places[0], "Y", "why", "ada")
    hold(archived.machine, archived.connection, "run-a", places[0], "Z", "why", "ada")


def test_applied_number_jumps_to_the_largest(archived: Archived) -> None:
    archived.commit_many(5)
    archived.apply()
    from ckpt_archive.retention.in_force import read_in_force
    from dataclasses import replace
    found = read_in_force(archived.store, archived.connection.archive_id).applied
    assert found is not None
    record = replace(found, number=99_999_999, policy="0" * 64)
    archived.store.create(layout.policy_applied(99_999_999), Body.of(record.encode()))
    with pytest.raises(CkptArchiveError) as caught:
        maintain(archived)
    print(caught.value.message, caught.value.hint)
    with pytest.raises(CkptArchiveError) as caught:
        archived.apply()
    print(caught.value.message, caught.value.hint)


def test_eleventh_tag(archived: Archived) -> None:
    places = archived.commit_many(5)
    assert archived.bucket is not None
    key = archived.keys(places[0])[0]
    archived.bucket.write_tags(key, {f"t{n}": "x" for n in range(10)})
    archived.apply()
    assert archived.tags(places[1]) == {"recent.2d"}
    assert len(archived.bucket.read_tags(key)) == 10
    problems = maintain(archived)
    print(problems)


def test_foreign_rules(archived: Archived) -> None:
    archived.commit_many(5)
    assert archived.bucket is not None
    rules = [
        {"ID": f"r{n}", "Status": "Enabled", "Filter": {"Prefix": f"o{n}/"}, "Expiration": {"Days": 3}} for n in range(1000)
    ]
    archived.bucket.write_rules(rules)
    with pytest.raises(CkptArchiveError) as caught:
        archived.apply()
    print(caught.value.message, caught.value.hint)


def test_impostor_rule_with_our_id_is_named(archived: Archived) -> None:
    archived.commit_many(5)
    archived.apply()
    assert archived.bucket is not None
    impostor = {"ID": "ckpt-archive::class:gone.1d", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    archived.bucket.write_rules([*archived.bucket.read_rules(), impostor])
    assert any("class:gone.1d" in text for text in archived.plan().problems)
