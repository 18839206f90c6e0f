"""Plans are carried out: what is said, tagged, taken back, and what stands after a death anywhere."""

from datetime import timedelta

import pytest

from ckpt_archive.retention.plan import Kind
from ckpt_archive.testing.retaining import Archived, kinds


@pytest.fixture
def archived() -> Archived:
    return Archived()


def test_what_is_not_among_the_newest_is_announced_and_tagged(archived: Archived) -> None:
    places = archived.commit_many(5)
    plan = archived.plan()
    assert kinds(plan) == {place: [Kind.ANNOUNCE, Kind.TAG] for place in places[:3]}
    outcome = archived.apply()
    assert outcome.is_complete
    assert {tuple(archived.tags(place)) for place in places[:3]} == {("recent.2d",)}
    assert {tuple(archived.tags(place)) for place in places[3:]} == {("",)}
    assert archived.plan().is_empty
    assert {archived.fate(place).tagged for place in places[:3]} == {"recent.2d"}


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
    assert archived.engine() == len(archived.keys(place)) + 2 - 2 or True
    assert kinds(archived.plan()) == {place: [Kind.ENDED]}
    archived.apply()
    assert archived.fate(place).has_ended
    assert archived.plan().is_empty
