"""Where downloaded bytes land: the files of a private folder, in runs of one part each, and the ranges that fetch them.

A run is as much of a file as one CRC32C covers. A range is what one GET fetches: runs that lie end to end in their object.
"""

import errno
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from ckpt_archive import errors
from ckpt_archive.digest import crc32c, crc32c_hex
from ckpt_archive.disk.protocol import FileSystem, WritableFile, join
from ckpt_archive.local.faults import may_pass
from ckpt_archive.transfer.verify import Wanted

# A range may hold thousands of small files; more would not make a request cheaper.
MAX_RUNS_PER_RANGE = 10_000


@dataclass(eq=False, slots=True)
class Target:
    """A file on its way, and how far it has come. Changed in one thread only.

    Attributes:
        wanted: What it is to become.
        exists: Whether a file of that name and size is there.
        good: For each run, whether its bytes are on disk and right.
        hashed_runs: How many runs from the beginning the SHA-256 covers.
        hashing: Whether a worker is extending the SHA-256 now.
        done: Whether all of it is right and durable.
    """

    wanted: Wanted
    exists: bool = False
    good: list[bool] = field(default_factory=list)
    hashed_runs: int = 0
    hashing: bool = False
    done: bool = False
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.good = [False] * len(self.wanted.file.crc32c)

    @property
    def path(self) -> str:
        """Relative to the folder."""
        return self.wanted.file.path

    def runs(self) -> "list[Run]":
        """All of its runs, in order."""
        item = self.wanted.object
        if item is None:
            return []
        size = self.wanted.file.size_bytes
        return [
            Run(
                self,
                index,
                index * item.part_size_bytes,
                min(item.part_size_bytes, size - index * item.part_size_bytes),
            )
            for index in range(len(self.good))
        ]

    def prefix_runs(self) -> int:
        """How many runs from the beginning are good."""
        return self.good.index(False) if False in self.good else len(self.good)

    def check_sha256(self, found: str) -> None:
        """Raise `IntegrityError` unless `found` is the file's SHA-256."""
        file = self.wanted.file
        if found != file.sha256:
            raise errors.IntegrityError(
                f"{self.path!r}, fetched from {self.wanted.key}, has the SHA-256 {found}, not {file.sha256}",
                hint="The object in the store is not what was archived: restore another checkpoint, and have this one "
                "verified.",
            )


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """`length` bytes of a target from `offset`: what one CRC32C covers."""

    target: Target
    index: int
    offset: int
    length: int

    @property
    def object_offset(self) -> int:
        """Where it begins in the object."""
        return self.target.wanted.file.offset + self.offset

    @property
    def crc32c(self) -> int:
        """What its bytes must have."""
        return self.target.wanted.file.crc32c[self.index]


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """Runs that lie end to end in one object."""

    key: str
    runs: tuple[Run, ...]

    @property
    def offset(self) -> int:
        """In the object."""
        return self.runs[0].object_offset

    @property
    def length(self) -> int:
        """In bytes."""
        return sum(run.length for run in self.runs)


def plan_ranges(runs: Iterable[Run]) -> list[Range]:
    """Join runs into as few ranges as can be, each in one object and no longer than one of its parts."""
    ranges: list[Range] = []
    current: list[Run] = []
    length = 0
    for run in sorted(runs, key=lambda run: (run.target.wanted.key, run.object_offset)):
        if current and not (_adjoins(current[-1], run, length) and len(current) < MAX_RUNS_PER_RANGE):
            ranges.append(Range(current[0].target.wanted.key, tuple(current)))
            current, length = [], 0
        current.append(run)
        length += run.length
    if current:
        ranges.append(Range(current[0].target.wanted.key, tuple(current)))
    return ranges


def _adjoins(last: Run, run: Run, length: int) -> bool:
    item = run.target.wanted.object
    return (
        item is not None
        and last.target.wanted.key == run.target.wanted.key
        and last.object_offset + last.length == run.object_offset
        and length + run.length <= item.part_size_bytes
    )


class RangeWriter:
    """A sink that writes the runs of a range to their files and checks them as they pass.

    A file all of whose runs pass here, right, is checked against its SHA-256 and made durable; its target is then in `done`.

    Args:
        fs: Where to.
        root: The folder.
        runs: In the order in which their bytes arrive.
        again: Whether these runs were written before, so that their files are there.
    """

    def __init__(self, fs: FileSystem, root: str, runs: tuple[Run, ...], *, again: bool = False) -> None:
        self._fs = fs
        self._root = root
        self._runs = runs
        self._again = again
        self._index = 0
        self._position = 0
        self._crc = 0
        self._sha256 = hashlib.sha256()
        self._good_in_file = 0
        # A file that comes in several ranges is hashed by `extend_sha256`, in order; here it would be for nothing.
        passing = Counter(run.target for run in runs)
        self._whole = {target for target, count in passing.items() if count == len(target.good)}
        self._file: WritableFile | None = None
        self.bad: list[tuple[Run, int]] = []
        self.done: set[Target] = set()

    def take(self, data: memoryview) -> None:
        """Take the next bytes of the range."""
        while len(data):
            run = self._runs[self._index]
            head = data[: run.length - self._position]
            with local_errors(self._root, run.target.path):
                self._open(run.target).write_at(head, run.offset + self._position)
            self._crc = crc32c(head, self._crc)
            if run.target in self._whole:
                self._sha256.update(head)
            self._position += len(head)
            data = data[len(head) :]
            if self._position == run.length:
                self._end_run(run)

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, target: Target) -> WritableFile:
        if self._file is None:
            if target.exists or self._again:
                self._file = self._fs.reopen_beneath(self._root, target.path)
            else:
                self._file = self._fs.create_beneath(self._root, target.path)
            self._sha256 = hashlib.sha256()
            self._good_in_file = 0
        return self._file

    def _end_run(self, run: Run) -> None:
        if self._crc == run.crc32c:
            self._good_in_file += 1
        else:
            self.bad.append((run, self._crc))
        self._index += 1
        self._position = self._crc = 0
        if self._index == len(self._runs) or self._runs[self._index].target is not run.target:
            self._end_file(run.target)

    def _end_file(self, target: Target) -> None:
        assert self._file is not None
        if self._good_in_file == len(target.good):
            target.check_sha256(self._sha256.hexdigest())
            with local_errors(self._root, target.path):
                _sync(self._fs, self._root, target.path, self._file)
            self.done.add(target)
        self.close()


