"""The bytes of one request: regions of open files, or a small record, read when they are sent and never held.

This is the seam behind which the shortest path from disk to socket lives.
"""

import io
from dataclasses import dataclass
from typing import Protocol

from ckpt_archive.digest import crc32c


class Source(Protocol):
    """Something that can be read at any offset, as an open file can."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; fewer bytes than its length only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Region:
    """`length` bytes of `source` from `offset`."""

    source: Source
    offset: int
    length: int


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        chunk = self._view[offset : offset + len(buffer)]
        buffer[: len(chunk)] = chunk
        return len(chunk)


@dataclass(frozen=True, slots=True)
class Body:
    """What a create or a part carries.

    Attributes:
        regions: In order.
        crc32c: Of all the bytes, computed when they were digested, not when they are sent: so a store that checks it
            refuses bytes that changed on disk in between.
    """

    regions: tuple[Region, ...]
    crc32c: int

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """A body of bytes already in memory: a record."""
        return cls((Region(_Bytes(data), 0, len(data)),), crc32c(data))

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return sum(region.length for region in self.regions)

    def read_into(self, buffer: memoryview, position: int) -> int:
        """Fill `buffer` from `position`; the number of bytes read: less than its length only at the end.

        Raises:
            EOFError: A file has become shorter than its region.
        """
        filled = 0
        start = 0
        for region in self.regions:
            if filled == len(buffer):
                break
            skip = position + filled - start
            start += region.length
            if skip >= region.length:
                continue
            wanted = min(len(buffer) - filled, region.length - skip)
            read = region.source.read_into(buffer[filled : filled + wanted], region.offset + skip)
            if read < wanted:
                raise EOFError(
                    f"a file became shorter than the {region.offset + region.length} bytes it was sealed with"
                )
            filled += read
        return filled


class BodyReader(io.RawIOBase):
    """A body as the seekable binary file that HTTP libraries want."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self._body = body
        self._position = 0

    def __len__(self) -> int:
        return self._body.size_bytes

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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._body.size_bytes}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read the next bytes."""
        read = self._body.read_into(memoryview(buffer), self._position)
        self._position += read
        return read
