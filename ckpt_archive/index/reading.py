"""The Parquet files of a table, read through the archive's own store: only the wanted columns, some rows at a time."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from ckpt_archive import errors
from ckpt_archive.commit import layout
from ckpt_archive.index import arrow
from ckpt_archive.index.schema import MONTH, Table
from ckpt_archive.index.tables import DataFile, OpenTable
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json

# Fetched at once from a file that is read from its beginning to its end; one request of them takes about 10 ms.
_AHEAD_BYTES = 1 << 20
ROWS_AT_ONCE = 65_536


class StoredFile(io.RawIOBase):
    """An object as a file that can be read anywhere.

    Args:
        store: Where.
        key: Of the object.
        size_bytes: Its length.
    """

    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._size_bytes = size_bytes
        self._position = 0
        self._start = 0
        self._ahead = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        rest = self._size_bytes - self._position
        length = rest if size is None or size < 0 else min(size, rest)
        if length <= 0:
            return b""
        skip = self._position - self._start
        if skip < 0 or skip + length > len(self._ahead):
            self._start, skip = self._position, 0
            self._ahead = self._fetch(self._position, min(rest, max(length, _AHEAD_BYTES)))
        self._position += length
        return self._ahead[skip : skip + length]

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read the next bytes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _fetch(self, offset: int, length: int) -> bytes:
        chunks: list[bytes] = []
        self._store.fetch(
            self._key, offset=offset, length=length, etag=None, sink=lambda chunk: chunks.append(bytes(chunk))
        )
        return b"".join(chunks)


def read_file(
    store: Store, table: Table, file: DataFile, names: Sequence[str] | None = None, *, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """The rows of one file, in its order, some at a time.

    Args:
        store: Where the archive is.
        table: Which.
        file: One of its files.
        names: Which columns, in this order; None for all that a file has. One that this file lacks is NULL.
        rows_at_once: At most so many.

    Raises:
        IntegrityError: If it is missing or is no such file.
        UnavailableError: If the store does not answer.
    """
    key = layout.index_table(table.name) + file.path
    wanted = arrow.file_schema(table).names if names is None else list(names)
    source = pa.PythonFile(StoredFile(store, key, file.size_bytes), "r")
    with _failures(key), pq.ParquetFile(source, page_checksum_verification=True) as parquet:
        present = set(parquet.schema_arrow.names)
        columns = [name for name in wanted if name in present]
        for batch in parquet.iter_batches(batch_size=rows_at_once, columns=columns, use_threads=False):
            yield _completed(table, batch, wanted, file.month)


def rows(store: Store, opened: OpenTable, names: Sequence[str]) -> Iterator[tuple[Json, ...]]:
    """These columns of all rows of a table, in no order."""
    for file in opened.files():
        for batch in read_file(store, opened.table, file, names):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _completed(table: Table, batch: pa.RecordBatch, wanted: Sequence[str], month: str) -> pa.RecordBatch:
    arrays = []
    fields = []
    for name in wanted:
        type_ = arrow.TYPES[table.column(name).type]
        fields.append((name, type_))
        if name in batch.schema.names:
            arrays.append(batch.column(name).cast(type_))
        elif name == MONTH:
            arrays.append(pa.repeat(pa.scalar(month or None, type_), batch.num_rows))
        else:
            arrays.append(pa.nulls(batch.num_rows, type_))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


@contextmanager
def _failures(key: str) -> Iterator[None]:
    hint = "The index was changed behind its back: run `ckpt-archive index rebuild`."
    try:
        yield
    except errors.NotFoundError as error:
        raise errors.IntegrityError(f"{key}, a file of the index, is missing", hint=hint) from error
    except errors.IntegrityError as error:
        # The store speaks of objects that receipts name.
        raise errors.IntegrityError(error.message, hint=hint) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise errors.IntegrityError(f"{key}, a file of the index, is damaged: {error}", hint=hint) from error
