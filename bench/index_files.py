"""The files of a made-up index: Parquet as the product writes it, streamed, and Delta commits of many files at once."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction

from ckpt_archive.index import arrow, schema


@dataclass(frozen=True)
class Written:
    path: str
    size_bytes: int
    stats: str


class TableWriter:
    """Writes the files of one table, each up to a size, and commits them."""

    def __init__(self, archive: str, table: schema.Table, most_bytes: int = 128 << 20) -> None:
        self.table, self.most_bytes = table, most_bytes
        self.folder = os.path.join(archive, "index", table.name)
        self.rows = self.bytes = self._number = 0
        os.makedirs(self.folder, exist_ok=True)
        self._schema = arrow.file_schema(table)
        self._partition = [schema.MONTH] if table.monthly else None
        self._delta = DeltaTable.create(
            self.folder,
            arrow.table_schema(table),
            partition_by=self._partition,
            configuration={schema.VERSION_KEY: str(schema.VERSION)},
            raise_if_key_not_exists=False,
        )

    def write(self, month: str | None, chunks: Iterable[pa.Table], log_seq: int) -> None:
        """Write rows that come in the table's order, and commit them as one append."""
        os.makedirs(os.path.join(self.folder, _folder(month)), exist_ok=True)
        groups = self._groups(chunks)
        made: list[Written] = []
        while one := self._file(_folder(month), groups):
            made.append(one)
        self.commit(month, made, log_seq)

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

    def _file(self, folder: str, groups: Iterator[pa.Table]) -> Written | None:
        group = next(groups, None)
        if group is None:
            return None
        self._number += 1
        path = f"{folder}part-{self._number:05}.parquet"
        bounds = arrow.Bounds(self.table)
        with pa.OSFile(os.path.join(self.folder, path), "wb") as sink:
            with arrow.parquet_writer(self.table, sink, arrow.ROW_GROUP) as writer:
                while group is not None:
                    plain = group.cast(self._schema)
                    writer.write_table(plain, row_group_size=arrow.ROW_GROUP)
                    bounds.add(plain)
                    self.rows += plain.num_rows
                    group = next(groups, None) if sink.tell() < self.most_bytes else None
            size = sink.tell()
        self.bytes += size
        return Written(path, size, bounds.stats())

    def commit(self, month: str | None, made: Iterable[Written], log_seq: int) -> None:
        """Name these files in the log, and say that everything up to this batch is there."""
        partition = {} if month is None else {schema.MONTH: month}
        self._delta.create_write_transaction(
            [AddAction(one.path, one.size_bytes, partition, 0, True, one.stats) for one in made],
            "append",
            self._delta.schema(),
            self._partition,
            commit_properties=CommitProperties(app_transactions=[Transaction(schema.APP, log_seq)]),
        )
        self._delta.update_incremental()


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
