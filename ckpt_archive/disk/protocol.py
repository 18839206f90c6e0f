"""What the rest of the code may ask of a file system.

The real one is `disk.posix`; the simulation has one whose names and data persist separately and out of order until they are
fsynced. Nothing outside an adapter calls `os`, `open` or `fcntl` on checkpoint or archive files. Paths are absolute text.
Failures are plain `OSError`s with their errno; the caller who knows what was being done converts them.
"""

import enum
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self


class Kind(enum.Enum):
    """What a directory entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileStat:
    """What `lstat` or `fstat` says. Sizes in bytes, times in nanoseconds since the epoch.

    `foreign`: it belongs to another user, who may change it at any time.
    """

    kind: Kind
    size_bytes: int
    mtime_ns: int
    inode: int
    link_count: int
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the file system that holds a path, in bytes, as an unprivileged user sees it."""

    free_bytes: int
    total_bytes: int


class LockMode(enum.Enum):
    """Many holders, or one."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class ReadableFile(Protocol):
    """An open regular file; it stays readable although its name is renamed or removed."""

    def stat(self) -> FileStat:
        """What the open file is now."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the number of bytes read, less than its length only at the end of the file."""
        ...

    def close(self) -> None:
        """Release it; more than once does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class WritableFile(ReadableFile, Protocol):
    """An open regular file that may be written at any offset."""

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        ...

    def reserve(self, size_bytes: int) -> None:
        """Make the file `size_bytes` long with its blocks allocated, so that a full disk shows now and not later."""
        ...

    def set_modified(self, mtime_ns: int) -> None:
        """Say when it was last written, as of a copy that is to have the time of what it was copied from."""
        ...

    def sync(self) -> None:
        """Return only when all content is durable. After a failure the content must be given up, never synced again."""
        ...


class FileSystem(Protocol):
    """The verbs."""

    def stat(self, path: str) -> FileStat:
        """`lstat`: symbolic links are not followed. Raises `FileNotFoundError`."""
        ...

    def list(self, path: str) -> list[Entry]:
        """The entries of a directory, sorted by name. Raises `FileNotFoundError`, `NotADirectoryError`."""
        ...

    def open(self, path: str) -> ReadableFile:
        """Open a regular file; a symbolic link as last component, a FIFO or a device is refused (`OSError` ELOOP/EINVAL)."""
        ...

    def open_beneath(self, root: str, relative: str) -> ReadableFile:
        """As `open`, but no component below `root` may be a symbolic link, even if swapped in meanwhile."""
        ...

    def create(self, path: str) -> WritableFile:
        """Create a regular file that was not there (mode as the umask leaves it). Raises `FileExistsError`."""
        ...

    def create_beneath(self, root: str, relative: str) -> WritableFile:
        """As `create`, making missing folders; no component below `root` may be a symbolic link."""
        ...

    def reopen_beneath(self, root: str, relative: str) -> WritableFile:
        """Open an existing regular file for writing without emptying it; links are refused as above."""
        ...

    def make_symlink(self, path: str, target: str) -> None:
        """Create a symbolic link that leads to `target`, whatever is there. Raises `FileExistsError`."""
        ...

    def read_symlink_beneath(self, root: str, relative: str) -> str:
        """Where a symbolic link leads, as it was written; no component on the way to it may be a link.

        Raises `FileNotFoundError`; `OSError` EINVAL if it is no link.
        """
        ...

    def make_directory(self, path: str) -> None:
        """Create one directory. Raises `FileExistsError`, `FileNotFoundError` (parent)."""
        ...

    def sync_file(self, path: str) -> None:
        """Make the content of a file that somebody else wrote durable."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable (names only, not what they refer to)."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file or directory; never replaces. Raises `FileExistsError`."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Rename a file over whatever file stands there: only for derived files that may be rewritten."""
        ...

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; atomic create-only. Raises `FileExistsError`."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file or symbolic link. Raises `FileNotFoundError`."""
        ...

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory. Raises `FileNotFoundError`, `OSError` ENOTEMPTY."""
        ...

    def lock(self, path: str, mode: LockMode) -> AbstractContextManager[None]:
        """Wait for and take an advisory lock on a file, created if missing; held until the context is left or we die."""
        ...

    def try_lock(self, path: str, mode: LockMode) -> AbstractContextManager[None] | None:
        """As `lock`, already taken when this returns; None when somebody holds it."""
        ...

    def space(self, path: str) -> Space:
        """Room on the file system that holds `path`."""
        ...

    def is_mount_point(self, path: str) -> bool:
        """Whether another file system begins at this directory, so that it can not be renamed or removed."""
        ...

    def mount_kind(self, path: str) -> str:
        """The type of that file system: "ext4", "xfs", "tmpfs", "nfs", "lustre", "fuse", … or "unknown"."""
        ...


def walk(fs: FileSystem, root: str) -> Iterator[tuple[str, Entry]]:
    """Every entry below `root`, folders before what they hold, as (path relative to `root`, entry).

    Symbolic links are yielded, never followed.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in fs.list(join(root, folder) if folder else root):
            relative = f"{folder}/{entry.name}" if folder else entry.name
            yield relative, entry
            if entry.kind is Kind.DIRECTORY:
                folders.append(relative)


def join(*components: str) -> str:
    """Components joined by '/'; nothing is normalised."""
    return "/".join(components)


def parent(path: str) -> str:
    """The path without its last component."""
    return path.rpartition("/")[0] or "/"
