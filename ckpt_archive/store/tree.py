"""The folder behind a `FileStore`: how bytes come into it durably, and how its failures are told.

Whatever becomes visible under a key has been fsynced, and its name appears by `link`, which never replaces. Whoever is shown
an object may rely on it: the folder it was found in is made durable before it is shown, because the process that linked it
may have died just after.

What is cold lies below a second root, to which `.cold` is a symbolic link, and its name here is a link through that. Only a
link that reads exactly as it must for its key is followed, and below the second root none is; any other is damage.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from ckpt_archive import errors
from ckpt_archive.digest import crc32c
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import FileStat, FileSystem, Kind, ReadableFile, WritableFile, join, parent
from ckpt_archive.store import keys
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import ObjectInfo

SCRATCH = ".tmp"
COLD = ".cold"
COLD_CLASS = "COLD"
"""The storage class of what lies below the second root."""
_ARCHIVE = "archive.json"
TEMPORARY_SUFFIX = ".new"
BUFFER_BYTES = 1 << 20

_NOT_THERE = (FileNotFoundError, NotADirectoryError)
# What an NFS client calls a file that was removed while somebody had it open.
_SILLY_RENAME = ".nfs"


class OpenObject:
    """The open file of an object, wherever it lies."""

    def __init__(self, file: ReadableFile, key: str, storage_class: str) -> None:
        self.file = file
        self.key = key
        self.storage_class = storage_class

    def info(self) -> ObjectInfo:
        """What it is now."""
        return info(self.key, self.file.stat(), self.storage_class)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


class Tree:
    """Files below one root.

    Args:
        fs: Where.
        root: Absolute path, without a final '/'.
        url: What the store calls itself in messages.
        nonce: Makes temporary names unique among all processes and machines that use this root.

    Attributes:
        cold: The tree below the second root, whether or not there is one; None in that tree itself.
    """

    def __init__(
        self, fs: FileSystem, root: str, url: str, nonce: Callable[[], str], *, is_second: bool = False
    ) -> None:
        self.fs = fs
        self.root = root
        self.url = url
        self.nonce = nonce
        self.scratch = join(root, SCRATCH)
        self.cold = None if is_second else Tree(fs, join(root, COLD), f"{url}/{COLD}", nonce, is_second=True)

    def path(self, key: str) -> str:
        """The file of `key`.

        Raises:
            InvalidInputError: If no object may have that key.
        """
        if not _is_allowed(keys.check_key(key)):
            raise errors.InvalidInputError(
                f"the key {key!r} is not allowed in {self.url}", hint="The store keeps that name for itself."
            )
        return join(self.root, key)

    @contextmanager
    def failures(self, what: str) -> Iterator[None]:
        """Convert the `OSError`s of this file system. Never put around the caller's own sources and sinks."""
        try:
            yield
        except OSError as error:
            raise self._converted(error, what) from error

    def is_mounted(self) -> bool:
        """Whether the root is there, and was prepared; a copy of an archive has no scratch, but what says that it is one."""
        return self._is(self.scratch, Kind.DIRECTORY) or self._is(join(self.root, _ARCHIVE), Kind.FILE)

    def _is(self, path: str, kind: Kind) -> bool:
        with self.failures(path):
            try:
                return self.fs.stat(path).kind is kind
            except _NOT_THERE:
                return False

    def check_mounted(self) -> None:
        """Check that the root is there, before anybody is told that an object is not.

        Raises:
            UnmountedError: If not.
        """
        if not self.is_mounted():
            raise errors.UnmountedError(
                f"{self.root} is not there, or is no archive",
                hint=f"Perhaps the disk is not mounted. For a new archive, run `ckpt-archive init {self.url}`.",
            )

    def head(self, key: str) -> ObjectInfo:
        """What is known about an object; its name is durable when this returns. Raises `NotFoundError`."""
        # Opened, because links on the way are refused then, as they are when it is read.
        with self.open(key) as found, self.failures(key):
            info = found.info()
            self.fs.sync_directory(parent(self.path(key)))
        return info

    def open(self, key: str) -> OpenObject:
        """An object for reading. Raises `NotFoundError`; `ColdError` if it is cold and the second root is not there."""
        self.path(key)
        with self.failures(key):
            try:
                return OpenObject(self.fs.open_beneath(self.root, key), key, "")
            except (*_NOT_THERE, IsADirectoryError) as error:
                self.check_mounted()
                raise keys.missing(key, self.url) from error
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EINVAL):
                    raise
                if self.cold is not None and self.is_cold(key):
                    return OpenObject(self._open_cold(self.cold, key), key, COLD_CLASS)
                raise errors.IntegrityError(
                    f"{key} in {self.url} is no plain file",
                    hint="It was not written by ckpt-archive: find out who did.",
                ) from error

    def is_cold(self, key: str) -> bool:
        """Whether what stands under a key is the link that leads to its place below the second root, and no other."""
        if self.cold is None:
            return False
        with self.failures(key):
            try:
                return self.fs.read_symlink_beneath(self.root, key) == cold_target(key)
            except _NOT_THERE:
                return False
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EINVAL):
                    raise
                return False

    def _open_cold(self, cold: "Tree", key: str) -> ReadableFile:
        try:
            return cold.open(key).file
        except errors.UnmountedError as error:
            raise self.not_mounted(key) from error
        except errors.NotFoundError as error:
            raise errors.NotFoundError(
                f"there is no object {key} in {self.url}: it was moved to the second root, and is not there any more",
                hint=f"Restore it from a copy of {cold.root}.",
            ) from error

    def not_mounted(self, what: str) -> errors.ColdError:
        """The error where something lies below the second root and that is not there."""
        return errors.ColdError(
            f"{what} in {self.url} lies below its second root, and that is not there",
            hint=f"Mount it, or let the link {join(self.root, COLD)} lead to where it is now; `thaw` needs it too.",
        )

    def level(self, folder: str) -> list[str]:
        """All names in a folder ("" or ending in '/'), as keys in byte order; those of folders end in '/'."""
        if folder and not (keys.is_key(folder[:-1]) and _is_allowed(folder)):
            return []
        with self.failures(folder or self.root):
            try:
                entries = self.fs.list(f"{self.root}/{folder}".rstrip("/"))
            except _NOT_THERE:
                self.check_mounted()
                return []
        names = [
            f"{folder}{entry.name}{'/' if entry.kind is Kind.DIRECTORY else ''}"
            for entry in entries
            if keys.is_key(entry.name)
            and _is_allowed(folder + entry.name)
            and (
                entry.kind in (Kind.FILE, Kind.DIRECTORY)
                or (entry.kind is Kind.SYMLINK and self.is_cold(folder + entry.name))
            )
        ]
        # With the '/' and not without: "a-b" comes before "a/b", as in every store that sorts by bytes.
        return sorted(names)

    def shown(self, key: str) -> ObjectInfo | None:
        """An object as a listing shows it; None if it was deleted meanwhile.

        One whose file below the second root is gone is shown as empty: so whoever deletes a folder deletes it too.
        """
        with self.failures(key):
            try:
                stat = self.fs.stat(join(self.root, key))
            except FileNotFoundError:
                return None
            if stat.kind is not Kind.SYMLINK:
                return info(key, stat)
            if self.cold is None or not self.is_cold(key):
                return None
            try:
                return info(key, self.fs.stat(join(self.cold.root, key)), COLD_CLASS)
            except _NOT_THERE:
                if not self.cold.is_mounted():
                    raise self.not_mounted(key) from None
                return replace(info(key, stat, COLD_CLASS), size_bytes=0)

    @contextmanager
    def temporary(self) -> Iterator[str]:
        """A path for a new file on the same file system; what is there in the end is removed."""
        path = join(self.scratch, self.nonce() + TEMPORARY_SUFFIX)
        try:
            yield path
        finally:
            with self.failures(path):
                durable.remove_if_there(self.fs, path)

    def receive(
        self, file: WritableFile, what: str, body: Body, failures: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Write a body through one buffer into a new file.

        Raises:
            ChecksumRefusedError: If the bytes are not those of its checksum.
        """
        buffer = memoryview(bytearray(min(BUFFER_BYTES, body.size_bytes)))
        position = computed = 0
        while position < body.size_bytes:
            read = body.read_into(buffer, position)
            computed = crc32c(buffer[:read], computed)
            with failures():
                file.write_at(buffer[:read], position)
            position += read
        if computed != body.crc32c:
            raise keys.refused(what, body.crc32c, computed)

    def publish(self, temporary: str, key: str) -> None:
        """Give a file whose content is durable the name of its key, durably.

        Raises:
            AlreadyExistsError: The key is taken; also then it is durable.
            ConflictError: A part of the key that has to be a folder is an object.
        """
        path = self.path(key)
        with self.failures(key):
            self._make_folders(key)
            try:
                self.fs.link(temporary, path)
                is_ours = True
            except FileExistsError:
                # Over NFS our own link may have landed, its answer been lost, and the client have asked again.
                is_ours = self.fs.stat(temporary).inode == self.fs.stat(path).inode
            self.fs.sync_directory(parent(path))
        if not is_ours:
            raise keys.taken(key, self.url)

    def _make_folders(self, key: str) -> None:
        folder = self.root
        for component in key.split("/")[:-1]:
            inner = join(folder, component)
            try:
                self.fs.make_directory(inner)
            except FileExistsError as error:
                if self.fs.stat(inner).kind is not Kind.DIRECTORY:
                    raise errors.ConflictError(
                        f"{key} can not be created: {inner} is an object and not a folder", hint="Remove one of them."
                    ) from error
            # Also when it was there, at every level: whoever made it may not have got as far as this.
            self.fs.sync_directory(folder)
            folder = inner

    def _converted(self, error: OSError, what: str) -> errors.CkptArchiveError:
        message = f"{what} in {self.url}: {error.strerror or error}"
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return errors.CapacityError(message, hint="Make room on this disk, or raise the quota.")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return errors.DeniedError(message, hint=f"Give this user the right to write below {self.root}.")
            case errno.ENAMETOOLONG:
                return errors.InvalidInputError(message, hint="This file system takes no name as long as that.")
            case errno.ELOOP | errno.EINVAL:
                return errors.IntegrityError(
                    message, hint="Something that is no plain file stands there: find out why."
                )
            case errno.ENOENT | errno.ENOTDIR:
                return errors.UnmountedError(
                    f"{self.root} is not there, or is no archive",
                    hint=f"Perhaps the disk is not mounted. For a new archive, run `ckpt-archive init {self.url}`.",
                )
        return errors.UnavailableError(message, hint="Is the disk, or the file server, in order? Then try again.")


def _is_allowed(key: str) -> bool:
    first, *_ = components = key.split("/")
    return first not in (SCRATCH, COLD) and not any(component.startswith(_SILLY_RENAME) for component in components)


def cold_target(key: str) -> str:
    """What the link under the key of a cold object reads: the way up to the root, and through `.cold` down again."""
    return f"{'../' * key.count('/')}{COLD}/{key}"


def info(key: str, stat: FileStat, storage_class: str = "") -> ObjectInfo:
    """A file as an object."""
    etag = f"{stat.inode:x}-{stat.mtime_ns:x}-{stat.size_bytes:x}"
    return ObjectInfo(key, stat.size_bytes, etag, moment(stat), storage_class)


def moment(stat: FileStat) -> datetime:
    """When a file was last written."""
    return datetime.fromtimestamp(stat.mtime_ns / 1e9, UTC)
