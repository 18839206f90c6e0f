"""The fate of a checkpoint: what names say, and what reading them costs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ckpt_archive.commit import fate, fating, layout
from ckpt_archive.commit.fate import MARGIN, PASS_LASTS, Pass, fold, read_fate, read_fates, read_run_fate
from ckpt_archive.commit.fating import Told
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

TOLD = Told("ann", "node-1", "because", NOON)
PLACE = Place("run", 3, 100)
DAY = datetime(2027, 2, 3, tzinfo=UTC)
TAG = "daily.365d"
SAID = [
    "0000-ends-20270101-trash.7d.json",
    "0000-tagged-trash.7d.json",
    "0000-revoked.json",
    "0001-ends-20270203-daily.365d.json",
    "class-0001-milestone.json",
    "class-0002-daily.json",
    "case-ABC.1-0001-held.json",
    "case-ABC.1-0002-released.json",
    "case-X-0001-held.json",
]


def test_a_whole_history() -> None:
    found = fold(SAID)
    assert (found.generation, found.ends_at, found.announced, found.tagged) == (1, DAY, (TAG,), "")
    assert (found.clearing, found.has_ended, found.is_open, found.class_name) == (0, False, False, "daily")
    assert (found.assigned, found.assigned_number, found.cases) == ("daily", 2, ("X",))
    assert found.case_numbers == {"ABC.1": 2, "X": 1}
    assert found.strange == ()


def test_nothing_was_said() -> None:
    assert fold(()) == fate.NOTHING_SAID
    assert fate.NOTHING_SAID.is_open
    assert not fate.NOTHING_SAID.is_over(datetime.max.replace(tzinfo=UTC))


def test_it_is_over_an_hour_before_its_day_because_clocks_differ() -> None:
    found = fold(SAID)
    assert not found.is_over(DAY - MARGIN - timedelta(microseconds=1))
    assert found.is_over(DAY - MARGIN)
    assert fold([*SAID, "0001-ended.json"]).is_over(NOON)


def test_of_two_ends_that_were_announced_at_once_the_earlier_counts_for_readers() -> None:
    found = fold([*SAID, "0001-ends-20270202-trash.7d.json"])
    assert found.ends_at == DAY - timedelta(days=1)
    assert found.announced == (TAG, "trash.7d")


def test_what_is_said_in_a_generation_that_was_taken_back_is_void() -> None:
    late = fold([*SAID, "0001-revoked.json", "0001-tagged-daily.365d.json", "0000-ends-20260101-x.1d.json"])
    assert (late.generation, late.ends_at, late.tagged, late.announced, late.clearing) == (2, None, "", (), 1)
    assert late.is_open


def test_tags_are_cleared_when_the_last_that_was_taken_back_is() -> None:
    taken_back = ["0000-ends-20270101-x.7d.json", "0000-revoked.json", "0001-keeps-y.forever.json", "0001-revoked.json"]
    assert fold(taken_back).clearing == 1
    assert fold([*taken_back, "0000-cleared.json"]).clearing == 1
    assert fold([*taken_back, "0001-cleared.json"]).clearing is None


def test_a_class_that_was_taken_back_is_none() -> None:
    assert fold(["class-0001-daily.json", "class-0002-.json"]).assigned is None
    assert fold(["class-0001-daily.json", "class-0002-.json"]).assigned_number == 2


def test_held_and_released_at_once_stays_held() -> None:
    assert fold(["case-A-0002-held.json", "case-A-0002-released.json", "case-A-0001-released.json"]).cases == ("A",)


def test_a_pass_is_under_way_until_it_has_ended_or_died() -> None:
    begun = Pass(NOON, "ab")
    name = fate.pass_name(begun, ended=False)
    assert name == f"pass-{int(NOON.timestamp()):020d}-ab-begun"
    found = fold([f"{name}.json"])
    assert found.passes == (begun,)
    assert found.passes_under_way(NOON + PASS_LASTS) == (begun,)
    assert found.passes_under_way(NOON + PASS_LASTS + timedelta(seconds=1)) == ()
    assert fold([f"{name}.json", f"{fate.pass_name(begun, ended=True)}.json"]).passes == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: fate.end_name(0, DAY + timedelta(hours=1), TAG),
        lambda: fate.end_name(0, DAY, "daily/365d"),
        lambda: fate.end_name(0, None, ""),
        lambda: fate.end_name(10_000, DAY, TAG),
        lambda: fate.end_name(-1, DAY, TAG),
        lambda: fate.tagged_name(0, "x" * 201),
        lambda: fate.class_statement_name(1, "Daily"),
        lambda: fate.class_statement_name(0, "daily"),
        lambda: fate.case_name("a b", 1, held=True),
        lambda: fate.case_name("x" * 65, 1, held=True),
        lambda: fate.case_name("A", 10_000, held=False),
        lambda: fate.pass_name(Pass(NOON, "XY"), ended=False),
    ],
)
def test_what_could_not_be_read_back_is_not_said(call: object) -> None:
    with pytest.raises(InvalidInputError):
        call()  # type: ignore[operator]


def test_an_end_is_a_midnight_utc_in_whatever_zone_it_is_given() -> None:
    there = DAY.astimezone(timezone(timedelta(hours=-7)))
    assert fate.end_name(0, there, TAG) == "0000-ends-20270203-daily.365d"


def said(store: MemoryStore) -> None:
    fating.announce(store, ARCHIVE_ID, PLACE, 0, DAY, TAG, TOLD)
    fating.hold(store, ARCHIVE_ID, Place("run", 0, 7), "ABC.1", 1, TOLD)
    fating.hold(store, ARCHIVE_ID, "run", "WHOLE", 1, TOLD)
    fating.begin_pass(store, ARCHIVE_ID, "run", Pass(NOON, "ab"), TOLD)
    fating.announce(store, ARCHIVE_ID, Place("run-2", 0, 7), 0, None, "milestone.forever", TOLD)


def test_one_listing_tells_a_run() -> None:
    store = MemoryStore(clock=ManualClock())
    said(store)
    counting = CountingStore(store)
    found = read_fates(counting, "run")
    assert counting.requests == {"list": 1}
    assert set(found.of) == {PLACE, Place("run", 0, 7)}
    assert found.fate(PLACE).ends_at == DAY
    assert found.cases(Place("run", 0, 7)) == ("ABC.1", "WHOLE")
    assert found.cases(Place("run", 9, 9)) == ("WHOLE",)
    assert found.whole.passes == (Pass(NOON, "ab"),)
    assert (found.store_time, found.strange) == (NOON, ())
    assert not found.is_over(PLACE)
    assert read_fates(store, "nothing").of == {}


def test_one_listing_tells_a_checkpoint_or_what_is_said_about_a_whole_run() -> None:
    store = MemoryStore(clock=ManualClock())
    said(store)
    counting = CountingStore(store)
    assert read_fate(counting, PLACE) == (read_fates(store, "run").fate(PLACE), NOON)
    assert counting.requests == {"list": 1}
    assert read_run_fate(counting, "run") == (read_fates(store, "run").whole, NOON)
    assert read_fate(store, Place("run", 3, 101))[0] == fate.NOTHING_SAID


def test_a_thousand_statements_a_listing_and_the_clock_of_the_first() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    for step in range(1001):
        store.create(layout.checkpoint_statement("run", 0, step, "0000-revoked"), Body.of(b""))

    def after(request: Request) -> None:
        clock.sleep(3600)

    hooked = HookedStore(store, after=after)
    found = read_fates(hooked, "run")
    assert len(hooked.requests) == 2
    assert (len(found.of), found.store_time) == (1001, NOON)


def test_strangers_are_named_and_hurt_nobody() -> None:
    store = MemoryStore(clock=ManualClock())
    said(store)
    folder = layout.checkpoint_statements("run", 3, 100)
    strange = ["runs/run/retention/note.txt", f"{folder}deep/er.json", "runs/run/retention/1/2/0000-revoked.json"]
    for key in (*strange, f"{folder}0000-erased.json", "runs/run/retention/run/0000-ends-20260101-x.1d.json"):
        store.create(key, Body.of(b"?"))
    found = read_fates(store, "run")
    assert found.strange == tuple(sorted(strange))
    assert found.fate(PLACE).strange == ("0000-erased.json",)
    assert found.fate(PLACE).ends_at == DAY
    # A run has no end of its own.
    assert (found.whole.ends_at, found.whole.strange) == (None, ("0000-ends-20260101-x.1d.json",))
    assert read_fate(store, PLACE)[0].strange == ("0000-erased.json", "deep/er.json")
