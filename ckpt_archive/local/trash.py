"""Removal in two steps: a durable rename out of sight, then the slow deletion, which a crash may interrupt anywhere."""

import errno

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, LockMode, join
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.staging import NONCE, RunStaging

_FILES = "files"
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR})


def throw_away(run: RunStaging, path: str) -> bool:
    """Move a folder of this run to the trash, durably, so that it can not come back half empty; whether it was there."""
    try:
        durable.move(run.machine.fs, path, join(run.trash, run.machine.nonce()))
    except FileNotFoundError:
        return False
    return True


def empty_trash(run: RunStaging) -> None:
    """Delete what was thrown away, unless somebody else is at it. Names that are not ours are set aside instead."""
    fs = run.machine.fs
    held = fs.try_lock(run.trash_lock, LockMode.EXCLUSIVE)
    if held is None:
        return
    with held:
        for entry in fs.list(run.trash):
            path = join(run.trash, entry.name)
            if NONCE.fullmatch(entry.name) and entry.kind is Kind.DIRECTORY:
                _delete(run, path)
            else:
                set_aside(run, path, f"a {entry.kind.value} of this name has no place in the trash")


def _delete(run: RunStaging, path: str) -> None:
    # The files first, durably: if the rename into the trash was not durable yet, a power loss brings back something torn,
    # which is never used, and not a whole share that forgot that it was given up.
    fs = run.machine.fs
    durable.remove_tree(fs, join(path, _FILES))
    fs.sync_directory(path)
    durable.remove_tree(fs, path)


def remove_if_empty(run: RunStaging, folder: str) -> None:
    """Remove a folder unless something is in it; a seal that wants it makes it again."""
    try:
        run.machine.fs.remove_directory(folder)
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
