"""The state of a simulated disk, and what its verbs, open files and locks have in common."""

import errno
import random
from collections.abc import Callable, Iterator

from ckpt_archive.disk.protocol import Kind
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.inode import Inode, below, os_error
from ckpt_archive.testing.simulation.power import lose_power
from ckpt_archive.testing.simulation.world import World

ERRNO = {
    Fault.READ_ERROR: errno.EIO,
    Fault.WRITE_ERROR: errno.EIO,
    Fault.NO_ROOM: errno.ENOSPC,
    Fault.TOO_MANY_FILES: errno.EMFILE,
    Fault.SYNC_FAILED: errno.EIO,
}
_MAX_LINKS_FOLLOWED = 40


class Platter:
    """Inodes and names.

    Args:
        world: Every call passes its `step`.
        clock: Tells when files were written.
        total_bytes: How much content fits.

    Attributes:
        total_bytes: As given; may be changed at any time.
        used_bytes: How much content there is.
        kind: What `mount_kind` says; may be changed.
        text: Endings of the names of text: a bit that rots in it is the highest one of a byte, and so it shows.
    """

    def __init__(self, world: World, clock: SimClock, *, total_bytes: int = 1 << 40) -> None:
        self.world = world
        self.clock = clock
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.kind = "ext4"
        self.text: tuple[str, ...] = ()
        self.root = Inode(1, Kind.DIRECTORY, clock.now_ns())
        self._numbers = 1
        self._has_links = False

    # --- what happens to it --------------------------------------------------------------------------------------------

    def power_loss(self, chance: random.Random) -> None:
        """Keep what was durable, and any part of what was not."""
        lose_power(self.root, chance)
        self.used_bytes = sum(len(inode.data) for inode in {inode: None for _, inode in below(self.root)})

    def rot(self, path: str, bit: int) -> None:
        """Flip one bit of a file, behind everybody's back."""
        self.find(path).flip(bit)

    def plant_symlink(self, path: str, target: str) -> None:
        """Put a symbolic link there, as an attacker would; its target persists with its name."""
        folder, name = self.folder(path)
        folder.check_free(name, path)
        link = self.new(Kind.SYMLINK)
        link.data += target.encode()
        folder.give(name, link, self.clock.now_ns())
        self._has_links = True

    def peek(self, path: str) -> bytes | None:
        """The content of a file, or None: for oracles, not a step of anybody."""
        try:
            inode = self.find(path)
        except OSError:
            return None
        return bytes(inode.data) if inode.kind is Kind.FILE else None

    def tree(self, path: str = "/") -> Iterator[tuple[str, Inode]]:
        """Everything below a directory, as (absolute path, inode): for oracles; nothing if it is not there."""
        try:
            folder = self.find(path)
        except OSError:
            return
        yield from below(folder, path.rstrip("/"))

    # --- names ---------------------------------------------------------------------------------------------------------

    def find(self, path: str, *, follow: bool = False) -> Inode:
        """What a path stands for; a link as last component only with `follow`. Not a step of anybody."""
        if not self._has_links:
            inode = self.root
            try:
                for component in path.split("/"):
                    if component:
                        inode = inode.entries[component]
            except KeyError:
                # Which error that is, is told below.
                pass
            else:
                return inode
        return self._find_slowly(path, follow=follow)

    def _find_slowly(self, path: str, *, follow: bool) -> Inode:
        inode = self.root
        for component in path.split("/"):
            if component:
                inode = inode.child(component, path)
                if self._has_links and inode.kind is Kind.SYMLINK:
                    return self._find_through_links(path, follow=follow)
        return inode

    def _find_through_links(self, path: str, *, follow: bool) -> Inode:
        rest = [component for component in path.split("/") if component]
        way: list[str] = []
        inode = self.root
        followed = 0
        while rest:
            component = rest.pop(0)
            inode = inode.child(component, path)
            way.append(component)
            if inode.kind is Kind.SYMLINK and (rest or follow):
                followed += 1
                if followed > _MAX_LINKS_FOLLOWED:
                    raise os_error(errno.ELOOP, path)
                target = inode.data.decode()
                head = [] if target.startswith("/") else way[:-1]
                rest = [*head, *(name for name in target.split("/") if name), *rest]
                way, inode = [], self.root
        return inode

    def folder(self, path: str) -> tuple[Inode, str]:
        """What should be the directory that holds the last component, and that component."""
        head, _, name = path.rpartition("/")
        return self.find(head, follow=True), name

    def directory(self, path: str) -> Inode:
        """A directory, or `NotADirectoryError`."""
        inode = self.find(path, follow=True)
        if inode.kind is not Kind.DIRECTORY:
            raise os_error(errno.ENOTDIR, path)
        return inode

    def new(self, kind: Kind) -> Inode:
        """An inode without a name yet."""
        self._numbers += 1
        return Inode(self._numbers, kind, self.clock.now_ns())

    def move(self, source: Inode, old_name: str, target: Inode, new_name: str) -> None:
        """Let what stands under one name stand under another."""
        inode = source.entries[old_name]
        now_ns = self.clock.now_ns()
        target.give(new_name, inode, now_ns)
        source.give(old_name, None, now_ns)

    def forget(self, inode: Inode) -> None:
        """It lost a name: if that was the last, its room is free."""
        if not inode.link_count:
            self.used_bytes -= len(inode.data)

    # --- content -------------------------------------------------------------------------------------------------------

    def step(self, kind: str, path: str) -> None:
        """A call is about to have its effect, or to fail without one."""
        fault = self.world.step(kind, path)
        if fault is not None:
            raise os_error(ERRNO[fault], path)

    def charge(self, inode: Inode, offset: int, length: int) -> int:
        """Allot room for a write; how many of its bytes fit."""
        growth = offset + length - len(inode.data)
        if growth <= 0 or not inode.link_count:
            return length
        lacking = max(0, self.used_bytes + growth - self.total_bytes)
        if lacking >= length:
            return 0
        self.used_bytes += max(0, growth - lacking)
        return length - lacking

    def cut(self, inode: Inode) -> None:
        """Let a file lose its end, at least half of it, behind everybody's back."""
        lost = len(inode.data) - self.world.chance.randrange((len(inode.data) + 1) // 2)
        self.used_bytes -= lost if inode.link_count else 0
        inode.cut(lost)

    def sync(self, path: str, find: Callable[[], Inode]) -> None:
        """Make a file's content durable; a failure means that it never will be, whatever a second try says."""
        fault = self.world.step("disk.sync", path)
        inode = find()
        if fault is not None:
            if inode.base is not None:
                inode.doomed = True
                # Some file systems go on showing the pages they could not write, others drop them.
                if len(inode.base) == len(inode.data) and self.world.chance.random() < 0.5:
                    inode.data[:] = inode.base
            raise os_error(ERRNO[fault], path)
        inode.sync()
        self.world.done("disk.sync", path)


def regular(inode: Inode, path: str) -> Inode:
    """A regular file, or an `OSError`."""
    if inode.kind is not Kind.FILE:
        number = {Kind.DIRECTORY: errno.EISDIR, Kind.SYMLINK: errno.ELOOP}.get(inode.kind, errno.EINVAL)
        raise os_error(number, path)
    return inode
