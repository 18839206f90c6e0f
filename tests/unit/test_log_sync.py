"""A pass of the sealer, case by case: what it finds, what it writes, what it costs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import Action, Decision, decide
from ckpt_archive.commit.event import Event, record_event
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.commit.marker import Marker, store_time, write_marker
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ColdError, IntegrityError, UnavailableError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.log import plan
from ckpt_archive.log.batch import MAX_ENTRIES, Batch, Entry
from ckpt_archive.log.cache import RecordCache
from ckpt_archive.log.sequence import add_batch, read_batch
from ckpt_archive.log.sync import SealReport, seal
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, StoredBytes
from ckpt_archive.testing.archives import content, flip
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, NOON, ManualClock, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.sealed_log import Log, check_log, check_marks, read_log

MINUTE = 60
HOUR = 3_600
DAY = 86_400


class Site:
    """A store with a clock, and whoever writes into it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.counted = CountingStore(self.store)
        self.newest = 0

    def marker(self, number: int) -> Marker:
        return Marker.of_commit(ARCHIVE_ID, Place("run", 0, number), sha256_hex(b"record %d" % number))

    def announce(self, number: int, told: datetime | None = None) -> str:
        return write_marker(self.store, self.marker(number), told or self.clock.now())

    def write(self, number: int) -> str:
        key = self.marker(number).record_key
        create_once(self.store, key, b"record %d" % number)
        return key

    def commit(self, *numbers: int) -> None:
        for number in numbers:
            self.announce(number)
            self.write(number)

    def seal(self, store: Store | None = None, *, node: str = "node", **how: object) -> SealReport:
        """A pass that knows the newest batch of the one before; requests are counted."""
        self.counted.reset()
        report = seal(store or self.counted, INLINE, ARCHIVE_ID, node, hint=self.newest, **how)  # type: ignore[arg-type]
        self.newest = report.newest
        check_marks(self.store, ARCHIVE_ID, self.log())
        return report

    def log(self) -> Log:
        return read_log(self.store, ARCHIVE_ID)

    def requests(self) -> dict[str, int]:
        return dict(self.counted.requests)


@pytest.fixture
def site() -> Site:
    return Site()


# --- what is sealed --------------------------------------------------------------------------------------------------------


def test_an_archive_without_markers_has_no_log(site: Site) -> None:
    for _ in range(3):
        report = site.seal()
        assert (report.newest, report.watermark, report.is_complete) == (0, None, True)
        site.clock.sleep(2 * DAY)
    assert not site.log().batches


def test_records_of_all_kinds_come_in_with_digest_time_and_id(site: Site) -> None:
    open_launch(
        site.store, LaunchRequest(ARCHIVE_ID, "run", "key", 1, NOON), lambda _: Resumption(None, explicit=False)
    )
    archive_files(site.store, Place("run", 0, 100), {"file": b"data"})
    decide(site.store, Decision(ARCHIVE_ID, "run", 0, 200, Action.GAP, "lost", "me", NOON))
    record_event(site.store, Event(ARCHIVE_ID, "verified", "4e" * 16, NOON), store_time(site.store))
    report = site.seal()
    assert (report.entries, report.findings, report.batches, report.unresolved) == (4, 0, 1, 0)
    log = check_log(site.store, ARCHIVE_ID)
    assert sorted(entry.kind for entry in log.entries.values()) == ["commit", "decision", "event", "launch"]


def test_a_record_is_sealed_whatever_its_bytes_are(site: Site) -> None:
    key = site.marker(1).record_key
    site.announce(1)
    create_once(site.store, key, b"\xff not a record")
    assert site.seal().entries == 1
    assert site.log().entries[key].digest == sha256_hex(b"\xff not a record")


def test_two_markers_of_one_record_make_one_entry(site: Site) -> None:
    """Two committers, or one whose answer was lost: also where they would have written other bytes."""
    site.announce(1)
    site.clock.sleep(1)
    site.announce(1)
    other = Marker.of_commit(ARCHIVE_ID, Place("run", 0, 1), "0" * 64)
    write_marker(site.store, other, site.clock.now())
    site.write(1)
    assert site.seal().entries == 1
    site.clock.sleep(MINUTE)
    site.announce(1)
    write_marker(site.store, other, site.clock.now())
    assert site.seal().batches == 0
    check_log(site.store, ARCHIVE_ID)


