"""What writers have tried and were told: for every share of every launch, which contents may stand for it. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ckpt_archive.testing.simulation.process import Process

Files = Mapping[str, bytes]
"""Path and bytes of every file."""

COMMON = "common.json"
"""A file that all writers of a checkpoint write alike; all others begin with the writer's own folder."""


class Slot(NamedTuple):
    """One writer's share of one step of one launch: what must never hold two contents."""

    run: str
    launch_key: str
    step: int
    rank: int


@dataclass(eq=False, slots=True)
class Save:
    """A content that a writer tries to save, or to push.

    Attributes:
        slot: As what.
        files: What.
        process: Who.
        open: Whether its writer is still at it.
    """

    slot: Slot
    files: Files
    process: Process
    open: bool = True


@dataclass(slots=True)
class Diary:
    """All of them.

    Attributes:
        saves: Those whose content may stand now or later, in the order in which they began.
        acknowledged: The last one of which the writer was told that it is staged.
        staged: All contents that were ever saved, also those that were replaced since.
        bound: The content that the archive holds a receipt of.
        changed_us: When somebody has changed a byte of a share, once he has.
        failed: Shares of which a save has failed, or was given up, at some time.
        spoilt: Shares of which somebody has changed or damaged a byte: what is left of them may be lost, but not be
            taken for what was saved.
    """

    saves: dict[Slot, list[Save]] = field(default_factory=dict)
    acknowledged: dict[Slot, Save] = field(default_factory=dict)
    staged: dict[Slot, list[Files]] = field(default_factory=dict)
    bound: dict[Slot, Files] = field(default_factory=dict)
    spoilt: set[Slot] = field(default_factory=set)
    changed_us: dict[Slot, int] = field(default_factory=dict)
    failed: set[Slot] = field(default_factory=set)

    def begin(self, slot: Slot, files: Files, process: Process) -> Save:
        """A writer begins: from now on this content may be found."""
        save = Save(slot, files, process)
        self.saves.setdefault(slot, []).append(save)
        self.staged.setdefault(slot, []).append(files)
        return save

    def drop(self, save: Save) -> None:
        """It was refused, or given up before it could be seen: this content is found nowhere because of it."""
        save.open = False
        self.failed.add(save.slot)
        self.saves[save.slot].remove(save)
        self.staged[save.slot].remove(save.files)

    def fail(self, save: Save) -> None:
        """Its writer was told that it failed; it may stand all the same."""
        save.open = False
        self.failed.add(save.slot)

    def acknowledge(self, save: Save) -> None:
        """Its writer was told that it is durable: nothing else may stand, but for what others are still at."""
        save.open = False
        self.saves[save.slot] = [
            other for other in self.saves[save.slot] if other is save or (other.open and other.process.alive)
        ]
        self.acknowledged[save.slot] = save

    def contents(self, slot: Slot) -> list[Files]:
        """What may stand for a share on a disk."""
        return [save.files for save in self.saves.get(slot, ())]

    def archivable(self, slot: Slot) -> list[Files]:
        """What may stand for a share in the archive: what stands there, else what may stand on a disk."""
        bound = self.bound.get(slot)
        return [bound] if bound is not None else self.contents(slot)


def common(run: str, step: int) -> bytes:
    """What all writers write into `COMMON`."""
    return f"{run} {step}".encode()


def own_files(files: Files, rank: int) -> Files:
    """Those of a tree of all writers that this one alone has written."""
    return {path: data for path, data in files.items() if path.startswith(f"{rank}/")}


def ranks_in(files: Files) -> set[int]:
    """The writers that have written something into a tree, apart from what all of them write."""
    return {int(path.partition("/")[0]) for path in files if path != COMMON}
