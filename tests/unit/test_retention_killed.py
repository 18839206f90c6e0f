"""An apply, or a pass of maintenance, that dies before or after any of its requests: whoever comes next completes it."""

import contextlib
from collections.abc import Callable

import pytest

from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import UnavailableError
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.retaining import retain
from ckpt_archive.place import Place
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.retaining import POLICY, Archived, policy

EDITED = policy(POLICY.replace('keep_for = "2d"', 'keep_for = "6d"').replace('keep_for = "14d"', 'keep_for = "21d"'))
OLD = Place("run-a", 0, 1200)


class Death(BaseException):
    """What nobody catches."""


Work = Callable[[Archived, Connection], object]


def applies(archived: Archived, connection: Connection) -> object:
    """Another policy."""
    return archived.apply(EDITED, connection)


def maintains(archived: Archived, connection: Connection) -> object:
    """The policy in force."""
    return retain(archived.machine, connection, Budget(archived.clock, 600))


def first_policy() -> Archived:
    """Checkpoints, and nothing else; one of them is older than its class allows."""
    archived = Archived()
    archived.commit(50, run="run-b")
    archived.later(days=20)
    archived.commit_many(3, run="run-b")
    archived.commit_many(3, first=12)
    return archived


def another_policy() -> Archived:
    """All is tagged, and somebody goes back to one of them."""
    archived = first_policy()
    archived.apply()
    archived.launch(back_to=OLD)
    return archived


def days_later() -> Archived:
    """One has ended, one has to be tagged, and others are to be announced."""
    archived = first_policy()
    archived.apply()
    archived.later(days=4)
    archived.engine()
    archived.commit_many(3, first=20)
    return archived


class Counter:
    """Counts the requests to the store and to the bucket together, and dies at one of them."""

    def __init__(self, archived: Archived, dies_at: int | None = None, when: str = "before") -> None:
        self.count = 0
        self._dies_at = dies_at
        self._when = when
        assert archived.bucket is not None
        hooks = {"before": self._before, "after": self._after}
        self.connection = archived.connect(HookedStore(archived.store, **hooks), HookedBucket(archived.bucket, **hooks))

    def _before(self, request: Request) -> None:
        del request
        self.count += 1
        if self._when == "before" and self.count == self._dies_at:
            raise Death

    def _after(self, request: Request) -> None:
        del request
        if self._when == "lost" and self.count == self._dies_at:
            raise UnavailableError("no answer")


def what_stands(archived: Archived) -> dict[str, object]:
    """All that a reader, or an engine, goes by."""
    assert archived.bucket is not None
    found: dict[str, object] = {"rules": sorted(map(repr, archived.bucket.read_rules()))}
    for place in archived.committed():
        fate = archived.fate(place)
        found[str(place)] = (
            fate.ends_at,
            fate.announced,
            fate.tagged,
            fate.clearing,
            fate.has_ended,
            archived.tags(place),
        )
    return found


@pytest.mark.parametrize(
    ("begun", "work"),
    [(first_policy, applies), (another_policy, applies), (days_later, maintains)],
    ids=["first policy", "another policy", "days later"],
)
# Who dies after a request has landed leaves the same as who dies before the next one.
@pytest.mark.parametrize(("when", "every"), [("before", 1), ("lost", 3)])
def test_whoever_comes_next_completes_it(begun: Callable[[], Archived], work: Work, when: str, every: int) -> None:
    whole = begun()
    counter = Counter(whole)
    work(whole, counter.connection)
    expected = what_stands(whole)
    assert counter.count > 50
    for number in range(1, counter.count + 1, every):
        archived = begun()
        with contextlib.suppress(Death, UnavailableError):
            work(archived, Counter(archived, number, when).connection)
        # Nobody waits for a pass that died longer than an hour ago.
        archived.later(hours=1.5)
        work(archived, archived.connection)
        assert what_stands(archived) == expected, (number, when)


def test_an_apply_that_died_is_completed_by_maintenance() -> None:
    whole = another_policy()
    whole.apply(EDITED)
    expected = what_stands(whole)
    counter = Counter(another_policy())
    applies(another_policy(), counter.connection)
    in_force = 0
    for number in range(1, counter.count + 1, 3):
        archived = another_policy()
        with contextlib.suppress(Death):
            applies(archived, Counter(archived, number).connection)
        archived.later(hours=1.5)
        plan = archived.plan(EDITED)
        if not plan.in_force.is_policy(EDITED):
            continue
        in_force += 1
        maintains(archived, archived.connection)
        found = what_stands(archived)
        # Rules are never written by maintenance: those of tags that nothing has any more are left.
        assert {key: value for key, value in found.items() if key != "rules"} == {
            key: value for key, value in expected.items() if key != "rules"
        }
    assert in_force > 10
