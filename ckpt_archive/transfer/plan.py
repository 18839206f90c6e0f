"""Which object carries which file, and in parts of what size. Values only.

The plan depends on nothing but the set of (path, size), the settings and the store's limits, so a process that starts again
plans the same objects and finds its earlier parts.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.transfer.settings import TransferSettings

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file within an object: `size_bytes` from `offset`."""

    path: str
    size_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """An object that is to be made: its files one after the other, in parts of `part_size_bytes`, the last one shorter."""

    members: tuple[Member, ...]
    size_bytes: int
    part_size_bytes: int


def plan_objects(
    files: Sequence[tuple[str, int]], settings: TransferSettings, limits: StoreLimits
) -> tuple[ObjectPlan, ...]:
    """Distribute files over objects.

    Args:
        files: (path, size in bytes) of every file of one writer, in any order.
        settings: Part size, and below which size files share one object.
        limits: What the store takes.

    Returns:
        The objects in the order of their first path. An empty file belongs to none.

    Raises:
        InvalidInputError: If a path occurs twice, or an object would be larger than the store can take.
    """
    ordered = sorted(files)
    for (path, _), (following, _) in itertools.pairwise(ordered):
        if path == following:
            raise InvalidInputError(f"the file name {path!r} occurs twice", hint="Each file is contributed once.")
    small = [(path, size) for path, size in ordered if 0 < size < settings.pack_below_bytes]
    large = [(path, size) for path, size in ordered if size > 0 and size >= settings.pack_below_bytes]
    groups = [[file] for file in large] + ([small] if small else [])
    return tuple(_plan_object(group, settings, limits) for group in sorted(groups))


def _plan_object(group: list[tuple[str, int]], settings: TransferSettings, limits: StoreLimits) -> ObjectPlan:
    members = []
    offset = 0
    for path, size in group:
        members.append(Member(path, size, offset))
        offset += size
    return ObjectPlan(tuple(members), offset, _part_size(group[0][0], offset, settings, limits))


def _part_size(path: str, size_bytes: int, settings: TransferSettings, limits: StoreLimits) -> int:
    part_size = min(max(settings.part_size_bytes, limits.min_part_size_bytes), limits.max_part_size_bytes)
    needed = -(-size_bytes // limits.max_parts)
    if needed <= part_size:
        return part_size
    if needed > limits.max_part_size_bytes:
        raise InvalidInputError(
            f"the object that begins with {path!r} has {size_bytes} bytes, more than the "
            f"{limits.max_parts * limits.max_part_size_bytes} that this store can take",
            hint="Write the checkpoint as more and smaller files.",
        )
    # Whole MiB, so that a size somebody meets in a listing can be read; odd part sizes are for tests alone.
    if settings.part_size_bytes % _MIB == 0:
        needed = -(-needed // _MIB) * _MIB
    return min(needed, limits.max_part_size_bytes)
