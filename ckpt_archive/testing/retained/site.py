"""An archive in a watched store, and connections to it for processes that may be struck at any request."""

import random
from datetime import UTC, datetime

from ckpt_archive.commit import catalog
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import latest
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.store.insistence import RetryPolicy
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.retrying_bucket import RetryingBucket
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import ARCHIVE_ID
from ckpt_archive.testing.hooked import HookedStore
from ckpt_archive.testing.hooked_bucket import HookedBucket
from ckpt_archive.testing.retained.oracle import Oracle
from ckpt_archive.testing.retained.story import History
from ckpt_archive.testing.retained.watched import WatchedBucket, WatchedStore
from ckpt_archive.testing.retained.world import Process, World

BEGINS = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)

_INSISTS = RetryPolicy(max_tries=3, first_pause_seconds=0.5, longest_pause_seconds=2.0, deadline_seconds=30.0)


class StoreClock:
    """The clock of the store, which is right."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return self._world.now

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return (self._world.now - self._world.began).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Nobody sleeps by it."""
        raise AssertionError("the store does not sleep")


class Site:
    """Everything that a history happens to.

    Args:
        history: Which.

    Attributes:
        world: Time, and turns.
        oracle: The judge.
        store: What lies there.
        bucket: Its tags, locks and rules.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.world = World(history.seed, BEGINS)
        self.oracle = Oracle(self.world.clock_now)
        self.store = WatchedStore(self.oracle, StoreClock(self.world))
        self.bucket = WatchedBucket(
            self.store,
            self.oracle,
            versioned=history.versioned,
            object_lock=history.object_lock,
            transitions=history.transitions,
        )
        self._nonces = random.Random(f"nonces {history.seed}")
        self._insists = history.insists
        create_archive(self.store, ARCHIVE_ID, BEGINS)

    def machine(self, process: Process) -> Machine:
        """The machine that a process runs on."""
        return Machine(
            fs=PosixFileSystem(),
            clock=process,
            executor=InlineExecutor(),
            nonce=lambda: f"{self._nonces.getrandbits(128):032x}",
            node=process.name,
        )

    def connection(self, process: Process) -> Connection:
        """The archive, as a process has it."""
        store: Store = HookedStore(self.store, before=process.before, after=process.after)
        bucket = HookedBucket(self.bucket, before=process.before, after=process.after)
        if not self._insists:
            return Connection(store, ARCHIVE_ID, SMALL, None, lambda: True, bucket)
        insisting = RetryingStore(store, process, _INSISTS, random.Random(f"pauses {self.history.seed}"))
        return Connection(
            insisting, ARCHIVE_ID, SMALL, None, lambda: True, RetryingBucket(bucket, insisting.insistence)
        )

    def quiet(self) -> tuple[Machine, Connection]:
        """For whoever only looks: nothing befalls him, and no time passes."""
        machine = self.machine(Process(self.world, "reader"))
        return machine, Connection(self.store, ARCHIVE_ID, SMALL, None, lambda: True, self.bucket)

    def committed(self, run: str) -> list[Place]:
        """The committed checkpoints of a run, newest first."""
        return sorted(catalog.places(self.store, run), reverse=True)

    def runs(self) -> list[str]:
        """The runs that have checkpoints."""
        return sorted(catalog.runs(self.store))

    def latest(self) -> dict[str, Place | None]:
        """By run: what a launch would go on from."""
        return {run: latest(self.store, run) for run in self.runs()}