def test_an_event_that_was_recorded_twice_is_two_records(site: Site) -> None:
    event = Event(ARCHIVE_ID, "verified", "4e" * 16, NOON)
    for _ in range(2):
        record_event(site.store, event, site.clock.now())
        site.seal()
        site.clock.sleep(MINUTE)
    assert len(check_log(site.store, ARCHIVE_ID).entries) == 2


def test_a_record_that_is_announced_again_years_later_is_found_in_the_log(site: Site) -> None:
    for number in range(60):
        site.commit(number)
        site.seal()
        site.clock.sleep(10 * DAY)
    site.announce(7)
    assert site.seal().entries == 0
    # Bisecting sixty batches, not reading them all.
    assert site.requests()["read"] < 50
    check_log(site.store, ARCHIVE_ID)


def test_in_an_archive_that_was_copied_a_record_announced_again_is_found_too(site: Site) -> None:
    for number in range(60):
        site.commit(number)
        site.seal()
        site.clock.sleep(DAY)
    copy = Site()
    copy.clock.sleep(200 * DAY)
    for prefix in ("manifests/", "log/"):
        for info in site.store.list(prefix).objects:
            create_once(copy.store, info.key, content(site.store, info.key))
    copy.newest = site.newest
    copy.clock.sleep(MINUTE)
    copy.announce(7)
    copy.seal()
    assert len(copy.log().entries) == 60


def test_many_markers_are_read_by_threads_and_stay_in_order(site: Site) -> None:
    site.commit(*range(300))
    seal(site.store, ThreadExecutor(), ARCHIVE_ID, "node")
    entries = site.log().batches[0].batch.entries
    listed = [layout.marker_name(info.key) for info in site.store.list(layout.PENDING).objects]
    assert [entry.id for entry in entries] == [name.identity for name in listed if name is not None]


# --- markers whose record is not there -------------------------------------------------------------------------------------


def test_an_intent_is_looked_at_again_until_its_record_is_there(site: Site) -> None:
    site.announce(1)
    site.commit(2)
    assert site.seal().unresolved == 1
    site.clock.sleep(5 * HOUR)
    site.write(1)
    assert (site.seal().entries, site.seal().unresolved) == (1, 0)
    check_log(site.store, ARCHIVE_ID)


def test_an_intent_alone_is_written_down_once_it_is_no_commit_under_way(site: Site) -> None:
    site.announce(1)
    assert site.seal().batches == 0
    site.clock.sleep(9 * MINUTE)
    assert site.seal().batches == 0
    site.clock.sleep(MINUTE)
    assert site.seal().unresolved == 1
    site.clock.sleep(MINUTE)
    assert site.seal().batches == 0


def test_an_intent_is_given_up_after_a_week(site: Site) -> None:
    marker = site.announce(1)
    for _ in range(6):
        site.clock.sleep(DAY)
        assert (site.seal().findings, site.seal().unresolved) == (0, 1)
    site.clock.sleep(DAY)
    assert (site.seal().findings, site.seal().unresolved) == (1, 0)
    finding = site.log().findings[marker]
    assert (
        finding.problem
        == f"given up after 7 days: {site.marker(1).record_key}, which this marker announces, is not there"
    )
    for _ in range(3):
        site.clock.sleep(DAY)
        assert site.seal().findings == 0


def test_an_intent_whose_record_another_marker_has_brought_in_is_forgotten(site: Site) -> None:
    site.announce(1)
    site.clock.sleep(HOUR)
    assert site.seal().unresolved == 1
    site.clock.sleep(HOUR)
    site.commit(1, 2)
    assert (site.seal().entries, site.seal().unresolved) == (2, 0)
    check_log(site.store, ARCHIVE_ID)


def test_a_marker_that_vanishes_before_its_record_is_there_is_a_finding(site: Site) -> None:
    marker = site.announce(1)
    site.clock.sleep(HOUR)
    assert site.seal().unresolved == 1
    site.store.delete(marker)
    site.clock.sleep(HOUR)
    assert (site.seal().findings, site.seal().unresolved) == (1, 0)
    assert "vanished" in site.log().findings[marker].problem


