"""What the log holds, read back from its end only as far as a question needs.

No entry is younger than its batch, and no batch is older than the one before it. So a record that the store created at some
time stands in no batch that was sealed earlier, and only the later ones need to be read.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ckpt_archive.executor import Executor
from ckpt_archive.log.batch import FINDING, Entry
from ckpt_archive.log.digests import DigestSet
from ckpt_archive.log.sequence import Sealed, check_follows, read_batch, read_batches
from ckpt_archive.store.protocol import Store

_FIRST_BLOCK = 8
_LARGEST_BLOCK = 32
_SUMMARIES_KEPT = 64
# An object so much younger than its batch was copied here later, as were the records: then their times say nothing.
_MOVED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Summary:
    """A batch far back: when it was sealed, whether it was moved, and which subjects it has."""

    sealed_at: datetime
    moved: bool
    subjects: frozenset[str]


class Known:
    """Answers whether the log holds a record, a marker's record or a finding.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        archive_id: The archive's id.
        newest: The newest batch; None for an empty log.
    """

    def __init__(self, store: Store, executor: Executor, archive_id: str, newest: Sealed | None) -> None:
        self._store = store
        self._executor = executor
        self._archive_id = archive_id
        self._texts = DigestSet()
        self._first = newest
        self._block = _FIRST_BLOCK
        self._far: OrderedDict[int, _Summary] = OrderedDict()
        if newest is not None:
            self.note(newest.batch.entries)

    def note(self, entries: Iterable[Entry]) -> None:
        """These entries are in the log too, or are about to be."""
        for entry in entries:
            self._texts.add(entry.subject)
            if entry.kind != FINDING:
                self._texts.add(entry.announced)

    def reaches(self, since: datetime | None) -> bool:
        """Whether everything that can hold a record created at `since` has been read; None: at an unknown time."""
        first = self._first
        if first is None or first.number == 1:
            return True
        return since is not None and first.batch.sealed_at < since and not _is_moved(first)

    def read_back(self) -> None:
        """Read some more batches, further back."""
        first = self._first
        assert first is not None
        start = max(1, first.number - self._block)
        self._block = min(self._block * 2, _LARGEST_BLOCK)
        before: Sealed | None = None
        earliest: Sealed | None = None
        for before in read_batches(self._store, self._executor, self._archive_id, start, first.number - 1):
            earliest = earliest or before
            self.note(before.batch.entries)
        assert before is not None
        check_follows(before, first)
        self._first = earliest

    def has_announced(self, announced: str) -> bool:
        """Whether what was read so far holds the record that a marker announces; see `Entry.announced`."""
        return announced in self._texts

    def has_finding(self, key: str) -> bool:
        """Whether what was read so far holds a finding about an object."""
        return f"!{key}" in self._texts

    def has(self, entry: Entry) -> bool:
        """Whether what was read so far holds an entry about the same."""
        return entry.subject in self._texts

    def holds(self, entry: Entry, since: datetime | None) -> bool:
        """Whether the log holds an entry about the same.

        Args:
            entry: Which one.
            since: No batch that was sealed earlier holds it; None: any may.
        """
        subject = entry.subject
        while subject not in self._texts:
            if self.reaches(since):
                return False
            if since is not None and self._is_far(since):
                return self._is_far_back(subject, since)
            self.read_back()
        return True

    def _is_far(self, since: datetime) -> bool:
        """Whether it is cheaper to look for the time first: what is near is soon read, and remembered."""
        first = self._first
        assert first is not None
        ahead = first.number - _LARGEST_BLOCK
        return ahead > 1 and self._summary(ahead).sealed_at >= since

    def _is_far_back(self, subject: str, since: datetime) -> bool:
        """Look for it from the first batch on that was sealed at `since` or later."""
        first = self._first
        assert first is not None
        low, high = 0, first.number  # Batch `low` was sealed before, batch `high` not.
        while high - low > 1:
            middle = (low + high) // 2
            if self._summary(middle).sealed_at < since:
                low = middle
            else:
                high = middle
        if low and self._summary(low).moved:
            high = 1
        return any(subject in self._summary(number).subjects for number in range(high, first.number))

    def _summary(self, number: int) -> _Summary:
        found = self._far.get(number)
        if found is None:
            sealed = read_batch(self._store, self._archive_id, number)
            subjects = frozenset(entry.subject for entry in sealed.batch.entries)
            found = self._far[number] = _Summary(sealed.batch.sealed_at, _is_moved(sealed), subjects)
            if len(self._far) > _SUMMARIES_KEPT:
                self._far.popitem(last=False)
        else:
            self._far.move_to_end(number)
        return found


def _is_moved(sealed: Sealed) -> bool:
    return sealed.modified is not None and sealed.modified - sealed.batch.sealed_at > _MOVED
