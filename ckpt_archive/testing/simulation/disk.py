"""A disk that forgets, at a power loss, whatever was not made durable, and fails when it is told to."""

import errno
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ckpt_archive.disk.protocol import Entry, FileStat, Kind, LockMode, Space
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.inode import Inode, os_error
from ckpt_archive.testing.simulation.opened import Locks, SimFile, SimLock
from ckpt_archive.testing.simulation.platter import Platter, regular
from ckpt_archive.testing.simulation.process import Process
from ckpt_archive.testing.simulation.world import World


class SimDisk(Platter):
    """See `disk.protocol.FileSystem`; of `Platter` come what may happen to it and what oracles may look at."""

    def __init__(self, world: World, clock: SimClock, *, total_bytes: int = 1 << 40) -> None:
        super().__init__(world, clock, total_bytes=total_bytes)
        self._locks = Locks(self)

    def release(self, process: Process) -> None:
        """A process has died: its locks are free."""
        self._locks.release(process)

    def power_loss(self, chance: random.Random) -> None:
        """Keep what was durable, and any part of what was not."""
        self._locks.release(None)
        super().power_loss(chance)

    def stat(self, path: str) -> FileStat:
        """`lstat`."""
        self.step("disk.stat", path)
        return self.find(path).stat()

    def list(self, path: str) -> list[Entry]:
        """The entries of a directory, sorted by name."""
        self.step("disk.list", path)
        return self.directory(path).list()

    def open(self, path: str) -> SimFile:
        """Open a regular file."""
        self.step("disk.open", path)
        return self._opened(self.find(path), path, writable=False)

    def open_beneath(self, root: str, relative: str) -> SimFile:
        """As `open`, no link below `root` followed."""
        path, components = _beneath(root, relative)
        self.step("disk.open", path)
        folder = self._descend(root, components, path)
        return self._opened(folder.child(components[-1], path), path, writable=False)

    def create(self, path: str) -> SimFile:
        """Create a regular file that was not there."""
        self.step("disk.create", path)
        folder, name = self.folder(path)
        return self._created(folder, name, path)

    def create_beneath(self, root: str, relative: str) -> SimFile:
        """As `create`, making missing folders, no link below `root` followed."""
        path, components = _beneath(root, relative)
        for depth in range(1, len(components)):
            parent = self._descend(root, components[:depth], path)
            if components[depth - 1] not in parent.entries:
                try:
                    self.make_directory(f"{root}/{'/'.join(components[:depth])}")
                except FileExistsError:
                    continue
        self.step("disk.create", path)
        return self._created(self._descend(root, components, path), components[-1], path)

    def reopen_beneath(self, root: str, relative: str) -> SimFile:
        """Open an existing regular file for writing, no link below `root` followed."""
        path, components = _beneath(root, relative)
        self.step("disk.open", path)
        folder = self._descend(root, components, path)
        return self._opened(folder.child(components[-1], path), path, writable=True)

    def make_symlink(self, path: str, target: str) -> None:
        """Create a symbolic link."""
        self.step("disk.make_symlink", path)
        self.plant_symlink(path, target)
        self.world.done("disk.make_symlink", path)

    def read_symlink_beneath(self, root: str, relative: str) -> str:
        """Where a symbolic link leads, no link followed on the way to it."""
        path, components = _beneath(root, relative)
        self.step("disk.read_symlink", path)
        inode = self._descend(root, components, path).child(components[-1], path)
        if inode.kind is not Kind.SYMLINK:
            raise os_error(errno.EINVAL, path)
        return inode.data.decode()

    def make_directory(self, path: str) -> None:
        """Create one directory."""
        self.step("disk.make_directory", path)
        folder, name = self.folder(path)
        folder.check_free(name, path)
        folder.give(name, self.new(Kind.DIRECTORY), self.clock.now_ns())
        self.world.done("disk.make_directory", path)

    def sync_file(self, path: str) -> None:
        """Make the content of a file durable."""
        self.sync(path, lambda: regular(self.find(path), path))

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        self.step("disk.sync_directory", path)
        self.directory(path).pending.clear()
        self.world.done("disk.sync_directory", path)

    def rename(self, old: str, new: str) -> None:
        """Rename; never replaces."""
        self.step("disk.rename", f"{old} -> {new}")
        source, old_name = self.folder(old)
        inode = source.child(old_name, old)
        target, new_name = self.folder(new)
        if inode.kind is Kind.DIRECTORY and f"{new}/".startswith(f"{old}/") and new != old:
            raise os_error(errno.EINVAL, old)
        target.check_free(new_name, new)
        self.move(source, old_name, target, new_name)
        self.world.done("disk.rename", new)

    def replace(self, old: str, new: str) -> None:
        """Rename a file over whatever file stands there."""
        self.step("disk.replace", f"{old} -> {new}")
        source, old_name = self.folder(old)
        inode = source.child(old_name, old)
        target, new_name = self.folder(new)
        there = target.entries.get(new_name)
        if there is None:
            target.check_free(new_name, new)
        elif there.kind is Kind.DIRECTORY and inode.kind is not Kind.DIRECTORY:
            raise os_error(errno.EISDIR, new)
        if there is not inode:
            self.move(source, old_name, target, new_name)
            if there is not None:
                self.forget(there)
        self.world.done("disk.replace", new)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        self.step("disk.link", f"{old} -> {new}")
        inode = self.find(old)
        target, name = self.folder(new)
        target.check_free(name, new)
        if inode.kind is Kind.DIRECTORY:
            raise os_error(errno.EPERM, old)
        target.give(name, inode, self.clock.now_ns())
        self.world.done("disk.link", new)

    def remove(self, path: str) -> None:
        """Remove a file or symbolic link."""
        self.step("disk.remove", path)
        folder, name = self.folder(path)
        inode = folder.child(name, path)
        if inode.kind is Kind.DIRECTORY:
            raise os_error(errno.EISDIR, path)
        folder.give(name, None, self.clock.now_ns())
        self.forget(inode)
        self.world.done("disk.remove", path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        self.step("disk.remove_directory", path)
        folder, name = self.folder(path)
        inode = folder.child(name, path)
        if inode.kind is not Kind.DIRECTORY:
            raise os_error(errno.ENOTDIR, path)
        if inode.entries:
            raise os_error(errno.ENOTEMPTY, path)
        folder.give(name, None, self.clock.now_ns())
        self.world.done("disk.remove_directory", path)

    def lock(self, path: str, mode: LockMode) -> AbstractContextManager[None]:
        """Wait for and take an advisory lock on a file, created if missing."""
        return SimLock(self._locks, path, mode)

    def try_lock(self, path: str, mode: LockMode) -> AbstractContextManager[None] | None:
        """As `lock`, already taken; None when somebody holds it."""
        lock = SimLock(self._locks, path, mode)
        return lock if lock.take(self._locks.file(path)) else None

    def space(self, path: str) -> Space:
        """Room on this disk."""
        self.step("disk.space", path)
        self.find(path)
        return Space(max(0, self.total_bytes - self.used_bytes), self.total_bytes)

    def is_mount_point(self, path: str) -> bool:
        """Only its root is."""
        self.step("disk.mount_kind", path)
        return self.find(path) is self.root

    def mount_kind(self, path: str) -> str:
        """What `kind` says."""
        self.step("disk.mount_kind", path)
        self.find(path)
        return self.kind

    def _opened(self, inode: Inode, path: str, *, writable: bool) -> SimFile:
        return SimFile(self, regular(inode, path), path, writable=writable)

    def _created(self, folder: Inode, name: str, path: str) -> SimFile:
        folder.check_free(name, path)
        inode = self.new(Kind.FILE)
        folder.give(name, inode, self.clock.now_ns())
        self.world.done("disk.create", path)
        return SimFile(self, inode, path, writable=True)

    def _descend(self, root: str, components: Sequence[str], path: str) -> Inode:
        """The directory of the last component, no link followed below `root`."""
        folder = self.directory(root)
        for component in components[:-1]:
            folder = folder.child(component, path)
            if folder.kind is not Kind.DIRECTORY:
                raise os_error(errno.ELOOP if folder.kind is Kind.SYMLINK else errno.ENOTDIR, path)
        return folder


def _beneath(root: str, relative: str) -> tuple[str, Sequence[str]]:
    path = f"{root}/{relative}"
    components = relative.split("/")
    if not {"", ".", ".."}.isdisjoint(components):
        raise os_error(errno.EINVAL, path)
    return path, components
