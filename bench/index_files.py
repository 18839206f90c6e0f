"""The files of a made-up index: Parquet and Delta commits of the product, streamed."""

import os
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from ckpt_archive.clock import SystemClock
from ckpt_archive.index import arrow, schema
from ckpt_archive.index.tables import DataFile, open_or_create
from ckpt_archive.store.object_store import Location

CLOCK = SystemClock()


class TableWriter:
    """Writes the files of one table, each up to a size, and commits them."""

    def __init__(self, archive: str, table: schema.Table, most_bytes: int = 128 << 20) -> None:
        self.table, self.most_bytes = table, most_bytes
        self.folder = os.path.join(archive, "index", table.name)
        self.rows = self.bytes = self._number = 0
        os.makedirs(self.folder, exist_ok=True)
        self._schema = arrow.file_schema(table)
        self._opened = open_or_create(Location(f"file://{os.path.abspath(archive)}"), table)

    def write(self, month: str | None, chunks: Iterable[pa.Table], log_seq: int) -> None:
        """Write rows that come in the table's order, and commit them as one append."""
        os.makedirs(os.path.join(self.folder, _folder(month)), exist_ok=True)
        groups = self._groups(chunks)
        made: list[DataFile] = []
        while one := self._file(month, groups):
            made.append(one)
        self._opened.append(made, log_seq, CLOCK.now())

    def _groups(self, chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same rows, cut into row groups."""
        held: list[pa.Table] = []
        for chunk in chunks:
            held.append(chunk.select(self._schema.names))
            waiting = pa.concat_tables(held)
            whole = waiting.num_rows // arrow.ROW_GROUP * arrow.ROW_GROUP
            yield from (waiting.slice(begin, arrow.ROW_GROUP) for begin in range(0, whole, arrow.ROW_GROUP))
            held = [waiting.slice(whole)]
        if held and held[0].num_rows:
            yield held[0]

    def _file(self, month: str | None, groups: Iterator[pa.Table]) -> DataFile | None:
        group = next(groups, None)
        if group is None:
            return None
        self._number += 1
        path = f"{_folder(month)}part-{self._number:05}.parquet"
        bounds, rows = arrow.Bounds(self.table), 0
        with pa.OSFile(os.path.join(self.folder, path), "wb") as sink:
            with arrow.parquet_writer(self.table, sink, arrow.ROW_GROUP) as writer:
                while group is not None:
                    plain = group.cast(self._schema)
                    writer.write_table(plain, row_group_size=arrow.ROW_GROUP)
                    bounds.add(plain)
                    rows += plain.num_rows
                    group = next(groups, None) if sink.tell() < self.most_bytes else None
            size = sink.tell()
        self.bytes += size
        self.rows += rows
        return DataFile(path, size, month or "", rows, bounds.stats())


def _folder(month: str | None) -> str:
    return "" if month is None else f"{schema.MONTH}={month}/"


def by_column(folder: str) -> list[tuple[str, float, str]]:
    """Compressed bytes per row of every column, largest first, with its encodings."""
    total: dict[str, int] = {}
    encodings: dict[str, set[str]] = {}
    rows = bloom = stored = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".parquet") or "_delta_log" in root:
                continue
            metadata = pq.read_metadata(os.path.join(root, name))
            rows += metadata.num_rows
            stored += os.path.getsize(os.path.join(root, name))
            for group in range(metadata.num_row_groups):
                for index in range(metadata.num_columns):
                    column = metadata.row_group(group).column(index)
                    total[column.path_in_schema] = total.get(column.path_in_schema, 0) + column.total_compressed_size
                    encodings.setdefault(column.path_in_schema, set()).update(column.encodings)
                    bloom += column.bloom_filter_length or 0
    rest = stored - bloom - sum(total.values())
    found = [(name, size / rows, "+".join(sorted(encodings[name]))) for name, size in total.items()]
    found += [("(bloom filters)", bloom / rows, ""), ("(footers, indexes)", rest / rows, "")]
    return sorted(found, key=lambda one: -one[1])
