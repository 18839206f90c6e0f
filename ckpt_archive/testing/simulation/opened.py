"""Files of a simulated disk that are open, and locks on them."""

import errno
from typing import Self

from ckpt_archive.disk.protocol import FileStat, Kind, LockMode
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.inode import Inode, os_error
from ckpt_archive.testing.simulation.platter import ERRNO, Platter, regular
from ckpt_archive.testing.simulation.process import Process, StuckError


class SimFile:
    """An open regular file."""

    __slots__ = ("_disk", "_open", "_path", "_writable")

    def __init__(self, disk: Platter, inode: Inode, path: str, *, writable: bool) -> None:
        self._disk = disk
        self._open: Inode | None = inode
        self._path = path
        self._writable = writable

    def stat(self) -> FileStat:
        """What the open file is now."""
        self._disk.step("disk.stat", self._path)
        return self._inode().stat()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`."""
        fault = self._disk.world.step("disk.read", self._path)
        inode = self._inode()
        if fault is Fault.ROT:
            if inode.data:
                bit = self._disk.world.chance.randrange(len(inode.data) * 8)
                inode.flip(bit | 7 if self._path.endswith(self._disk.text) else bit)
        elif fault is Fault.TRUNCATED:
            if inode.data:
                self._disk.cut(inode)
        elif fault is not None:
            raise os_error(ERRNO[fault], self._path)
        chunk = inode.data[offset : offset + len(buffer)]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`; on a full disk as much as fits, and then raise."""
        disk = self._disk
        fault = disk.world.step("disk.write", self._path)
        inode = self._inode(writing=True)
        length = len(data)
        failure = 0
        if fault is not None:
            length = disk.world.chance.randint(0, length)
            failure = ERRNO[fault]
        allotted = disk.charge(inode, offset, length) if length else 0
        if allotted < length:
            length, failure = allotted, failure or errno.ENOSPC
        if length:
            inode.write(data if length == len(data) else data[:length], offset, disk.clock.now_ns())
        if failure:
            raise os_error(failure, self._path)
        disk.world.done("disk.write", self._path)

    def reserve(self, size_bytes: int) -> None:
        """Make the file at least `size_bytes` long."""
        self._disk.step("disk.reserve", self._path)
        inode = self._inode(writing=True)
        missing = size_bytes - len(inode.data)
        if missing > 0:
            if self._disk.used_bytes + missing > self._disk.total_bytes:
                raise os_error(errno.ENOSPC, self._path)
            self._disk.charge(inode, len(inode.data), missing)
            inode.write(bytes(missing), len(inode.data), self._disk.clock.now_ns())
        self._disk.world.done("disk.reserve", self._path)

    def set_modified(self, mtime_ns: int) -> None:
        """Say when it was last written."""
        self._disk.step("disk.set_modified", self._path)
        self._inode(writing=True).date(mtime_ns)
        self._disk.world.done("disk.set_modified", self._path)

    def sync(self) -> None:
        """Make the content durable."""
        self._disk.sync(self._path, self._inode)

    def close(self) -> None:
        """Release it; what was written may only fail to be kept now."""
        was_open, self._open = self._open, None
        if self._writable and was_open is not None:
            self._disk.step("disk.close", self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _inode(self, *, writing: bool = False) -> Inode:
        if self._open is None or (writing and not self._writable):
            raise os_error(errno.EBADF, self._path)
        return self._open


class SimLock:
    """A lock on a file: taken when the context is entered, unless it was already."""

    __slots__ = ("_locks", "_mode", "_path", "held", "owner")

    def __init__(self, locks: "Locks", path: str, mode: LockMode) -> None:
        self._locks = locks
        self._path = path
        self._mode = mode
        self.held: Inode | None = None
        self.owner: Process | None = None

    def __enter__(self) -> None:
        while self.held is None:
            inode = self._locks.file(self._path)
            while not self.take(inode):
                fiber = self._locks.disk.world.current
                if fiber is None:
                    raise StuckError(f"{self._path} is locked, and nobody else runs who could unlock it")
                inode.waiting.append(fiber)
                self._locks.disk.world.suspend()
            # Whoever finds another file under the name, or none, has met somebody who removed the lock file.
            if not self._locks.names(self._path, inode):
                self.release()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def take(self, inode: Inode) -> bool:
        """Take it if nobody is in the way."""
        if inode.exclusive or (inode.shared and self._mode is LockMode.EXCLUSIVE):
            return False
        if self._mode is LockMode.EXCLUSIVE:
            inode.exclusive = True
        else:
            inode.shared += 1
        self.held = inode
        fiber = self._locks.disk.world.current
        self.owner = fiber.process if fiber is not None else None
        self._locks.held.append(self)
        return True

    def release(self) -> None:
        """Give it up; more than once does no harm."""
        inode, self.held = self.held, None
        if inode is not None:
            if self._mode is LockMode.EXCLUSIVE:
                inode.exclusive = False
            else:
                inode.shared -= 1
            self._locks.held.remove(self)
            self._locks.disk.world.wake(inode.waiting)


class Locks:
    """All locks on one disk.

    Attributes:
        disk: Which.
        held: Those that are held.
    """

    def __init__(self, disk: Platter) -> None:
        self.disk = disk
        self.held: list[SimLock] = []

    def file(self, path: str) -> Inode:
        """The file of a lock, created if missing."""
        self.disk.step("disk.lock", path)
        folder, name = self.disk.folder(path)
        inode = folder.entries.get(name)
        if inode is None:
            folder.check_free(name, path)
            inode = self.disk.new(Kind.FILE)
            folder.give(name, inode, self.disk.clock.now_ns())
        self.disk.world.done("disk.lock", path)
        return regular(inode, path)

    def names(self, path: str, inode: Inode) -> bool:
        """Whether that is still its name."""
        try:
            return self.disk.find(path) is inode
        except FileNotFoundError:
            return False

    def release(self, process: Process | None) -> None:
        """A process has died: its locks are free. None: all are."""
        for lock in [lock for lock in self.held if process is None or lock.owner is process]:
            lock.release()
