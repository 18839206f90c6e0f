"""The bytes of a part, from the files they lie in, each opened when it is needed and closed after it."""

import bisect
from collections.abc import Iterator
from contextlib import contextmanager

from ckpt_archive.disk.protocol import ReadableFile
from ckpt_archive.errors import IntegrityError
from ckpt_archive.share import DataObject, FileEntry, Share
from ckpt_archive.store.body import Body, Region
from ckpt_archive.transfer.digesting import OpenFile


class ObjectSource:
    """Makes the parts of one object of a share.

    Args:
        share: The share.
        index: Which of its objects.
        open_file: Opens a file by its path.

    Raises:
        IntegrityError: If the share's files do not cover the object.
    """

    def __init__(self, share: Share, index: int, open_file: OpenFile) -> None:
        self._item = share.objects[index]
        self._open_file = open_file
        self._files = _cover(self._item, [file for file in share.files if file.object_index == index])
        self._offsets = [file.offset for file in self._files]

    def describe(self, number: int) -> str:
        """The files of part `number`, for a message."""
        paths = [file.path for file, _, _ in self._pieces(number)]
        return repr(paths[0]) if len(paths) == 1 else f"{paths[0]!r} to {paths[-1]!r}"

    @contextmanager
    def part(self, number: int) -> Iterator[Body]:
        """Part `number` (from 1) as a body that is good while the context lasts."""
        pieces = self._pieces(number)
        crc = self._item.part_crc32c[number - 1]
        if len(pieces) == 1:
            # The file itself, so that the store can send it by the shortest path.
            file, offset, length = pieces[0]
            with self._open_file(file.path) as source:
                yield Body((Region(source, offset, length),), crc)
            return
        opener = _OneOpenFile(self._open_file)
        try:
            yield Body(tuple(Region(_Member(opener, file.path), at, length) for file, at, length in pieces), crc)
        finally:
            opener.close()

    def _pieces(self, number: int) -> list[tuple[FileEntry, int, int]]:
        """(file, offset in it, length) of each piece of a part."""
        start, length = self._item.part_range(number)
        end = start + length
        pieces = []
        for index in range(bisect.bisect_right(self._offsets, start) - 1, len(self._files)):
            file = self._files[index]
            if file.offset >= end:
                break
            low, high = max(start, file.offset), min(end, file.offset + file.size_bytes)
            pieces.append((file, low - file.offset, high - low))
        return pieces


def _cover(item: DataObject, files: list[FileEntry]) -> list[FileEntry]:
    """Files that lie end to end over the whole object; of several with equal bytes, one."""
    chosen: list[FileEntry] = []
    position = 0
    for file in sorted(files, key=lambda file: (file.offset, -file.size_bytes)):
        if file.offset == position:
            chosen.append(file)
            position += file.size_bytes
    if position != item.size_bytes:
        raise IntegrityError(
            f"no file holds byte {position} of the object {item.sha256}", hint="The share is wrong: digest it again."
        )
    return chosen


class _OneOpenFile:
    """A packed part may touch thousands of files: they are read in order, so one open file is enough."""

    def __init__(self, open_file: OpenFile) -> None:
        self._open_file = open_file
        self._path = ""
        self._file: ReadableFile | None = None

    def read_into(self, path: str, buffer: memoryview, offset: int) -> int:
        if self._file is None or path != self._path:
            self.close()
            self._file = self._open_file(path)
            self._path = path
        return self._file.read_into(buffer, offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Member:
    def __init__(self, opener: _OneOpenFile, path: str) -> None:
        self._opener = opener
        self._path = path

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return self._opener.read_into(self._path, buffer, offset)
