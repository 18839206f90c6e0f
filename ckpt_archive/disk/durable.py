"""The one way to make a local file or directory durable: write, fsync it, name it, fsync the directory.

An fsync that failed is a write that failed: the kernel may have dropped the pages and would report success the next time, so
nothing here calls it again on the same content.
"""

from contextlib import suppress

from ckpt_archive import errors
from ckpt_archive.disk.protocol import FileSystem, Kind, join, parent, walk

TEMPORARY_PREFIX = ".new-"


def make_directories(fs: FileSystem, path: str) -> None:
    """Create `path` and its missing parents, each name durable before this returns. Links to folders are followed."""
    try:
        fs.make_directory(path)
    except FileExistsError:
        if not is_folder(fs, path):
            raise
        # Whoever made it may not have got as far as this; a folder that we may not even list is not of our making.
        with suppress(PermissionError):
            fs.sync_directory(parent(path))
    except FileNotFoundError:
        make_directories(fs, parent(path))
        make_directories(fs, path)
    else:
        fs.sync_directory(parent(path))


def is_folder(fs: FileSystem, path: str) -> bool:
    """Whether `path` is a folder, or a link that leads to one. Raises `FileNotFoundError`."""
    kind = fs.stat(path).kind
    if kind is Kind.SYMLINK:
        try:
            # The folder itself has this name too.
            kind = fs.stat(join(path, ".")).kind
        except (FileNotFoundError, NotADirectoryError):
            return False
    return kind is Kind.DIRECTORY


def write_once(fs: FileSystem, path: str, data: bytes, *, nonce: str) -> bytes:
    """Create the file `path` with `data`, whole or not at all; what stands there in the end is returned.

    Two at once: one wins, both get the winner's bytes. A crash leaves at most a file with a temporary name.

    Args:
        fs: Where.
        path: The final name; its directory exists.
        data: The content.
        nonce: Makes the temporary name unique among everybody who might write this file now.

    Returns:
        `data`, or the bytes that were there before.
    """
    temporary = join(parent(path), f"{TEMPORARY_PREFIX}{nonce}-{path.rpartition('/')[2]}")
    try:
        with fs.create(temporary) as file:
            file.write_at(data, 0)
            file.sync()
        try:
            fs.link(temporary, path)
            result = data
        except FileExistsError:
            result = read_small(fs, path)
    finally:
        remove_if_there(fs, temporary)
    fs.sync_directory(parent(path))
    return result


def replace(fs: FileSystem, path: str, data: bytes, *, nonce: str) -> None:
    """Write a derived file that may be overwritten at any time: readers see the old or the new, whole."""
    temporary = join(parent(path), f"{TEMPORARY_PREFIX}{nonce}-{path.rpartition('/')[2]}")
    with fs.create(temporary) as file:
        file.write_at(data, 0)
        file.sync()
    fs.replace(temporary, path)
    fs.sync_directory(parent(path))


def sync_tree(fs: FileSystem, root: str) -> None:
    """Make everything below `root`, and `root` itself, durable: files first, then directories bottom-up."""
    entries = list(walk(fs, root))
    for relative, entry in entries:
        if entry.kind is Kind.FILE:
            fs.sync_file(join(root, relative))
    for relative, entry in reversed(entries):
        if entry.kind is Kind.DIRECTORY:
            fs.sync_directory(join(root, relative))
    fs.sync_directory(root)


def move(fs: FileSystem, old: str, new: str) -> None:
    """Rename without replacing, durable in the new directory and then in the old one."""
    fs.rename(old, new)
    fs.sync_directory(parent(new))
    if parent(old) != parent(new):
        fs.sync_directory(parent(old))


def read_small(fs: FileSystem, path: str, *, limit_bytes: int = 64 << 20) -> bytes:
    """The whole content of a small file.

    Raises:
        IntegrityError: If it has more than `limit_bytes`.
    """
    with fs.open(path) as file:
        size = file.stat().size_bytes
        if size > limit_bytes:
            raise errors.IntegrityError(f"{path} has {size} bytes, more than the {limit_bytes} such a file may have")
        buffer = bytearray(size)
        read = file.read_into(memoryview(buffer), 0)
        return bytes(buffer[:read])


def remove_if_there(fs: FileSystem, path: str) -> None:
    """Remove a file; that it is not there is fine."""
    try:
        fs.remove(path)
    except FileNotFoundError:
        return


def remove_tree(fs: FileSystem, root: str) -> None:
    """Remove `root` and everything below it, links not followed; may be repeated after a crash."""
    try:
        entries = list(walk(fs, root))
    except FileNotFoundError:
        return
    for relative, entry in reversed(entries):
        path = join(root, relative)
        if entry.kind is Kind.DIRECTORY:
            fs.remove_directory(path)
        else:
            remove_if_there(fs, path)
    fs.remove_directory(root)


def exists(fs: FileSystem, path: str) -> bool:
    """Whether something has that name."""
    try:
        fs.stat(path)
    except FileNotFoundError:
        return False
    return True
