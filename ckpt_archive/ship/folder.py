"""A folder that somebody else wrote, as the share of one writer: read in place, and watched for changes while it is read."""

from dataclasses import dataclass

from ckpt_archive.disk.protocol import FileStat, FileSystem, Kind, ReadableFile, join, walk
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
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
        """
        try:
            file = self.fs.open_beneath(self.root, path)
        except OSError as error:
            raise ConflictError(f"{join(self.root, path)} can not be opened any more: {error}", hint=_HINT) from error
        if _identity(file.stat()) != _identity(self.stats[path]):
            file.close()
            raise ConflictError(f"{join(self.root, path)} was changed while it was being archived", hint=_HINT)
        return file

    def still_same(self) -> None:
        """Look at everything again.

        Raises:
            ConflictError: If any file was changed, added or removed.
        """
        now = survey(self.fs, self.root).stats
        for path in sorted(now.keys() | self.stats.keys()):
            if path not in now or path not in self.stats or _identity(now[path]) != _identity(self.stats[path]):
                raise ConflictError(f"{join(self.root, path)} was changed while it was being archived", hint=_HINT)


def survey(fs: FileSystem, root: str) -> Folder:
    """Look at every file below `root`.

    Raises:
        NotFoundError: If there is no such folder.
        InvalidInputError: If it holds something that is neither file nor folder, a name that could not be restored, or can
            not be read.
    """
    stats: dict[str, FileStat] = {}
    try:
        if fs.stat(root).kind is not Kind.DIRECTORY:
            raise InvalidInputError(f"{root} is not a folder", hint="Name the folder that holds the checkpoint.")
        for relative, entry in walk(fs, root):
            if entry.kind is Kind.FILE:
                stats[relative] = fs.stat(join(root, relative))
            elif entry.kind is not Kind.DIRECTORY:
                raise InvalidInputError(
                    f"{join(root, relative)} is a {entry.kind.value}: only regular files can be archived",
                    hint="Replace it by the file it stands for, or leave it out of the folder.",
                )
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {error.filename or root}", hint="Check the path.") from error
    except OSError as error:
        raise InvalidInputError(f"{root} can not be read: {error}", hint="Check its permissions.") from error
    check_file_tree(stats)
    return Folder(fs, root, stats)


def refuse_empty(folder: Folder, writers: int) -> None:
    """A writer among several may have nothing to contribute; one alone may not.

    Raises:
        InvalidInputError: If a single writer's folder holds no file.
    """
    if not folder.stats and writers == 1:
        raise InvalidInputError(f"{folder.root} holds no files", hint="Check the path, or write the checkpoint first.")


def explain_change(error: IntegrityError, folder: Folder) -> ConflictError:
    """An error of the digest pass, for somebody who pushed a folder that was still being written."""
    return ConflictError(f"{folder.root} was changed while it was being archived: {error.message}", hint=_HINT)


def _identity(stat: FileStat) -> tuple[Kind, int, int, int]:
    return stat.kind, stat.size_bytes, stat.mtime_ns, stat.inode
