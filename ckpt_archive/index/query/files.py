"""The files of the index as DuckDB sees them where it can not open them itself: an fsspec file system over a `Store`.

It knows the files that it was told of and no others, and can only read. Files of an index never change under their name, and
the Delta log tells their sizes: nothing is ever asked but for bytes.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from fsspec import AbstractFileSystem

from ckpt_archive.errors import CkptArchiveError

PROTOCOL = "ckpt-archive"
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


def url_of(key: str) -> str:
    """What DuckDB calls a file."""
    return f"{PROTOCOL}://{key}"


class Ranges(Protocol):
    """Where bytes come from."""

    def read(self, key: str, size_bytes: int, offset: int, length: int) -> bytes:
        """`length` bytes of an object from `offset`, fewer at its end."""
        ...


class IndexFiles(AbstractFileSystem):  # type: ignore[misc]
    """A read-only file system.

    Args:
        ranges: Reads the bytes.

    Attributes:
        failure: What went wrong in reading, if anything: DuckDB makes a text of it.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, ranges: Ranges) -> None:
        super().__init__(skip_instance_cache=True)
        self._ranges = ranges
        self._sizes: dict[str, int] = {}
        self.failure: CkptArchiveError | None = None

    def show(self, sizes: Mapping[str, int]) -> None:
        """Let these files be read: keys with their sizes in bytes."""
        self._sizes.update(sizes)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A range of a file."""
        try:
            return self._ranges.read(key, self._sizes[key], offset, length)
        except CkptArchiveError as error:
            self.failure = self.failure or error
            raise

    def glob(self, path: str, **kwargs: Any) -> list[str]:
        """See `AbstractFileSystem.glob`: no name has a meaning beyond itself."""
        del kwargs
        key = _key(path)
        return [key] if key in self._sizes else []

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """See `AbstractFileSystem.info`."""
        del kwargs
        return {"name": _key(path), "size": self._size(path), "type": "file"}

    def modified(self, path: str) -> datetime:
        """See `AbstractFileSystem.modified`."""
        self._size(path)
        return _EVER

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> "IndexFile":
        """See `AbstractFileSystem.open`. Only for reading."""
        del kwargs
        if mode != "rb":
            raise PermissionError(f"{path} can only be read")
        return IndexFile(self, _key(path), self._size(path))

    def _size(self, path: str) -> int:
        try:
            return self._sizes[_key(path)]
        except KeyError:
            raise FileNotFoundError(path) from None


class IndexFile(io.RawIOBase):
    """An open file: a position in it."""

    def __init__(self, files: IndexFiles, key: str, size_bytes: int) -> None:
        super().__init__()
        self._files = files
        self._key = key
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase.seekable`."""
        return True

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """See `io.RawIOBase.read`."""
        left = max(0, self._size_bytes - self._position)
        length = left if size is None or size < 0 else min(size, left)
        data = self._files.read(self._key, self._position, length)
        self._position += len(data)
        return data


def _key(path: str) -> str:
    return path.removeprefix(f"{PROTOCOL}://")