def test_of_many_intents_the_youngest_are_looked_at_and_the_others_once_a_day(site: Site) -> None:
    for number in range(400):
        site.announce(number)
    site.clock.sleep(HOUR)
    assert site.seal().unresolved == 400
    site.clock.sleep(HOUR)
    site.commit(1_000)
    site.seal()
    assert site.requests()["read"] <= 2 * 256 + 4
    for number in range(400):
        site.write(number)
    site.clock.sleep(MINUTE)
    assert site.seal().entries == 256
    site.clock.sleep(DAY)
    assert site.seal().has_swept
    check_log(site.store, ARCHIVE_ID)


def test_more_intents_than_a_batch_may_carry_push_the_oldest_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_WAITING", 5)
    for number in range(12):
        site.announce(number)
        site.clock.sleep(HOUR)
        site.seal()
    assert site.seal().unresolved == 5
    assert len(site.log().findings) == 7
    assert all("more than 5 markers wait" in finding.problem for finding in site.log().findings.values())


# --- late markers ----------------------------------------------------------------------------------------------------------


def test_a_marker_that_is_late_by_less_than_two_hours_is_found_at_once(site: Site) -> None:
    told = site.clock.now()
    site.commit(1)
    site.seal()
    site.clock.sleep(HOUR)
    site.commit(2)
    site.seal()
    site.clock.sleep(HOUR - 1)
    site.announce(3, told)
    site.write(3)
    assert site.seal().entries == 1


def test_a_marker_that_is_later_is_found_by_the_sweep(site: Site) -> None:
    told = site.clock.now()
    site.commit(1)
    site.seal()
    for number in range(2, 12):
        site.clock.sleep(HOUR)
        site.commit(number)
        site.seal()
    site.announce(30, told)
    site.write(30)
    assert site.seal().entries == 0
    site.clock.sleep(14 * HOUR)
    report = site.seal()
    assert (report.entries, report.has_swept) == (1, True)
    check_log(site.store, ARCHIVE_ID)


def test_a_sweep_looks_only_at_what_came_since_the_last_one(site: Site) -> None:
    for day in range(15):
        site.commit(*range(day * 20, day * 20 + 20))
        site.seal()
        site.clock.sleep(DAY)
    site.seal()
    # Of three hundred markers none is read: only batches of the last days are.
    assert site.requests() == {"list": 3, "read": 1 + 8, "create": 1}


def test_a_store_whose_clock_was_ahead_for_a_while_is_swept(site: Site) -> None:
    site.commit(1)
    site.clock.sleep(400 * DAY)
    site.commit(2)
    site.seal()
    site.clock.sleep(-400 * DAY)
    site.clock.sleep(MINUTE)
    site.commit(3)
    report = site.seal()
    assert (report.entries, report.has_swept) == (1, True)
    site.clock.sleep(MINUTE)
    site.commit(4)
    report = site.seal()
    assert (report.entries, report.has_swept) == (1, False)
    assert report.watermark == site.clock.now()
    check_log(site.store, ARCHIVE_ID)


def test_an_object_from_the_future_is_sealed_once(site: Site) -> None:
    site.announce(1)
    site.clock.sleep(400 * DAY)
    site.write(1)
    site.clock.sleep(-400 * DAY)
    site.seal()
    assert site.log().batches[0].batch.sealed_at == NOON
    site.clock.sleep(2 * DAY)
    site.commit(2)
    site.seal()
    site.clock.sleep(2 * DAY)
    site.announce(1)
    site.seal()
    check_log(site.store, ARCHIVE_ID)


# --- what can not be read --------------------------------------------------------------------------------------------------


def spoilt(site: Site, number: int, data: bytes) -> str:
    key = site.announce(number)
    site.store.delete(key)
    site.store.create(key, Body.of(data))
    site.write(number)
    return key


