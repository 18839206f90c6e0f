"""What must be so on the disks: what was acknowledged is durable at that moment, and leaves by the rules alone.

It looks at inodes, not through the code it judges: whether a content or a name would survive a power loss is known
there, so a missing fsync shows as soon as a save is acknowledged, whether or not power is lost.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ckpt_archive.disk.protocol import Kind
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.testing.simulation.diary import Diary, Files, Save, Slot
from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.inode import Inode, below
from ckpt_archive.testing.simulation.node import Node

STAGING = "/nvme/ckpt"


@dataclass(eq=False, slots=True)
class Held:
    """An acknowledged share.

    Attributes:
        save: What was acknowledged.
        node: Where.
        launch: Its local launch.
        path: Of its folder.
        folder: That folder.
        seal: The bytes of its seal.
        at_us: When.
    """

    save: Save
    node: Node
    launch: int
    path: str
    folder: Inode
    seal: bytes
    at_us: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """Newer ones are larger."""
        return self.launch, int(json.loads(self.seal)["saves"])

    @property
    def promoted(self) -> bool:
        """Whether it is to be archived."""
        return bool(json.loads(self.seal)["promotion"]) or "promote.json" in self.folder.entries

    @property
    def has_gap(self) -> bool:
        """Whether it was given up, durably or not."""
        return "gap.json" in self.folder.entries

    def rotted(self) -> bool:
        """Whether a bit of it has rotted."""
        return any(inode.rotted for _, inode in below(self.folder))

    def is_whole(self) -> bool:
        """Whether its bytes are those that were sealed."""
        return files_of(self.folder) == self.save.files and _content(self.folder, "seal.json") == self.seal


class Shelf:
    """Judges the staging directories.

    Args:
        diary: What was saved.
        is_archived: Whether a committed checkpoint holds that share.

    Attributes:
        held: Acknowledged shares that must be there.
        promised: Acknowledged shares that are to be archived, also when they have gone since.
        lost_nodes: How many nodes were lost for ever.
    """

    def __init__(self, diary: Diary, is_archived: Callable[[Slot], bool]) -> None:
        self._diary = diary
        self._is_archived = is_archived
        self._keys: dict[tuple[str, str, int], str] = {}
        self._visible: dict[Inode, Slot] = {}
        self._sources: dict[Slot, list[Inode]] = {}
        # What went while its writer was still at it, or at saving the same once more.
        self._departed: set[Save] = set()
        self.held: dict[Inode, Held] = {}
        self.promised: list[Held] = []
        self.lost_nodes = 0

    # --- launches ------------------------------------------------------------------------------------------------------

    def key_of(self, node: Node, run: str, launch: int) -> str | None:
        """The key of a local launch, also when its record is damaged by now."""
        known = self._keys.get((node.name, run, launch))
        if known is None:
            data = node.disk.peek(_staging(node, run).launch_file(launch, ".json"))
            try:
                known = str(json.loads(data or b"")["launch_key"])
            except (ValueError, KeyError):
                return None
            self._keys[node.name, run, launch] = known
        return known

    def launches_of(self, node: Node, run: str, launch_key: str) -> list[int]:
        """The local launches of a key, newest first; none if the record of one is damaged.

        There are two where a rank could not read the record of the first just then, and all who had begun it were dead.
        """
        folder = node.disk.find(_staging(node, run).launches)
        found = []
        for name in sorted(folder.entries, reverse=True):
            stem, _, suffix = name.partition(".")
            if suffix == "json" and stem.isdigit() and self.key_of(node, run, int(stem)) == launch_key:
                if folder.entries[name].rotted:
                    return []
                found.append(int(stem))
        assert found or self.records_rotted(node, run), f"{node.name} has no launch {launch_key}"
        return found

    def records_rotted(self, node: Node, run: str) -> bool:
        """Whether a record of a launch of a run has rotted: they alone tell what is to be archived as what."""
        rooms = (node.disk.tree(f"{STAGING}/{run}/{room}") for room in ("launches", "quarantine"))
        return any(inode.rotted for room in rooms for _, inode in room)

    # --- what happens --------------------------------------------------------------------------------------------------

    def acknowledged(self, save: Save, node: Node, at_us: int = 0) -> None:
        """A writer was told that its save is staged."""
        slot = save.slot
        launches = self.launches_of(node, slot.run, slot.launch_key)
        if not launches:
            return
        found = next(iter(self._shares_like(save, node, launches, at_us)), None)
        if found is None:
            excused = slot in self._diary.spoilt or len(self._diary.saves[slot]) > 1
            # It may have rotted while its writer stood still.
            excused = excused or self.records_rotted(node, slot.run) or self.has_rotted(slot)
            # It may have gone by the rules before its writer, which stood still, was told.
            assert excused or save in self._departed, f"{slot} was acknowledged and is not there"
            return
        problem = not_durable(node.disk, found.path)
        assert problem is None, f"{slot} was acknowledged, and {problem}"
        if found.folder.entries["seal.json"].rotted:
            return
        problem = _record_not_durable(node.disk, _staging(node, slot.run).launch_file(found.launch, ".json"))
        assert problem is None, f"{slot} was acknowledged, and of the record of its launch {problem}"
        for folder, held in list(self.held.items()):
            if held.save.slot == slot and held.node is node:
                same = held.save.files == save.files
                assert same or not held.promoted or self._is_lost(held), f"{slot} is promoted, and was replaced"
                del self.held[folder]
        self.held[found.folder] = found
        if found.promoted:
            self.promised.append(found)

    def _shares_like(self, save: Save, node: Node, launches: list[int], at_us: int) -> Iterator[Held]:
        for launch in launches:
            parent = _staging(node, save.slot.run).step_folder(launch, save.slot.step)
            for name, folder in _generations(node.disk, parent, save.slot.rank):
                if files_of(folder) == save.files:
                    yield Held(save, node, launch, f"{parent}/{name}", folder, _content(folder, "seal.json"), at_us)

    def renamed(self, node: Node, new: str) -> None:
        """Something has got a new name."""
        if not new.startswith(f"{STAGING}/"):
            return
        folder = node.disk.find(new)
        room = new.split("/")[4]
        if room == "ring":
            problem = _not_synced(folder)
            assert problem is None, f"{new} can be seen, and {problem}"
            slot = self._slot_at(node, new)
            if slot is not None:
                self._visible[folder] = slot
                self.note_source(slot, folder)
            return
        visible, held = self._visible.pop(folder, None), self.held.pop(folder, None)
        if held is not None and room == "trash":
            self._check_leaving(held)
        elif held is not None:
            assert self._is_lost(held), f"{held.save.slot} was set aside, and is whole"
        if visible is not None:
            files = files_of(folder)
            saves = self._diary.saves.get(visible, ())
            self._departed.update(save for save in saves if save.open and save.files == files)

    def linked(self, node: Node, path: str) -> None:
        """A record was written."""
        if not path.endswith("/archived.json"):
            return
        slot = self._slot_at(node, path)
        assert slot is None or self._is_archived(slot), f"{path} was written, and no manifest names {slot}"

    def note_source(self, slot: Slot, folder: Inode) -> None:
        """What is archived as that share is read from here."""
        self._sources.setdefault(slot, []).append(folder)

    def has_rotted(self, slot: Slot) -> bool:
        """Whether a bit has rotted of what may be archived as that share: nobody can know, unless it was digested before."""
        return any(inode.rotted for folder in self._sources.get(slot, ()) for _, inode in below(folder))

    def power_lost(self, node: Node) -> None:
        """A node has restarted."""
        for held in self.held.values():
            if held.node is node and not self._is_lost(held):
                try:
                    there = node.disk.find(held.path)
                except OSError:
                    there = None
                assert there is held.folder, f"{held.save.slot} was acknowledged and is gone after a power loss"
                assert held.is_whole(), f"{held.save.slot} was acknowledged and is torn after a power loss"

    def node_lost(self, node: Node) -> None:
        """A node is lost for ever: what it alone had is lost too."""
        self.held = {folder: held for folder, held in self.held.items() if held.node is not node}
        self.promised = [held for held in self.promised if held.node is not node]
        self.lost_nodes += 1

    def _check_leaving(self, held: Held) -> None:
        """It was thrown away: there must be a reason."""
        slot = held.save.slot
        if self._is_lost(held):
            return
        disk = held.node.disk
        parent, _, mine = held.path.rpartition("/")
        for name, folder in _generations(disk, parent, slot.rank):
            if name > mine and not_durable(disk, f"{parent}/{name}") is None:
                # A draft may rot before it is sealed: then nobody can know.
                rotted = any(inode.rotted for _, inode in below(folder))
                known = rotted or files_of(folder) in self._diary.contents(slot)
                assert known, f"{slot} was replaced by what nobody has saved"
                return
        if held.promoted:
            assert self._is_archived(slot) or held.has_gap, f"{slot} is promoted, and went before it was archived"
        newer = [path for order, path in _ring(held.node, slot.run) if order > held.order]
        assert any(self._is_spoilt(held.node, path) or not_durable(disk, path) is None for path in newer), (
            f"{slot} was evicted, and nothing newer on this node is durable"
        )

    def _is_lost(self, held: Held) -> bool:
        """Whether it was changed or damaged since."""
        return held.save.slot in self._diary.spoilt or held.rotted()

    def _is_spoilt(self, node: Node, path: str) -> bool:
        slot = self._slot_at(node, path)
        return slot is None or slot in self._diary.spoilt

    def _slot_at(self, node: Node, path: str) -> Slot | None:
        """What a folder in the ring is; None if its launch is not known any more."""
        _, _, _, run, _, launch, step, share, *_ = path.split("/")
        key = self.key_of(node, run, int(launch))
        return None if key is None else Slot(run, key, int(step), int(share.partition(".")[0].removeprefix("rank-")))


def not_durable(disk: SimDisk, path: str) -> str | None:
    """What of a share would not survive a power loss: a name on the way to it, its seal or one of its files; or None."""
    problem = _way_not_durable(disk, path)
    return problem or _not_synced(disk.find(path))


def loose(folder: Inode) -> str | None:
    """What below a folder would not survive a power loss; or None."""
    for inner in (folder, *(inner for _, inner in below(folder))):
        if inner.base is not None or inner.doomed:
            return "the content of one of its files is not durable"
        for name in inner.entries:
            problem = _unsure(inner, name)
            if problem:
                return problem
    return None


def name_not_durable(disk: SimDisk, path: str) -> str | None:
    """What is wrong if the last name of a path would not survive a power loss; or None."""
    folder, _, name = path.rpartition("/")
    return _unsure(disk.find(folder), name)


def _record_not_durable(disk: SimDisk, path: str) -> str | None:
    problem = _way_not_durable(disk, path)
    if problem:
        return problem
    inode = disk.find(path)
    return "the content is not durable" if inode.base is not None or inode.doomed else None


def _way_not_durable(disk: SimDisk, path: str) -> str | None:
    """Which name on the way to a path would not survive a power loss; or None."""
    inode = disk.root
    for name in path.strip("/").split("/"):
        problem = _unsure(inode, name)
        if problem:
            return problem
        inode = inode.entries[name]
    return None


def _not_synced(share: Inode) -> str | None:
    """What in a share's folder would not survive a power loss; or None."""
    for name in ("seal.json", "files"):
        problem = _unsure(share, name)
        if problem:
            return problem
    return loose(share.entries["files"]) or loose(share.entries["seal.json"])


