"""Batches of the log as rows of the tables: what a batch says, whatever the tables hold already.

Rows are a function of the log and of the records that it names, in one order: launches, decisions, events and findings as
they were created, then commits by run, attempt and step. What can not be read becomes a finding, and stops nothing.
"""

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ckpt_archive import errors
from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import Decision
from ckpt_archive.commit.event import read_event
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.digest import sha256_hex
from ckpt_archive.executor import Executor
from ckpt_archive.index import limits
from ckpt_archive.index.commits import Commits, place_of
from ckpt_archive.index.fetching import Fetcher, Problem
from ckpt_archive.index.happenings import Happenings
from ckpt_archive.index.manifests import ManifestReader, StrictManifestReader
from ckpt_archive.index.receipts import read_receipts, read_strictly
from ckpt_archive.index.rows import At, Rows
from ckpt_archive.index.schema import CHECKPOINTS, EVENTS, FILES, METRICS, RUN_SOURCES, RUNS, TENSOR_LAYOUTS
from ckpt_archive.index.sink import RowSink
from ckpt_archive.index.state import State
from ckpt_archive.log.batch import FINDING, Entry
from ckpt_archive.log.sequence import Sealed, check_follows, read_batches
from ckpt_archive.store.protocol import Store

T = TypeVar("T")

_COMMIT = "commit"
_RECORDS = 256
_ABOUT_COMMITS = frozenset(
    table.name for table in (CHECKPOINTS, EVENTS, FILES, METRICS, RUNS, RUN_SOURCES, TENSOR_LAYOUTS)
)


# A batch is a few megabytes in memory.
_BATCHES_AT_ONCE = 2


def batches(store: Store, executor: Executor, archive_id: str, first: int, last: int) -> Iterator[Sealed]:
    """The batches of the log from `first` to `last`, each checked against the one before, few of them in memory at once.

    Raises:
        IntegrityError: If one is missing, damaged, or does not follow the one before.
        UnavailableError: If the store does not answer.
    """
    before: Sealed | None = None
    for start in range(first, last + 1, _BATCHES_AT_ONCE):
        for sealed in read_batches(store, executor, archive_id, start, min(start + _BATCHES_AT_ONCE - 1, last)):
            if before is not None:
                check_follows(before, sealed)
            yield sealed
            before = sealed


class Reading(enum.Enum):
    """How records are read."""

    FAST = enum.auto()
    """What our own writers spell by few steps, the rest strictly."""

    STRICT = enum.auto()
    """Everything strictly, ten times slower: to prove what was read fast."""


class Projection:
    """Turns batches into rows, one after the other.

    Args:
        fetcher: Reads records.
        sink: Takes the rows; those of tables that it does not want are dropped.
        state: What all batches before said; moved on here.
        archive_id: The archive's.
        reading: How.
    """

    def __init__(
        self, fetcher: Fetcher, sink: RowSink, state: State, archive_id: str, reading: Reading = Reading.FAST
    ) -> None:
        self._fetcher = fetcher
        self._state = state
        self._archive_id = archive_id
        self._rows = Rows(sink, state)
        self._happenings = Happenings(self._rows)
        readers = (
            (ManifestReader(), read_receipts) if reading is Reading.FAST else (StrictManifestReader(), read_strictly)
        )
        self._commits = Commits(fetcher, self._rows, archive_id, *readers)
        self._wants_commits = any(sink.wants(name) for name in _ABOUT_COMMITS)

    @property
    def findings(self) -> int:
        """How many rows say that something could not be read, or is not as it should be."""
        return self._rows.findings

    def add(self, sealed: Sealed) -> None:
        """The rows of the next batch.

        Raises:
            UnavailableError: If the store does not answer; the rows of this batch are not complete then.
        """
        batch = sealed.batch
        assert batch.number == self._state.number + 1, (batch.number, self._state.number)
        commits: list[tuple[int, Entry]] = []
        others: list[tuple[int, Entry]] = []
        for position, entry in enumerate(batch.entries):
            (commits if entry.kind == _COMMIT else others).append((position, entry))
        others.sort(key=lambda item: (item[1].time, _order(item[1]), item[0]))
        for start in range(0, len(others), _RECORDS):
            self._add_others(batch.number, others[start : start + _RECORDS])
        if self._wants_commits:
            self._commits.add(batch.number, commits)
        self._rows.batch(sealed)
        self._state.number = batch.number

    def _add_others(self, log_seq: int, entries: Iterable[tuple[int, Entry]]) -> None:
        known = [(At(log_seq, position, entry.time), entry) for position, entry in entries]
        wanted = [entry.key for _, entry in known if entry.kind != FINDING]
        found = iter(self._fetcher.records(wanted))
        for at, entry in known:
            if entry.kind == FINDING:
                self._rows.finding(at, entry.key, entry.problem, digest=entry.digest, place=place_of(entry))
                continue
            try:
                self._add_record(at, entry, next(found))
            except (errors.IntegrityError, errors.InvalidInputError) as error:
                self._rows.finding(at, entry.key, error.message, digest=entry.digest)

    def _add_record(self, at: At, entry: Entry, data: bytes | Problem) -> None:
        if isinstance(data, Problem):
            raise errors.IntegrityError(data.text)
        digest = sha256_hex(data)
        if digest != entry.digest:
            raise errors.IntegrityError(f"{entry.key} has the SHA-256 {digest}, and the log says {entry.digest}")
        match entry.kind:
            case "launch":
                launch = self._ours(Launch.decode(data, entry.key), lambda launch: launch.archive_id, entry)
                _require_key(layout.attempt_record(launch.run, launch.attempt), entry)
                self._happenings.launch(at, launch)
            case "decision":
                decision = self._ours(Decision.decode(data, entry.key), lambda decision: decision.archive_id, entry)
                _require_key(layout.decision(decision.run, decision.attempt, decision.step), entry)
                self._happenings.decision(at, decision, entry.id)
            case "event":
                self._happenings.event(
                    at, self._ours(read_event(data, entry.key), lambda event: event.archive_id, entry)
                )
            case kind:
                raise errors.InvalidInputError(f"{entry.key} is of the kind {kind}, which a newer release knows")

    def _ours(self, value: T, archive_id: Callable[[T], str], entry: Entry) -> T:
        if archive_id(value) != self._archive_id:
            raise errors.IntegrityError(f"{entry.key} is of another archive, {limits.text(archive_id(value))}")
        return value


def _require_key(key: str, entry: Entry) -> None:
    if key != entry.key:
        raise errors.IntegrityError(f"{entry.key} holds the record {key}")


def _order(entry: Entry) -> int:
    """Of two launches within the second that a store's clock tells apart, the one with the smaller number was first."""
    if entry.kind != "launch":
        return -1
    try:
        return layout.attempt_number(entry.key)
    except errors.IntegrityError:
        return -1
