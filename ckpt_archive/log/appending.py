"""Adds entries to the log, batch after batch, whoever else does so at the same time."""

from datetime import datetime

from ckpt_archive.errors import UnavailableError
from ckpt_archive.executor import Executor
from ckpt_archive.log.batch import FINDING, Entry, Unresolved
from ckpt_archive.log.known import Known
from ckpt_archive.log.plan import Draft, record_since
from ckpt_archive.log.sequence import Sealed, add_batch
from ckpt_archive.store.protocol import Store

# Each lost race means that somebody else has added a batch just then.
_MOST_RACES = 10_000


class Appender:
    """The end of the log, and what is to be added to it.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        archive_id: The archive's id.
        node: Who seals.
        head: The newest batch; None for an empty log.
        now: The store's clock.
        read_back: Whether a batch is read again once it is created: for a store that does not compare what it is sent with a
            checksum.

    Attributes:
        head: The newest batch that is known.
        known: What the log holds, and what is about to be added.
        draft: What is about to be added.
        batches: How many were added.
        entries: How many entries that name a record.
        findings: How many that say what is wrong.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        archive_id: str,
        node: str,
        head: Sealed | None,
        now: datetime,
        *,
        read_back: bool = False,
    ) -> None:
        self._store = store
        self._read_back = read_back
        self.head = head
        self.known = Known(store, executor, archive_id, head)
        self.draft = Draft(archive_id, node, now)
        self.batches = 0
        self.entries = 0
        self.findings = 0

    def add(self, entry: Entry, moment: datetime | None = None) -> bool:
        """Add an entry; whether the log did not hold one about the same.

        Args:
            entry: What to add.
            moment: When its marker was going to be written; None where there is none.
        """
        if self.known.holds(entry, record_since(entry, moment, self.draft.now)):
            return False
        self.add_new(entry)
        return True

    def add_new(self, entry: Entry) -> None:
        """Add an entry that the log is known not to hold."""
        self.known.note((entry,))
        self.draft.add(entry)

    def wait(self, marker: Unresolved) -> None:
        """A marker is to be looked at again."""
        self.draft.wait(marker)

    def write_if_full(self) -> None:
        """Write a batch if nothing more goes into it."""
        if self.draft.is_full:
            self.write()

    def write(self) -> None:
        """Write a batch, if there is anything worth it.

        Raises:
            IntegrityError: If somebody has put something else in its place.
            UnavailableError: If the store does not answer: it may have been written.
        """
        for _ in range(_MOST_RACES):
            if not self.draft.is_worth_writing(self.head):
                return
            is_ours, self.head = add_batch(self._store, self.draft.behind(self.head), read_back=self._read_back)
            self.known.note(self.head.batch.entries)
            if is_ours:
                added = self.head.batch.entries
                findings = sum(entry.kind == FINDING for entry in added)
                self.batches += 1
                self.findings += findings
                self.entries += len(added) - findings
                self.draft.written()
                return
            self.draft.rebase(self.head.batch)
        raise UnavailableError(f"{_MOST_RACES} other batches were added to the log at the same time", hint="Try again.")
