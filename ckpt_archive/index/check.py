"""Proves that the index is what the log and its records say: both ways, every difference named.

The rows of the batches are made anew, by the strict decoders instead of the fast ones, and held against the rows that the
tables have of these batches. First by digests of groups, so that memory does not depend on how many rows there are; then,
where a group differs, row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import nsmallest

import pyarrow as pa
import pyarrow.compute as pc

from ckpt_archive.commit import layout
from ckpt_archive.digest import sha256_hex
from ckpt_archive.index.arrow import Bounds
from ckpt_archive.index.checking_log import bound_differences, log_differences, snapshot_of
from ckpt_archive.index.comparing import Comparing, Difference, Digests, Gathered, Group, differences
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.loading import load_state
from ckpt_archive.index.projection import Projection, Reading, batches
from ckpt_archive.index.reading import read_file
from ckpt_archive.index.schema import CHECKPOINTS, LOG_SEQ, TABLES
from ckpt_archive.index.state import State
from ckpt_archive.index.tables import OpenTable
from ckpt_archive.log.digests import DigestSet
from ckpt_archive.log.sequence import newest_number
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress, ProgressEvent
from ckpt_archive.store.protocol import Store, list_pages

PHASE = "check"
MAX_DIFFERENCES = 1_000
"""That are named; more than these are counted."""

SAMPLE_BATCHES = 16

# Whose rows are looked at one by one; of the others is told how many rows they have.
_BATCHES_NAMED = 8

_ON_ITS_WAY = timedelta(hours=2)
_UNLOGGED = "it is in the archive, and the log does not know of it: run `ckpt-archive index reconcile`"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to.

    Attributes:
        number: The last batch in every table.
        batches: How many were looked at.
        rows: How many rows of each table were compared.
        differences: What is wrong, at most `MAX_DIFFERENCES`.
        count: How many differences there are.
        seed: Which sample it was.
    """

    number: int
    batches: int
    rows: Mapping[str, int]
    differences: tuple[Difference, ...]
    count: int
    seed: int


def check(
    store: Store,
    machine: Machine,
    archive_id: str,
    tables: Mapping[str, OpenTable],
    *,
    sample: int | None = SAMPLE_BATCHES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Checked:
    """Compare the index with the log and its records.

    Args:
        store: Where the archive is.
        machine: Clock and executor.
        archive_id: The archive's.
        tables: All tables.
        sample: So many batches, chosen by `seed`, the newest among them; None for all.
        seed: Chooses.
        progress: Told in batches.

    Raises:
        IntegrityError: If a batch of the log or a file of the index can not be read.
        UnavailableError: If the store does not answer.
    """
    number = min(opened.number for opened in tables.values())
    chosen = _chosen(number, sample, seed)
    found = _Found()
    newest = newest_number(store, number)
    if newest > number:
        found.add(
            Difference(
                "behind",
                "sync_log",
                f"batch {newest}",
                f"the index has batches up to {number}: run `ckpt-archive index sync`",
            )
        )
    checker = _Checker(store, machine, archive_id, tables, found, progress)
    checker.compare(chosen, has_all=len(chosen) == number)
    return Checked(number, len(chosen), checker.rows, tuple(found.differences), found.count, seed)


def _chosen(number: int, sample: int | None, seed: int) -> list[int]:
    if sample is None or sample >= number:
        return list(range(1, number + 1))
    if sample < 1:
        return []
    # By digests, so that a seed means the same sample everywhere.
    others = nsmallest(sample - 1, range(1, number), key=lambda batch: sha256_hex(f"{seed}/{batch}".encode()))
    return sorted([*others, number])


class _Found:
    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.count = 0

    def add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference)


