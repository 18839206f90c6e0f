"""The ring: the newest sealed checkpoints of a run on this node. Eviction is a rename under a lock that readers share.

Nothing that is promoted leaves before it is archived or given up; the newest complete checkpoint never leaves.
"""

import logging
from collections.abc import Sequence

from ckpt_archive.disk.protocol import LockMode, parent
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local import scanning
from ckpt_archive.local.faults import converting
from ckpt_archive.local.kept import SealedShare, open_sealed, still_same
from ckpt_archive.local.launches import LocalAttempt, load_launches, read_attempt, read_resume
from ckpt_archive.local.order import Group, complete_groups, evictable, least_kept, thin
from ckpt_archive.local.scanning import saves_count, scan
from ckpt_archive.local.share_facts import Archived, Gap
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.local.trash import empty_trash, remove_if_empty, throw_away

__all__ = [
    "Archived",
    "Gap",
    "Group",
    "SealedShare",
    "complete_groups",
    "evict",
    "evictable",
    "least_kept",
    "open_sealed",
    "protected_groups",
    "saves_count",
    "scan",
    "still_same",
    "thin",
]

_log = logging.getLogger(__name__)


def evict(run: RunStaging, keep_local: int) -> list[Group]:
    """Remove what the ring need not hold; the checkpoints that went, oldest first.

    While somebody reads from the ring nothing is evicted: call again later.

    Args:
        run: The run.
        keep_local: How many complete checkpoints stay; at least 1.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    gone: list[Group] = []
    with converting(f"the ring {run.ring} can not be evicted from"):
        held = run.machine.fs.try_lock(run.ring_lock, LockMode.EXCLUSIVE)
        if held is None:
            return gone
        with held:
            findings = scanning.inspect(run)
            groups = evictable(findings.shares, keep_local, protected_groups(run, findings.shares, keep_local))
            if groups and run.staging.known is not None:
                # Nothing goes on the strength of one that only stood here when this process saw it last.
                run.staging.known.forget()
                findings = scanning.inspect(run)
                groups = evictable(findings.shares, keep_local, protected_groups(run, findings.shares, keep_local))
            if groups:
                # A share may be seen before its name is durable: nothing goes on the strength of one that power loss takes.
                for launch, step in complete_groups(findings.shares, keep_local)[: max(1, keep_local)]:
                    run.sync_names(launch, step)
            members = [*findings.shares, *findings.replaced]
            gone += [group for group in groups if _evict_group(run, group, members)]
        if gone:
            empty_trash(run)
    return gone


def protected_groups(run: RunStaging, shares: Sequence[SealedShare], keep_local: int) -> set[Group]:
    """The checkpoints from which launches resumed that have no complete one of their own yet.

    It goes back to the newest launch that has one: a launch that died before its first save leaves its resume point to the
    next one, which may not have recorded its own yet.
    """
    complete = {launch for launch, _ in complete_groups(shares, keep_local)}
    launches = load_launches(run)
    attempts: dict[int, LocalAttempt | None] | None = None
    protected: set[Group] = set()
    for launch in reversed(launches):
        if launch.ordinal in complete:
            break
        try:
            resume = read_resume(run, launch.ordinal)
        except CkptArchiveError:
            # From where it resumed is not known: nothing goes until it has a checkpoint of its own.
            return {(share.launch, share.step) for share in shares}
        if resume is None:
            continue
        if resume.from_ring is not None:
            protected.add(resume.from_ring)
        if resume.resume_from is not None:
            place = resume.resume_from
            if attempts is None:
                attempts = {item.ordinal: read_attempt(run, item.ordinal) for item in launches}
            protected |= {
                (ordinal, place.step)
                for ordinal, attempt in attempts.items()
                if attempt is not None and attempt.attempt == place.attempt
            }
    return protected


def _evict_group(run: RunStaging, group: Group, shares: Sequence[SealedShare]) -> bool:
    members = [share for share in shares if (share.launch, share.step) == group]
    with run.machine.fs.lock(run.state_lock, LockMode.EXCLUSIVE):
        # Asked again: only now nobody promotes it meanwhile.
        if any(share.is_pinned for share in members):
            return False
        for share in members:
            throw_away(run, share.folder)
    step_folder = run.step_folder(*group)
    for folder in (step_folder, parent(step_folder)):
        remove_if_empty(run, folder)
    _log.info("evicted step %d of %s (local launch %d)", group[1], run.name, group[0])
    return True
