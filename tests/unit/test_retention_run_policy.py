"""The whole way of a policy without an engine: announced by `apply`, removed by `retention run`."""

import random
from datetime import datetime, timedelta

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.latest import latest
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.execute import MARGIN, find_endings, remove
from ckpt_archive.retention.policy.values import DAY, Policy, midnight_after
from ckpt_archive.testing.checkpoints import ARCHIVE_ID
from ckpt_archive.testing.retaining import Archived, policy

PLAIN = policy()


def run(archived: Archived, chosen: Policy = PLAIN, margin: timedelta = MARGIN) -> int:
    voice = archived.voice(chosen)
    endings = tuple(find_endings(archived.machine, archived.connection, chosen, margin))
    return remove(voice, chosen, margin, endings).checkpoints


def committed_at(archived: Archived, place: Place) -> datetime:
    modified = archived.store.head(layout.manifest(place.run, place.attempt, place.step)).modified
    assert modified is not None
    return modified


def there(archived: Archived) -> set[Place]:
    return {place for place in archived.committed() if archived.keys(place)}


def test_announced_then_removed() -> None:
    archived = Archived(with_bucket=False)
    places = archived.commit_many(20)
    for _ in range(7):
        archived.apply()
        run(archived)
        archived.later(days=1)
    kept = {place for place in places if place.step // 100 % 12 == 0}
    assert there(archived) == {*places[-2:], *kept}
    assert {event.outcome for event in archived.events("ended")} == {"recent"}
    told = {place for event in archived.events("ended") for place in event.places}
    assert told == set(places) - there(archived)
    assert all(archived.fate(place).has_ended for place in told)
    archived.apply()
    assert run(archived) == 0


def test_nothing_is_removed_that_nobody_announced() -> None:
    archived = Archived(with_bucket=False)
    places = archived.commit_many(10)
    archived.later(days=1000)
    assert run(archived) == 0
    assert there(archived) == set(places)


class Twins:
    """The same history in a bucket with an engine and on a store without one."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.engine = Archived()
        self.plain = Archived(with_bucket=False)
        self.held: set[Place] = set()
        self.numbers: dict[Place, int] = {}
        self.step = 0

    @property
    def both(self) -> tuple[Archived, Archived]:
        return self.engine, self.plain

    def act(self) -> None:
        action = self.chance.choice(("commit", "commit", "commit", "hold", "wait", "wait"))
        if action == "commit":
            self.commit(self.chance.randint(1, 4))
        elif action == "wait":
            self.later(self.chance.choice((1, 12, 24, 72)))
        elif self.plain.committed():
            self.hold_or_release(self.chance.choice(self.plain.committed()))

    def commit(self, count: int) -> None:
        for archived in self.both:
            for ordinal in range(self.step + 1, self.step + count + 1):
                archived.commit(ordinal * 100, ordinal=ordinal)
        self.step += count

    def later(self, hours: float) -> None:
        for archived in self.both:
            archived.later(hours=hours)

    def hold_or_release(self, place: Place) -> None:
        self.numbers[place] = number = self.numbers.get(place, 0) + 1
        say = fating.release if place in self.held else fating.hold
        for archived in self.both:
            say(archived.store, ARCHIVE_ID, place, "A-1", number, Told("ada", "node", "", archived.clock.now()))
        self.held ^= {place}

    def look_after(self, *, applies: bool) -> set[Place]:
        """What is removed where there is no engine."""
        for archived in self.both:
            if applies:
                archived.apply()
        self.engine.engine()
        before = there(self.plain)
        run(self.plain)
        return before - there(self.plain)


@pytest.mark.parametrize("seed", range(25))
def test_nothing_too_early_and_in_the_end_as_much_as_an_engine(seed: int) -> None:
    twins = Twins(seed)
    plain = twins.plain
    for _ in range(40):
        twins.act()
        gone = twins.look_after(applies=twins.chance.random() < 0.5)
        now = plain.clock.now()
        assert not gone & twins.held
        assert latest(plain.store, "run-a") not in gone
        assert not gone & set(plain.committed()[:2]), "the newest are kept"
        for place in gone:
            end = plain.fate(place).ends_at
            assert end is not None
            assert end + MARGIN <= now
            assert end >= midnight_after(committed_at(plain, place) + 2 * DAY), "no class keeps anything for less"
    for _ in range(25):
        twins.later(24)
        twins.look_after(applies=True)
    assert there(plain) - twins.held == there(twins.engine) - twins.held
    assert len(plain.committed()) > len(there(plain)) or twins.step < 10
