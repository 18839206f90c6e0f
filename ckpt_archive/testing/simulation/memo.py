"""Makes lives faster: records that were decoded before are not decoded again.

A site of a few kilobytes reads the same seal a hundred times. Decoding is a pure function of the bytes to a value that
nobody can change, so remembering it changes nothing but time; what fails is not remembered.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.local.launch_records import LocalAttempt, LocalLaunch, Resume
from ckpt_archive.local.sealed import Seal

_DECODED: tuple[type[Any], ...] = (ArchiveRecord, Seal, Receipt, Manifest, Launch, LocalLaunch, LocalAttempt, Resume)
_MOST = 512


@contextmanager
def remembering() -> Iterator[None]:
    """While the context lasts, every record is decoded once."""
    before = [(kind, kind.__dict__["decode"]) for kind in _DECODED]
    for kind, _ in before:
        kind.decode = staticmethod(_once(kind.decode))
    try:
        yield
    finally:
        for kind, decode in before:
            kind.decode = decode


def _once(decode: Callable[[bytes, str], Any]) -> Callable[[bytes, str], Any]:
    return lru_cache(maxsize=_MOST)(decode)
