"""An archive and a staging directory in which every kind of stored object occurs, and what was put into them."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.decision import Action, Decision, decide
from ckpt_archive.commit.event import Event, record_event, store_time
from ckpt_archive.commit.latest import standing
from ckpt_archive.local.agent_status import AgentStatus, write_status
from ckpt_archive.local.gaps import record_missed
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.settings import Environment
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.testing.archives import write_tree
from ckpt_archive.testing.checkpoints import NOON
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.fuzz.shelf import Shelf, State
from ckpt_archive.testing.site import URL, Node, Site, kill, save

Files = Mapping[str, bytes]


def files_of(run: str, step: int, rank: int = 0) -> dict[str, bytes]:
    """What a writer saves: an object of several parts, a packed one, and an empty file."""
    word = f"{run} {step} {rank} ".encode()
    return {
        f"model-{rank}.bin": (word * 200)[:1_700],
        f"small/{rank}.json": word * 4,
        f"tiny-{rank}": word,
        "none": b"",
    }


class Scene:
    """All of it, below one folder.

    Attributes:
        node: The node that has the staging directory.
        shelf: The archive's store.
        before: What the store holds.
        saved: (run, step) to the files of all its writers.
        pushed: (run, step) to the folder that was pushed, of single writers.
        master: The staging directory as it is; what runs is given copies of it, linked, so that size, time and inode stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site(folder)
        self.shelf = Shelf(URL, limits=StoreLimits(min_part_size_bytes=1), clock=self.site.clock)
        self.site.memories[URL] = self.shelf
        self.site.counting[URL] = CountingStore(self.shelf)
        create_archive(self.shelf, self.site.ids[URL], NOON)
        self.node: Node = self.site.node()
        self.saved: dict[tuple[str, int], dict[str, bytes]] = {}
        self.pushed: dict[tuple[str, int], Path] = {}
        self._train()
        self._push()
        self._decide()
        self.master = folder / "master"
        Path(self.node.staging.root).rename(self.master)
        self.before: State = self.shelf.state()
        self.lay_out()

    def _save(self, run: object, name: str, steps: range) -> None:
        for step in steps:
            files = files_of(name, step)
            self.saved[name, step] = files
            save(run, step, files, metrics={"loss": step / 7})  # type: ignore[arg-type]

    def _train(self) -> None:
        told: dict[str, Any] = {
            "promote": Every(2, save_every_steps=1),
            "keep_local": 20,
            "labels": {"project": "x"},
            "sources": ["s3://data"],
        }
        first = self.node.run(**told)
        self._save(first, "run-a", range(1, 5))
        self.node.ship()
        kill(first)
        self.site.clock.sleep(60)
        second = self.node.run(**told)
        assert second.resume() is not None
        self._save(second, "run-a", range(5, 8))
        self.node.ship()
        # Sealed and digested, and not archived yet.
        self.site.down = True
        self._save(second, "run-a", range(8, 10))
        by_step = {share.step: share for share in self.node.shares()}
        by_step[7].promote({"rule": "milestone", "name": "best"})
        by_step[1].promote({"rule": "milestone", "name": "first"})
        by_step[1].mark_gap("the disk is full")
        self.node.ship()
        self.site.down = False
        record_missed(self.node.of(), 1, 11, 0, "the disk is full")
        stray = Path(self.node.of().folder, "ring", "stray")
        stray.write_bytes(b"nobody's")
        set_aside(self.node.of(), str(stray), "it has no place in the ring")
        write_status(self.node.staging, AgentStatus(NOON, 4711, 1, 2, NOON, ("the store is down",), denied=False))
        kill(second)

    def _push(self) -> None:
        for rank in (0, 1):
            self._push_one("run-b", 10, rank, 2)
        self._push_one("run-c", 10, 0, 2)
        for step in (10, 20):
            self._push_one("run-d", step, 0, 1)
            self.pushed["run-d", step] = self._source("run-d", step, 0)
        self.saved["run-b", 10] = {**files_of("run-b", 10), **files_of("run-b", 10, 1)}
        for step in (10, 20):
            self.saved["run-d", step] = files_of("run-d", step)

    def _source(self, run: str, step: int, rank: int) -> Path:
        return self.folder / "sources" / f"{run}-{step}-{rank}"

    def _push_one(self, run: str, step: int, rank: int, writers: int) -> None:
        source = write_tree(self._source(run, step, rank), files_of(run, step, rank))
        environment = Environment(launch_key="key-1" if writers > 1 else None)
        self.node.archive(environment=environment).push(source, run, step, rank=rank, writers=writers)

    def _decide(self) -> None:
        newest = standing(self.shelf, "run-a").newest
        assert newest is not None
        gap = Decision(self.site.ids[URL], "run-a", newest.attempt, 9, Action.GAP, "full", "node-z", NOON)
        decide(self.shelf, replace(gap, step=30))
        decide(self.shelf, replace(gap, step=31, action=Action.PROMOTE))
        places = (Place("run-a", newest.attempt, 6), Place("run-d", 0, 10))
        held = Event(self.site.ids[URL], "held", self.site.nonce(), NOON, "anna", "node-z", places, reason="case 4711")
        record_event(self.shelf, held, store_time(self.shelf))

    def lay_out(self) -> None:
        """Give the node a fresh copy of its staging directory, linked to the master."""
        root = self.node.staging.root
        shutil.rmtree(root, ignore_errors=True)
        _link_tree(str(self.master), root)

    def records(self) -> dict[str, int]:
        """Every file of the staging directory that is not empty: path below it, and length."""
        found = {}
        for root, _, names in os.walk(self.master):
            for name in names:
                path = Path(root, name)
                if path.stat().st_size:
                    found[str(path.relative_to(self.master))] = path.stat().st_size
        return found

    def payload(self, root: str | Path) -> set[int]:
        """The inodes of all files of checkpoints below a folder, wherever they lie there."""
        return {
            os.lstat(os.path.join(found, name)).st_ino
            for found, _, names in os.walk(root)
            for name in names
            if name in _PAYLOAD or "model-" in name or "tiny-" in name or "small" in found
        }

    def flip_file(self, path: str, bit: int) -> None:
        """Flip one bit: of a record in the node's copy, of a checkpoint's file in place, where time and inode stay."""
        target = os.path.join(self.node.staging.root, path)
        if "/files/" not in path:
            data = bytearray(Path(target).read_bytes())
            data[bit // 8] ^= 1 << bit % 8
            Path(target).unlink()
            Path(target).write_bytes(data)
            return
        self._flip_in_place(str(self.master / path), bit)

    def mend_file(self, path: str, bit: int) -> None:
        """Flip it again in the master, where it was flipped there."""
        if "/files/" in path:
            self._flip_in_place(str(self.master / path), bit)

    def _flip_in_place(self, path: str, bit: int) -> None:
        stat = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0]
            file.seek(bit // 8)
            file.write(bytes((byte ^ 1 << bit % 8,)))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


_PAYLOAD = ("none",)


def _link_tree(source: str, target: str) -> None:
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            other = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _link_tree(entry.path, other)
            elif entry.name.endswith(".lock"):
                # Processes that died leave locks that are free.
                Path(other).touch()
            else:
                os.link(entry.path, other)
