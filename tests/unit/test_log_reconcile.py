"""Records that no marker told of: found by listing them, sealed once, and said so."""

from datetime import timedelta

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.digest import sha256_hex
from ckpt_archive.log import plan
from ckpt_archive.log.reconcile import UNTOLD, ReconcileReport, reconcile
from ckpt_archive.log.sync import seal
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.sealed_log import check_log, read_log

HOUR = 3_600
DAY = 86_400
EVENT = f"log/events/2026/03/01/20260301T120000-verified-{'4e' * 16}.json"


class Site:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)

    def put(self, *keys: str) -> None:
        for key in keys:
            self.store.create(key, Body.of(key.encode()))

    def untold(self, run: str = "run", steps: range = range(3)) -> None:
        self.put(*(layout.manifest(run, 0, step) for step in steps))

    def reconcile(self, store: Store | None = None, **how: object) -> ReconcileReport:
        return reconcile(store or self.store, INLINE, ARCHIVE_ID, "node", **how)  # type: ignore[arg-type]

    def seal(self) -> None:
        seal(self.store, INLINE, ARCHIVE_ID, "node")


@pytest.fixture
def site() -> Site:
    return Site()


def test_records_of_all_kinds_that_nothing_told_of_are_sealed_once_and_found(site: Site) -> None:
    keys = [
        layout.manifest("run", 3, 100),
        layout.attempt_record("run", 3),
        layout.decision("run", 3, 200),
        EVENT,
    ]
    site.put(*keys)
    site.clock.sleep(3 * HOUR)
    report = site.reconcile()
    assert (report.listed, report.sealed, report.findings, report.is_complete) == (4, 4, 4, True)
    log = check_log(site.store, ARCHIVE_ID)
    assert log.findings.keys() == set(keys)
    assert {finding.problem for finding in log.findings.values()} == {UNTOLD}
    again = site.reconcile()
    assert (again.listed, again.sealed, again.findings) == (4, 0, 0)
    # That everything pending was listed is written down once there is a log.
    assert again.newest == report.newest + 1 == site.reconcile().newest


def test_what_a_marker_told_of_is_no_finding_though_nobody_has_sealed_it_yet(site: Site) -> None:
    content = b"record"
    marker = Marker.of_commit(ARCHIVE_ID, Place("run", 0, 1), sha256_hex(content))
    write_marker(site.store, marker, site.clock.now())
    create_once(site.store, marker.record_key, content)
    site.clock.sleep(3 * HOUR)
    report = site.reconcile()
    assert (report.sealed, report.findings) == (0, 0)
    check_log(site.store, ARCHIVE_ID)


def test_what_has_only_just_come_is_left_to_the_feed(site: Site) -> None:
    site.untold()
    site.clock.sleep(HOUR)
    assert site.reconcile().sealed == 0
    site.clock.sleep(HOUR + 1)
    assert site.reconcile().sealed == 3


def test_what_else_lies_among_the_records_is_one_finding_and_what_is_reserved_is_none(site: Site) -> None:
    foreign = [
        "manifests/run/notes.txt",
        "manifests/Not-A-Run/99999999/999999999999.json",
        "runs/run/attempts/1.json",
        "runs/run/decisions/00000000/1.json",
        "runs/run/decisions/0/000000000001.json",
        "runs/Not-A-Run/attempts/99999999.json",
        "log/events/2026/other.json",
    ]
    site.put(*foreign, "runs/run/holds/case-1.json")
    site.clock.sleep(3 * HOUR)
    for expected in (len(foreign), 0):
        report = site.reconcile()
        assert (report.listed, report.sealed, report.findings) == (0, 0, expected)
    assert read_log(site.store, ARCHIVE_ID).findings.keys() == set(foreign)


def test_many_are_sealed_in_several_batches(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_ENTRIES", 10)
    site.untold(steps=range(57))
    site.clock.sleep(3 * HOUR)
    assert site.reconcile().sealed == 57
    log = check_log(site.store, ARCHIVE_ID)
    assert len(log.batches) > 5
    assert max(len(sealed.batch.entries) for sealed in log.batches) <= 10


def test_a_log_that_begins_with_a_reconciliation_claims_to_have_looked_at_no_marker_but_those_there_are(
    site: Site,
) -> None:
    site.untold()
    site.clock.sleep(3 * HOUR)
    site.reconcile()
    assert read_log(site.store, ARCHIVE_ID).batches[0].batch.watermark == plan.NEVER
    site.seal()
    assert check_log(site.store, ARCHIVE_ID).batches


def test_two_at_once_seal_each_record_once(site: Site) -> None:
    site.untold()
    site.clock.sleep(3 * HOUR)

    def meanwhile(request: Request) -> None:
        if request.verb == "create" and not read_log(site.store, ARCHIVE_ID).batches:
            reconcile(site.store, INLINE, ARCHIVE_ID, "other")

    report = site.reconcile(HookedStore(site.store, before=meanwhile))
    assert (report.sealed, report.findings) == (0, 0)
    assert len(check_log(site.store, ARCHIVE_ID).findings) == 3


@pytest.mark.parametrize("number", range(40))
def test_killed_after_any_request_and_run_again_each_record_is_sealed_once(
    site: Site, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(request: Request) -> None:
        if request.number == number:
            raise Killed

    monkeypatch.setattr(plan, "MOST_ENTRIES", 4)
    site.untold(steps=range(6))
    site.clock.sleep(3 * HOUR)
    try:
        site.reconcile(HookedStore(site.store, after=die))
    except Killed:
        site.reconcile()
    log = check_log(site.store, ARCHIVE_ID)
    assert len(log.entries) == len(log.findings) == 6


def test_a_record_that_is_removed_meanwhile_is_passed_over(site: Site) -> None:
    site.untold()
    site.clock.sleep(3 * HOUR)
    key = layout.manifest("run", 0, 1)

    def remove(request: Request) -> None:
        if request.verb == "read" and request.key == key:
            site.store.delete(key)

    assert site.reconcile(HookedStore(site.store, before=remove)).sealed == 2
    check_log(site.store, ARCHIVE_ID)


def test_without_time_it_says_that_there_is_more(site: Site) -> None:
    site.untold(steps=range(2_500))
    site.clock.sleep(3 * HOUR)
    report = site.reconcile(go_on=lambda: False)
    assert (report.sealed, report.is_complete) == (1_000, False)
    assert site.reconcile().sealed == 1_500
    check_log(site.store, ARCHIVE_ID)


def test_a_record_whose_intent_was_given_up_is_found(site: Site) -> None:
    marker = Marker.of_commit(ARCHIVE_ID, Place("run", 0, 1), "0" * 64)
    write_marker(site.store, marker, site.clock.now())
    for _ in range(9):
        site.seal()
        site.clock.sleep(DAY)
    site.untold()
    site.clock.sleep(3 * HOUR)
    assert site.reconcile().sealed == 3
    check_log(site.store, ARCHIVE_ID)


def test_what_it_costs(site: Site) -> None:
    site.untold("one", range(1_500))
    site.untold("two", range(500))
    site.clock.sleep(3 * HOUR)
    site.reconcile()
    site.seal()
    store = CountingStore(site.store)
    site.reconcile(store)
    # Sealing: the log's end, two listings and the sweep. Then the time, the runs, their manifests, launches, events.
    assert store.requests["list"] == 3 + 1 + 1 + 3 + 1 + 1 - 1
    assert store.requests["create"] == 0
    assert timedelta(hours=2) == plan.OVERLAP
