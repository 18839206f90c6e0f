"""What a simulated disk is made of: files and directories, each with what it is now and what would survive a power loss.

Nothing is copied per I/O. A file keeps its last durable content only from the first write after an fsync to the next fsync;
a directory keeps, per name that changed since its last fsync, everything that name has stood for.
"""

import errno
import os
from collections.abc import Iterator

from ckpt_archive.disk.protocol import Entry, FileStat, Kind
from ckpt_archive.testing.simulation.process import Fiber

_LONGEST_NAME_BYTES = 255


def os_error(number: int, path: str) -> OSError:
    """The error that the system call would have raised."""
    return OSError(number, os.strerror(number), path)


class Inode:
    """A file, directory or symbolic link.

    Attributes:
        number: Never used again.
        kind: What it is.
        mtime_ns: When its content was last changed.
        link_count: How many names it has.
        data: A file's content now, or a link's target.
        base: Its durable content if that may differ from `data`, else None.
        doomed: Whether an fsync failed: nothing written to it will ever be durable.
        rotted: Whether a bit of it has rotted at some time.
        entries: A directory's names now.
        pending: Per name that changed since the directory's last fsync: all it stood for, the durable one first.
        waiting: Fibers that wait for a lock on it.
        shared: How many hold a shared lock on it.
        exclusive: Whether somebody holds the exclusive one.
    """

    __slots__ = (
        "base",
        "data",
        "doomed",
        "entries",
        "exclusive",
        "kind",
        "link_count",
        "listing",
        "mtime_ns",
        "number",
        "pending",
        "rotted",
        "shared",
        "shown",
        "waiting",
    )

    def __init__(self, number: int, kind: Kind, mtime_ns: int) -> None:
        self.number = number
        self.kind = kind
        self.mtime_ns = mtime_ns
        self.link_count = 0
        self.data = bytearray()
        self.base: bytes | None = None
        self.doomed = False
        self.rotted = False
        self.entries: dict[str, Inode] = {}
        self.pending: dict[str, list[Inode | None]] = {}
        self.waiting: list[Fiber] = []
        self.shared = 0
        self.exclusive = False
        self.shown: FileStat | None = None
        self.listing: list[Entry] | None = None

    def stat(self) -> FileStat:
        """What it is now."""
        if self.shown is None:
            self.shown = FileStat(self.kind, len(self.data), self.mtime_ns, self.number, self.link_count)
        return self.shown

    # --- content -------------------------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview, offset: int, now_ns: int) -> None:
        """Change the content; a gap becomes zeros."""
        content = self.data
        if self.base is None:
            self.base = bytes(content)
        size = len(content)
        if offset == size:
            content += data
        else:
            if offset > size:
                content.extend(bytes(offset - size))
            content[offset : offset + len(data)] = data
        self.mtime_ns = now_ns
        self.shown = None

    def date(self, mtime_ns: int) -> None:
        """Say when it was last changed."""
        self.mtime_ns = mtime_ns
        self.shown = None

    def sync(self) -> None:
        """Make the content durable, unless an earlier try failed: then the kernel says yes and does nothing."""
        if not self.doomed:
            self.base = None

    def flip(self, bit: int) -> None:
        """Let a bit rot; no time changes."""
        self.data[bit >> 3] ^= 1 << (bit & 7)
        self.rotted = True

    def cut(self, lost_bytes: int) -> None:
        """Let the end get lost; no time changes."""
        del self.data[len(self.data) - lost_bytes :]
        self.rotted = True
        self.shown = None

    # --- names ---------------------------------------------------------------------------------------------------------

    def child(self, name: str, path: str) -> "Inode":
        """What `name` stands for. Raises `FileNotFoundError`, `NotADirectoryError`."""
        found = self.entries.get(name)
        if found is None:
            raise os_error(errno.ENOENT if self.kind is Kind.DIRECTORY else errno.ENOTDIR, path)
        return found

    def check_free(self, name: str, path: str) -> None:
        """Check that `name` could be given here. Raises `FileExistsError` and what a name itself may cause."""
        if self.kind is not Kind.DIRECTORY:
            raise os_error(errno.ENOTDIR, path)
        if name in self.entries:
            raise os_error(errno.EEXIST, path)
        if len(name.encode()) > _LONGEST_NAME_BYTES:
            raise os_error(errno.ENAMETOOLONG, path)

    def give(self, name: str, inode: "Inode | None", now_ns: int) -> None:
        """Let `name` stand for `inode`, or for nothing."""
        old = self.entries.get(name)
        states = self.pending.get(name)
        if states is None:
            self.pending[name] = [old, inode]
        else:
            states.append(inode)
        if old is not None:
            old.link_count -= 1
            old.shown = None
        if inode is None:
            del self.entries[name]
        else:
            self.entries[name] = inode
            inode.link_count += 1
            inode.shown = None
        self.mtime_ns = now_ns
        self.shown = self.listing = None

    def list(self) -> "list[Entry]":
        """Its entries, sorted."""
        if self.listing is None:
            self.listing = [Entry(name, inode.kind) for name, inode in sorted(self.entries.items())]
        return self.listing.copy()


def below(folder: Inode, path: str = "") -> Iterator[tuple[str, Inode]]:
    """Everything in a directory and further down, as (path, inode); not a step of anybody."""
    for name, inode in folder.entries.items():
        inner = f"{path}/{name}"
        yield inner, inode
        yield from below(inode, inner)
