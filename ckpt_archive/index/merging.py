"""Files in the order of their table, merged into one: in memory that does not grow with their rows."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ckpt_archive.index import arrow
from ckpt_archive.index.reading import read_file
from ckpt_archive.index.schema import Table
from ckpt_archive.index.tables import DataFile
from ckpt_archive.store.protocol import Store

# Of all inputs together: some 300 bytes a row in memory.
_ROWS_IN_MEMORY = 400_000
_FEWEST_ROWS = 1_024

Key = tuple[tuple[Any, ...], ...]


def merged_file(store: Store, table: Table, files: Sequence[DataFile]) -> arrow.ParquetFile:
    """One file with the rows of all.

    Raises:
        IntegrityError: If a file is missing or damaged.
        UnavailableError: If the store does not answer.
    """
    rows = sum(file.rows for file in files)
    sink = io.BytesIO()
    bounds = arrow.Bounds(table)
    count = 0
    with arrow.parquet_writer(table, sink, rows) as writer:
        for group in _row_groups(merged(store, table, files)):
            writer.write_table(group, row_group_size=arrow.ROW_GROUP)
            bounds.add(group)
            count += group.num_rows
    return arrow.ParquetFile(sink.getvalue(), count, bounds.stats())


def merged(store: Store, table: Table, files: Sequence[DataFile]) -> Iterator[pa.Table]:
    """The rows of all, in the order of the table, some at a time."""
    at_once = max(_FEWEST_ROWS, _ROWS_IN_MEMORY // max(1, len(files)))
    inputs = [_Input(read_file(store, table, file, rows_at_once=at_once), table) for file in files]
    inputs = [each for each in inputs if each.fill()]
    while inputs:
        # Nothing that is still unread comes before the first of the last rows that are in memory.
        until = min(each.last for each in inputs)
        yield arrow.sort(table, pa.concat_tables([each.take(until) for each in inputs]))
        inputs = [each for each in inputs if each.fill()]


@dataclass(slots=True)
class _Input:
    """One of the files, and the rows of it that are in memory."""

    batches: Iterator[pa.RecordBatch]
    table: Table
    rows: pa.RecordBatch | None = None

    def fill(self) -> bool:
        """Read on if nothing is in memory; False at the end."""
        while self.rows is None or not self.rows.num_rows:
            self.rows = next(self.batches, None)
            if self.rows is None:
                return False
        return True

    @property
    def last(self) -> Key:
        assert self.rows is not None
        return self._key(self.rows.num_rows - 1)

    def take(self, until: Key) -> pa.Table:
        """The rows up to this one."""
        assert self.rows is not None
        low, high = 0, self.rows.num_rows
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) <= until:
                low = middle + 1
            else:
                high = middle
        taken, self.rows = self.rows.slice(0, low), self.rows.slice(low)
        return pa.Table.from_batches([taken])

    def _key(self, index: int) -> Key:
        assert self.rows is not None
        values = (self.rows.column(name)[index].as_py() for name in self.table.sort_by)
        # NULL comes first.
        return tuple(() if value is None else (value,) for value in values)


def _row_groups(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces of the size of a row group."""
    gathered: list[pa.Table] = []
    rows = 0
    for piece in pieces:
        gathered.append(piece)
        rows += piece.num_rows
        while rows >= arrow.ROW_GROUP:
            whole = pa.concat_tables(gathered)
            yield whole.slice(0, arrow.ROW_GROUP)
            rest = whole.slice(arrow.ROW_GROUP)
            gathered, rows = [rest], rest.num_rows
    if rows:
        yield pa.concat_tables(gathered)
