"""What a node holds, told without network, credentials or an agent. It reads; nothing is moved, written or repaired."""

import enum
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local import scanning
from ckpt_archive.local.capacity import used_bytes
from ckpt_archive.local.faults import converting
from ckpt_archive.local.gaps import MissedSave, peek_missed
from ckpt_archive.local.kept import SealedShare
from ckpt_archive.local.launches import LocalLaunch, peek_launches, read_attempt
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.staging import RunStaging, Staging


class ShareState(enum.Enum):
    """Where a share stands on its way to the archive."""

    STAGED = "staged"
    PROMOTED = "promoted"
    ARCHIVED = "archived"
    GAP = "gap"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class ShareStatus:
    """A share.

    Attributes:
        launch: Local launch ordinal; None for what is in quarantine.
        step: Training step; None for what is in quarantine.
        rank: Which writer; None for what is in quarantine.
        state: Where it stands.
        size_bytes: Of its files; 0 for a save that failed, and for what is in quarantine.
        staged_at: When it was sealed, or failed, or was set aside.
        detail: The reason of a gap or of quarantine; else "".
    """

    launch: int | None
    step: int | None
    rank: int | None
    state: ShareState
    size_bytes: int
    staged_at: datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class LaunchStatus:
    """A launch.

    Attributes:
        launch: Its record.
        live: Whether a process of it lives; None if that can not be asked.
        attempt: Its number in the archive; None while it has none.
    """

    launch: LocalLaunch
    live: bool | None
    attempt: int | None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run on this node.

    Attributes:
        run: Run name.
        launches: In their order.
        shares: In the order (launch, save); then saves that failed and of which the archive was not told yet; then what is
            in quarantine.
        error: Why the rest could not be read; "" if all could.
    """

    run: str
    launches: tuple[LaunchStatus, ...]
    shares: tuple[ShareStatus, ...]
    error: str = ""

    @property
    def size_bytes(self) -> int:
        """The sealed shares' total size."""
        return sum(share.size_bytes for share in self.shares)

    def count(self, state: ShareState) -> int:
        """How many shares are in that state."""
        return sum(share.state is state for share in self.shares)


@dataclass(frozen=True, slots=True)
class StagingStatus:
    """All of a staging directory.

    Attributes:
        root: Its path.
        runs: By name.
        used_bytes: Everything in it, drafts, trash and quarantine included.
        free_bytes: Left on its disk.
        agent_live: Whether an agent holds its lock; None if that can not be asked.
        oldest_promotion_seconds: Age of the oldest share that waits to be archived; None if none does.
    """

    root: str
    runs: tuple[RunStatus, ...]
    used_bytes: int
    free_bytes: int
    agent_live: bool | None
    oldest_promotion_seconds: float | None


def describe(staging: Staging) -> StagingStatus:
    """Everything that is known of a staging directory.

    Raises:
        InvalidInputError: If it is not there, or may not be read.
        UnavailableError: If the disk does not answer.
    """
    machine = staging.machine
    with converting(f"the staging folder {staging.root} can not be read"):
        space = machine.fs.space(staging.root)
    runs = tuple(_run(staging.run(name)) for name in staging.runs())
    waiting = [
        share.staged_at
        for run in runs
        for share in run.shares
        if share.state is ShareState.PROMOTED and share.staged_at is not None
    ]
    now = machine.clock.now()
    return StagingStatus(
        root=staging.root,
        runs=runs,
        used_bytes=used_bytes(staging),
        free_bytes=space.free_bytes,
        agent_live=_is_held(staging, staging.agent_lock),
        oldest_promotion_seconds=max(0.0, (now - min(waiting)).total_seconds()) if waiting else None,
    )


def _run(run: RunStaging) -> RunStatus:
    launches: list[LaunchStatus] = []
    shares: list[ShareStatus] = []
    try:
        with converting(f"{run.folder} can not be read"):
            launches += [_launch(run, launch) for launch in peek_launches(run)]
            findings = scanning.inspect(run)
            shares += [_share(share) for share in findings.shares]
            there = {(share.launch, share.step, share.rank) for share in findings.shares}
            missed = [item for item in peek_missed(run) if (item.launch, item.step, item.rank) not in there]
            shares += [_missed(item) for item in missed]
            unusable = (*findings.suspects, *findings.unreadable)
            shares += [_untrusted(suspect.path, suspect.reason, None) for suspect in unusable]
            shares += [_untrusted(item.path or item.name, item.reason, item.set_aside_at) for item in quarantined(run)]
    except CkptArchiveError as error:
        # One run that can not be read must not hide the others.
        return RunStatus(run.name, tuple(launches), tuple(shares), str(error))
    return RunStatus(run.name, tuple(launches), tuple(shares))


def _launch(run: RunStaging, launch: LocalLaunch) -> LaunchStatus:
    attempt = read_attempt(run, launch.ordinal)
    live = _is_held(run.staging, run.launch_file(launch.ordinal, ".lock"))
    return LaunchStatus(launch, live, None if attempt is None else attempt.attempt)


def _is_held(staging: Staging, lock: str) -> bool | None:
    fs = staging.machine.fs
    try:
        if not durable.exists(fs, lock):
            return False
        held = fs.try_lock(lock, LockMode.SHARED if lock == staging.agent_lock else LockMode.EXCLUSIVE)
    except OSError:
        # Somebody else's staging directory may be readable and no more.
        return None
    if held is None:
        return True
    with held:
        return False


def _share(share: SealedShare) -> ShareStatus:
    gap = share.gap()
    if share.is_archived:
        state = ShareState.ARCHIVED
    elif gap is not None:
        state = ShareState.GAP
    elif share.is_promoted:
        state = ShareState.PROMOTED
    else:
        state = ShareState.STAGED
    return ShareStatus(
        launch=share.launch,
        step=share.step,
        rank=share.rank,
        state=state,
        size_bytes=share.size_bytes,
        staged_at=share.seal.contribution.staged_at,
        detail="" if gap is None else gap.reason,
    )


def _missed(missed: MissedSave) -> ShareStatus:
    reason = f"not saved: {missed.reason}"
    return ShareStatus(missed.launch, missed.step, missed.rank, ShareState.GAP, 0, missed.at, reason)


def _untrusted(path: str, reason: str, set_aside_at: datetime | None) -> ShareStatus:
    return ShareStatus(None, None, None, ShareState.QUARANTINED, 0, set_aside_at, f"{path}: {reason}")
