"""An archive on any store for tests, the folders that go in and come out, and what may happen to objects behind its back."""

import os
from collections.abc import Mapping
from pathlib import Path

from ckpt_archive.archive import Archive
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.machine import Machine
from ckpt_archive.settings import Environment
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.open import bucket_of
from ckpt_archive.store.protocol import Store, StoreLimits, list_all
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock
from ckpt_archive.testing.staged import local_machine
from ckpt_archive.transfer.settings import TransferSettings

SMALL = TransferSettings(part_size_bytes=1000, pack_below_bytes=300, parts_in_flight=3, buffer_size_bytes=256)
"""Several parts, and a packed object, out of a few kilobytes."""


def memory_store() -> MemoryStore:
    """A store that takes parts of any size; its clock stands still."""
    return MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=ManualClock())


def connected(
    store: Store, *, settings: TransferSettings = SMALL, checks: bool = True, bucket: Bucket | None = None
) -> Connection:
    """A connection to the archive in `store`, which is made one if it is none.

    Args:
        store: Where.
        settings: Sizes and limits of transfers.
        checks: Whether the store is said to refuse wrong bytes.
        bucket: That of the store, if it can not be told from it (a wrapper's); see `bucket_of`.
    """
    record = create_archive(store, ARCHIVE_ID, NOON)
    return Connection(store, record.archive_id, settings, None, lambda: checks, bucket or bucket_of(store))


def archive_on(store: Store, machine: Machine | None = None, *, settings: TransferSettings = SMALL) -> Archive:
    """The archive in `store`, as users have it."""
    connection = connected(store, settings=settings)
    return Archive(
        store.url,
        machine or local_machine(clock=ManualClock()),
        lambda _: connection,
        lambda _: None,
        Environment(),
        settings,
    )


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Make `folder`, and files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read_tree(folder: str | Path) -> dict[str, bytes]:
    """Every file below `folder`; links and others are refused."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            assert path.is_file(), path
            assert not path.is_symlink(), path
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def content(store: Store, key: str) -> bytes:
    """The bytes of an object."""
    return store.read(key, limit_bytes=1 << 30).data


def put(store: Store, key: str, data: bytes) -> None:
    """Create an object, or replace it, as nobody of ours ever does."""
    store.delete(key)
    store.create(key, Body.of(data))


def flip(store: Store, key: str, bit: int) -> None:
    """Flip one bit of an object."""
    data = bytearray(content(store, key))
    data[bit // 8] ^= 1 << bit % 8
    put(store, key, bytes(data))


def keys(store: Store, prefix: str = "") -> list[str]:
    """The keys of all objects."""
    return [info.key for info in list_all(store, prefix)]
