"""A folder that somebody else wrote, as the share of one writer: read in place, and watched for changes while it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ckpt_archive.disk.durable import is_folder
from ckpt_archive.disk.protocol import FileStat, FileSystem, Kind, ReadableFile, join, walk
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.faults import may_pass
from ckpt_archive.names import check_file_tree

_HINT = "Push it again when nothing writes into it any more."


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a folder as they were when it was surveyed.

    Attributes:
        fs: Where.
        root: The folder.
        stats: What each file was, by its path relative to the folder.
    """

    fs: FileSystem
    root: str
    stats: dict[str, FileStat]

    @property
    def files(self) -> list[tuple[str, int]]:
        """(path, size in bytes) of every file, sorted."""
        return sorted((path, stat.size_bytes) for path, stat in self.stats.items())

    def open(self, path: str) -> ReadableFile:
        """Open a file, which must be the one that was surveyed.

        Raises:
            ConflictError: If it has changed.
            InvalidInputError: If we may not read it.
        """
        try:
            file = self.fs.open_beneath(self.root, path)
        except OSError as error:
            if isinstance(error, PermissionError) or may_pass(error):
                raise _unreadable(join(self.root, path), error) from error
            raise _changed(self.root, f"{path!r} can not be opened any more: {error.strerror or error}") from error
        if _identity(file.stat()) != _identity(self.stats[path]):
            file.close()
            raise _changed(self.root, f"{path!r} is another file now")
        return file

    def still_same(self) -> None:
        """Look at everything again.

        Raises:
            ConflictError: If any file was changed, added or removed.
        """
        try:
            now = survey(self.fs, self.root).stats
        except (NotFoundError, InvalidInputError) as error:
            raise _changed(self.root, error.message) from error
        for path in sorted(now.keys() | self.stats.keys()):
            if path not in now:
                raise _changed(self.root, f"{path!r} is gone")
            if path not in self.stats:
                raise _changed(self.root, f"{path!r} is new")
            if _identity(now[path]) != _identity(self.stats[path]):
                raise _changed(self.root, f"{path!r} is another file now")


def survey(fs: FileSystem, root: str) -> Folder:
    """Look at every file below `root`.

    Raises:
        NotFoundError: If there is no such folder.
        InvalidInputError: If it holds something that is neither file nor folder, a name that could not be restored, or can
            not be read.
        ConflictError: If something in it vanishes meanwhile.
    """
    stats: dict[str, FileStat] = {}
    try:
        # "latest" is often a link to the newest one; links below it are another matter.
        if not is_folder(fs, root):
            raise InvalidInputError(f"{root} is not a folder", hint="Name the folder that holds the checkpoint.")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no folder {root}", hint="Check the path.") from error
    except OSError as error:
        raise _unreadable(root, error) from error
    try:
        for relative, entry in walk(fs, root):
            if entry.kind is Kind.FILE:
                stats[relative] = fs.stat(join(root, relative))
            elif entry.kind is not Kind.DIRECTORY:
                raise InvalidInputError(
                    f"{join(root, relative)!r} is a {entry.kind.value}: only regular files can be archived",
                    hint="Replace it by the file it stands for, or leave it out of the folder.",
                )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changed(root, f"{error.filename or 'a part of it'} is gone") from error
    except OSError as error:
        raise _unreadable(str(error.filename or root), error) from error
    check_file_tree(stats)
    return Folder(fs, root, stats)


def refuse_empty(folder: Folder, writers: int) -> None:
    """A writer among several may have nothing to contribute; one alone may not.

    Raises:
        InvalidInputError: If a single writer's folder holds no file.
    """
    if not folder.stats and writers == 1:
        raise InvalidInputError(f"{folder.root} holds no files", hint="Check the path, or write the checkpoint first.")


@contextmanager
def watched(folder: Folder) -> Iterator[None]:
    """Tell a folder that is still being written into from files or objects that are damaged.

    Raises:
        ConflictError: Instead of an `IntegrityError`, if the folder has changed.
    """
    try:
        yield
    except IntegrityError:
        folder.still_same()
        raise


def _changed(root: str, how: str) -> ConflictError:
    return ConflictError(f"{root} was changed while it was being archived: {how}", hint=_HINT)


def _unreadable(path: str, error: OSError) -> InvalidInputError | UnavailableError:
    if may_pass(error):
        return UnavailableError(
            f"{path!r} can not be read: {error.strerror or error}",
            hint="The disk did not do it: see the kernel's log, and try again.",
        )
    return InvalidInputError(f"{path!r} can not be read: {error.strerror or error}", hint="Check its permissions.")


def _identity(stat: FileStat) -> tuple[Kind, int, int, int]:
    return stat.kind, stat.size_bytes, stat.mtime_ns, stat.inode