def test_a_marker_that_can_not_be_read_is_one_finding_and_stops_nothing(site: Site) -> None:
    wrong = {
        "no JSON": spoilt(site, 1, b"{"),
        "no marker": spoilt(site, 2, record.encode("receipt", {}, {})),
        "of another archive": spoilt(site, 3, replace(site.marker(3), archive_id="other").encode()),
        "under another's key": spoilt(site, 4, site.marker(5).encode()),
    }
    site.commit(6)
    report = site.seal()
    assert (report.entries, report.findings) == (1, 4)
    findings = site.log().findings
    assert findings.keys() == set(wrong.values())
    assert findings[wrong["no JSON"]].digest == sha256_hex(b"{")
    for _ in range(3):
        site.clock.sleep(HOUR)
        assert site.seal().batches == 0
    site.clock.sleep(DAY)
    assert site.seal().findings == 0


def test_a_marker_of_a_newer_release_waits_for_somebody_who_can_read_it(site: Site) -> None:
    newer = record.with_checksum({**record_members(site.marker(1).encode()), "requires": ["more"]})
    key = spoilt(site, 1, newer)
    site.clock.sleep(HOUR)
    assert site.seal().unresolved == 1
    site.clock.sleep(8 * DAY)
    assert site.seal().findings == 1
    assert "needs a newer release" in site.log().findings[key].problem


def record_members(data: bytes) -> dict[str, object]:
    members: dict[str, object] = strictjson.decode(data, "it")
    return members