class _Checker:
    def __init__(
        self,
        store: Store,
        machine: Machine,
        archive_id: str,
        tables: Mapping[str, OpenTable],
        found: _Found,
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._machine = machine
        self._archive_id = archive_id
        self._tables = tables
        self._found = found
        self._progress = progress
        self._files = {name: opened.files() for name, opened in tables.items()}
        self._snapshots = {name: snapshot_of(store, machine.executor, name) for name in tables}
        for name, opened in tables.items():
            for difference in log_differences(self._snapshots[name], opened):
                found.add(difference)
        # Whose files were looked at already, so that nothing is told of twice.
        self._told: set[str] = set()
        self._logged = DigestSet()
        self.rows: Mapping[str, int] = dict.fromkeys(TABLES, 0)

    def compare(self, numbers: Sequence[int], *, has_all: bool) -> None:
        """Compare the rows of these batches; if these are all, nothing that the index says is believed."""
        expected, actual = Digests(), Digests()
        self._replay(numbers, expected, has_all=has_all)
        self._read(numbers, actual, has_all=has_all)
        self._told.update(TABLES)
        self.rows = expected.rows
        if has_all:
            self._find_unlogged()
        groups = expected.groups.keys() | actual.groups.keys()
        wrong = {group for group in groups if expected.groups.get(group) != actual.groups.get(group)}
        named = set(sorted({number for _, number in wrong})[:_BATCHES_NAMED])
        for name, number in sorted(wrong):
            if number not in named:
                (there, _), (wanted, _) = (
                    actual.groups.get((name, number), (0, 0)),
                    expected.groups.get((name, number), (0, 0)),
                )
                said = f"it has {there} rows of this batch, and should have {wanted}; or these are different"
                self._found.add(Difference("different", name, f"batch {number}", said))
        if named:
            self._name(sorted(named), {group for group in wrong if group[1] in named}, has_all=has_all)

    def _find_unlogged(self) -> None:
        """Manifests that the log does not know of; those of the last minutes may still be on their way into it."""
        for page in list_pages(self._store, layout.MANIFESTS):
            for info in page.objects:
                is_young = info.modified is not None and page.store_time - info.modified < _ON_ITS_WAY
                if info.key not in self._logged and not is_young:
                    self._found.add(Difference("unlogged", CHECKPOINTS.name, info.key, _UNLOGGED))

    def _name(self, numbers: Sequence[int], wrong: set[Group], *, has_all: bool) -> None:
        """Look again at what differs, row by row."""
        expected, actual = Gathered(wrong), Gathered(wrong)
        self._replay(range(1, numbers[-1] + 1) if has_all else numbers, expected, has_all=has_all)
        self._read(numbers, actual, has_all=has_all)
        for name, table in TABLES.items():
            for difference in differences(table, expected.rows[name], actual.rows[name]):
                self._found.add(difference)

    def _replay(self, numbers: Sequence[int], sink: Comparing, *, has_all: bool) -> None:
        state = State()
        fetcher = Fetcher(self._store, self._machine.executor)
        projection = Projection(fetcher, sink, state, self._archive_id, Reading.STRICT)
        for done, number in enumerate(numbers, start=1):
            if state.number != number - 1:
                assert not has_all
                state = load_state(self._store, self._tables, number - 1)
                projection = Projection(fetcher, sink, state, self._archive_id, Reading.STRICT)
            for sealed in batches(self._store, self._machine.executor, self._archive_id, number, number):
                projection.add(sealed)
                for entry in sealed.batch.entries:
                    self._logged.add(entry.key)
            sink.settle()
            if self._progress is not None:
                self._progress(ProgressEvent(PHASE, done, len(numbers)))

    def _read(self, numbers: Sequence[int], sink: Comparing, *, has_all: bool) -> None:
        wanted = pa.array(sorted(numbers), pa.int64())
        for name, files in self._files.items():
            table = self._tables[name].table
            for file in files:
                first, last = file.batches
                # What the log says of a file is believed only where that spares work.
                if not has_all and not any(first <= number <= last for number in numbers):
                    continue
                bounds = Bounds(table)
                for batch in read_file(self._store, table, file):
                    bounds.add(batch)
                    rows = pa.Table.from_batches([batch])
                    sink.add_table(name, file.month, rows.filter(pc.is_in(rows.column(LOG_SEQ), wanted)))
                live = self._snapshots[name].files.get(layout.index_table(name) + file.path)
                if live is not None and name not in self._told:
                    for difference in bound_differences(name, live, bounds):
                        self._found.add(difference)
