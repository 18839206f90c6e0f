"""Events: written once, marker first, and no larger than whoever reads the log can bear."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.event import KINDS, MAX_PLACES, MAX_TEXT_BYTES, Event, read_event, record_event, store_time
from ckpt_archive.commit.marker import read_marker
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.names import EVENT_KIND
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, rewritten
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

ID = "0123456789abcdef" * 2
FULL = Event(
    ARCHIVE_ID, "held", ID, NOON, "anna", "node-a", (Place("run", 0, 1), Place("run", 1, 2)), "run", 3, "case 4711",
    "ab" * 32, "ok", "asked for", NOON + timedelta(days=365), 10**12, {"case": {"é": [1.5, None]}},
)  # fmt: skip
PLAIN = Event(ARCHIVE_ID, "verified", ID, NOON)
KEY = layout.event_record("held", ID, NOON)


class Killed(BaseException):
    """The process died."""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=ManualClock())


def events_in(store: MemoryStore) -> list[Event]:
    return [read_event(content(store, key), key) for key in keys(store, layout.EVENTS)]


def intents_in(store: MemoryStore) -> list[str]:
    return [read_marker(content(store, key), key).record_key for key in keys(store, layout.PENDING)]


@pytest.mark.parametrize("event", [FULL, PLAIN, replace(FULL, places=()), replace(PLAIN, kind="not-known-yet")])
def test_it_is_read_back_as_it_was(store: MemoryStore, event: Event) -> None:
    key = record_event(store, event, NOON)
    assert key == layout.event_record(event.kind, ID, NOON)
    assert events_in(store) == [event]


def test_members_of_a_newer_release_are_kept() -> None:
    newer = record.with_checksum({**strictjson.decode(FULL.encode(), "it"), "mood": "good"})
    assert Event.decode(newer, "it").encode() == newer


def test_the_kinds_may_be_kinds_and_the_format_says_what_they_mean() -> None:
    assert all(EVENT_KIND.fullmatch(kind) for kind in KINDS)
    told = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
    assert "".join(f"| `{kind}` | {meaning} |\n" for kind, meaning in KINDS.items()) in told


def test_the_marker_is_there_before_the_event_and_names_it(store: MemoryStore) -> None:
    counting = CountingStore(store)
    hooked = HookedStore(counting)
    record_event(hooked, FULL, store_time(hooked))
    assert [(request.verb, request.key) for request in hooked.requests] == [
        ("list", layout.ARCHIVE),
        ("create", layout.pending_marker("event", ID, NOON)),
        ("create", KEY),
    ]
    assert intents_in(store) == [KEY]


def test_event_landed_and_answer_was_lost_and_the_try_was_repeated(store: MemoryStore) -> None:
    def before(request: Request) -> None:
        if request.key == KEY and request.verb == "create":
            record_event(store, FULL, NOON)  # The first try of this very create, and of its marker.

    assert record_event(HookedStore(store, before=before), FULL, NOON) == KEY
    assert (events_in(store), intents_in(store)) == ([FULL], [KEY])


@pytest.mark.parametrize("where", [layout.PENDING, layout.EVENTS])
def test_the_answer_was_lost_and_nobody_tried_again(store: MemoryStore, where: str) -> None:
    def after(request: Request) -> None:
        if request.key.startswith(where):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        record_event(HookedStore(store, after=after), FULL, NOON)
    assert intents_in(store) == [KEY]
    assert events_in(store) == ([FULL] if where == layout.EVENTS else [])


def test_died_right_after_the_marker(store: MemoryStore) -> None:
    """An intent stays whose event never comes; the same event can still be recorded, once."""

    def after(request: Request) -> None:
        if request.key.startswith(layout.PENDING):
            raise Killed

    with pytest.raises(Killed):
        record_event(HookedStore(store, after=after), FULL, NOON)
    assert (events_in(store), intents_in(store)) == ([], [KEY])
    record_event(store, FULL, NOON)
    assert (events_in(store), intents_in(store)) == ([FULL], [KEY])


def test_died_right_after_the_event(store: MemoryStore) -> None:
    def after(request: Request) -> None:
        if request.key.startswith(layout.EVENTS):
            raise Killed

    with pytest.raises(Killed):
        record_event(HookedStore(store, after=after), FULL, NOON)
    assert (events_in(store), intents_in(store)) == ([FULL], [KEY])


def test_two_events_at_once_are_two_events(store: MemoryStore) -> None:
    other = replace(FULL, event_id="f" * 32)

    def before(request: Request) -> None:
        if request.verb == "create" and not keys(store, layout.EVENTS):
            record_event(store, other, NOON)

    record_event(HookedStore(store, before=before), FULL, NOON)
    assert sorted(event.event_id for event in events_in(store)) == [ID, "f" * 32]


def test_another_event_under_the_same_id_is_a_conflict(store: MemoryStore) -> None:
    record_event(store, FULL, NOON)
    with pytest.raises(ConflictError, match="another event"):
        record_event(store, replace(FULL, reason="another"), NOON)
    assert events_in(store) == [FULL]


LONG = "é" * (MAX_TEXT_BYTES // 2)


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "Held"},
        {"event_id": "x"},
        {"actor": LONG + "x"},
        {"node": LONG + "x"},
        {"subject": LONG + "x"},
        {"outcome": LONG + "x"},
        {"reason": LONG + "x"},
        {"reason": "half \ud800 of a pair"},
        {"places": (Place("run", 0, 1),) * (MAX_PLACES + 1)},
        {"details": {"long": "x" * (64 << 10)}},
        {"details": {"nan": float("nan")}},
        {"run": "../up"},
        {"rank": -1},
        {"digest": "short"},
    ],
)
def test_what_no_reader_would_take_is_refused_before_anything_is_written(
    store: MemoryStore, said: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError):
        record_event(store, replace(FULL, **said), NOON)
    assert keys(store) == []


def test_as_much_as_is_allowed_is_read_back(store: MemoryStore) -> None:
    longest = replace(
        FULL,
        actor=LONG,
        node=LONG,
        subject=LONG,
        outcome=LONG,
        reason=LONG,
        places=tuple(Place("r" * 128, 10**8 - 1, step) for step in range(MAX_PLACES)),
        details={"x": "y" * ((64 << 10) - 9)},
    )
    record_event(store, longest, NOON)
    assert events_in(store) == [longest]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b'"places":[', b'"places":[' + b'{"run":"run","attempt":0,"step":1},' * MAX_PLACES, "more than 1000"),
        (b'"case":{', b'"more":"' + b"x" * (64 << 10) + b'","case":{', "more than 65536 bytes"),
        (b'"anna"', b'"' + b"a" * (MAX_TEXT_BYTES + 1) + b'"', "too long"),
        (b'"rank":3', b'"rank":1000000', "rank"),
        (b'"event":"held"', b'"event":"HELD"', "kind"),
        (b'"step":2', b'"step":-2', "step"),
        (b'"size":1', b'"size":-1', "size"),
        (b'"digest":"ab', b'"digest":"AB', "digest"),
        (b'"run":"run"', b'"run":"/"', "run"),
        (b'"until_at":"2027', b'"until_at":"20277', "time"),
    ],
)
def test_what_somebody_else_wrote_is_refused_by_name(before: bytes, after: bytes, problem: str) -> None:
    with pytest.raises(IntegrityError, match=problem) as caught:
        Event.decode(rewritten(FULL.encode(), before, after), "the key")
    assert "the key" in caught.value.message


def test_an_event_under_another_key_is_refused() -> None:
    for key in (layout.event_record("held", "f" * 32, NOON), layout.event_record("released", ID, NOON)):
        with pytest.raises(IntegrityError, match="copied or renamed"):
            read_event(FULL.encode(), key)
    with pytest.raises(IntegrityError, match="not an event's key"):
        read_event(FULL.encode(), "log/events/x.json")
