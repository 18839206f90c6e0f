"""Every byte of every object read from the store and compared with what was recorded; nothing is written.

The same ranged reads, part checksums and second try as a restore. What is wrong is returned, not raised: whoever asks wants
all of it. Only a store that does not answer is an error.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ckpt_archive.digest import crc32c_hex, sha256_hex
from ckpt_archive.errors import ColdError, ConflictError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.share import DataObject, FileEntry
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.bandwidth import Limiter, paced
from ckpt_archive.transfer.digesting import Digests
from ckpt_archive.transfer.flow import flow
from ckpt_archive.transfer.settings import TransferSettings

EMPTY_SHA256 = sha256_hex(b"")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file, the object that carries it (None for an empty file), and that object's key."""

    file: FileEntry
    object: DataObject | None
    key: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as recorded.

    Attributes:
        key: The object.
        path: The file, if the finding is about one alone.
        problem: What is wrong, as a clause that continues "the object …" or "the file …".
    """

    key: str
    path: str | None
    problem: str


@dataclass(slots=True)
class _Job:
    key: str
    item: DataObject
    files: list[FileEntry]


def verify_objects(
    store: Store,
    executor: Executor,
    wanted: Sequence[Wanted],
    settings: TransferSettings,
    *,
    progress: Callable[[int], None] | None = None,
    limiter: Limiter | None = None,
) -> list[Finding]:
    """Read all objects that `wanted` names; what is wrong with them and with the files in them.

    Objects are read side by side, each one in order through the store's own buffer.

    Args:
        store: Where the objects are.
        executor: Runs the reads.
        wanted: The files to be checked.
        settings: How many reads are under way at once.
        progress: Told how many bytes were read since the last call.
        limiter: Bandwidth, if limited.

    Returns:
        Findings, ordered by key and path.

    Raises:
        UnavailableError: If the store does not answer.
    """
    findings: list[Finding] = []
    jobs: dict[str, _Job] = {}
    for item in wanted:
        if item.object is not None:
            jobs.setdefault(item.key, _Job(item.key, item.object, [])).files.append(item.file)
            if jobs[item.key].item != item.object:
                findings.append(Finding(item.key, item.file.path, "is recorded in an object with other digests"))
        elif item.file.sha256 != EMPTY_SHA256:
            findings.append(Finding(item.key, item.file.path, "is recorded as empty with the SHA-256 of other bytes"))

    def perform(job: _Job) -> tuple[list[Finding], int]:
        return check_object(store, job.item, job.key, job.files, limiter=limiter), job.item.size_bytes

    for found, size_bytes in flow(executor, deque(jobs.values()), perform, limit=settings.parts_in_flight):
        findings.extend(found)
        if progress is not None:
            progress(size_bytes)
    return sorted(findings, key=lambda finding: (finding.key, finding.path or "", finding.problem))


def check_object(
    store: Store, item: DataObject, key: str, files: Sequence[FileEntry], *, limiter: Limiter | None = None
) -> list[Finding]:
    """Read one object, and compare it and the files in it with what was recorded."""
    try:
        info = store.head(key)
        if info.size_bytes != item.size_bytes:
            return [Finding(key, None, f"has {info.size_bytes} bytes, not the {item.size_bytes} recorded")]
        return _ObjectCheck(store, item, key, files, limiter).run(info.etag)
    except NotFoundError:
        return [Finding(key, None, "is not in the store")]
    except ConflictError:
        return [Finding(key, None, "was replaced by another one while it was read")]
    except ColdError:
        return [Finding(key, None, "lies in a cold storage class and was not read: thaw it first")]


class _ObjectCheck:
    """One object, part after part."""

    def __init__(
        self, store: Store, item: DataObject, key: str, files: Sequence[FileEntry], limiter: Limiter | None
    ) -> None:
        self._store = store
        self._item = item
        self._key = key
        self._limiter = limiter
        self._whole = Digests(item.part_size_bytes)
        # A file that is the whole object has the object's digests: hashing it twice would tell nothing new.
        self._same = [file for file in files if _is_whole(file, item)]
        self._coming = deque(sorted((file for file in files if not _is_whole(file, item)), key=_start))
        self._open: list[tuple[FileEntry, Digests]] = []
        self._findings: list[Finding] = []

    def run(self, etag: str) -> list[Finding]:
        for number, recorded in enumerate(self._item.part_crc32c, start=1):
            part = self._read_part(number, etag)
            found = part.whole.crc32c[-1]
            if found != recorded:
                part = self._read_part(number, etag)
                found = part.whole.crc32c[-1]
            if found != recorded:
                self._report(f"has the CRC32C {crc32c_hex(found)} in part {number}, not {crc32c_hex(recorded)}")
            self._take(part)
        if self._whole.sha256 != self._item.sha256:
            self._report(f"has the SHA-256 {self._whole.sha256}, not {self._item.sha256}")
        return self._findings

    def _read_part(self, number: int, etag: str) -> "_Part":
        offset, length = self._item.part_range(number)
        while self._coming and self._coming[0].offset < offset + length:
            self._open.append((self._coming.popleft(), Digests(self._item.part_size_bytes)))
        # A copy, so that a part that came wrong can be read again.
        part = _Part(offset, self._whole.copy(), [(file, digests.copy()) for file, digests in self._open])
        with paced(self._limiter, length):
            self._store.fetch(self._key, offset=offset, length=length, etag=etag, sink=part.take)
        return part

    def _take(self, part: "_Part") -> None:
        self._whole = part.whole
        self._open = []
        for file, digests in part.files:
            if _end(file) > part.position:
                self._open.append((file, digests))
            elif digests.sha256 != file.sha256:
                problem = f"has the SHA-256 {digests.sha256}, not {file.sha256}"
                self._findings.append(Finding(self._key, file.path, problem))
            elif digests.crc32c != file.crc32c:
                self._findings.append(Finding(self._key, file.path, "is whole, but recorded with other CRC32Cs"))

    def _report(self, problem: str) -> None:
        path = self._same[0].path if len(self._same) == 1 else None
        self._findings.append(Finding(self._key, path, problem))


class _Part:
    """A sink for one part: the object's digests and those of the files that have bytes in it, in order of offset."""

    def __init__(self, offset: int, whole: Digests, files: list[tuple[FileEntry, Digests]]) -> None:
        self.position = offset
        self.whole = whole
        self.files = files
        self._first = 0

    def take(self, data: memoryview) -> None:
        end = self.position + len(data)
        self.whole.update(data)
        while self._first < len(self.files) and _end(self.files[self._first][0]) <= self.position:
            self._first += 1
        for index in range(self._first, len(self.files)):
            file, digests = self.files[index]
            if file.offset >= end:
                break
            digests.update(data[max(0, file.offset - self.position) : max(0, _end(file) - self.position)])
        self.position = end


def _start(file: FileEntry) -> int:
    return file.offset


def _end(file: FileEntry) -> int:
    return file.offset + file.size_bytes


def _is_whole(file: FileEntry, item: DataObject) -> bool:
    return (file.offset, file.size_bytes, file.sha256, file.crc32c) == (
        0,
        item.size_bytes,
        item.sha256,
        item.part_crc32c,
    )
