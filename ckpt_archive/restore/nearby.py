"""A checkpoint in a given folder, from this node's ring where that holds all that is wanted.

For people: it begins no launch and records nothing.
"""

import logging
from collections.abc import Callable

from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import standing
from ckpt_archive.errors import IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import read_attempt
from ckpt_archive.local.ring import SealedShare, complete_groups, scan
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, choose
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.ringed import restore_from_ring
from ckpt_archive.restore.selection import Selection
from ckpt_archive.restore.step import candidates
from ckpt_archive.transfer.settings import TransferSettings

_log = logging.getLogger(__name__)


def restore_nearby(
    machine: Machine,
    run: RunStaging,
    connect: Callable[[], Connection],
    step: int | str | None,
    attempt: int | None,
    folder_of: Callable[[object, int], str],
    selection: Selection,
    settings: TransferSettings,
) -> Restored | None:
    """Restore from the ring; None where the archive has to be asked instead.

    Args:
        machine: The machine it runs on.
        run: The run's staging.
        connect: Connects to the archive, not patiently: its newest launch decides which branch "latest" means, and it may
            have a step of a newer attempt.
        step: A step, "latest" or None for the latest, "latest-archived".
        attempt: Which attempt; None for the newest one that has the step.
        folder_of: The folder for an attempt's number (or a name in its stead) and a step.
        selection: Which files.
        settings: Sizes and limits.

    Raises:
        UnavailableError: If the latest one is wanted, the ring has none, and the archive does not answer.
        InvalidInputError: If the folder holds something else.
        CapacityError: If there is no room.
    """
    if run.name not in run.staging.runs():
        return None
    with run.reading():
        held = _held(run, selection, late=isinstance(step, int))
        points = list(held)
        tried: list[LocalPoint | Place]
        if isinstance(step, int):
            points = [point for point in points if point.step == step and attempt in (None, point.attempt)]
            tried = candidates(run, points, step, connect) if points and attempt is None else [*reversed(points)]
        elif attempt is None and step != "latest-archived":
            tried = [*_latest(run, points, connect)]
        else:
            return None
        for point in tried:
            if isinstance(point, Place):
                return None
            try:
                path = folder_of(f"local{point.launch}" if point.attempt is None else point.attempt, point.step)
                return restore_from_ring(machine, held[point], point, path, selection, settings)
            except (IntegrityError, NotFoundError) as error:
                _log.error("step %d in the ring is not used: %s", point.step, error)
    return None


def _latest(run: RunStaging, points: list[LocalPoint], connect: Callable[[], Connection]) -> list[LocalPoint]:
    try:
        choice = choose(points, standing(connect().store, run.name))
    except UnavailableError as error:
        if not points:
            raise
        _log.warning("the archive does not answer, this is the newest on this node: %s", error)
        return points[-1:]
    return [choice] if isinstance(choice, LocalPoint) else []


def _held(run: RunStaging, selection: Selection, *, late: bool) -> dict[LocalPoint, list[SealedShare]]:
    """The checkpoints that are here with all that is wanted of them, oldest first."""
    shares = scan(run)
    held = {}
    for launch, step in reversed(complete_groups(shares, keep_local=len(shares) + 1)):
        known = read_attempt(run, launch)
        group = [share for share in shares if (share.launch, share.step) == (launch, step)]
        writers = group[0].seal.contribution.writers
        whole = (
            len(group) == writers if selection.rank is None else any(share.rank == selection.rank for share in group)
        )
        if whole and (late or known is None or not known.late):
            held[LocalPoint(launch, None if known is None else known.attempt, step)] = group
    return held
