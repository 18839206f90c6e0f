"""Objects of another store as the source of an upload: read in blocks as they are sent, and compared on the way.

Whatever the other side checks: a part whose bytes are not those of its receipt fails before its last byte has gone out, so
nothing wrong is ever made an object there.
"""

from typing import Self

from ckpt_archive.digest import crc32c
from ckpt_archive.disk.protocol import FileStat, Kind
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.share import DataObject
from ckpt_archive.store.protocol import Store

# A request each, about a hundredth of a cent per GiB on AWS; eight workers together hold 32 MiB.
BLOCK_BYTES = 4 << 20


class RemoteFile:
    """An object, read as an open file is: by whoever sends a part of it, from the part's first byte to its last.

    Args:
        store: Where it lies.
        key: Its key.
        item: What its receipt says of it.
    """

    def __init__(self, store: Store, key: str, item: DataObject) -> None:
        self._store = store
        self._key = key
        self._item = item
        self._start = 0
        self._block = memoryview(b"")
        self._position = 0
        self._crc = 0

    def stat(self) -> FileStat:
        """See `ReadableFile.stat`."""
        return FileStat(Kind.FILE, self._item.size_bytes, mtime_ns=0, inode=0, link_count=1)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """See `ReadableFile.read_into`.

        Raises:
            IntegrityError: If the object is gone, or the part that ends here has other bytes than its receipt says.
        """
        filled = 0
        while filled < len(buffer) and offset + filled < self._item.size_bytes:
            position = offset + filled
            if not self._start <= position < self._start + len(self._block):
                self._fetch(position)
            piece = self._block[position - self._start :][: len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            self._compare(position, piece)
            filled += len(piece)
        return filled

    def close(self) -> None:
        """See `ReadableFile.close`."""
        self._block = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _compare(self, position: int, piece: memoryview) -> None:
        """Go on with the checksum of the part; who reads it in another order, or begins in its middle, goes without."""
        part_size = self._item.part_size_bytes
        while piece:
            number, inside = divmod(position, part_size)
            taken = piece[: part_size - inside]
            if inside == 0:
                self._crc, self._position = 0, position
            if position == self._position:
                self._crc = crc32c(taken, self._crc)
                self._position += len(taken)
                ends = self._position in ((number + 1) * part_size, self._item.size_bytes)
                if ends and self._crc != self._item.part_crc32c[number]:
                    raise IntegrityError(
                        f"part {number + 1} of {self._key} in {self._store.url} has other bytes than its receipt says",
                        hint="They changed in the store or on the way. Run it again; if it stays so, restore the object "
                        "from a copy.",
                    )
            position += len(taken)
            piece = piece[len(taken) :]

    def _fetch(self, position: int) -> None:
        # Never beyond the part: whoever reads it wants no byte of the next one.
        part_end = (position // self._item.part_size_bytes + 1) * self._item.part_size_bytes
        length = min(BLOCK_BYTES, part_end - position, self._item.size_bytes - position)
        self._block = memoryview(b"")  # or two would be held
        block = bytearray(length)
        view, taken = memoryview(block), 0

        def take(data: memoryview) -> None:
            nonlocal taken
            view[taken : taken + len(data)] = data
            taken += len(data)

        try:
            self._store.fetch(self._key, offset=position, length=length, etag=None, sink=take)
        except NotFoundError as error:
            raise IntegrityError(
                f"{self._key}, which a receipt names, is missing in {self._store.url}",
                hint="Somebody removed it: restore it from a copy of the bucket.",
            ) from error
        self._start, self._block = position, view
