"""Saying what becomes of a checkpoint: once, whoever else says it, and whatever is lost on the way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.fate import Pass, read_fate, read_run_fate
from ckpt_archive.commit.fating import Statement, Told, read_statement
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, rewritten
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

TOLD = Told("ann", "node-1", "no other class chooses it", NOON, "ab" * 16, "cd" * 32, {"versions": ["1"]})
PLACE = Place("run", 3, 100)
DAY = datetime(2027, 2, 3, tzinfo=UTC)

Writer = Callable[[Store, Told], None]
WRITERS: dict[str, Writer] = {
    "0000-ends-20270203-daily.365d": lambda store, told: fating.announce(
        store, ARCHIVE_ID, PLACE, 0, DAY, "daily.365d", told
    ),
    "0002-keeps-milestone.forever": lambda store, told: fating.announce(
        store, ARCHIVE_ID, PLACE, 2, None, "milestone.forever", told
    ),
    "0000-tagged-daily.365d": lambda store, told: fating.tagged(store, ARCHIVE_ID, PLACE, 0, "daily.365d", told),
    "0001-revoked": lambda store, told: fating.revoke(store, ARCHIVE_ID, PLACE, 1, told),
    "0001-cleared": lambda store, told: fating.cleared(store, ARCHIVE_ID, PLACE, 1, told),
    "0000-ended": lambda store, told: fating.ended(store, ARCHIVE_ID, PLACE, 0, told),
    "class-0001-milestone": lambda store, told: fating.assign(store, ARCHIVE_ID, PLACE, 1, "milestone", told),
    "class-0002-": lambda store, told: fating.assign(store, ARCHIVE_ID, PLACE, 2, "", told),
    "case-ABC.1-0001-held": lambda store, told: fating.hold(store, ARCHIVE_ID, PLACE, "ABC.1", 1, told),
    "case-ABC.1-0002-released": lambda store, told: fating.release(store, ARCHIVE_ID, PLACE, "ABC.1", 2, told),
}
ABOUT_A_RUN: dict[str, Writer] = {
    "case-ABC.1-0001-held": lambda store, told: fating.hold(store, ARCHIVE_ID, "run", "ABC.1", 1, told),
    f"pass-{int(NOON.timestamp()):020d}-ab-begun": lambda store, told: fating.begin_pass(
        store, ARCHIVE_ID, "run", Pass(NOON, "ab"), told
    ),
    f"pass-{int(NOON.timestamp()):020d}-ab-ended": lambda store, told: fating.end_pass(
        store, ARCHIVE_ID, "run", Pass(NOON, "ab"), told
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_said_about_a_checkpoint_is_read_back(name: str) -> None:
    store = MemoryStore()
    WRITERS[name](store, TOLD)
    assert keys(store) == [f"runs/run/retention/99999996/999999999899/{name}.json"]
    assert read_statement(store, PLACE, name) == Statement(ARCHIVE_ID, PLACE, name, TOLD)
    assert read_fate(store, PLACE)[0].strange == ()


@pytest.mark.parametrize("name", ABOUT_A_RUN)
def test_what_is_said_about_a_run_is_read_back(name: str) -> None:
    store = MemoryStore()
    ABOUT_A_RUN[name](store, TOLD)
    assert keys(store) == [f"runs/run/retention/run/{name}.json"]
    assert read_statement(store, "run", name) == Statement(ARCHIVE_ID, "run", name, TOLD)
    assert read_run_fate(store, "run")[0].strange == ()


@pytest.mark.parametrize("name", WRITERS)
def test_who_says_it_again_changes_nothing_and_costs_a_look(name: str) -> None:
    counting = CountingStore(MemoryStore())
    WRITERS[name](counting, TOLD)
    assert counting.requests == {"create": 1}
    counting.reset()
    WRITERS[name](counting, replace(TOLD, actor="bob", reason="another one"))
    assert counting.requests == {"create": 1, "read": 1}
    assert read_statement(counting, PLACE, name).told == TOLD


@pytest.mark.parametrize("name", WRITERS)
def test_statement_landed_and_answer_was_lost(name: str) -> None:
    store = MemoryStore()

    def after(request: Request) -> None:
        raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        WRITERS[name](HookedStore(store, after=after), TOLD)
    before = read_fate(store, PLACE)[0]
    WRITERS[name](store, TOLD)
    assert read_fate(store, PLACE)[0] == before
    assert len(keys(store)) == 1


@pytest.mark.parametrize("name", WRITERS)
def test_died_right_before_a_statement(name: str) -> None:
    """Nothing was said, so nothing ends, and the next one says it."""
    store = MemoryStore()

    def before(request: Request) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WRITERS[name](HookedStore(store, before=before), TOLD)
    assert keys(store) == []


def test_two_at_once_say_the_same() -> None:
    store = MemoryStore()
    other = replace(TOLD, actor="bob")

    def before(request: Request) -> None:
        fating.announce(store, ARCHIVE_ID, PLACE, 0, DAY, "daily.365d", other)

    fating.announce(HookedStore(store, before=before), ARCHIVE_ID, PLACE, 0, DAY, "daily.365d", TOLD)
    assert read_statement(store, PLACE, "0000-ends-20270203-daily.365d").told == other


def test_one_announces_while_another_takes_back() -> None:
    """Whichever lands first: a generation that was taken back is void."""
    for first in ("0000-ends-20270203-daily.365d", "revoked"):
        store = MemoryStore()
        calls: list[Writer] = [
            WRITERS["0000-ends-20270203-daily.365d"],
            lambda at, told: fating.revoke(at, ARCHIVE_ID, PLACE, 0, told),
        ]
        for call in calls if first != "revoked" else reversed(calls):
            call(store, TOLD)
        assert read_fate(store, PLACE)[0].ends_at is None


def test_members_of_a_newer_release_are_kept() -> None:
    data = Statement(ARCHIVE_ID, PLACE, "0000-revoked", TOLD).encode()
    newer = rewritten(data, b'"actor"', b'"a_new_member":[1],"actor"')
    decoded = Statement.decode(newer, "it")
    assert decoded.unknown == {"a_new_member": [1]}
    assert decoded.encode() == newer


def test_only_what_there_is_to_say_is_said() -> None:
    bare = Statement(ARCHIVE_ID, "run", "case-A-0001-held", Told("", "", "", NOON))
    assert Statement.decode(bare.encode(), "it") == bare
    assert b'"event"' not in bare.encode()
    assert b'"policy"' not in bare.encode()
    assert b'"details"' not in bare.encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"run":"run"', b'"run":"Run"'),
        (b'"step":100', b'"step":-1'),
        (b'"said_at":"2026', b'"said_at":"26'),
        (b'"event":"abab', b'"event":"ABAB'),
        (b'"policy":"cdcd', b'"policy":"zzzz'),
        (b'"details":{"versions":["1"]}', b'"details":[]'),
        (b'"reason":"no other class chooses it"', b'"reason":1'),
    ],
)
def test_a_malformed_statement_is_refused(old: bytes, new: bytes) -> None:
    data = rewritten(Statement(ARCHIVE_ID, PLACE, "0000-revoked", TOLD).encode(), old, new)
    with pytest.raises(IntegrityError, match="it"):
        Statement.decode(data, "it")


def test_a_statement_under_another_key_is_refused() -> None:
    store = MemoryStore()
    WRITERS["0001-revoked"](store, TOLD)
    (key,) = keys(store)
    copied = layout.checkpoint_statement("run", 3, 101, "0001-revoked")
    store.create(copied, Body.of(content(store, key)))
    with pytest.raises(IntegrityError, match="step 100"):
        read_statement(store, Place("run", 3, 101), "0001-revoked")
    with pytest.raises(NotFoundError):
        read_statement(store, PLACE, "0000-revoked")


def test_what_no_reader_would_accept_is_not_said() -> None:
    store = MemoryStore()
    for told in (replace(TOLD, event_id="x"), replace(TOLD, policy="x")):
        with pytest.raises(InvalidInputError):
            fating.revoke(store, ARCHIVE_ID, PLACE, 0, told)
    with pytest.raises(InvalidInputError):
        fating.hold(store, ARCHIVE_ID, "Run", "A", 1, TOLD)
    assert keys(store) == []
