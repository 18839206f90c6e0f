"""Puts a verified tree into place: worked on beside its final name, renamed once, reused when it is already there.

Whoever restores holds a lock on the final name, so that many processes that ask for the same tree fetch it once. A killed
restore leaves a folder ``.NAME.partial-…`` that the next one goes on with; the final name only ever holds a whole tree, so
whether it does is looked up without the lock, by any number of processes side by side.
"""

import errno
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import FileSystem, Kind, LockMode, join, parent, walk
from ckpt_archive.errors import CapacityError, ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.local.faults import may_pass
from ckpt_archive.share import FileEntry

Fill = Callable[[str], None]
"""Makes the folder it is given hold exactly the tree, every byte checked and durable."""

_BUFFER_BYTES = 1 << 20
_TOKEN_DIGITS = 16
_BEGUN = re.compile(rf"\.(.+)\.(?:lock|partial-[0-9a-f]{{{_TOKEN_DIGITS}}})")


class OccupiedError(InvalidInputError):
    """Where a tree is wanted, something else lies: at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"{path} is not empty and is not this checkpoint: {problem}",
            hint="Name a new or empty folder; nothing in this one was touched.",
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Landed:
    """Where a tree is now, and whether it was there before."""

    path: str
    reused: bool


def land(fs: FileSystem, path: str, files: Sequence[FileEntry], token: str, fill: Fill) -> Landed:
    """Make `path` a folder that holds exactly `files`.

    Args:
        fs: Where.
        path: Absolute; is missing, empty, or already holds that tree. Its parent is created if missing.
        files: What the tree is.
        token: Names the work in progress, in at least 16 hexadecimal digits: the same for the same tree, different for
            every other one.
        fill: Does the work, in a folder beside `path` that may hold what an earlier, killed try left.

    Raises:
        OccupiedError: If `path` holds something else.
        InvalidInputError: If `path` is no folder, or a mount point.
        CapacityError: If the disk is full.
        UnavailableError: If the disk does not answer.
        ConflictError: If somebody else's folder stands where the work is to be done.
        IntegrityError, NotFoundError, UnavailableError, ConflictError: From `fill`.
    """
    with _local_errors(path):
        while not _is_there(fs, path, files):
            with _locked(fs, path):
                if not _is_free(fs, path):
                    continue  # somebody else has filled it meanwhile: see with what
                partial = _partial(path, token)
                _tidy(fs, partial)
                fill(partial)
                if durable.exists(fs, path):
                    fs.remove_directory(path)
                durable.move(fs, partial, path)
                return Landed(path, reused=False)
        # Whoever put it there may have died before the name was durable, and left its lock.
        with suppress(PermissionError):  # a folder that may be entered and not be read can not be synced
            fs.sync_directory(parent(path))
            _remove_dead_lock(fs, path)
    return Landed(path, reused=True)


def clear(fs: FileSystem, path: str) -> None:
    """Remove what stands at `path` in a folder of our own, and what killed restores left of it, unless one is at it now.

    Raises:
        OSError: If the disk does not do it.
    """
    held = fs.try_lock(_lock(path), LockMode.EXCLUSIVE)
    if held is None:
        return
    with held:
        durable.remove_tree(fs, path)
        for entry in fs.list(parent(path)):
            begun = _BEGUN.fullmatch(entry.name)
            if begun is not None and begun[1] == path.rpartition("/")[2] and entry.kind is Kind.DIRECTORY:
                durable.remove_tree(fs, join(parent(path), entry.name))
        durable.remove_if_there(fs, _lock(path))


def names_in(fs: FileSystem, folder: str) -> set[str]:
    """The names under which restores were landed in a folder of our own, or begun."""
    try:
        entries = fs.list(folder)
    except FileNotFoundError:
        return set()
    names = set()
    for entry in entries:
        begun = _BEGUN.fullmatch(entry.name)
        if begun is not None:
            names.add(begun[1])
        elif entry.kind is Kind.DIRECTORY and not entry.name.startswith("."):
            names.add(entry.name)
    return names


def _remove_dead_lock(fs: FileSystem, path: str) -> None:
    if durable.exists(fs, _lock(path)):
        held = fs.try_lock(_lock(path), LockMode.EXCLUSIVE)
        if held is not None:
            with held:
                durable.remove_if_there(fs, _lock(path))


def _lock(path: str) -> str:
    return join(parent(path), f".{path.rpartition('/')[2]}.lock")


def _partial(path: str, token: str) -> str:
    return join(parent(path), f".{path.rpartition('/')[2]}.partial-{token[:_TOKEN_DIGITS]}")


def _tidy(fs: FileSystem, partial: str) -> None:
    """Remove what is left of killed restores of other trees under this name, and refuse a folder that is not ours."""
    folder, _, mine = partial.rpartition("/")
    ours = re.compile(re.escape(mine[:-_TOKEN_DIGITS]) + f"[0-9a-f]{{{_TOKEN_DIGITS}}}")
    for entry in fs.list(folder or "/"):
        if not ours.fullmatch(entry.name):
            continue
        path = join(folder, entry.name)
        stat = fs.stat(path)
        if entry.name == mine and (stat.kind is not Kind.DIRECTORY or stat.foreign):
            # In a folder such as /tmp anybody may have put it there, and whoever owns it may change it under our hands.
            raise ConflictError(
                f"{path}, where the restore is to be worked on, is not a folder of this user",
                hint="Remove it, or restore into another folder.",
            )
        if entry.name != mine and stat.kind is Kind.DIRECTORY and not stat.foreign:
            durable.remove_tree(fs, path)


def _is_free(fs: FileSystem, path: str) -> bool:
    try:
        return not fs.list(path)
    except FileNotFoundError:
        return True


def _is_there(fs: FileSystem, path: str, files: Sequence[FileEntry]) -> bool:
    """Whether the tree stands already; refuse anything else but an empty folder."""
    if path.rpartition("/")[2] in ("", ".", ".."):
        raise InvalidInputError(f"{path} can not be replaced by a restored folder", hint="Name a folder below it.")
    try:
        kind = fs.stat(path).kind
    except FileNotFoundError:
        return False
    if kind is not Kind.DIRECTORY:
        raise InvalidInputError(f"{path} is a {kind.value}, not a folder", hint="Name a new folder.")
    if fs.is_mount_point(path):
        raise InvalidInputError(
            f"{path} is a mount point, which can not be replaced by a restored folder",
            hint=f"Restore into a folder below it, such as {join(path, 'restored')}.",
        )
    entries = fs.list(path)
    if not entries:
        return False
    problem = difference(fs, path, files)
    if problem is None:
        return True
    raise OccupiedError(path, problem)


def difference(fs: FileSystem, root: str, files: Sequence[FileEntry]) -> str | None:
    """How the tree below `root` differs from `files`, every byte compared by SHA-256; None if it does not."""
    wanted = {file.path: file for file in files}
    folders = {"/".join(file.path.split("/")[:depth]) for file in files for depth in range(1, file.path.count("/") + 1)}
    found = set()
    for relative, entry in walk(fs, root):
        if entry.kind is Kind.DIRECTORY and relative in folders:
            continue
        if entry.kind is not Kind.FILE or relative not in wanted:
            return f"it has {relative!r}"
        if fs.stat(join(root, relative)).size_bytes != wanted[relative].size_bytes:
            return f"{relative!r} has another size"
        found.add(relative)
    missing = wanted.keys() - found
    if missing:
        return f"{min(missing)!r} is missing"
    for path in sorted(wanted):
        if sha256_of(fs, root, path) != wanted[path].sha256:
            return f"{path!r} has other bytes"
    return None


def sha256_of(fs: FileSystem, root: str, path: str) -> str:
    """SHA-256 of a file, read through one buffer."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with fs.open_beneath(root, path) as file:
        offset = 0
        while read := file.read_into(buffer, offset):
            digest.update(buffer[:read])
            offset += read
    return digest.hexdigest()


@contextmanager
def _locked(fs: FileSystem, path: str) -> Iterator[None]:
    durable.make_directories(fs, parent(path))
    with fs.lock(_lock(path), LockMode.EXCLUSIVE):
        try:
            yield
        finally:
            # Removed while held: whoever waits for it finds that the name is gone and takes a new one.
            durable.remove_if_there(fs, _lock(path))


@contextmanager
def _local_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{path} can not be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CapacityError(what, hint="Make room, then run it again: it goes on where it was.") from error
        if may_pass(error):
            raise UnavailableError(
                what, hint="The disk did not do it: see the kernel's log, then run it again: it goes on where it was."
            ) from error
        raise InvalidInputError(what, hint="Check the path and its permissions, or name another folder.") from error


def damaged(path: str, problem: str) -> IntegrityError:
    """The error for a local file that is not what was sealed."""
    return IntegrityError(
        f"{path} is damaged: {problem}",
        hint="It is not used. Restore the checkpoint from the archive, or an older one with --fallback.",
    )
