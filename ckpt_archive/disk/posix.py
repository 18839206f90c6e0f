"""The file system of this machine (Linux): the only module that calls `os` and `fcntl` on checkpoint and archive files.

Below the root of the `*_beneath` verbs every folder is opened on its own, by descriptor and without following links:
somebody who swaps a folder for a symbolic link meanwhile gets an error out of us, never a file outside.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Self

from ckpt_archive.disk import linux
from ckpt_archive.disk.protocol import Entry, FileStat, Kind, LockMode, Space

_FILE_MODE = 0o666  # what the umask leaves of it, as with any program: archives on shared disks are read by others
# Without O_NONBLOCK, opening a FIFO would wait for its other end before anybody could see what it is.
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class PosixFile:
    """An open regular file. Its verbs may run in several threads at once, `close` only after them.

    Args:
        descriptor: Open; this object closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor, for the kernel's own ways of moving bytes; it stays ours to close."""
        return self._descriptor

    def stat(self) -> FileStat:
        """What the open file is now."""
        return _file_stat(os.fstat(self._descriptor))

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the number of bytes read, less than its length only at the end of the file."""
        filled = 0
        while filled < len(buffer):
            read = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
            if not read:
                break
            filled += read
        return filled

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def reserve(self, size_bytes: int) -> None:
        """Make the file `size_bytes` long with its blocks allocated, so that a full disk shows now and not later."""
        if size_bytes:
            linux.allocate(self._descriptor, size_bytes)

    def set_modified(self, mtime_ns: int) -> None:
        """Say when it was last written."""
        os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))

    def sync(self) -> None:
        """Return only when all content is durable. After a failure the content must be given up, never synced again."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Release it; more than once does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PosixFileSystem:
    """See `disk.protocol.FileSystem`. New directories and files get the mode that the umask leaves."""

    def stat(self, path: str) -> FileStat:
        """`lstat`: symbolic links are not followed."""
        return _file_stat(os.lstat(path))

    def list(self, path: str) -> list[Entry]:
        """The entries of a directory, sorted by name."""
        with os.scandir(path) as entries:
            return sorted((Entry(entry.name, _entry_kind(entry)) for entry in entries), key=lambda entry: entry.name)

    def open(self, path: str) -> PosixFile:
        """Open a regular file; a symbolic link as last component, a FIFO or a device is refused."""
        return _regular(os.open(path, os.O_RDONLY | _OPEN), path)

    def open_beneath(self, root: str, relative: str) -> PosixFile:
        """As `open`, but no component below `root` may be a symbolic link, even if swapped in meanwhile."""
        return _open_beneath(root, relative, os.O_RDONLY | _OPEN)

    def create(self, path: str) -> PosixFile:
        """Create a regular file that was not there (mode as the umask leaves it)."""
        return PosixFile(os.open(path, _CREATE, _FILE_MODE))

    def create_beneath(self, root: str, relative: str) -> PosixFile:
        """As `create`, making missing folders; no component below `root` may be a symbolic link."""
        return _open_beneath(root, relative, _CREATE)

    def reopen_beneath(self, root: str, relative: str) -> PosixFile:
        """Open an existing regular file for writing without emptying it; links are refused as above."""
        return _open_beneath(root, relative, os.O_RDWR | _OPEN)

    def make_symlink(self, path: str, target: str) -> None:
        """Create a symbolic link that leads to `target`, whatever is there."""
        os.symlink(target, path)

    def read_symlink_beneath(self, root: str, relative: str) -> str:
        """Where a symbolic link leads, as it was written; no component on the way to it may be a link."""
        with _folder_beneath(root, relative, make=False) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def make_directory(self, path: str) -> None:
        """Create one directory."""
        os.mkdir(path)

    def sync_file(self, path: str) -> None:
        """Make the content of a file that somebody else wrote durable."""
        with self.open(path) as file:
            file.sync()

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable (names only, not what they refer to)."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Rename a file or directory; never replaces."""
        linux.rename_without_replacing(old, new)

    def replace(self, old: str, new: str) -> None:
        """Rename a file over whatever file stands there: only for derived files that may be rewritten."""
        os.replace(old, new)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; atomic create-only."""
        os.link(old, new, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """Remove a file or symbolic link."""
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    @contextmanager
    def lock(self, path: str, mode: LockMode) -> Iterator[None]:
        """Wait for and take an advisory lock on a file, created if missing; held until the context is left or we die."""
        with _take_lock(path, _FLOCK[mode]):
            yield

    def try_lock(self, path: str, mode: LockMode) -> AbstractContextManager[None] | None:
        """As `lock`, already taken when this returns; None when somebody holds it."""
        try:
            return _take_lock(path, _FLOCK[mode] | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def space(self, path: str) -> Space:
        """Room on the file system that holds `path`."""
        found = os.statvfs(path)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def is_mount_point(self, path: str) -> bool:
        """Whether another file system begins at this directory, so that it can not be renamed or removed."""
        return linux.is_mount_root(path)

    def mount_kind(self, path: str) -> str:
        """The type of that file system: "ext4", "xfs", "tmpfs", "nfs", "lustre", "fuse", … or "unknown"."""
        return linux.file_system_kind(path)


def _file_stat(found: os.stat_result) -> FileStat:
    foreign = found.st_uid != os.geteuid()
    return FileStat(_kind(found.st_mode), found.st_size, found.st_mtime_ns, found.st_ino, found.st_nlink, foreign)


def _kind(mode: int) -> Kind:
    return {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}.get(
        stat.S_IFMT(mode), Kind.OTHER
    )


def _entry_kind(entry: "os.DirEntry[str]") -> Kind:
    if entry.is_symlink():
        return Kind.SYMLINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.DIRECTORY
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _regular(descriptor: int, path: str) -> PosixFile:
    """The open file, closed again with an error unless it is a regular one."""
    file = PosixFile(descriptor)
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def _check_regular(mode: int, path: str) -> None:
    if not stat.S_ISREG(mode):
        raise _error(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, path)


def _open_beneath(root: str, relative: str, flags: int) -> PosixFile:
    """Open `relative` one component at a time, so that every link on the way is met with O_NOFOLLOW."""
    with _folder_beneath(root, relative, make=bool(flags & os.O_CREAT)) as (folder, name):
        descriptor = os.open(name, flags, _FILE_MODE, dir_fd=folder)
    return _regular(descriptor, f"{root}/{relative}")


@contextmanager
def _folder_beneath(root: str, relative: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """The folder that holds the last component, opened with every link on the way refused, and that component."""
    path = f"{root}/{relative}"
    components = relative.split("/")
    if not {"", ".", ".."}.isdisjoint(components):
        raise _error(errno.EINVAL, path)
    # The root itself is the caller's choice and may be a link.
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for component in components[:-1]:
            inner = _open_folder(component, folder, make=make)
            os.close(folder)
            folder = inner
        yield folder, components[-1]
    except OSError as error:
        # The same error, naming the whole path.
        raise _error(error.errno or errno.EIO, path) from error
    finally:
        os.close(folder)


def _open_folder(name: str, folder: int, *, make: bool) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        inner = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        # If somebody else has just made it, or something, that is looked at below like any other.
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        inner = os.open(name, flags, dir_fd=folder)
    # O_PATH opens anything, a link too. Nothing can be reached through what is not a directory.
    mode = os.fstat(inner).st_mode
    if not stat.S_ISDIR(mode):
        os.close(inner)
        raise _error(errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR, name)
    return inner


_FLOCK = {LockMode.SHARED: fcntl.LOCK_SH, LockMode.EXCLUSIVE: fcntl.LOCK_EX}


class _Lock:
    """A lock file that is open, and locked by `flock`: so it also stands between the threads of one process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _LOCKS.add(self)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it up, also in children that are between fork and exec and still share the descriptor."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.close()

    def close(self) -> None:
        """Close it; who shares the descriptor keeps the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        _LOCKS.discard(self)
        os.close(descriptor)


_LOCKS: set[_Lock] = set()


def _leave_locks_to_the_parent() -> None:
    # A data loader's worker, forked from a trainer, would otherwise hold the trainer's locks after its death.
    for lock in tuple(_LOCKS):
        lock.close()


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


def _take_lock(path: str, operation: int) -> _Lock:
    # Whoever finds another file under the name has met somebody who removed the lock file, so somebody gets on.
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, _FILE_MODE)
        lock = _Lock(descriptor)
        try:
            fcntl.flock(descriptor, operation)
            locked = os.fstat(descriptor)
            _check_regular(locked.st_mode, path)
            if _is_named(locked, path):
                return lock
        except BaseException:
            lock.release()
            raise
        lock.release()


def _is_named(locked: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(locked, os.lstat(path))
    except FileNotFoundError:
        return False
