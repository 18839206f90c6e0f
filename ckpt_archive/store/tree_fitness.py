"""Makes the folder of a `Tree`, and finds out whether its file system can hold one."""

import errno

from ckpt_archive import errors
from ckpt_archive.disk import durable
from ckpt_archive.store.tree import Tree

_NO_FAULT_OF_ITS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def prepare(tree: Tree) -> None:
    """Make the folder, and check that its file system can do what is needed; may be repeated.

    Raises:
        InvalidInputError: If it has no hard links, without which nothing can be created once and only once.
    """
    with tree.failures(tree.root):
        durable.make_directories(tree.fs, tree.scratch)
    with tree.temporary() as first, tree.temporary() as second:
        with tree.failures(tree.root):
            tree.fs.create(first).close()
        try:
            tree.fs.link(first, second)
            is_refused = _refuses_second_link(tree, first, second)
        except OSError as error:
            if error.errno in _NO_FAULT_OF_ITS:
                with tree.failures(tree.root):
                    raise
            raise _unfit(tree, "it has no hard links") from error
        if not is_refused:
            raise _unfit(tree, "a hard link replaces what is there")


def _refuses_second_link(tree: Tree, first: str, second: str) -> bool:
    try:
        tree.fs.link(first, second)
    except FileExistsError:
        return True
    return False


def _unfit(tree: Tree, problem: str) -> errors.InvalidInputError:
    kind = tree.fs.mount_kind(tree.root)
    return errors.InvalidInputError(
        f"{tree.root} is on a file system ({kind}) that can not hold an archive: {problem}",
        hint="Use a folder on another one (ext4, xfs, NFS, Lustre), or an S3 server.",
    )
