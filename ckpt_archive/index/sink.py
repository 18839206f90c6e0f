"""Where the rows of several tables gather until they are files: in bounded memory, each file in the order of its table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from ckpt_archive.commit import layout
from ckpt_archive.errors import AlreadyExistsError
from ckpt_archive.index import arrow
from ckpt_archive.index.arrow import Columns
from ckpt_archive.index.schema import TABLES, Table
from ckpt_archive.index.tables import DataFile
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store

FLUSH_BYTES = 24 << 20
"""Of rows in memory; a file of them has about a sixth of it."""

# Rows that are given one by one cost ten times what they cost in columns of their own.
_LOOSE_ROWS = 4_096
_LOOSE_BYTES = 4 << 20
_LONG_TEXT = 256


@dataclass(slots=True)
class _Part:
    """The rows of one table and month."""

    table: Table
    month: str
    loose: Columns
    gathered: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    loose_bytes: int = 0

    def add_row(self, row: Sequence[object]) -> int:
        """A row; how many bytes are more in columns."""
        self.loose.add_row(row)
        # Texts are shared with what they were read from until they stand in columns.
        self.loose_bytes += sum(len(value) for value in row if type(value) is str and len(value) > _LONG_TEXT)
        return self.settle() if len(self.loose) >= _LOOSE_ROWS or self.loose_bytes > _LOOSE_BYTES else 0

    def settle(self) -> int:
        """Put the loose rows to the others; how many bytes that adds."""
        if not len(self.loose):
            return 0
        self.loose_bytes = 0
        return self.add(self.loose.take())

    def add(self, rows: pa.Table) -> int:
        self.gathered.append(rows)
        size: int = rows.nbytes
        self.bytes += size
        return size

    def take(self) -> pa.Table:
        rows = pa.concat_tables(self.gathered).combine_chunks() if len(self.gathered) > 1 else self.gathered[0]
        self.gathered, self.bytes = [], 0
        return in_order(self.table, rows)


class RowSink(Protocol):
    """Takes rows."""

    def wants(self, name: str) -> bool:
        """Whether rows of this table are wanted."""
        ...

    def add_row(self, name: str, month: str, row: Sequence[object]) -> None:
        """A row, in the order of the columns."""
        ...

    def add(self, name: str, month: str, /, **values: object) -> None:
        """A row by the names of its columns; one that is not named is NULL."""
        ...

    def add_table(self, name: str, month: str, rows: pa.Table) -> None:
        """Many rows."""
        ...


class Sink:
    """Takes rows and puts files into the archive.

    Args:
        store: Where the archive is.
        nonce: Names the files.
        names: Of the tables that are wanted; rows of others are dropped.
        flush_bytes: How much may be in memory.
    """

    def __init__(
        self, store: Store, nonce: Callable[[], str], names: Iterable[str], *, flush_bytes: int = FLUSH_BYTES
    ) -> None:
        self._store = store
        self._nonce = nonce
        self._names = frozenset(names)
        self._flush_bytes = flush_bytes
        self._parts: dict[tuple[str, str], _Part] = {}
        self._files: dict[str, list[DataFile]] = {name: [] for name in self._names}
        self._bytes = 0

    @property
    def file_count(self) -> int:
        """How many files there are."""
        return sum(map(len, self._files.values()))

    def wants(self, name: str) -> bool:
        """Whether rows of this table are wanted."""
        return name in self._names

    def add_row(self, name: str, month: str, row: Sequence[object]) -> None:
        """A row, in the order of the columns."""
        if name in self._names:
            self._grown(self._part(name, month).add_row(row))

    def add(self, name: str, month: str, /, **values: object) -> None:
        """A row by the names of its columns; one that is not named is NULL."""
        if name in self._names:
            part = self._part(name, month)
            self._grown(part.add_row(part.loose.row(**values)))

    def add_table(self, name: str, month: str, rows: pa.Table) -> None:
        """Many rows."""
        if name in self._names and rows.num_rows:
            self._grown(self._part(name, month).add(rows))

    def finish(self) -> dict[str, list[DataFile]]:
        """Put what is left into files; all of them, by table."""
        for part in self._parts.values():
            part.settle()
            if part.gathered:
                self._put(part)
        files, self._files = self._files, {name: [] for name in self._names}
        self._parts, self._bytes = {}, 0
        return files

    def _part(self, name: str, month: str) -> _Part:
        table = TABLES[name]
        key = (name, month if table.monthly else "")
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part(table, key[1], Columns(table))
        return part

    def _grown(self, more_bytes: int) -> None:
        self._bytes += more_bytes
        while self._bytes > self._flush_bytes:
            largest = max(self._parts.values(), key=lambda part: part.bytes)
            self._bytes -= largest.bytes
            self._put(largest)

    def _put(self, part: _Part) -> None:
        file = arrow.to_parquet(part.table, part.take())
        self._files[part.table.name].append(put_file(self._store, self._nonce, part.table, part.month, file))
        # Else what is free stays with this process: some 50 MB.
        pa.default_memory_pool().release_unused()


def put_file(store: Store, nonce: Callable[[], str], table: Table, month: str, file: arrow.ParquetFile) -> DataFile:
    """Put a file where its table is, under a name that nobody had; it counts once a commit names it."""
    path = f"month={month}/{nonce()}.parquet" if month else f"{nonce()}.parquet"
    key = layout.index_table(table.name) + path
    try:
        store.create(key, Body.of(file.data))
    except AlreadyExistsError:
        # The answer to our own try was lost: nobody else draws this name.
        if store.head(key).size_bytes != len(file.data):
            raise
    return DataFile(path, len(file.data), month, file.rows, file.stats)


def in_order(table: Table, rows: pa.Table) -> pa.Table:
    """Rows in the order of the table; cheap if they are already."""
    return rows if is_in_order(table, rows) else arrow.sort(table, rows)


def is_in_order(table: Table, rows: pa.Table) -> bool:
    """Whether each row comes after, or is equal to, the one before; False where NULLs are among them."""
    if rows.num_rows < 2:
        return True
    tied: pa.Array | None = None
    for name in table.sort_by:
        column = rows.column(name)
        if column.null_count:
            return False
        values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        before, after = values.slice(0, len(values) - 1), values.slice(1)
        falls = pc.less(after, before)
        if tied is not None:
            falls = pc.and_(falls, tied)
        if pc.any(falls).as_py():
            return False
        equal = pc.equal(after, before)
        tied = equal if tied is None else pc.and_(tied, equal)
        if not pc.any(tied).as_py():
            return True
    return True
