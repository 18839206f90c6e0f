"""Proves that the index is what the log and its records say: both ways, every difference named.

The rows of the batches are made anew, by the strict decoders instead of the fast ones, and held against the rows that the
tables have of these batches. First by digests of groups, so that memory does not depend on how many rows there are; then,
where a group differs, row by row.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ckpt_archive.commit import layout
from ckpt_archive.index import arrow
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.loading import load_state
from ckpt_archive.index.projection import Projection, Reading, batches
from ckpt_archive.index.reading import read_file
from ckpt_archive.index.schema import CHECKPOINTS, LOG_SEQ, TABLES, Table
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
_MASK = (1 << 64) - 1

_ON_ITS_WAY = timedelta(hours=2)
_UNLOGGED = "it is in the archive, and the log does not know of it: run `ckpt-archive index reconcile`"

# What makes a row the one that another should be equal to.
_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("run", "attempt", "step"),
    "files": ("run", "attempt", "step", "rank", "path"),
    "metrics": ("run", "attempt", "step", "name"),
    "runs": ("run",),
    "launches": ("run", "attempt"),
    "run_sources": ("run", "attempt", "uri", "version", "digest", "declared_by"),
    "lineage": ("child", "parent", "relation"),
    "lineage_closure": ("descendant", "ancestor", "depth"),
    "tensor_layouts": ("layout_sha256", "name"),
    "events": ("event_id", "kind", "run", "attempt", "step"),
    "signers": ("key_id", "state"),
    "sync_log": (LOG_SEQ,),
}

Group = tuple[str, int]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which the index is not what it should be.

    Attributes:
        kind: `missing` in the index, `surplus` in it, `different`, `unlogged` or `behind`.
        table: Which table.
        key: Which row, for people.
        what: What is wrong.
    """

    kind: str
    table: str
    key: str
    what: str


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
    others = random.Random(seed).sample(range(1, number), sample - 1)  # noqa: S311 (nothing secret)
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
        self._logged = DigestSet()
        self.rows: Mapping[str, int] = dict.fromkeys(TABLES, 0)

    def compare(self, numbers: Sequence[int], *, has_all: bool) -> None:
        """Compare the rows of these batches; if these are all, nothing that the index says is believed."""
        expected, actual = _Digests(), _Digests()
        self._replay(numbers, expected, has_all=has_all)
        self._read(numbers, actual)
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
        expected, actual = _Gathered(wrong), _Gathered(wrong)
        self._replay(range(1, numbers[-1] + 1) if has_all else numbers, expected, has_all=has_all)
        self._read(numbers, actual)
        for name, table in TABLES.items():
            for difference in _differences(table, expected.rows[name], actual.rows[name]):
                self._found.add(difference)

    def _replay(self, numbers: Sequence[int], sink: "_Comparing", *, has_all: bool) -> None:
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

    def _read(self, numbers: Sequence[int], sink: "_Comparing") -> None:
        wanted = pa.array(sorted(numbers), pa.int64())
        for name, files in self._files.items():
            table = self._tables[name].table
            for file in files:
                for batch in read_file(self._store, table, file):
                    rows = pa.Table.from_batches([batch])
                    sink.add_table(name, file.month, rows.filter(pc.is_in(rows.column(LOG_SEQ), wanted)))


class _Comparing:
    """Takes rows as a sink does, and gives them on as values that can be compared."""

    def __init__(self) -> None:
        self._loose = {name: arrow.Columns(table) for name, table in TABLES.items()}

    def wants(self, name: str) -> bool:
        """All of them."""
        return name in TABLES

    def add_row(self, name: str, month: str, row: Sequence[object]) -> None:
        """See `Sink.add_row`."""
        del month
        self._loose[name].add_row(row)

    def add(self, name: str, month: str, /, **values: object) -> None:
        """See `Sink.add`."""
        del month
        self._loose[name].add(**values)

    def add_table(self, name: str, month: str, rows: pa.Table) -> None:
        """See `Sink.add_table`."""
        del month
        self.take(TABLES[name], rows)

    def settle(self) -> None:
        """What was added row by row is complete."""
        for name, columns in self._loose.items():
            if len(columns):
                self.take(TABLES[name], columns.take())

    def take(self, table: Table, rows: pa.Table) -> None:
        """Rows of a table."""
        raise NotImplementedError


class _Digests(_Comparing):
    """Of each group how many rows it has, and a sum of their digests: equal for equal rows in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[Group, tuple[int, int]] = {}
        self.rows = dict.fromkeys(TABLES, 0)

    def take(self, table: Table, rows: pa.Table) -> None:
        """Rows of a table."""
        self.rows[table.name] += rows.num_rows
        groups = self.groups
        for group, row in _values(table, rows):
            count, total = groups.get(group, (0, 0))
            groups[group] = (count + 1, (total + hash(row)) & _MASK)


class _Gathered(_Comparing):
    """The rows of some groups."""

    def __init__(self, groups: set[Group]) -> None:
        super().__init__()
        self._groups = groups
        self.rows: dict[str, Counter[Row]] = {name: Counter() for name in TABLES}

    def take(self, table: Table, rows: pa.Table) -> None:
        """Rows of a table."""
        found = self.rows[table.name]
        for group, row in _values(table, rows):
            if group in self._groups:
                found[row] += 1


def _values(table: Table, rows: pa.Table) -> Iterator[tuple[Group, Row]]:
    """Each row with its group; times as integers and numbers as their bits, so that NaN equals itself."""
    names = arrow.file_schema(table).names
    columns = [_comparable(rows.column(name)).to_pylist() for name in names]
    number, name = names.index(LOG_SEQ), table.name
    for row in zip(*columns, strict=True):
        yield (name, row[number]), row


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
    return column


def _differences(table: Table, expected: Counter[Row], actual: Counter[Row]) -> Iterator[Difference]:
    names = arrow.file_schema(table).names
    identity = [names.index(name) for name in _IDENTITY[table.name]]

    def key(row: Row) -> str:
        return " ".join(str(row[index]) for index in identity if row[index] is not None)

    missing = _by_key((expected - actual).elements(), key)
    surplus = _by_key((actual - expected).elements(), key)
    for name in sorted(missing.keys() | surplus.keys()):
        wanted, there = missing.get(name, []), surplus.get(name, [])
        for should, row in zip(wanted, there, strict=False):
            said = "; ".join(
                f"{column} is {_shown(is_now)} and should be {_shown(should_be)}"
                for column, is_now, should_be in zip(names, row, should, strict=True)
                if is_now != should_be
            )
            yield Difference("different", table.name, name, said)
        for row in wanted[len(there) :]:
            yield Difference(
                "missing",
                table.name,
                name,
                f"batch {row[names.index(LOG_SEQ)]} of the log tells of it, and the index does not",
            )
        for row in there[len(wanted) :]:
            what = "is there once too often" if row in expected else "comes from no record of the log"
            yield Difference("surplus", table.name, name, f"its row of batch {row[names.index(LOG_SEQ)]} {what}")


def _by_key(rows: Iterable[Row], key: Any) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {name: sorted(some, key=str) for name, some in found.items()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