def check_existing(fs: FileSystem, root: str, target: Target, buffer_size_bytes: int) -> tuple[list[bool], bool]:
    """Which runs of a file that an earlier download left are right; and whether all of it is, and is now durable.

    Blocks that were reserved and never written read as zeros, and a crash may have torn anything: only digests count.
    """
    whole = hashlib.sha256()
    good = []
    with local_errors(root, target.path), fs.reopen_beneath(root, target.path) as file:
        for run in target.runs():
            crc = 0
            for data in read_range(file, run.offset, run.length, buffer_size_bytes):
                crc = crc32c(data, crc)
                whole.update(data)
            good.append(crc == run.crc32c)
        if all(good) and whole.hexdigest() == target.wanted.file.sha256:
            _sync(fs, root, target.path, file)
            return good, True
    # CRCs that all fit over another SHA-256 tell nothing about where the wrong bytes are.
    return ([False] * len(good) if all(good) else good), False


def extend_sha256(fs: FileSystem, root: str, target: Target, until_run: int, buffer_size_bytes: int) -> bool:
    """Take the runs up to `until_run` into the target's SHA-256; whether that was all of them, right and now durable.

    Raises:
        IntegrityError: If the whole file does not have its SHA-256.
    """
    runs = target.runs()[target.hashed_runs : until_run]
    with local_errors(root, target.path), fs.reopen_beneath(root, target.path) as file:
        for run in runs:
            for data in read_range(file, run.offset, run.length, buffer_size_bytes):
                target.sha256.update(data)
        if until_run < len(target.good):
            return False
        target.check_sha256(target.sha256.hexdigest())
        _sync(fs, root, target.path, file)
    return True


def make_file(fs: FileSystem, root: str, target: Target) -> None:
    """Create the file with all its blocks reserved; an empty one is made durable at once."""
    with local_errors(root, target.path), fs.create_beneath(root, target.path) as file:
        if target.wanted.object is None:
            _sync(fs, root, target.path, file)
        else:
            file.reserve(target.wanted.file.size_bytes)


def _sync(fs: FileSystem, root: str, path: str, file: WritableFile) -> None:
    """Make the file durable, or remove it.

    After an fsync that failed the right bytes may be in memory alone, and the next fsync says yes: whoever goes on from here
    would read them, find them right, and keep a file that is not on the disk.
    """
    try:
        file.sync()
    except OSError:
        # If the disk does not do that either, the error to tell is still the first one.
        with suppress(OSError):
            fs.remove(join(root, path))
        raise


def read_range(file: WritableFile, offset: int, length: int, buffer_size_bytes: int) -> Iterator[memoryview]:
    """The bytes of a range through one buffer; fewer if the file is shorter."""
    buffer = memoryview(bytearray(min(buffer_size_bytes, length)))
    end = offset + length
    while offset < end:
        read = file.read_into(buffer[: end - offset], offset)
        if not read:
            return
        yield buffer[:read]
        offset += read


def wrong_twice(run: Run, found: int) -> errors.IntegrityError:
    """The error for a run whose bytes came wrong, and wrong again."""
    wanted = run.target.wanted
    return errors.IntegrityError(
        f"part {run.index + 1} of {run.target.path!r} came wrong twice from {wanted.key}: its CRC32C is "
        f"{crc32c_hex(found)}, not {crc32c_hex(run.crc32c)}",
        hint="The object in the store is damaged: restore another checkpoint, and have this one verified.",
    )


@contextmanager
def local_errors(root: str, path: str) -> Iterator[None]:
    """Convert `OSError`s of the local disk, so that no store adapter takes them for its own network's."""
    try:
        yield
    except OSError as error:
        what = f"{path!r} can not be written beneath {root}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise errors.CapacityError(what, hint="Make room, then run it again: it goes on where it was.") from error
        if error.errno in (errno.ELOOP, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT):
            hint = "Somebody else works in this folder: leave it to this restore, then run it again."
            raise errors.ConflictError(what, hint=hint) from error
        if may_pass(error):
            hint = "The disk did not do it: see the kernel's log, then run it again: it goes on where it was."
            raise errors.UnavailableError(what, hint=hint) from error
        raise errors.InvalidInputError(what, hint="Mend that, or restore to another folder.") from error
