"""Bring the tables up to the log: read its batches, put rows into files, commit these: each batch once in each table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckpt_archive.errors import UnavailableError
from ckpt_archive.index.fetching import Fetcher, Kept
from ckpt_archive.index.loading import load_state
from ckpt_archive.index.projection import Projection, batches
from ckpt_archive.index.schema import EVENTS, SYNC_LOG
from ckpt_archive.index.sink import Sink
from ckpt_archive.index.state import State
from ckpt_archive.index.tables import DataFile, OpenTable, RefusedError, open_all
from ckpt_archive.log.batch import FINDING
from ckpt_archive.log.sequence import newest_number
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress, ProgressEvent
from ckpt_archive.store.object_store import Location
from ckpt_archive.store.protocol import Store

# A commit every so many checkpoints: few enough that little is done again after a death, many enough that files are large.
_ENTRIES_A_COMMIT = 16_384
_BATCHES_A_COMMIT = 256
# Somebody who is always overtaken makes no progress of his own, but the tables do.
_MOST_REFUSALS = 100
PHASE = "index"


@dataclass(frozen=True, slots=True)
class Projected:
    """What a projection did.

    Attributes:
        number: The last batch that is in every table.
        batches: How many of them were put in by this call, into at least one table.
        entries: How many entries these have.
        is_complete: Whether it got as far as it was asked to.
        findings: How many records it could not read; those that the log itself tells of are not among them.
    """

    number: int
    batches: int = 0
    entries: int = 0
    is_complete: bool = True
    findings: int = 0


@dataclass(frozen=True, slots=True)
class _Made:
    """Files of some tables, the last batch in them, and how many entries and new findings these batches have."""

    number: int
    entries: int
    findings: int
    files: Mapping[str, list[DataFile]]


@dataclass(slots=True)
class Projector:
    """Brings the tables of one archive up to its log.

    Attributes:
        store: Where the archive is.
        machine: Clock, executor, nonces.
        archive_id: The archive's.
        tables: All of them.
        kept: Records that need not be read again.
    """

    store: Store
    machine: Machine
    archive_id: str
    tables: Mapping[str, OpenTable]
    kept: Kept | None = None
    _state: State | None = None
    _for: frozenset[str] = field(default_factory=frozenset)

    @property
    def number(self) -> int:
        """The last batch that is in every table."""
        return min(opened.number for opened in self.tables.values())

    def project(
        self, target: int, *, until_seconds: float = float("inf"), progress: Progress | None = None
    ) -> Projected:
        """Put the batches up to `target` into the tables that lack them: those that are behind first.

        Any number may do this at once; the tables grow by each batch once.

        Args:
            target: The number of a batch that is sealed.
            until_seconds: A moment of the machine's monotonic clock; no new files are begun after it.
            progress: Told after each commit, in batches.

        Raises:
            UnavailableError: If the store does not answer. What was committed stands, the rest is done next time.
            IntegrityError: If a batch is missing or damaged.
        """
        put = entries = refusals = findings = 0
        start = self.number
        while (low := self.number) < target:
            if self.machine.clock.monotonic() >= until_seconds:
                return Projected(low, put, entries, is_complete=False, findings=findings)
            names = frozenset(name for name, opened in self.tables.items() if opened.number == low)
            others = [opened.number for name, opened in self.tables.items() if name not in names]
            made = self._make(names, low, min([target, *others]))
            try:
                self._commit(names, made.number, made.files)
            except RefusedError as error:
                refusals += 1
                if refusals > _MOST_REFUSALS:
                    raise UnavailableError(
                        f"the index of {self.store.url} is changed by somebody else all the time",
                        hint="Run fewer syncs at once.",
                    ) from error
                self.reload()
                continue
            put += made.number - low
            entries += made.entries
            findings += made.findings if EVENTS.name in names else 0
            if progress is not None:
                progress(ProgressEvent(PHASE, made.number - start, target - start))
        return Projected(self.number, put, entries, findings=findings)

    def reload(self) -> None:
        """See what stands in the tables now."""
        for opened in self.tables.values():
            opened.reload()

    def _make(self, names: frozenset[str], low: int, high: int) -> _Made:
        """Files with the rows of these tables of the batches after `low`."""
        sink = Sink(self.store, self.machine.nonce, names)
        state = self._state_at(low, names)
        self._state = None
        fetcher = Fetcher(self.store, self.machine.executor, self.kept)
        projection = Projection(fetcher, sink, state, self.archive_id)
        seen = told = 0
        for sealed in batches(
            self.store, self.machine.executor, self.archive_id, low + 1, min(high, low + _BATCHES_A_COMMIT)
        ):
            projection.add(sealed)
            seen += len(sealed.batch.entries)
            told += sum(entry.kind == FINDING for entry in sealed.batch.entries)
            if seen >= _ENTRIES_A_COMMIT or sink.file_count:
                break
        files = sink.finish()
        # What a projection that broke off left behind is no state.
        self._state, self._for = state, names
        return _Made(state.number, seen, projection.findings - told, files)

    def _state_at(self, number: int, names: frozenset[str]) -> State:
        if self._state is not None and self._state.number == number and names <= self._for:
            return self._state
        return load_state(self.store, self.tables, number)

    def _commit(self, names: frozenset[str], number: int, files: Mapping[str, list[DataFile]]) -> None:
        """One commit for each table; one that is refused keeps only `SYNC_LOG` from its own, which is the last.

        So all tables have the newest batch that stands there: engines that can not see app transactions go by that.
        """
        refused: RefusedError | None = None
        now = self.machine.clock.now()
        for name in sorted(names, key=lambda name: (name == SYNC_LOG.name, name)):
            if name == SYNC_LOG.name and refused is not None:
                break
            try:
                self.tables[name].append(files[name], number, now)
            except RefusedError as error:
                refused = error
        if refused is not None:
            raise refused


def open_projector(
    store: Store, machine: Machine, archive_id: str, location: Location, kept: Kept | None = None
) -> Projector:
    """The tables of an archive, made where they are not there."""
    return Projector(store, machine, archive_id, open_all(location.of(archive_id)), kept)


def project_all(
    projector: Projector, *, budget_seconds: float = float("inf"), progress: Progress | None = None
) -> Projected:
    """Bring the tables up to the newest batch that is sealed now."""
    target = newest_number(projector.store, projector.number)
    until = projector.machine.clock.monotonic() + budget_seconds
    return projector.project(target, until_seconds=until, progress=progress)
