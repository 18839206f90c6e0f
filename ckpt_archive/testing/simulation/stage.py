"""A simulated site: a store, nodes, and the real code connected to them, watched by an oracle."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.archive import Archive
from ckpt_archive.commit.archive_record import create_archive, open_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.local.known import Known
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.patience import Patience
from ckpt_archive.settings import Environment
from ckpt_archive.store.probe import checksums_enforced
from ckpt_archive.store.protocol import UploadInfo
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.testing.simulation.agents import DrowsyClock
from ckpt_archive.testing.simulation.cast import Begun, Launch, Size
from ckpt_archive.testing.simulation.diary import Diary, Slot
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.oracle import SPARED, TEXT, At, Oracle
from ckpt_archive.testing.simulation.process import Host, Main, Process, Watcher
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS
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


class Stage(Watcher):
    """Everything that a life plays on.

    Args:
        world: The world.
        nodes: How many nodes there are.
        room_bytes: How much more than its reserve a node's disk holds; None for plenty.
        is_brief: Whether so little is to happen that a life can be broken off everywhere.
        size: How much may happen.

    Attributes:
        world: As given.
        is_brief: As given.
        size: As given.
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
        has_little_room: Whether promotions may have to be given up for want of it.
        launches_of_jobs: All there were, by run and launch key.
        part_bytes: Into parts of which sizes agents cut files.
        awaited: Saves that failed and that others wait for, with the name of the node.
        at_calm: What ends when nothing goes wrong any more.
        disk_bytes: Size of a node's disk.
    """

    def __init__(
        self,
        world: World,
        nodes: int,
        room_bytes: int | None,
        *,
        is_brief: bool = False,
        size: Size = Size(),  # noqa: B008 - frozen
    ) -> None:
        self.world = world
        self.is_brief = is_brief
        self.size = size
        self.most_launches = (1 + world.seed % 2,) if is_brief else size.launches
        self.disk_bytes = 1 << 40 if room_bytes is None else RESERVED_BYTES + room_bytes
        self.nodes = [Node(world, f"node-{number}", disk_bytes=self.disk_bytes) for number in range(nodes)]
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
            self.recorded,
            self.given_up,
            enforced=enforced,
        )
        self.errors: Counter[tuple[str, str]] = Counter()
        self.uploads: dict[str, Begun] = {}
        self.born_us: dict[Process, int] = {}
        self.ended_us: dict[Process, int] = {}
        self._told: dict[str, list[Process]] = {}
        self.is_closing = False
        self.has_little_room = room_bytes is not None
        self.launches_of_jobs: dict[tuple[str, str], Launch] = {}
        self.awaited: list[tuple[Slot, str]] = []
        self.at_calm: list[Callable[[], None]] = []
        self.transfer = TransferSettings(
            part_size_bytes=64, pack_below_bytes=40, parts_in_flight=3, buffer_size_bytes=64
        )
        self.agent_settings = AgentSettings(transfer=self.transfer, poll_seconds=20.0, recheck_seconds=30.0)
        if is_brief:
            self.agent_settings = quick(self.agent_settings)
        self._connections = 0
        self.part_bytes = (64, 96) if world.seed % 5 == 0 else (64,)
        world.watch(self)
        create_archive(self.store, world.nonce(), self.nodes[0].clock.now())

    # --- the real code, connected --------------------------------------------------------------------------------------

    def connect(self, node: Node, patience: Patience, transfer: TransferSettings | None = None) -> Connection:
        """As `compose.connect` does it."""
        self._connections += 1
        machine = node.machine()
        limiter = Limiter(machine.clock, None, self.transfer.parts_in_flight)
        chance = random.Random(f"pauses {self.world.seed} {self._connections}")
        store = RetryingStore(self.store, machine.clock, _POLICIES[patience], chance, throttled=limiter.throttled)
        return Connection(
            store=store,
            archive_id=open_archive(store).archive_id,
            settings=transfer or self.transfer,
            limiter=limiter,
            probe_checksums=lambda: checksums_enforced(store, machine.nonce),
        )

    def archive(self, node: Node, launch_key: str | None = None) -> Archive:
        """As `Archive.open` does it."""
        return Archive(
            URL,
            node.machine(),
            lambda patience: self.connect(node, patience),
            lambda _: self.agent_wanted(node),
            Environment(launch_key=launch_key),
            self.transfer,
        )

    def agent_wanted(self, node: Node) -> None:
        """A trainer would have an agent started on its node, if none works there."""

    def agent(self, node: Node, settings: AgentSettings | None = None, machine: Machine | None = None) -> Agent:
        """As `compose.agent_at` does it."""
        machine = machine or node.machine()
        settings = settings or self.agent_settings
        # Another release, or another configuration, may cut files into other parts.
        part_bytes = self.part_bytes[self._connections % len(self.part_bytes)]
        transfer = replace(settings.transfer, part_size_bytes=part_bytes)
        return Agent(
            machine,
            Staging(machine, STAGING, known=Known()),
            lambda _: self.connect(node, Patience.MEDIUM, transfer),
            replace(settings, transfer=transfer),
        )

    def run_agent(self, node: Node, delay_seconds: float, *, until_idle: bool = False) -> None:
        """The main function of an agent's process."""
        node.clock.sleep(delay_seconds)
        settings = self.agent_settings
        clock = DrowsyClock(node.clock, settings.poll_seconds)
        machine = replace(node.machine(), clock=clock)
        try:
            daemon = Daemon(machine, self.agent(node, settings, machine), settings)
            daemon.run(lambda: False, until_idle=until_idle, on_pass=clock.told)
        except CkptArchiveError as error:
            self.met("agent", error)

    def told_archived(self, process: Process, slot: Slot, attempt: int) -> None:
        """A process was told that its share is archived: it has left nothing behind."""
        folder = f"data/{slot.run}/{attempt:08d}/{slot.step:012d}/{slot.rank:06d}"
        self._told.setdefault(folder, []).append(process)

    def recorded(self, run: str, fields: dict[str, Any]) -> None:
        """A launch has got its number: it is late if another one took its place before, and only then; clocks permitting."""
        launch, process = self.launches_of_jobs.get((run, fields["launch_key"])), self.process
        if launch is not None:
            launch.recorded_us = self.world.now_us
        if launch is None or process is None or self.world.options.clock_skew_seconds:
            return
        others = [
            other
            for (name, key), other in self.launches_of_jobs.items()
            if name == run and other is not launch and (name, key) in self.oracle.attempts
        ]
        if fields["late"]:
            known = {run_key for run_key in self.oracle.attempts if run_key[0] == run} <= self.launches_of_jobs.keys()
            fair = not known or any(other.recorded_us > launch.began_us for other in others)
            assert fair, f"launch {launch.number} of {run} is late, and none was recorded since it began"
            return
        ended = [self.ended_us.get(member) for member in launch.processes]
        ended_us = max((at for at in ended if at is not None), default=0)
        if None not in ended and ended_us < self.born_us[process]:
            after = [other.number for other in others if other.began_us > ended_us and not self._is_late(run, other)]
            assert not after, f"launch {launch.number} of {run} had ended before {after} began, and is not late"

    def _is_late(self, run: str, launch: Launch) -> bool:
        return bool(self.oracle.launches[run, self.oracle.attempts[run, launch.key]]["late"])

    def given_up(self, at: At, launch: dict[str, Any], reason: str) -> None:
        """A checkpoint is given up: something must have stood in its way."""
        run, _, step = at
        slots = [Slot(run, launch["launch_key"], step, rank) for rank in range(launch["writers"])]
        held = {item.save.slot: item for item in self.shelf.held.values()}
        if self.has_little_room or any(
            slot not in held or slot in self.diary.failed or slot in self.diary.spoilt or held[slot].rotted()
            for slot in slots
        ):
            return
        if any(self.shelf.records_rotted(node, run) for node in self.nodes):
            return
        if any(slot in self.oracle.slots and self.diary.bound[slot] != held[slot].save.files for slot in slots):
            # What was saved as this before is archived, and had left the ring when the same launch saved it again: nobody
            # could know then, nothing else ever takes that place in the archive, and of the second content the gap tells.
            return
        # Whoever came so late was not awaited any more; clocks say when.
        waited_seconds = (self.world.now_us - min(held[slot].at_us for slot in slots)) / MICROSECONDS
        allowed_seconds = self.agent_settings.abandon_seconds - 2 * self.world.options.clock_skew_seconds
        late = len(slots) > 1 and waited_seconds >= allowed_seconds
        assert late, f"{run} step {step} is given up, and nothing stood in its way: {reason}"

    def check_drained(self, node: Node, run: str | None, before_us: int) -> None:
        """Somebody was told that all that a node had promised before is archived, or given up."""
        for held in self.shelf.promised:
            slot = held.save.slot
            if held.node is not node or held.at_us >= before_us or run not in (None, slot.run):
                continue
            attempt = self.oracle.attempts.get((slot.run, slot.launch_key))
            is_gap = held.has_gap or (attempt is not None and (slot.run, attempt, slot.step) in self.oracle.gaps)
            excused = held.rotted() or slot in self.diary.spoilt or self.shelf.records_rotted(node, slot.run)
            assert slot in self.oracle.slots or is_gap or excused, f"{slot} is said to be archived, and is not"

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
            if len(self.store.bucket.get(upload.key).data) <= max(self.part_bytes) > self.transfer.part_size_bytes:
                # For an agent that cuts into larger parts it is one piece, and it looks for no upload of it.
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
