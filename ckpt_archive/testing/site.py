"""Nodes with disks that may fail, archives that may not answer, and the real code of trainers and uploaders; for tests."""

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent, Pass
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.archive import Archive
from ckpt_archive.checkpoint import Checkpoint
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.catalog import places
from ckpt_archive.commit.connection import Connection
from ckpt_archive.compose import connection_of
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.disk.protocol import LockMode, Space
from ckpt_archive.errors import DeniedError, UnavailableError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.local.ring import SealedShare, scan
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.machine import Machine
from ckpt_archive.patience import Patience
from ckpt_archive.run import Run
from ckpt_archive.settings import Environment
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import NOON, ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

URL = "memory://main"


class TouchyFileSystem(PosixFileSystem):
    """The real disk, but somebody may step in before a verb.

    Attributes:
        before: Called with the verb and the path; what it raises is raised instead.
        free_bytes: What is said to be free, or says it; None for the truth.
    """

    def __init__(self) -> None:
        self.before: Callable[[str, str], None] = lambda verb, path: None
        self.free_bytes: int | Callable[[], int] | None = None

    def list(self, path: str) -> Any:
        """See `FileSystem.list`."""
        self.before("list", path)
        return super().list(path)

    def open_beneath(self, root: str, relative: str) -> PosixFile:
        """See `FileSystem.open_beneath`."""
        self.before("open_beneath", f"{root}/{relative}")
        return super().open_beneath(root, relative)

    def create(self, path: str) -> PosixFile:
        """See `FileSystem.create`."""
        self.before("create", path)
        return super().create(path)

    def make_directory(self, path: str) -> None:
        """See `FileSystem.make_directory`."""
        self.before("make_directory", path)
        super().make_directory(path)

    def sync_file(self, path: str) -> None:
        """See `FileSystem.sync_file`."""
        self.before("sync_file", path)
        super().sync_file(path)

    def sync_directory(self, path: str) -> None:
        """See `FileSystem.sync_directory`."""
        self.before("sync_directory", path)
        super().sync_directory(path)

    def rename(self, old: str, new: str) -> None:
        """See `FileSystem.rename`."""
        self.before("rename", new)
        super().rename(old, new)

    def try_lock(self, path: str, mode: LockMode) -> AbstractContextManager[None] | None:
        """See `FileSystem.try_lock`."""
        self.before("try_lock", path)
        return super().try_lock(path, mode)

    def space(self, path: str) -> Space:
        """See `FileSystem.space`."""
        found = super().space(path)
        free = self.free_bytes() if callable(self.free_bytes) else self.free_bytes
        return found if free is None else Space(free, found.total_bytes)


class WorkingClock(ManualClock):
    """A clock on which something else happens while somebody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        """Move on."""
        super().sleep(seconds)
        self.meanwhile()


class Site:
    """Archives that nodes share.

    Attributes:
        down: Whether no archive answers.
        denied: Whether archives refuse the credentials.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = WorkingClock()
        self.down = False
        self.denied = False
        self.before: Callable[[Request], None] = lambda request: None
        self._numbers = itertools.count(1)
        self.memories: dict[str, MemoryStore] = {}
        self.counting: dict[str, CountingStore] = {}
        self.ids: dict[str, str] = {}
        self.make_archive(URL)

    def nonce(self) -> str:
        """Never the same twice."""
        return f"{next(self._numbers):032x}"

    def make_archive(self, url: str) -> None:
        """Create an archive, or make it anew: empty, and with another id."""
        self.memories[url] = MemoryStore(url, limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)
        self.counting[url] = CountingStore(self.memories[url])
        self.ids[url] = create_archive(self.memories[url], self.nonce(), NOON).archive_id

    @property
    def store(self) -> MemoryStore:
        """The store of the main archive, as it is, without anything that may happen on the way."""
        return self.memories[URL]

    def node(self, name: str = "node-a") -> "Node":
        """A node."""
        return Node(self, name)

    def committed(self, run: str = "run-a", url: str = URL) -> list[tuple[int, int]]:
        """(attempt, step) of every committed checkpoint, newest first."""
        return [(place.attempt, place.step) for place in places(self.memories[url], run)]

    def checked(self, request: Request) -> None:
        """Step in before a request."""
        if self.down:
            raise UnavailableError("the store is down", hint="Wait.")
        if self.denied:
            raise DeniedError("the store refuses the key AKIA", hint="Mend the credentials.")
        self.before(request)


class Node:
    """A node of a site: its disk, its processes.

    Args:
        site: Where its archives are.
        name: Its name.
    """

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.fs = TouchyFileSystem()
        self.machine = Machine(self.fs, site.clock, InlineExecutor(), site.nonce, name)
        self.staging = Staging(self.machine, str(site.folder / name))
        self.agents_started: list[str] = []

    def connect(self, url: str, patience: Patience = Patience.SHORT) -> Connection:
        """Connect to an archive."""
        # Looked up with every request: a bucket may be emptied behind the back of whoever is connected to it.
        policy = RetryPolicy(max_tries=3, deadline_seconds=20.0 if patience is Patience.LONG else 2.0)
        store = HookedStore(_Current(self.site, url), before=self.site.checked)
        return connection_of(RetryingStore(store, self.site.clock, policy), self.machine, SMALL, None)

    def archive(self, url: str = URL, environment: Environment | None = None) -> Archive:
        """An archive, as a trainer has it."""
        return Archive(
            url,
            self.machine,
            lambda patience: self.connect(url, patience),
            self.agents_started.append,
            environment or Environment(),
            SMALL,
        )

    def run(self, name: str = "run-a", url: str = URL, environment: Environment | None = None, **told: Any) -> Run:
        """A run, in a new process."""
        return self.archive(url, environment).run(name, staging=self.staging.root, **told)

    def of(self, run: str = "run-a") -> RunStaging:
        """The staging of a run."""
        return self.staging.run(run)

    def shares(self, run: str = "run-a") -> list[SealedShare]:
        """What lies in the ring."""
        return scan(self.of(run))

    def ring(self, run: str = "run-a") -> list[tuple[int, int]]:
        """(launch, step) of what lies in the ring, oldest first."""
        return [(share.launch, share.step) for share in self.shares(run)]

    def agent(self, **settings: Any) -> Agent:
        """A new uploader."""
        return Agent(self.machine, self.staging, self.connect, AgentSettings(transfer=SMALL, **settings))

    def daemon(self, *, protocol: int = 1, **settings: Any) -> Daemon:
        """A new uploader's process."""
        chosen = AgentSettings(transfer=SMALL, **settings)
        agent = Agent(self.machine, self.staging, self.connect, chosen)
        return Daemon(self.machine, agent, chosen, pid=4711, protocol=protocol)

    def ship(self, **settings: Any) -> Pass:
        """One pass of a new uploader."""
        return self.agent(**settings).step()


class _Current:
    """The store that is at a URL at the moment of the request."""

    def __init__(self, site: Site, url: str) -> None:
        self._site = site
        self._url = url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site.counting[self._url], name)


def save(run: Run, step: int, files: Mapping[str, bytes] | None = None, **said: Any) -> Checkpoint:
    """Save a checkpoint as a trainer does; by default one small file."""
    with run.checkpoint(step, **said) as checkpoint:
        write(checkpoint, {"model.bin": b"step %d" % step} if files is None else files)
    return checkpoint


def write(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> None:
    """Write files into a checkpoint's folder."""
    for path, data in files.items():
        target = checkpoint.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def kill(run: Run) -> None:
    """The process of this run dies: the kernel releases its locks, and nothing else happens."""
    run.finish()
