"""Where everything of a staging directory lies, and whether it may lie there. Paths and locks only."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, LockMode, join, parent
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.local.faults import converting
from ckpt_archive.local.known import Known
from ckpt_archive.machine import Machine
from ckpt_archive.names import MAX_ATTEMPT, MAX_RANK, MAX_STEP, RUN_NAME, check_run_name

LAUNCH_DIGITS = len(str(MAX_ATTEMPT))
STEP_DIGITS = len(str(MAX_STEP))
RANK_DIGITS = len(str(MAX_RANK))

NONCE = re.compile(r"[0-9a-f]{32}")
_RANK_NAME = re.compile(rf"rank-([0-9]{{{RANK_DIGITS}}})(?:\.([1-9][0-9]{{0,8}}))?")

# On these, locks may hold on one node only, another node's writes show late, and a rename may be answered twice.
_NETWORK_MOUNTS = (
    "nfs", "lustre", "fuse", "cifs", "smb", "9p", "ceph", "gpfs", "beegfs", "afs", "gluster", "pvfs", "orangefs", "ocfs2",
    "gfs2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Staging:
    """One staging directory: all runs of a node.

    Attributes:
        machine: The disk it lies on, and the rest of the machine.
        root: Absolute path.
        allow_network: Whether a network file system is accepted.
        known: What was read before and need not be read again, for a process that looks every second; None: read all.

    Raises:
        InvalidInputError: If `root` is not absolute.
    """

    machine: Machine
    root: str
    allow_network: bool = False
    known: Known | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.root.startswith("/"):
            raise InvalidInputError(f"the staging folder {self.root!r} is not absolute", hint="Write its full path.")

    @property
    def agent_lock(self) -> str:
        """Held by the one agent of this staging directory."""
        return join(self.root, "agent.lock")

    def runs(self) -> list[str]:
        """The names of the runs that have staged something here, sorted; foreign names are passed over.

        Raises:
            UnavailableError: If the folder can not be listed.
        """
        fs = self.machine.fs
        with converting(f"the staging folder {self.root} can not be listed"):
            try:
                entries = fs.list(self.root)
            except FileNotFoundError:
                return []
            return [
                entry.name
                for entry in entries
                if entry.kind is Kind.DIRECTORY
                and RUN_NAME.fullmatch(entry.name)
                and durable.exists(fs, self.run(entry.name).launches)
            ]

    def run(self, name: str) -> "RunStaging":
        """The part of one run; nothing is created."""
        return RunStaging(self, check_run_name(name))


@dataclass(frozen=True, slots=True)
class RunStaging:
    """The part of a staging directory that belongs to one run.

    Attributes:
        staging: The whole.
        name: Run name.
    """

    staging: Staging
    name: str

    @property
    def machine(self) -> Machine:
        """The machine it lies on."""
        return self.staging.machine

    @property
    def folder(self) -> str:
        """Everything of this run."""
        return join(self.staging.root, self.name)

    @property
    def launches(self) -> str:
        """Launch records and their locks."""
        return join(self.folder, "launches")

    @property
    def tmp(self) -> str:
        """Drafts: what is being written."""
        return join(self.folder, "tmp")

    @property
    def ring(self) -> str:
        """Sealed shares."""
        return join(self.folder, "ring")

    @property
    def gaps(self) -> str:
        """Records of saves that failed: steps of which this node has no share."""
        return join(self.folder, "gaps")

    @property
    def trash(self) -> str:
        """What is being removed; nothing in here is ever read again."""
        return join(self.folder, "trash")

    @property
    def quarantine(self) -> str:
        """What could not be trusted, each with its reason; never removed by us."""
        return join(self.folder, "quarantine")

    @property
    def ring_lock(self) -> str:
        """SHARED: shares are being read and must stay. EXCLUSIVE: some may be taken away."""
        return join(self.folder, "ring.lock")

    @property
    def state_lock(self) -> str:
        """EXCLUSIVE, for a few local calls: whether a share is promoted, given up or replaced is being decided."""
        return join(self.folder, "state.lock")

    @property
    def trash_lock(self) -> str:
        """EXCLUSIVE: the trash is being emptied."""
        return join(self.folder, "trash.lock")

    def launch_folder(self, launch: int) -> str:
        """All sealed shares of a launch."""
        return join(self.ring, f"{launch:0{LAUNCH_DIGITS}d}")

    def step_folder(self, launch: int, step: int) -> str:
        """All sealed shares of a step of a launch."""
        return join(self.launch_folder(launch), f"{step:0{STEP_DIGITS}d}")

    def launch_file(self, launch: int, suffix: str) -> str:
        """A file about a launch, such as its record (``.json``) or its lock (``.lock``)."""
        return join(self.launches, f"{launch:0{LAUNCH_DIGITS}d}{suffix}")

    def prepare(self) -> None:
        """Make all folders, durably; may be repeated.

        Raises:
            InvalidInputError: If they would lie on a network file system, or may not be made.
            CapacityError: If the disk is full.
        """
        with converting(f"the staging folder {self.folder} can not be made"):
            self._check_mount()
            # The launches last: by them a run is known, and whoever knows it may rely on the others.
            for folder in (self.tmp, self.ring, self.gaps, self.trash, self.quarantine, self.launches):
                durable.make_directories(self.machine.fs, folder)
            self._sync_way()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While the context lasts, no share of the ring is evicted: for a restore that reads from it.

        Raises:
            UnavailableError: If the disk does not answer.
        """
        with ExitStack() as held:
            with converting(f"the ring {self.ring} can not be locked"):
                held.enter_context(self.machine.fs.lock(self.ring_lock, LockMode.SHARED))
            yield

    def sync_names(self, launch: int, step: int) -> None:
        """Make all names durable that lead to the shares of a step, also those that others have made and not yet synced."""
        self.machine.fs.sync_directory(self.step_folder(launch, step))
        self.machine.fs.sync_directory(self.launch_folder(launch))
        self.machine.fs.sync_directory(self.ring)

    def _sync_way(self) -> None:
        """`make_directories` stops at the first folder it finds, but who made that may have died before syncing its name."""
        folder = self.folder
        while folder != "/":
            folder = parent(folder)
            try:
                self.machine.fs.sync_directory(folder)
            except PermissionError:
                # Nobody of ours can have made anything in a folder that we may not even open.
                continue

    def _check_mount(self) -> None:
        fs = self.machine.fs
        path = self.folder
        while not durable.exists(fs, path) and path != "/":
            path = parent(path)
        kind = fs.mount_kind(path)
        if kind.startswith(_NETWORK_MOUNTS) and not self.staging.allow_network:
            raise InvalidInputError(
                f"the staging folder {self.staging.root} lies on a network file system ({kind}), where locks may not hold",
                hint="Use a local SSD; if you know that flock and fsync hold there, pass --allow-network-staging.",
            )


def rank_name(rank: int, generation: int) -> str:
    """The name of a share's folder below its step; the first has generation 0."""
    stem = f"rank-{rank:0{RANK_DIGITS}d}"
    return f"{stem}.{generation}" if generation else stem


def parse_rank_name(name: str) -> tuple[int, int] | None:
    """(rank, generation) of such a name, else None."""
    match = _RANK_NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def parse_number(name: str, digits: int) -> int | None:
    """The number in a name of exactly `digits` decimal digits, else None."""
    return int(name) if len(name) == digits and name.isascii() and name.isdigit() else None
