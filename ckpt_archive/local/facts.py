"""Small write-once records beside a share or a launch: reading never changes anything, writing mends what is damaged."""

from collections.abc import Callable
from typing import TypeVar

from ckpt_archive.disk import durable
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.faults import proves_something, says_nothing_about_the_file
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.staging import RunStaging

T = TypeVar("T")
Decode = Callable[[bytes, str], T]
"""Makes a value of bytes; the text says where they stood. Raises `IntegrityError`, or `InvalidInputError` if they need a
newer release."""


def read_fact(run: RunStaging, path: str, decode: Decode[T], *, strict: bool = False) -> T | None:
    """The value of a record; None if it is not there, is damaged, or needs a newer release. Raises `OSError`."""
    try:
        return decode(durable.read_small(run.machine.fs, path), path)
    except (FileNotFoundError, IntegrityError, InvalidInputError):
        return None
    except OSError as error:
        if says_nothing_about_the_file(error) or (strict and not proves_something(error)):
            raise
        return None


def write_fact(run: RunStaging, path: str, data: bytes, decode: Decode[T]) -> T:
    """Write a record once; the value of what stands in the end is returned. A damaged one is set aside first.

    Raises:
        OSError: If the disk does not do it, or the folder is gone.
        InvalidInputError: If what stands needs a newer release.
        IntegrityError: If what stands is damaged and can not be set aside.
    """
    decode(data, path)
    try:
        return decode(_write(run, path, data), path)
    except IntegrityError as error:
        problem = error.message
    except FileNotFoundError:
        raise
    except OSError as error:
        if says_nothing_about_the_file(error) or not durable.exists(run.machine.fs, path):
            raise
        problem = f"it can not be read: {error}"
    set_aside(run, path, problem)
    return decode(_write(run, path, data), path)


def _write(run: RunStaging, path: str, data: bytes) -> bytes:
    return durable.write_once(run.machine.fs, path, data, nonce=run.machine.nonce())
