"""The one place where parts are chosen and wired together."""

import math
import os
import socket
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from ckpt_archive.agent.apart import maintain_apart
from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.agent.spawn import Spawner
from ckpt_archive.agent.upkeep import Upkeep
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit.archive_record import create_archive, open_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.local.known import Known
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.indexing import index_work
from ckpt_archive.maintain.maintaining import maintain, sync
from ckpt_archive.maintain.report import MaintainReport, StepReport
from ckpt_archive.patience import Patience
from ckpt_archive.progress import Progress
from ckpt_archive.ship.copying import check_apart, make_replica
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.object_store import Location, location
from ckpt_archive.store.open import bucket_of, features_of, open_store
from ckpt_archive.store.open import connect as bare_store
from ckpt_archive.store.probe import ProbeReport, checksums_enforced, probe
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.store.s3_connection import Connection as S3Connection
from ckpt_archive.transfer.bandwidth import Limiter
from ckpt_archive.transfer.settings import TransferSettings

if TYPE_CHECKING:
    from ckpt_archive.index.tables import OpenTable

__all__ = [
    "agent_at",
    "connect",
    "connection_of",
    "create",
    "location_of",
    "maintain_once",
    "open_tables",
    "probe_store",
    "replicate",
    "spawner",
    "store_at",
    "sync_once",
    "system_machine",
]


def system_machine() -> Machine:
    """The machine this process runs on."""
    return Machine(
        fs=PosixFileSystem(),
        clock=SystemClock(),
        executor=ThreadExecutor(),
        nonce=lambda: uuid.uuid4().hex,
        node=socket.gethostname(),
    )


_POLICIES = {
    Patience.LONG: RetryPolicy(),
    Patience.MEDIUM: RetryPolicy(max_tries=8, longest_pause_seconds=8.0, deadline_seconds=30.0),
    Patience.SHORT: RetryPolicy(max_tries=4, longest_pause_seconds=1.0, deadline_seconds=5.0),
}
# Where nothing answers at all, a connection must be given up sooner than the policy's deadline; a slow answer may come.
_TIMEOUTS = {
    Patience.LONG: S3Connection(),
    Patience.MEDIUM: S3Connection(),
    Patience.SHORT: S3Connection(connect_timeout_seconds=2.5, read_timeout_seconds=5.0),
}


def store_at(
    url: str, machine: Machine, patience: Patience = Patience.LONG, limiter: Limiter | None = None
) -> RetryingStore:
    """The store at `url`, which insists, whether or not it holds an archive; nothing is asked of it yet.

    Raises:
        InvalidInputError: If no store can have this URL.
    """
    return open_store(
        url,
        fs=machine.fs,
        clock=machine.clock,
        policy=_POLICIES[patience],
        throttled=None if limiter is None else limiter.throttled,
        connection=_TIMEOUTS[patience],
    )


def connect(url: str, machine: Machine, settings: TransferSettings, patience: Patience = Patience.LONG) -> Connection:
    """Connect to an archive that exists.

    Raises:
        NotFoundError: If there is no archive at `url`.
        UnavailableError: If the store does not answer.
    """
    limiter = Limiter(machine.clock, settings.bandwidth_bytes_per_second, settings.parts_in_flight)
    return connection_of(store_at(url, machine, patience, limiter), machine, settings, limiter)


def connection_of(store: Store, machine: Machine, settings: TransferSettings, limiter: Limiter | None) -> Connection:
    """Connect to the archive in `store`. Raises as `connect`."""
    record = open_archive(store)
    return Connection(
        store=store,
        archive_id=record.archive_id,
        settings=settings,
        limiter=limiter,
        probe_checksums=lambda: checksums_enforced(store, machine.nonce),
        bucket=bucket_of(store),
    )


