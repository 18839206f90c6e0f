"""A simulated site: a store, nodes, and the real code connected to them, watched by an oracle."""

import random
from collections import Counter
from dataclasses import dataclass, replace

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.archive import Archive
from ckpt_archive.commit.archive_record import create_archive, open_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.local.staging import Staging
from ckpt_archive.patience import Patience
from ckpt_archive.settings import Environment
from ckpt_archive.store.probe import checksums_enforced
from ckpt_archive.store.protocol import UploadInfo
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.testing.simulation.diary import Diary, Slot
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.oracle import SPARED, TEXT, Oracle
from ckpt_archive.testing.simulation.process import Host, Main, Process, Watcher
from ckpt_archive.testing.simulation.shelf import STAGING, Shelf
from ckpt_archive.testing.simulation.store import SimStore
from ckpt_archive.testing.simulation.world import World
from ckpt_archive.transfer.bandwidth import Limiter
from ckpt_archive.transfer.settings import TransferSettings

URL = "sim://archive"

_POLICIES = {
    Patience.LONG: RetryPolicy(max_tries=6, longest_pause_seconds=20.0, deadline_seconds=120.0),
    Patience.MEDIUM: RetryPolicy(max_tries=4, longest_pause_seconds=8.0, deadline_seconds=30.0),
    Patience.SHORT: RetryPolicy(max_tries=3, longest_pause_seconds=1.0, deadline_seconds=5.0),
}


@dataclass(slots=True)
class Begun:
    """A multipart upload: who began it, and whether its beginning reached the store after everybody had given it up."""

    by: Process | None
    late: bool


