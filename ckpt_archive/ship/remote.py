"""Objects of another store as the source of an upload: read in blocks as they are sent, never whole."""

from typing import Self

from ckpt_archive.disk.protocol import FileStat, Kind
from ckpt_archive.store.protocol import Store

# A request each: 8 MiB keep their cost below a thousandth of a cent per GiB, and all workers together below 64 MiB.
BLOCK_BYTES = 8 << 20


class RemoteFile:
    """An object, read as an open file is.

    Args:
        store: Where it lies.
        key: Its key.
        size_bytes: Its length.
    """

    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        self._store = store
        self._key = key
        self._size_bytes = size_bytes
        self._start = 0
        self._block = memoryview(b"")

    def stat(self) -> FileStat:
        """See `ReadableFile.stat`."""
        return FileStat(Kind.FILE, self._size_bytes, mtime_ns=0, inode=0, link_count=1)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """See `ReadableFile.read_into`."""
        filled = 0
        while filled < len(buffer) and offset + filled < self._size_bytes:
            position = offset + filled
            if not self._start <= position < self._start + len(self._block):
                self._fetch(position)
            piece = self._block[position - self._start :][: len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def close(self) -> None:
        """See `ReadableFile.close`."""
        self._block = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _fetch(self, position: int) -> None:
        length = min(BLOCK_BYTES, self._size_bytes - position)
        # One buffer for the life of the file: a part is read in order, block after block.
        block = bytearray(length)
        view, taken = memoryview(block), 0

        def take(data: memoryview) -> None:
            nonlocal taken
            view[taken : taken + len(data)] = data
            taken += len(data)

        self._store.fetch(self._key, offset=position, length=length, etag=None, sink=take)
        self._start, self._block = position, view