def replicate(
    source: Connection, url: str, machine: Machine, settings: TransferSettings, server: S3Connection | None = None
) -> Connection:
    """Connect to a replica of an archive, which is made if there is none yet.

    Args:
        source: The archive.
        url: Where its replica is.
        machine: Where this runs.
        settings: Sizes and limits of transfers.
        server: Which S3 server the replica is on, if it is not that of the archive.

    Raises:
        ConflictError: If another archive is at `url`.
        InvalidInputError: If the store can not hold an archive.
        UnavailableError: If a store does not answer.
    """
    bare = bare_store(url, fs=machine.fs, clock=machine.clock, connection=server)
    if server is None:
        check_apart(source.store.url, bare.url)
    if isinstance(bare, FileStore):
        bare.prepare()
    limiter = Limiter(machine.clock, settings.bandwidth_bytes_per_second, settings.parts_in_flight)
    target = RetryingStore(bare, machine.clock, _POLICIES[Patience.LONG], throttled=limiter.throttled)
    make_replica(source.store, target)
    return connection_of(target, machine, settings, limiter)


def create(url: str, machine: Machine) -> None:
    """Create an archive, or find that it is there.

    Raises:
        InvalidInputError: If the store can not hold an archive.
        NotFoundError: If the bucket does not exist.
        UnavailableError: If the store does not answer.
    """
    bare = bare_store(url, fs=machine.fs, clock=machine.clock)
    if isinstance(bare, FileStore):
        bare.prepare()
    create_archive(store_at(url, machine), machine.nonce(), machine.clock.now())


def agent_at(
    staging: str, settings: AgentSettings, progress: Progress | None = None, *, allow_network: bool = False
) -> Daemon:
    """The agent of a staging directory of this machine.

    Raises:
        InvalidInputError: If `staging` is not an absolute path.
    """
    machine = system_machine()
    agent = Agent(
        machine,
        Staging(machine, staging, allow_network=allow_network, known=Known()),
        lambda url: connect(url, machine, settings.transfer, Patience.MEDIUM),
        settings,
        progress,
    )
    kept = None if settings.maintain == "external" else Upkeep(machine.clock, machine.node, maintain_apart)
    return Daemon(machine, agent, settings, os.getpid(), upkeep=kept)


def maintain_once(
    machine: Machine,
    connection: Connection,
    *,
    budget_seconds: float,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[StepReport], None] = lambda step: None,
) -> MaintainReport:
    """One pass of maintenance, with what is installed here."""
    return maintain(
        machine,
        connection,
        budget_seconds=budget_seconds,
        index=index_work(),
        should_stop=should_stop,
        on_step=on_step,
    )


def sync_once(
    machine: Machine,
    connection: Connection,
    *,
    budget_seconds: float = math.inf,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> MaintainReport:
    """Bring what is new into the log, and into the index with what is installed here."""
    index = index_work(progress, looks=True)
    return sync(machine, connection, budget_seconds=budget_seconds, index=index, should_stop=should_stop)


def location_of(connection: Connection) -> Location:
    """An archive's place in the words of the library that commits to the index."""
    return location(connection.store.url).of(connection.archive_id)


def open_tables(connection: Connection) -> "dict[str, OpenTable]":
    """The tables of the index. Needs `ckpt-archive[index]`.

    Raises:
        NotFoundError: If there is no index yet.
        UnavailableError: If the store does not answer.
        IntegrityError: If a table can not be read.
    """
    from ckpt_archive.index.tables import open_present  # noqa: PLC0415  (its libraries are loaded where they are needed)

    return open_present(location_of(connection))


def spawner(machine: Machine) -> Spawner:
    """Starts agents on this machine."""
    return Spawner(machine)


def probe_store(url: str, machine: Machine) -> ProbeReport:
    """Try out what the store at `url` can do, on scratch keys.

    Raises:
        DeniedError: If nothing may be written.
        UnavailableError: If the store does not answer.
    """
    bare = bare_store(url, fs=machine.fs, clock=machine.clock)
    return probe(bare, machine.nonce, executor=machine.executor, clock=machine.clock, more=features_of(bare))
