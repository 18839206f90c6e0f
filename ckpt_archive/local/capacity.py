"""Whether another checkpoint fits, asked before training's disk is full. Room for our own records is always kept."""

from ckpt_archive.disk.protocol import Entry, Kind, join
from ckpt_archive.errors import CapacityError
from ckpt_archive.local.faults import converting
from ckpt_archive.local.staging import Staging

RESERVED_BYTES = 64 << 20
"""Kept for seals, digests, receipts and gaps, so that what is staged can still be archived and freed."""


def check_room(staging: Staging, expected_bytes: int, quota_bytes: int | None = None) -> None:
    """Check that `expected_bytes` more can be staged.

    Args:
        staging: The staging directory.
        expected_bytes: Size of the next checkpoint, such as that of the last one.
        quota_bytes: How much the staging directory may hold; None for all of the disk.

    Raises:
        CapacityError: If less than the reserve would be left of the disk or of the quota.
    """
    with converting(f"the room of {staging.root} can not be asked"):
        free = staging.machine.fs.space(staging.root).free_bytes
    if free - expected_bytes < RESERVED_BYTES:
        raise CapacityError(
            f"{staging.root} has {free} bytes free: too few for {expected_bytes} more and a reserve of {RESERVED_BYTES}",
            hint="Free space on this disk, lower keep_local, or wait until the backlog is archived.",
        )
    if quota_bytes is None:
        return
    used = used_bytes(staging)
    if used + expected_bytes > quota_bytes - RESERVED_BYTES:
        raise CapacityError(
            f"{staging.root} holds {used} bytes; {expected_bytes} more and a reserve of {RESERVED_BYTES} exceed "
            f"the quota of {quota_bytes}",
            hint="Raise the quota, lower keep_local, or wait until the backlog is archived.",
        )


def used_bytes(staging: Staging) -> int:
    """The size of everything in a staging directory, drafts, trash and quarantine included."""
    fs = staging.machine.fs
    total = 0
    with converting(f"the size of {staging.root} can not be asked"):
        folders = [staging.root]
        while folders:
            folder = folders.pop()
            for entry in _entries(staging, folder):
                path = join(folder, entry.name)
                if entry.kind is Kind.DIRECTORY:
                    folders.append(path)
                elif entry.kind is Kind.FILE:
                    try:
                        total += fs.stat(path).size_bytes
                    except FileNotFoundError:
                        continue
    return total


def _entries(staging: Staging, folder: str) -> list[Entry]:
    """What is in a folder; it may go away while we look, as checkpoints are evicted."""
    try:
        return staging.machine.fs.list(folder)
    except (FileNotFoundError, PermissionError):
        return []
