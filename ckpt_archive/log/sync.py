"""Seals what the markers tell: each record that is there comes into the log once, however many do this at the same time.

A pass lists the markers since the watermark and a little before, looks at those whose records the log does not hold yet, and
adds what it finds as the next batches. Killed anywhere, it has written whole batches whose watermark is true; the next pass
goes on from there. Nothing is ever changed or deleted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.executor import Executor
from ckpt_archive.log.appending import Appender
from ckpt_archive.log.batch import Entry, Unresolved
from ckpt_archive.log.looking import Keep, forget, look_at
from ckpt_archive.log.plan import (
    Look,
    Pending,
    Window,
    is_sweep_due,
    judge,
    may_have_missed,
    sweep_of,
    window_of,
    youngest,
)
from ckpt_archive.log.sequence import newest_number, read_batch
from ckpt_archive.store.protocol import Listing, Store, list_pages

_READS_IN_FLIGHT = 16
# Each costs two reads at every pass; all of them are looked at by the sweep.
_MOST_LOOKED_AT_AGAIN = 256
_CHUNK = 1_000

GoOn = Callable[[], bool]
"""Asked between two steps of a pass: whether there is time for another one."""


@dataclass(frozen=True, slots=True)
class SealReport:
    """What a pass came to.

    Attributes:
        newest: The number of the newest batch; 0 for an empty log.
        watermark: Up to when markers have been looked at, by the store's clock; None for an empty log.
        batches: How many this pass has added.
        entries: How many entries that name a record it has added.
        findings: How many that say what is wrong.
        unresolved: How many markers wait for their records.
        is_complete: Whether everything was looked at that was to be; else the next pass goes on.
        has_swept: Whether everything pending was looked at.
        needs_reconcile: Whether markers may have expired before anybody looked: `index reconcile` finds what they told of.
    """

    newest: int
    watermark: datetime | None
    batches: int
    entries: int
    findings: int
    unresolved: int
    is_complete: bool
    has_swept: bool
    needs_reconcile: bool


def seal(
    store: Store,
    executor: Executor,
    archive_id: str,
    node: str,
    *,
    hint: int = 0,
    go_on: GoOn = lambda: True,
    keep: Keep = forget,
    sweep: bool = False,
    read_back: bool = False,
) -> SealReport:
    """One pass. Safe to run any number at once, killed anywhere, and again.

    Costs, when there is nothing new, two listings and the batches of the last two hours; for each new record two reads. Once
    a day everything pending is listed.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        archive_id: The archive's id.
        node: Who seals, for people.
        hint: The number of a batch that is known to have been sealed; 0 for none.
        go_on: Says when to stop early.
        keep: Is given the records as they are read, so that nobody needs to fetch them again.
        sweep: Whether everything pending is listed, though it is not due.
        read_back: See `Appender`.

    Raises:
        IntegrityError: If a batch of the log is damaged or missing.
        UnavailableError: If the store does not answer. What was sealed until then is sealed.
    """
    number = newest_number(store, hint)
    head = read_batch(store, archive_id, number) if number else None
    before = None if head is None else head.batch
    window = window_of(before)
    pages = _pages(store, window)
    page = next(pages)
    now = page.store_time
    appender = Appender(store, executor, archive_id, node, head, now, read_back=read_back)
    carried = () if before is None else before.unresolved
    one_pass = _Pass(store, executor, archive_id, appender, carried, go_on, keep)
    sweeps = sweep or before is None or is_sweep_due(before, now)

    is_complete = one_pass.look_through(page, pages, window, marks=True)
    if is_complete:
        appender.draft.looked_until(now)
        is_complete = one_pass.look_again(at_all=sweeps)
    if is_complete and sweeps and before is not None:
        rest = sweep_of(before, now, besides=window)
        pages = _pages(store, rest)
        is_complete = one_pass.look_through(next(pages), pages, rest, marks=False)
    has_swept = is_complete and sweeps
    if has_swept:
        appender.draft.swept(now)
    appender.write()
    last = appender.head
    return SealReport(
        newest=0 if last is None else last.number,
        watermark=None if last is None else last.batch.watermark,
        batches=appender.batches,
        entries=appender.entries,
        findings=appender.findings,
        unresolved=0 if last is None else len(last.batch.unresolved),
        is_complete=is_complete,
        has_swept=has_swept,
        needs_reconcile=may_have_missed(before, one_pass.oldest, now),
    )


def _pages(store: Store, window: Window) -> Iterator[Listing]:
    start = "" if window.start is None else layout.pending_start(window.start)
    return list_pages(store, layout.PENDING, start_after=start)


class _Pass:
    """Goes through markers, page by page, and gives the appender what comes of them."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        archive_id: str,
        appender: Appender,
        carried: Sequence[Unresolved],
        go_on: GoOn,
        keep: Keep,
    ) -> None:
        self._carried = carried
        self._waiting = frozenset(marker.key for marker in carried)
        self._store = store
        self._executor = executor
        self._archive_id = archive_id
        self._appender = appender
        self._go_on = go_on
        self._keep = keep
        self._has_news = False
        self.oldest: datetime | None = None

    def look_through(self, page: Listing, more: Iterator[Listing], window: Window, *, marks: bool) -> bool:
        """Look at the markers of a listing, but for those that are known to wait.

        Args:
            page: Its first page.
            more: Its other pages.
            window: Which of them.
            marks: Whether the watermark goes along.

        Returns:
            Whether there was time for all of them.
        """
        while True:
            listed = [Pending.of(info) for info in page.objects]
            self._see(listed)
            taken = [pending for pending in listed if pending.key not in self._waiting and window.takes(pending)]
            self._take(taken, marks=marks)
            if page.next_token is None:
                return True
            # What an earlier pass has looked at is listed again; one that ends in there would never get on.
            if self._has_news and not self._go_on():
                return False
            page = next(more)

    def look_again(self, *, at_all: bool) -> bool:
        """Look at the markers that wait for their records, or the youngest of them; whether there was time for that."""
        waiting = self._carried if at_all else youngest(self._carried, _MOST_LOOKED_AT_AGAIN)
        for start in range(0, len(waiting), _CHUNK):
            if not self._go_on():
                return False
            self._take(
                [Pending.named(marker.key, marker.since) for marker in waiting[start : start + _CHUNK]], marks=False
            )
        return True

    def _see(self, listed: Iterable[Pending]) -> None:
        if self.oldest is None:
            self.oldest = next((pending.moment for pending in listed if pending.moment is not None), None)

    def _take(self, taken: Sequence[Pending], *, marks: bool) -> None:
        appender = self._appender
        news = self._news(taken)
        self._has_news = self._has_news or bool(news)
        for look in self._looks(news):
            pending = look.pending
            verdict = judge(look, appender.draft.now)
            if isinstance(verdict, Entry):
                appender.add(verdict, pending.moment)
                appender.draft.settle(pending.key)
            elif pending.key not in self._waiting:
                appender.wait(verdict)
            if marks and pending.moment is not None:
                appender.draft.looked_until(pending.moment)
            appender.write_if_full()

    def _news(self, taken: Sequence[Pending]) -> list[Pending]:
        """Those of which the log does not say yet what became of them."""
        known = self._appender.known
        news = [pending for pending in taken if not self._is_known(pending)]
        while news:
            moments = [pending.first_moment for pending in news]
            since = None if None in moments else min(filter(None, moments))
            if known.reaches(since):
                break
            known.read_back()
            news = [pending for pending in news if not self._is_known(pending)]
        return news

    def _is_known(self, pending: Pending) -> bool:
        known = self._appender.known
        if known.has_announced(pending.announced) or known.has_finding(pending.key):
            self._appender.draft.settle(pending.key)
            return True
        return False

    def _looks(self, news: Sequence[Pending]) -> list[Look]:
        """What there is of them, in their order."""
        now = self._appender.draft.now

        def look(number_pending: tuple[int, Pending]) -> tuple[int, Look]:
            number, pending = number_pending
            return number, look_at(self._store, self._archive_id, pending, now, self._keep)

        found = dict(self._executor.map_unordered(look, enumerate(news), limit=_READS_IN_FLIGHT))
        return [found[number] for number in range(len(news))]
