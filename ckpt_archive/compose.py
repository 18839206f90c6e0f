"""The one place where parts are chosen and wired together."""

import socket
import uuid

from ckpt_archive.clock import SystemClock
from ckpt_archive.commit.archive_record import create_archive, open_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.machine import Machine
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.open import connect as bare_store
from ckpt_archive.store.open import features_of, open_store
from ckpt_archive.store.probe import ProbeReport, checksums_enforced, probe
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.transfer.bandwidth import Limiter
from ckpt_archive.transfer.settings import TransferSettings


def system_machine() -> Machine:
    """The machine this process runs on."""
    return Machine(
        fs=PosixFileSystem(),
        clock=SystemClock(),
        executor=ThreadExecutor(),
        nonce=lambda: uuid.uuid4().hex,
        node=socket.gethostname(),
    )


def store_at(url: str, machine: Machine, limiter: Limiter | None = None) -> RetryingStore:
    """The store at `url`, which insists, whether or not it holds an archive; nothing is asked of it yet.

    Raises:
        InvalidInputError: If no store can have this URL.
    """
    throttled = None if limiter is None else limiter.throttled
    return open_store(url, fs=machine.fs, clock=machine.clock, throttled=throttled)


def connect(url: str, machine: Machine, settings: TransferSettings) -> Connection:
    """Connect to an archive that exists.

    Raises:
        NotFoundError: If there is no archive at `url`.
        UnavailableError: If the store does not answer.
    """
    limiter = Limiter(machine.clock, settings.bandwidth_bytes_per_second, settings.parts_in_flight)
    return connection_of(store_at(url, machine, limiter), machine, settings, limiter)


def connection_of(store: Store, machine: Machine, settings: TransferSettings, limiter: Limiter | None) -> Connection:
    """Connect to the archive in `store`. Raises as `connect`."""
    record = open_archive(store)
    return Connection(
        store=store,
        archive_id=record.archive_id,
        settings=settings,
        limiter=limiter,
        probe_checksums=lambda: checksums_enforced(store, machine.nonce),
    )


def create(url: str, machine: Machine, settings: TransferSettings) -> Connection:
    """Create an archive, or find that it is there, and connect to it.

    Raises:
        InvalidInputError: If the store can not hold an archive.
        NotFoundError: If the bucket does not exist.
        UnavailableError: If the store does not answer.
    """
    bare = bare_store(url, fs=machine.fs, clock=machine.clock)
    if isinstance(bare, FileStore):
        bare.prepare()
    create_archive(store_at(url, machine), machine.nonce(), machine.clock.now())
    return connect(url, machine, settings)


def probe_store(url: str, machine: Machine) -> ProbeReport:
    """Try out what the store at `url` can do, on scratch keys.

    Raises:
        DeniedError: If nothing may be written.
        UnavailableError: If the store does not answer.
    """
    bare = bare_store(url, fs=machine.fs, clock=machine.clock)
    return probe(bare, machine.nonce, executor=machine.executor, clock=machine.clock, more=features_of(bare))
