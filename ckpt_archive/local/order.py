"""Which checkpoints of the ring may go, and in which order promotions are given up. Pure: values in, values out."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckpt_archive.local.sealed import Seal
from ckpt_archive.strictjson import Json

Group = tuple[int, int]
"""(local launch ordinal, step): all shares of one checkpoint on this node."""


class Held(Protocol):
    """What is asked of a share; `SealedShare` is one."""

    @property
    def launch(self) -> int:
        """Local launch ordinal."""
        ...

    @property
    def step(self) -> int:
        """Training step."""
        ...

    @property
    def rank(self) -> int:
        """Which writer."""
        ...

    @property
    def seal(self) -> Seal:
        """Its seal."""
        ...

    @property
    def is_pinned(self) -> bool:
        """Whether it must stay."""
        ...

    @property
    def has_receipt(self) -> bool:
        """Whether its receipt is written."""
        ...

    def promotion(self) -> Mapping[str, Json]:
        """Why it is to be archived."""
        ...


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    group: Group
    saves: Mapping[int, int]  # rank -> which save of that rank it is
    writers: int

    @property
    def launch(self) -> int:
        return self.group[0]

    @property
    def newness(self) -> tuple[int, int, int]:
        return self.group[0], max(self.saves.values()), self.group[1]

    def is_older_than(self, other: "_Checkpoint") -> bool:
        """Only what a common writer saved in that order is surely older: each writer counts its own saves."""
        if self.launch != other.launch:
            return self.launch < other.launch
        common = self.saves.keys() & other.saves.keys()
        return bool(common) and all(self.saves[rank] < other.saves[rank] for rank in common)


def complete_groups(shares: Sequence[Held], keep_local: int) -> list[Group]:
    """The checkpoints that have a share of every writer of this node, newest first.

    How many writers a node has is written nowhere. It is all of them, or those that took part in the launch's newest
    checkpoints, and at first also those of the launch before; the first checkpoint of a launch proves nothing, because
    others may be still at it.
    """
    by_launch: dict[int, list[_Checkpoint]] = defaultdict(list)
    for checkpoint in _checkpoints(shares):
        by_launch[checkpoint.launch].append(checkpoint)
    complete = []
    ranks_before: dict[int, set[int]] = {}
    for _, checkpoints in sorted(by_launch.items()):
        checkpoints.sort(key=lambda item: item.newness, reverse=True)
        writers = checkpoints[0].writers
        # Bounded, so that a writer that saves no more, or on another node, holds nothing back for ever.
        proof = keep_local + 2
        taking_part = {rank for item in checkpoints[:proof] for rank in item.saves}
        if len(checkpoints) <= proof:
            taking_part |= ranks_before.get(writers, set())
        ranks_before[writers] = {rank for item in checkpoints for rank in item.saves}
        for item in checkpoints:
            is_whole = len(item.saves) == item.writers
            if is_whole or (len(checkpoints) > 1 and item.saves.keys() >= taking_part):
                complete.append(item)
    complete.sort(key=lambda item: item.newness, reverse=True)
    return [item.group for item in complete]


def least_kept(writers: int) -> int:
    """How many complete checkpoints stay on a node even where there is no room.

    With several writers two: where one node dies before its newest save, all need the one before.
    """
    return 1 if writers == 1 else 2


def evictable(shares: Sequence[Held], keep_local: int, protected: Collection[Group] = ()) -> list[Group]:
    """The checkpoints that may be evicted, oldest first.

    A checkpoint stays while it has a pinned share, is protected, or is among the newest `keep_local` complete ones; and also
    while fewer than that many complete ones are newer, whether it is complete itself or not.

    Args:
        shares: All sealed shares of a run on this node.
        keep_local: How many complete checkpoints stay; at least 1.
        protected: Checkpoints that stay whatever their age.
    """
    keep_local = max(1, keep_local)
    checkpoints = {item.group: item for item in _checkpoints(shares)}
    complete = [checkpoints[group] for group in complete_groups(shares, keep_local)]
    stay = {item.group for item in complete[:keep_local]} | set(protected)
    old = [item for item in checkpoints.values() if item.group not in stay and _has_newer(item, complete, keep_local)]
    pinned = _pinned(shares, {item.group for item in old})
    return [item.group for item in sorted(old, key=lambda item: item.newness) if item.group not in pinned]


def thin(shares: Sequence[Held]) -> list[Group]:
    """The promotions that may be given up when the disk runs full, the first to go first.

    All agents of a launch must choose alike without talking: odd ordinals go first, then those divisible by 2, by 4, and so
    on, older before newer; then promotions without an ordinal, which somebody asked for by name. The newest one is kept,
    and none goes of which a receipt is written.
    """
    newness = {item.group: item.newness for item in _checkpoints(shares)}
    pinned: dict[Group, list[Held]] = defaultdict(list)
    for share in shares:
        if share.is_pinned:
            pinned[share.launch, share.step].append(share)
    if not pinned:
        return []
    newest = max(pinned, key=lambda group: newness[group])
    ranked = sorted(
        (min(_trailing_zeros(share.promotion()) for share in held), newness[group], group)
        for group, held in pinned.items()
        if group != newest and not any(share.has_receipt for share in held)
    )
    return [group for _, _, group in ranked]


def _trailing_zeros(promotion: Mapping[str, Json]) -> int:
    ordinal = promotion.get("ordinal")
    if isinstance(ordinal, bool) or not isinstance(ordinal, int) or ordinal < 0:
        return 129
    return (ordinal & -ordinal).bit_length() - 1 if ordinal else 128


def _checkpoints(shares: Sequence[Held]) -> list[_Checkpoint]:
    saves: dict[Group, dict[int, int]] = defaultdict(dict)
    writers: dict[Group, int] = {}
    for share in shares:
        group = (share.launch, share.step)
        saves[group][share.rank] = share.seal.saves
        writers[group] = share.seal.contribution.writers
    return [_Checkpoint(group, ranks, writers[group]) for group, ranks in saves.items()]


def _has_newer(item: _Checkpoint, complete: Sequence[_Checkpoint], count: int) -> bool:
    """Whether at least `count` complete ones are newer; they are given newest first, so this is soon known."""
    found = 0
    for other in complete:
        found += item.is_older_than(other)
        if found == count:
            return True
    return False


def _pinned(shares: Sequence[Held], groups: Collection[Group]) -> set[Group]:
    return {(share.launch, share.step) for share in shares if (share.launch, share.step) in groups and share.is_pinned}
