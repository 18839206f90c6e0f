"""Blocks of index files kept in a local folder between processes: bounded, checked, and never needed.

Any number of processes may use one folder. A block appears by renaming and is read with its checksum: what was cut off, has
rotted or is being removed is as good as not there.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress

from ckpt_archive.digest import crc32c
from ckpt_archive.disk.protocol import FileSystem, Kind, join, walk
from ckpt_archive.errors import InvalidInputError

MOST_BYTES = 1 << 30
_CRC_BYTES = 4
_TEMPORARY = ".new"
# After a sweep there is room again for as much as may come until the next one.
_SWEEPS = 8


class DiskShelf:
    """A folder of blocks.

    Args:
        fs: The local file system.
        folder: An absolute path; made if it is not there.
        url: The archive's: others may share the folder.
        nonce: A new text at each call, unique among all who use the folder.
        most_bytes: How much it may hold; the oldest go first.

    Raises:
        InvalidInputError: If the folder can not be made.
    """

    def __init__(
        self, fs: FileSystem, folder: str, url: str, nonce: Callable[[], str], most_bytes: int = MOST_BYTES
    ) -> None:
        self._fs = fs
        self._folder = folder.rstrip("/")
        self._url = url
        self._nonce = nonce
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        # Whoever comes looks at once: of many short-lived processes none may ever put much.
        self._until_sweep_bytes = 0
        try:
            self._make(self._folder)
        except OSError as error:
            raise InvalidInputError(
                f"the cache folder {folder} can not be used: {error.strerror or error}", hint="Name another one."
            ) from error

    def get(self, key: str, size_bytes: int, number: int, length: int) -> bytes | None:
        """See `Shelf.get`."""
        data = bytearray(_CRC_BYTES + length)
        try:
            with self._fs.open(self._path(key, size_bytes, number)) as file:
                read = file.read_into(memoryview(data), 0)
                is_whole = read == len(data) == file.stat().size_bytes
        except OSError:
            return None
        block = bytes(memoryview(data)[_CRC_BYTES:])
        return block if is_whole and int.from_bytes(data[:_CRC_BYTES], "little") == crc32c(block) else None

    def put(self, key: str, size_bytes: int, number: int, data: bytes) -> None:
        """See `Shelf.put`."""
        path = self._path(key, size_bytes, number)
        temporary = join(self._folder, self._nonce() + _TEMPORARY)
        try:
            self._make(path.rpartition("/")[0])
            with self._fs.create(temporary) as file:
                file.write_at(crc32c(data).to_bytes(_CRC_BYTES, "little") + data, 0)
            self._fs.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                self._fs.remove(temporary)
            return
        with self._lock:
            self._until_sweep_bytes -= len(data)
            is_due = self._until_sweep_bytes <= 0
            if is_due:
                self._until_sweep_bytes = self._most_bytes // _SWEEPS
        if is_due:
            self._sweep()

    def _sweep(self) -> None:
        """Remove the oldest files until there is room for what may come before the next sweep."""
        files: list[tuple[int, int, str]] = []
        with suppress(OSError):  # a folder went away
            for relative, entry in walk(self._fs, self._folder):
                path = join(self._folder, relative)
                if entry.kind is Kind.FILE and _is_ours(entry.name):
                    with suppress(OSError):
                        stat = self._fs.stat(path)
                        files.append((stat.mtime_ns, stat.size_bytes, path))
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held <= self._most_bytes - self._most_bytes // _SWEEPS:
                return
            with suppress(OSError):
                self._fs.remove(path)
            held -= size

    def _path(self, key: str, size_bytes: int, number: int) -> str:
        name = hashlib.sha256(f"{self._url}\n{key}\n{size_bytes}\n{number}".encode()).hexdigest()
        return join(self._folder, name[:2], name)

    def _make(self, folder: str) -> None:
        try:
            self._fs.make_directory(folder)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make(folder.rpartition("/")[0] or "/")
            self._make(folder)


def _is_ours(name: str) -> bool:
    """Nobody else's file is removed, whatever folder was named."""
    stem = name.removesuffix(_TEMPORARY)
    return len(stem) in (32, 64) and all(letter in "0123456789abcdef" for letter in stem)