def test_what_else_lies_among_the_markers_is_one_finding(site: Site) -> None:
    foreign = ["log/pending/notes.txt", "log/pending/2026/03/01/12/other", "log/pending/zzz"]
    for key in foreign:
        site.store.create(key, Body.of(b"x"))
    site.commit(1)
    assert site.seal().findings == 3
    assert site.log().findings.keys() == set(foreign)
    for _ in range(4):
        site.clock.sleep(DAY // 2)
        site.commit(site.newest + 10)
        assert site.seal().findings == 0
    site.store.create("log/pending/later", Body.of(b"x"))
    site.clock.sleep(DAY)
    assert site.seal().findings == 1


def test_a_record_that_is_too_large_is_a_finding(site: Site) -> None:
    class Small(HookedStore):
        def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
            limit = 1_000 if key.startswith("manifests/") else limit_bytes
            return super().read(key, limit_bytes=limit)

    site.announce(1)
    key = site.marker(1).record_key
    create_once(site.store, key, b"x" * 2_000)
    site.commit(2)
    for _ in range(3):
        site.seal(Small(site.store))
        site.clock.sleep(MINUTE)
    log = site.log()
    assert (len(log.entries), set(log.findings)) == (1, {key})
    assert "has 2000 bytes, more than the 1000" in log.findings[key].problem


def test_a_bit_that_flips_on_the_way_is_not_sealed(site: Site) -> None:
    class Flipping(HookedStore):
        times = 0

        def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
            found = super().read(key, limit_bytes=limit_bytes)
            self.times += 1
            if self.times % 2 == 0 or key.startswith("log/seq/"):
                return found
            return replace(found, data=bytes([found.data[0] ^ 1]) + found.data[1:])

    archive_files(site.store, Place("run", 0, 1), {"file": b"data"})
    record_event(site.store, Event(ARCHIVE_ID, "verified", "4e" * 16, NOON), site.clock.now())
    site.seal(Flipping(site.store))
    assert not site.log().findings
    check_log(site.store, ARCHIVE_ID)


def test_bytes_that_come_differently_each_time_are_not_sealed(site: Site) -> None:
    class Noise(HookedStore):
        times = 0

        def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
            self.times += 1
            return replace(super().read(key, limit_bytes=limit_bytes), data=b"%d" % self.times)

    site.commit(1)
    with pytest.raises(UnavailableError, match="has other bytes each time"):
        site.seal(Noise(site.store))
    assert not site.log().batches


def test_a_record_in_a_cold_class_waits(site: Site) -> None:
    def cold(request: Request) -> None:
        if request.verb == "read" and request.key.startswith("manifests/"):
            raise ColdError("it is cold")

    site.commit(1)
    site.clock.sleep(HOUR)
    assert site.seal(HookedStore(site.store, before=cold)).unresolved == 1
    assert site.seal().entries == 1
    check_log(site.store, ARCHIVE_ID)


def test_a_damaged_newest_batch_stops_the_pass_and_is_named(site: Site) -> None:
    site.commit(1)
    site.seal()
    flip(site.store, layout.sequence_batch(1), 80)
    with pytest.raises(IntegrityError, match="batch 1 of the log"):
        site.seal()


# --- several at once, killed anywhere --------------------------------------------------------------------------------------


def test_of_two_passes_at_once_the_second_seals_only_what_the_first_has_not(site: Site) -> None:
    site.commit(1, 2)

    def meanwhile(request: Request) -> None:
        if request.verb == "create" and not site.log().batches:
            site.seal(node="other")
            site.commit(3)

    report = site.seal(HookedStore(site.store, before=meanwhile))
    assert (report.batches, report.newest) == (0, 1)
    assert site.seal().entries == 1
    check_log(site.store, ARCHIVE_ID)


def test_whoever_loses_goes_on_from_the_other_one(site: Site) -> None:
    site.commit(1)

    def meanwhile(request: Request) -> None:
        # He lists one record more than the other, who comes first.
        if request.verb == "list" and request.key == layout.PENDING:
            site.commit(2)
        if request.verb == "create" and not site.log().batches:
            older = Entry.of_record("commit", "", b"record 1", NOON, site.marker(1).record_key)
            assert add_batch(site.store, Batch(ARCHIVE_ID, 1, "", 0, NOON, "other", NOON, None, (older,)))[0]

    report = site.seal(HookedStore(site.store, before=meanwhile))
    assert (report.entries, report.newest) == (1, 2)
    log = check_log(site.store, ARCHIVE_ID)
    assert len(log.entries) == 2


@pytest.mark.parametrize("verb_number", range(40))
def test_killed_after_any_request_and_run_again_nothing_is_lost_or_twice(site: Site, verb_number: int) -> None:
    class Killed(BaseException):
        pass

    def die(request: Request) -> None:
        if request.number == verb_number:
            raise Killed

    site.commit(1, 2, 3)
    site.announce(4)
    site.seal()
    site.clock.sleep(HOUR)
    site.commit(5, 6)
    site.write(4)
    for _ in range(2):
        try:
            site.seal(HookedStore(site.store, after=die))
        except Killed:
            check_marks(site.store, ARCHIVE_ID, site.log())
    site.seal()
    assert len(check_log(site.store, ARCHIVE_ID).entries) == 6


def test_a_pass_whose_answer_was_lost_has_sealed(site: Site) -> None:
    def lost(request: Request) -> None:
        if request.verb == "create":
            raise UnavailableError("the answer was lost")

    site.commit(1)
    with pytest.raises(UnavailableError):
        site.seal(HookedStore(site.store, after=lost))
    assert site.seal().batches == 0
    check_log(site.store, ARCHIVE_ID)


# --- budgets and backlogs --------------------------------------------------------------------------------------------------


def steps(most: int) -> Iterator[bool]:
    yield from [True] * most
    while True:
        yield False


def test_a_pass_without_time_seals_the_first_page_and_says_that_there_is_more(site: Site) -> None:
    for number in range(2_500):
        site.commit(number)
        site.clock.sleep(10)
    sealed = []
    for _ in range(3):
        budget = steps(0)
        report = site.seal(go_on=lambda budget=budget: next(budget))
        sealed.append((report.entries, report.is_complete))
        assert report.watermark is not None
        if not report.is_complete:
            assert report.watermark < site.clock.now()
    # The overlap of two hours is listed again.
    assert sealed == [(1_000, False), (279, False), (279, False)]
    assert site.seal().is_complete
    check_log(site.store, ARCHIVE_ID)


def test_a_pass_without_time_gets_on_though_the_overlap_has_many_pages(site: Site) -> None:
    """More than a page of markers in two hours: whoever stopped after the first page would stand still."""
    for number in range(3_000):
        site.commit(number)
        site.clock.sleep(2)
    for expected in (1_000, 1_000, 1_000):
        budget = steps(0)
        assert site.seal(go_on=lambda budget=budget: next(budget)).entries == expected
    check_log(site.store, ARCHIVE_ID)


def test_a_backlog_is_sealed_batch_after_batch(site: Site) -> None:
    site.commit(*range(10_000))
    report = site.seal()
    assert (report.entries, report.batches) == (10_000, 3)
    assert max(len(sealed.batch.entries) for sealed in site.log().batches) <= MAX_ENTRIES
    check_log(site.store, ARCHIVE_ID)


def test_after_markers_may_have_expired_a_reconciliation_is_asked_for(site: Site) -> None:
    site.commit(1)
    assert not site.seal().needs_reconcile
    site.clock.sleep(84 * DAY)
    assert not site.seal().needs_reconcile
    site.clock.sleep(86 * DAY)
    assert site.seal().needs_reconcile
    assert not site.seal().needs_reconcile


def test_a_first_pass_that_finds_old_markers_asks_for_a_reconciliation(site: Site) -> None:
    site.commit(1)
    site.clock.sleep(86 * DAY)
    assert site.seal().needs_reconcile


# --- what is written, what it costs ----------------------------------------------------------------------------------------


def test_a_pass_that_finds_nothing_new_writes_nothing(site: Site) -> None:
    site.commit(*range(10))
    site.seal()
    for _ in range(10):
        site.clock.sleep(5 * MINUTE)
        assert site.seal().batches == 0
        assert site.requests() == {"list": 2, "read": 1}


def test_once_a_day_it_is_written_down_that_there_was_nothing(site: Site) -> None:
    site.commit(1)
    site.seal()
    for _ in range(3 * 24):
        site.clock.sleep(HOUR)
        site.seal()
    assert site.newest == 4
    assert site.log().batches[-1].batch.swept_at == site.clock.now()


def test_ten_new_commits_cost_two_listings_and_two_reads_each(site: Site) -> None:
    site.commit(*range(10))
    site.seal()
    site.clock.sleep(5 * MINUTE)
    site.commit(*range(10, 20))
    assert site.seal().entries == 10
    assert site.requests() == {"list": 2, "read": 21, "create": 1}


def test_a_backlog_of_five_thousand_costs_a_listing_for_each_thousand(site: Site) -> None:
    site.commit(0)
    site.seal()
    site.clock.sleep(HOUR)
    site.commit(*range(1, 5_001))
    site.seal()
    assert site.requests() == {"list": 7, "read": 10_001, "create": 2}


def test_a_busy_day_of_passes_reads_back_no_more_than_the_window(site: Site) -> None:
    most = 0
    for number in range(100):
        site.commit(number)
        site.seal()
        most = max(most, site.requests()["read"])
        site.clock.sleep(5 * MINUTE)
    # Two reads for the commit; the 24 batches of two hours, in blocks of 8, 16 and 32.
    assert most <= 2 + 1 + 24 + 32
    check_log(site.store, ARCHIVE_ID)


def test_records_that_were_read_are_handed_on(site: Site) -> None:
    site.commit(1, 2)
    cache = RecordCache(limit_bytes=10)
    site.seal(keep=cache.put)
    first, second = (site.marker(number).record_key for number in (1, 2))
    kept = [key for key in (first, second) if cache.take(key) is not None]
    assert len(kept) == 1, "there is room for one of eight bytes"
    assert cache.take(kept[0]) is None
    cache.put(first, b"12345678")
    assert cache.take(first) == b"12345678"


def test_a_batch_of_a_newer_sealer_is_gone_on_from(site: Site) -> None:
    site.commit(1)
    site.seal()
    head = read_batch(site.store, ARCHIVE_ID, 1)
    newer = replace(
        head.batch,
        number=2,
        previous=head.sha256,
        first_entry=1,
        entries=(Entry.of_record("attestation", "", b"x", NOON, "attestations/1"),),
        unknown={"root": {"size": 2}},
    )
    assert add_batch(site.store, newer)[0]
    site.clock.sleep(MINUTE)
    site.commit(2)
    site.seal()
    assert site.log().batches[-1].batch.end_entry == 3


def test_times_of_the_plan_are_those_that_the_format_promises() -> None:
    assert timedelta(hours=2) == plan.OVERLAP
    assert timedelta(days=1) == plan.SWEEP_EVERY
    assert timedelta(days=7) == plan.GIVE_UP_AFTER