def files_of(folder: Inode) -> Files:
    """The files of a share's folder, or of any with a sub-folder ``files``."""
    files = folder.entries.get("files")
    return {} if files is None else tree_of(files)


def tree_of(folder: Inode) -> Files:
    """All files below a folder."""
    return {path[1:]: bytes(inode.data) for path, inode in below(folder) if inode.kind is Kind.FILE}


def _unsure(folder: Inode, name: str) -> str | None:
    found = folder.entries.get(name)
    if found is None:
        return f"{name} is not there"
    if any(state is not found for state in folder.pending.get(name, ())):
        return f"the name {name} is not durable"
    return None


def _content(folder: Inode, name: str) -> bytes:
    inode = folder.entries.get(name)
    return b"" if inode is None else bytes(inode.data)


def _staging(node: Node, run: str) -> RunStaging:
    return Staging(node.machine(), STAGING).run(run)


def _generations(disk: SimDisk, parent: str, rank: int) -> Iterator[tuple[str, Inode]]:
    """The folders of one writer's share, newest first."""
    try:
        entries = disk.find(parent).entries
    except OSError:
        return
    stem = f"rank-{rank:06d}"
    for name in sorted((name for name in entries if name.partition(".")[0] == stem), reverse=True):
        yield name, entries[name]


def _ring(node: Node, run: str) -> Iterator[tuple[tuple[int, int], str]]:
    """((launch, save), path) of everything in the ring of a run that has a seal."""
    for path, inode in list(node.disk.tree(f"{STAGING}/{run}/ring")):
        seal = inode.entries.get("seal.json")
        if seal is not None:
            try:
                fields = json.loads(bytes(seal.data))
                yield (int(fields["launch"]), int(fields["saves"])), path
            except (ValueError, KeyError, TypeError):
                continue
