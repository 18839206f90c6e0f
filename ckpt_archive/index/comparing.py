"""Rows that should be equal: digests of groups of them, and, where these differ, what is wrong with which row."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ckpt_archive.index import arrow
from ckpt_archive.index.schema import LOG_SEQ, TABLES, Table

_MASK = (1 << 64) - 1

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


class Comparing(ABC):
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

    @abstractmethod
    def take(self, table: Table, rows: pa.Table) -> None:
        """Rows of a table."""


class Digests(Comparing):
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


class Gathered(Comparing):
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


def differences(table: Table, expected: Counter[Row], actual: Counter[Row]) -> Iterator[Difference]:
    """What is wrong with which row; a row that is only different is told of once."""
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


def _by_key(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {name: sorted(some, key=str) for name, some in found.items()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
