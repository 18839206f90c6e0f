"""Turns what a disk says into what the caller must do next."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ckpt_archive.errors import CapacityError, CkptArchiveError, InvalidInputError, UnavailableError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
# Too many open files, no memory: they say nothing about the file that was asked for, so nothing is judged by them.
_OUR_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR})
# These stay true when asked again. An I/O error may not: what it hits is left alone, and not used while it lasts.
_PROOF = frozenset({errno.ENOENT, errno.EISDIR, errno.EINVAL, *_NOT_ALLOWED})


def failed(what: str, error: OSError) -> CkptArchiveError:
    """The error to raise when `what` failed with `error`."""
    reason = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return CapacityError(reason, hint="Free space, raise the quota, or wait until the backlog is archived.")
    if error.errno in _NOT_ALLOWED:
        return InvalidInputError(reason, hint="Check the staging folder, its owner and its rights.")
    return UnavailableError(reason, hint="The local disk did not do it: see the kernel's log, and try again.")


@contextmanager
def converting(what: str) -> Iterator[None]:
    """Raise any `OSError` of the block as `failed` says."""
    try:
        yield
    except OSError as error:
        raise failed(what, error) from error


def says_nothing_about_the_file(error: OSError) -> bool:
    """Whether this is trouble of our own process, by which no file may be judged."""
    return error.errno in _OUR_OWN_TROUBLE


def may_pass(error: OSError) -> bool:
    """Whether the disk may well do it when it is asked again: nobody has named a wrong file or folder."""
    return error.errno == errno.EIO or says_nothing_about_the_file(error)


def proves_something(error: OSError) -> bool:
    """Whether this shows that a file is not what it should be, and not only that the disk did not answer just now."""
    return error.errno in _PROOF
