"""Keeps the ring small and training's disk free: evicts, and under pressure gives promotions up, all agents in one order."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckpt_archive.agent.outbox import give_up
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.errors import CapacityError, ConflictError, NotFoundError
from ckpt_archive.local.capacity import check_room
from ckpt_archive.local.launches import LocalLaunch
from ckpt_archive.local.ring import Group, SealedShare, evict, evictable, least_kept, protected_groups, scan, thin
from ckpt_archive.local.sealed import Seal
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.strictjson import Json

_log = logging.getLogger(__name__)


def relieve(
    run: RunStaging,
    launches: Sequence[LocalLaunch],
    shares: Sequence[SealedShare],
    settings: AgentSettings,
    *,
    under_way: SealedShare | None,
) -> bool:
    """Evict what the ring need not hold; under pressure also what a restart can do without, and then give promotions up.

    Args:
        run: The run.
        launches: Its launches; the newest one that has saved says how much is kept.
        shares: What lay in its ring a moment ago.
        settings: Whether promotions may be given up.
        under_way: A share that is being archived now and is not given up.

    Returns:
        Whether anything was evicted or given up.

    Raises:
        UnavailableError: If the disk does not answer.
        CapacityError: If the disk is so full that not even a gap can be recorded.
    """
    saved = {share.launch for share in shares}
    newest = next((launch for launch in reversed(launches) if launch.ordinal in saved), None)
    if newest is None:
        return False
    # Only beyond that many is anything evicted; what has come since is for the next time.
    groups = {(share.launch, share.step) for share in shares}
    changed = len(groups) > newest.keep_local and bool(evict(run, newest.keep_local))
    if not settings.give_up_under_pressure:
        return changed
    expected_bytes = _expected_bytes(shares)
    if _shortage(run, expected_bytes, newest.quota_bytes) is None:
        return changed
    evict(run, least_kept(newest.writers))
    shares = scan(run)
    left: list[Group] | None = None
    while (shortage := _shortage(run, expected_bytes, newest.quota_bytes)) is not None:
        left = _thinnable(run, shares, newest.keep_local, under_way) if left is None else left
        if not left:
            break
        _give_up_group(shares, left.pop(0), shortage)
        evict(run, newest.keep_local)
    return True


def _shortage(run: RunStaging, expected_bytes: int, quota_bytes: int | None) -> CapacityError | None:
    try:
        check_room(run.staging, expected_bytes, quota_bytes)
    except CapacityError as error:
        return error
    return None


def _expected_bytes(shares: Sequence[SealedShare]) -> int:
    """The size of the next checkpoint on this node: that of the largest here, of all its writers."""
    sizes: dict[Group, int] = defaultdict(int)
    for share in shares:
        sizes[share.launch, share.step] += share.size_bytes
    return max(sizes.values(), default=0)


@dataclass(frozen=True, slots=True)
class _Unpinned:
    """A share as it would be if its promotion were given up."""

    share: SealedShare
    is_pinned: bool = False

    @property
    def launch(self) -> int:
        return self.share.launch

    @property
    def step(self) -> int:
        return self.share.step

    @property
    def rank(self) -> int:
        return self.share.rank

    @property
    def seal(self) -> Seal:
        return self.share.seal

    @property
    def has_receipt(self) -> bool:
        return self.share.has_receipt

    def promotion(self) -> Mapping[str, Json]:
        return self.share.promotion()


def _thinnable(
    run: RunStaging, shares: Sequence[SealedShare], keep_local: int, under_way: SealedShare | None
) -> list[Group]:
    """The promotions to give up, in their order: only what could then be evicted, for nothing else makes room."""
    protected = protected_groups(run, shares, keep_local)
    could_go = set(evictable([_Unpinned(share) for share in shares], keep_local, protected))
    if under_way is not None:
        could_go.discard((under_way.launch, under_way.step))
    return [group for group in thin(shares) if group in could_go]


def _give_up_group(shares: Sequence[SealedShare], group: Group, error: CapacityError) -> None:
    for share in shares:
        if (share.launch, share.step) == group and share.is_pinned:
            try:
                give_up(share, f"the disk is nearly full: {error.message}")
            except (ConflictError, NotFoundError) as refused:
                _log.info("%s", refused)
            else:
                _log.warning("gave up %s: %s", share, error.message)
