"""Keeps the ring small and training's disk free: evicts, and under pressure gives promotions up, all agents in one order."""

import logging
from collections.abc import Sequence

from ckpt_archive.agent.outbox import give_up
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.errors import CapacityError, ConflictError, NotFoundError
from ckpt_archive.local.capacity import check_room
from ckpt_archive.local.launches import LocalLaunch
from ckpt_archive.local.ring import SealedShare, evict, scan, thin
from ckpt_archive.local.staging import RunStaging

_log = logging.getLogger(__name__)


def relieve(
    run: RunStaging, launches: Sequence[LocalLaunch], settings: AgentSettings, *, under_way: SealedShare | None
) -> None:
    """Evict what the ring need not hold; if the next checkpoint still would not fit, give up promotions until it does.

    Args:
        run: The run.
        launches: Its launches; the newest one says how much is kept.
        settings: Whether promotions may be given up.
        under_way: A share that is being archived now and is not given up.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    if not launches:
        return
    newest = launches[-1]
    evict(run, newest.keep_local)
    if not settings.give_up_under_pressure:
        return
    shares = scan(run)
    expected_bytes = max((share.size_bytes for share in shares[-3:]), default=0)
    busy = None if under_way is None else (under_way.launch, under_way.step)
    for group in thin(shares):
        try:
            check_room(run.staging, expected_bytes, newest.quota_bytes)
        except CapacityError as error:
            if group != busy:
                _give_up_group(shares, group, error)
                evict(run, newest.keep_local)
        else:
            return


def _give_up_group(shares: Sequence[SealedShare], group: tuple[int, int], error: CapacityError) -> None:
    for share in shares:
        if (share.launch, share.step) == group and share.is_pinned:
            try:
                give_up(share, f"the disk is nearly full: {error.message}")
            except (ConflictError, NotFoundError) as refused:
                _log.info("%s", refused)
            else:
                _log.warning("gave up %s: %s", share, error.message)
