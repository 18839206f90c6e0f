"""One pass over a writer's files that yields every digest of its share.

Nothing is kept in memory but one buffer, and no byte is read twice: the SHA-256 and the CRC32Cs of a file, and those of the
packed object it lies in, are computed from the same buffer while it is in the cache.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ckpt_archive.digest import crc32c
from ckpt_archive.disk.protocol import ReadableFile
from ckpt_archive.errors import IntegrityError
from ckpt_archive.share import DataObject, FileEntry, Share
from ckpt_archive.transfer.plan import ObjectPlan
from ckpt_archive.transfer.settings import TransferSettings

OpenFile = Callable[[str], ReadableFile]
"""Opens a file of the share by its path; raises if it is no longer what was sealed."""


class Digests:
    """SHA-256 of bytes given in order, and the CRC32C of each run of `run_size_bytes` of them."""

    def __init__(self, run_size_bytes: int) -> None:
        self._run_size_bytes = run_size_bytes
        self._sha256 = hashlib.sha256()
        self._crcs: list[int] = []
        self._room = 0

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        self._sha256.update(data)
        while len(data):
            if not self._room:
                self._crcs.append(0)
                self._room = self._run_size_bytes
            head = data[: self._room]
            self._crcs[-1] = crc32c(head, self._crcs[-1])
            self._room -= len(head)
            data = data[len(head) :]

    def copy(self) -> "Digests":
        """An independent one that has seen the same bytes."""
        other = Digests(self._run_size_bytes)
        other._sha256 = self._sha256.copy()
        other._crcs = list(self._crcs)
        other._room = self._room
        return other

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._sha256.hexdigest()

    @property
    def crc32c(self) -> tuple[int, ...]:
        """Of each run so far, the last one perhaps not yet full."""
        return tuple(self._crcs)


def digest_share(
    plans: Iterable[ObjectPlan],
    open_file: OpenFile,
    files: Sequence[tuple[str, int]],
    settings: TransferSettings,
    *,
    on_bytes: Callable[[int], None] | None = None,
) -> Share:
    """Read every file once.

    Objects with equal content become one object that several files name, so equal bytes are sent once.

    Args:
        plans: What `plan_objects` made of `files`.
        open_file: Opens one of them.
        files: (path, size in bytes) of all of them, empty ones too.
        settings: The buffer's size.
        on_bytes: Told how many bytes were read since the last call.

    Raises:
        IntegrityError: If a file cannot be read, or is shorter or longer than planned.
    """
    reader = _Reader(open_file, settings.buffer_size_bytes, on_bytes)
    entries = [_empty_entry(reader, path) for path, size in files if size == 0]
    objects: list[DataObject] = []
    index_of: dict[str, int] = {}
    for plan in plans:
        made, found = _digest_object(reader, plan)
        index = index_of.setdefault(made.sha256, len(objects))
        if index == len(objects):
            objects.append(made)
        entries.extend(
            FileEntry(member.path, member.size_bytes, digests.sha256, index, member.offset, digests.crc32c)
            for member, digests in zip(plan.members, found, strict=True)
        )
    return Share(tuple(sorted(entries, key=lambda entry: entry.path)), tuple(objects))


def _empty_entry(reader: "_Reader", path: str) -> FileEntry:
    digests = Digests(1)
    for data in reader.chunks(path, 0):
        digests.update(data)
    return FileEntry(path, 0, digests.sha256, None, 0, ())


def _digest_object(reader: "_Reader", plan: ObjectPlan) -> tuple[DataObject, list[Digests]]:
    single = len(plan.members) == 1
    whole = Digests(plan.part_size_bytes)
    found = []
    for member in plan.members:
        digests = whole if single else Digests(plan.part_size_bytes)
        for data in reader.chunks(member.path, member.size_bytes):
            digests.update(data)
            if not single:
                whole.update(data)
        found.append(digests)
    return DataObject(whole.sha256, plan.size_bytes, plan.part_size_bytes, whole.crc32c), found


class _Reader:
    """Reads files in order through one buffer."""

    def __init__(self, open_file: OpenFile, buffer_size_bytes: int, on_bytes: Callable[[int], None] | None) -> None:
        self._open_file = open_file
        self._buffer = memoryview(bytearray(buffer_size_bytes))
        self._on_bytes = on_bytes

    def chunks(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        """The file's bytes; each view is valid until the next one is asked for."""
        try:
            with self._open_file(path) as file:
                offset = 0
                while offset < size_bytes:
                    wanted = min(len(self._buffer), size_bytes - offset)
                    read = file.read_into(self._buffer[:wanted], offset)
                    if read < wanted:
                        raise _changed(path, f"it has {offset + read} bytes, not the {size_bytes} it was sealed with")
                    yield self._buffer[:wanted]
                    offset += wanted
                    if self._on_bytes is not None:
                        self._on_bytes(wanted)
                if file.read_into(self._buffer[:1], size_bytes):
                    raise _changed(path, f"it is longer than the {size_bytes} bytes it was sealed with")
        except OSError as error:
            raise IntegrityError(
                f"the file {path!r} cannot be read: {error.strerror or error}",
                hint="What was sealed is not whole any more: seal it again.",
            ) from error


def _changed(path: str, problem: str) -> IntegrityError:
    return IntegrityError(
        f"the file {path!r} has changed since it was sealed: {problem}",
        hint="Nothing may write into a sealed checkpoint; write a new one.",
    )
