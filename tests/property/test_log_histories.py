"""Any history of writers that may stand still for days, of sealers that run into each other, and of clocks that are wrong.

Whatever happens: nothing is in the log twice, what its marks say was looked at has been looked at, and in the end each
record is in it whose marker was not given up.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Marker, read_marker, write_marker
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.digest import sha256_hex
from ckpt_archive.log import plan
from ckpt_archive.log.reconcile import UNTOLD, reconcile
from ckpt_archive.log.sync import SealReport, seal
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Listing, Store, list_all
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, ManualClock
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.sealed_log import check_log, check_marks, read_log, records

DAY = 86_400
WAITS = (1, 60, 1_000, 5_000, 8_000, 30_000, DAY, 3 * DAY)


class ShortPages(MemoryStore):
    """Lists three names at a time."""

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        return super().list(prefix, delimiter=delimiter, token=token, limit=min(limit, 3), start_after=start_after)


class Killed(BaseException):
    """The process died."""


@dataclass
class Writer:
    """Somebody who is about to write a record: its number, the time he was told, and the marker that he wrote."""

    number: int
    told: datetime
    marker: Marker | None = None
    announced: datetime | None = None


@contextmanager
def small_batches() -> Iterator[None]:
    before = plan.MOST_ENTRIES
    plan.MOST_ENTRIES = 4
    try:
        yield
    finally:
        plan.MOST_ENTRIES = before


@dataclass
class Steps:
    """How many steps a sealer has time for; None for as many as he wants."""

    left: int | None
    asked: list[int] = field(default_factory=list)

    def go_on(self) -> bool:
        self.asked.append(1)
        return self.left is None or len(self.asked) <= self.left


class Histories(RuleBasedStateMachine):
    """Whoever seals has his own reading of nothing: all is in the store."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = ShortPages(clock=self.clock)
        self.writers: list[Writer] = []

    @rule(number=st.integers(0, 30))
    def somebody_is_about_to_write(self, number: int) -> None:
        self.writers.append(Writer(number, self.clock.now()))

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def he_goes_on(self, data: st.DataObject) -> None:
        """The marker first, the record second, perhaps by another who wanted the same."""
        writer = data.draw(st.sampled_from(self.writers))
        place = Place("run", 0, writer.number)
        # Some want to write something else there than others; the first one stays.
        content = b"record %d, %d" % (writer.number, writer.told.second % 2)
        if writer.marker is None:
            writer.marker = Marker.of_commit(ARCHIVE_ID, place, sha256_hex(content))
            write_marker(self.store, writer.marker, writer.told)
            writer.announced = self.clock.now()
            return
        assert writer.announced is not None
        create_once(self.store, layout.manifest(place.run, place.attempt, place.step), content)
        self.writers.remove(writer)

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def he_dies(self, data: st.DataObject) -> None:
        self.writers.remove(data.draw(st.sampled_from(self.writers)))

    @rule(seconds=st.sampled_from(WAITS))
    def time_passes(self, seconds: int) -> None:
        self.clock.sleep(seconds)

    @rule(steps=st.none() | st.integers(0, 3), sweep=st.booleans(), hint=st.integers(0, 9))
    def somebody_seals(self, steps: int | None, sweep: bool, hint: int) -> None:
        self._seal(self.store, steps, sweep=sweep, hint=hint)

    @rule(at=st.integers(0, 30), steps=st.none() | st.integers(0, 3))
    def somebody_seals_and_dies(self, at: int, steps: int | None) -> None:
        def die(request: Request) -> None:
            if request.number == at:
                raise Killed

        try:
            self._seal(HookedStore(self.store, after=die), steps)
        except Killed:
            return

    @rule(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=12))
    def many_write(self, numbers: list[int]) -> None:
        for number in numbers:
            content = b"record %d, 0" % number
            marker = Marker.of_commit(ARCHIVE_ID, Place("run", 0, number), sha256_hex(content))
            write_marker(self.store, marker, self.clock.now())
            create_once(self.store, marker.record_key, content)
            self.clock.sleep(1)

    @rule(
        verb=st.sampled_from(("list", "read", "create")),
        seconds=st.sampled_from(WAITS[:4]),
        more=st.lists(st.integers(0, 60), max_size=6),
        steps=st.none() | st.integers(0, 3),
    )
    def two_seal_at_once(self, verb: str, seconds: int, more: list[int], steps: int | None) -> None:
        """One stands still before a request, and meanwhile time passes, others write, and the other seals."""
        has_stood_still: list[Request] = []

        def meanwhile(request: Request) -> None:
            if request.verb == verb and not has_stood_still:
                has_stood_still.append(request)
                self.many_write([*more, 0])
                self.clock.sleep(seconds)
                self._seal(self.store, steps)

        self._seal(HookedStore(self.store, before=meanwhile), None)

    @rule()
    def somebody_reconciles(self) -> None:
        self._reconcile()

    @invariant()
    def the_log_is_a_log_and_its_marks_are_true(self) -> None:
        log = read_log(self.store, ARCHIVE_ID)
        check_marks(self.store, ARCHIVE_ID, log)
        there = {stored.info.key for _, stored in records(self.store)}
        assert log.entries.keys() <= there

    def teardown(self) -> None:
        for writer in list(self.writers):
            if writer.marker is None:
                self.writers.remove(writer)
        for _ in range(2):
            self.clock.sleep(DAY)
            assert self._seal(self.store, None).is_complete
        log = read_log(self.store, ARCHIVE_ID)
        for _, stored in records(self.store):
            if stored.info.key not in log.entries:
                assert self._is_given_up(stored.info.key, log.findings.keys()), stored.info.key
        self._reconcile()
        check_log(self.store, ARCHIVE_ID)

    def _reconcile(self) -> None:
        before = read_log(self.store, ARCHIVE_ID)
        reconcile(self.store, INLINE, ARCHIVE_ID, "node")
        after = read_log(self.store, ARCHIVE_ID)
        for key, finding in after.findings.items():
            if finding.problem == UNTOLD and key not in before.findings:
                assert self._is_given_up(key, after.findings.keys()), f"a marker told of {key}"

    def _is_given_up(self, key: str, findings: Collection[str]) -> bool:
        """Whether all markers of a record were given up before it was there."""
        markers = [info.key for info in list_all(self.store, layout.PENDING)]
        told = [
            marker
            for marker in markers
            if read_marker(self.store.read(marker, limit_bytes=1_000).data, marker).record_key == key
        ]
        return all(marker in findings for marker in told)

    def _seal(self, store: Store, steps: int | None, *, sweep: bool = False, hint: int = 0) -> SealReport:
        with small_batches():
            report = seal(store, INLINE, ARCHIVE_ID, "node", hint=hint, go_on=Steps(steps).go_on, sweep=sweep)
        assert report.needs_reconcile is False
        return report


TestHistories = Histories.TestCase