class Stage(Watcher):
    """Everything that a life plays on.

    Args:
        world: The world.
        nodes: How many nodes there are.
        room_bytes: How much more than its reserve a node's disk holds; None for plenty.
        is_brief: Whether little is to happen.

    Attributes:
        world: As given.
        is_brief: As given.
        most_launches: The most that a job may have.
        nodes: Their machines.
        store: The one store.
        diary: What was saved.
        oracle: Judges the store.
        shelf: Judges the disks.
        errors: The errors that processes met, by what they did.
        uploads: Every multipart upload there ever was, by its id.
        born_us: When each process began.
        ended_us: When each process ended.
        is_closing: Whether nothing new is to begin.
    """

    def __init__(self, world: World, nodes: int, room_bytes: int | None, *, is_brief: bool = False) -> None:
        self.world = world
        self.is_brief = is_brief
        self.most_launches = 1 + world.seed % 2 if is_brief else 9
        size = 1 << 40 if room_bytes is None else RESERVED_BYTES + room_bytes
        self.nodes = [Node(world, f"node-{number}", disk_bytes=size) for number in range(nodes)]
        self.store = SimStore(world, url=URL, spared=SPARED, text=TEXT)
        for node in self.nodes:
            node.disk.text = TEXT
        self.diary = Diary()
        self.shelf = Shelf(self.diary, lambda slot: slot in self.oracle.slots)
        enforced = world.options.checksums_enforced
        self.oracle = Oracle(
            self.store,
            self.diary,
            self.shelf.has_rotted,
            lambda run: any(self.shelf.records_rotted(node, run) for node in self.nodes),
            enforced=enforced,
        )
        self.errors: Counter[tuple[str, str]] = Counter()
        self.uploads: dict[str, Begun] = {}
        self.born_us: dict[Process, int] = {}
        self.ended_us: dict[Process, int] = {}
        self._told: dict[str, list[Process]] = {}
        self.is_closing = False
        self.transfer = TransferSettings(
            part_size_bytes=64, pack_below_bytes=40, parts_in_flight=3, buffer_size_bytes=64
        )
        self.agent_settings = AgentSettings(transfer=self.transfer, poll_seconds=20.0, recheck_seconds=30.0)
        if is_brief:
            self.agent_settings = quick(self.agent_settings)
        self._connections = 0
        world.watch(self)
        create_archive(self.store, world.nonce(), self.nodes[0].clock.now())

    # --- the real code, connected --------------------------------------------------------------------------------------

    def connect(self, node: Node, patience: Patience) -> Connection:
        """As `compose.connect` does it."""
        self._connections += 1
        machine = node.machine()
        limiter = Limiter(machine.clock, None, self.transfer.parts_in_flight)
        chance = random.Random(f"pauses {self.world.seed} {self._connections}")
        store = RetryingStore(self.store, machine.clock, _POLICIES[patience], chance, throttled=limiter.throttled)
        return Connection(
            store=store,
            archive_id=open_archive(store).archive_id,
            settings=self.transfer,
            limiter=limiter,
            probe_checksums=lambda: checksums_enforced(store, machine.nonce),
        )

    def archive(self, node: Node, launch_key: str | None = None) -> Archive:
        """As `Archive.open` does it."""
        return Archive(
            URL,
            node.machine(),
            lambda patience: self.connect(node, patience),
            lambda _: None,
            Environment(launch_key=launch_key),
            self.transfer,
        )

    def agent(self, node: Node, settings: AgentSettings | None = None) -> Agent:
        """As `compose.agent_at` does it."""
        machine = node.machine()
        return Agent(
            machine,
            Staging(machine, STAGING),
            lambda _: self.connect(node, Patience.MEDIUM),
            settings or self.agent_settings,
        )

    def run_agent(self, node: Node, delay_seconds: float) -> None:
        """The main function of an agent's process."""
        node.clock.sleep(delay_seconds)
        try:
            Daemon(node.machine(), self.agent(node), self.agent_settings).run(lambda: False)
        except CkptArchiveError as error:
            self.met("agent", error)

    def told_archived(self, process: Process, slot: Slot, attempt: int) -> None:
        """A process was told that its share is archived: it has left nothing behind."""
        folder = f"data/{slot.run}/{attempt:08d}/{slot.step:012d}/{slot.rank:06d}"
        self._told.setdefault(folder, []).append(process)

    def met(self, what: str, error: Exception) -> None:
        """A process met an error that it may meet."""
        self.errors[what, type(error).__name__] += 1
        self.world.note(self.process, f"meets {type(error).__name__}", str(error))

    @property
    def process(self) -> Process | None:
        """What runs now."""
        fiber = self.world.current
        return None if fiber is None else fiber.process

    # --- what happens --------------------------------------------------------------------------------------------------

    def spawn(self, name: str, node: Node, main: Main, *, daemon: bool = False) -> Process:
        """Start a process."""
        process = node.spawn(name, main, daemon=daemon)
        self.born_us[process] = self.world.now_us
        return process

    def ended(self, process: Process) -> None:
        """See `Watcher`."""
        self.ended_us[process] = self.world.now_us

    def power_lost(self, node: Host) -> None:
        """See `Watcher`."""
        assert isinstance(node, Node)
        self.world.observe(lambda: self.shelf.power_lost(node))

    def stored(self, key: str, data: bytes) -> None:
        """See `Watcher`."""
        self.oracle.stored(key, data, self.process)

    def deleted(self, key: str) -> None:
        """See `Watcher`."""
        self.oracle.deleted(key)

    def after_io(self, kind: str, detail: str) -> None:
        """See `Watcher`."""
        if kind == "disk.rename":
            self.shelf.renamed(self._node(), detail)
        elif kind == "disk.link":
            self.shelf.linked(self._node(), detail)
        elif kind == "store.start_upload":
            newest = next(reversed(self.store.bucket.uploads))
            self.uploads[newest] = Begun(self.process, late=self.process is None)

    def left_uploads(self) -> list[UploadInfo]:
        """Uploads that nobody works at any more although somebody could have known of them.

        Not those of a writer that went away after the last one came that looked, nor those that began after their writer had
        given up, nor those of a content that was not archived: they are for the bucket's own rule.
        """
        left = []
        for upload in self.store.bucket.under_way(""):
            begun = self.uploads[upload.upload_id]
            if begun.late or begun.by is None or upload.key not in self.oracle.receipt_makers:
                continue
            maker = self.oracle.receipt_makers[upload.key]
            ended_us = self.ended_us.get(begun.by)
            if begun.by in (maker, *self._told.get(upload.key.rpartition("/")[0], ())) or (
                maker is not None and ended_us is not None and self.born_us[maker] >= ended_us
            ):
                left.append(upload)
        return left

    def _node(self) -> Node:
        process = self.process
        assert process is not None
        assert isinstance(process.node, Node)
        return process.node


def quick(settings: AgentSettings) -> AgentSettings:
    """The same settings for an agent of which nobody wants to wait."""
    return replace(settings, poll_seconds=2.0, recheck_seconds=2.0)
