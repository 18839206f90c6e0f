"""What people do on a simulated site, all through the public API: a job is a row of launches.

When a launch ends, or seems dead because it stands still, the next one begins: then the first may wake up and go on as
a zombie.
"""

import abc
import random
from collections.abc import Mapping
from functools import partial

from ckpt_archive.checkpoint import Checkpoint
from ckpt_archive.disk.protocol import WritableFile
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.cast import Launch
from ckpt_archive.testing.simulation.diary import COMMON, Files, Slot, common
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Main, Process
from ckpt_archive.testing.simulation.shelf import STAGING, loose, name_not_durable, tree_of
from ckpt_archive.testing.simulation.stage import Stage

_OVERLAP_CHANCE = 0.15


class UserError(Exception):
    """What the training code itself raises while it saves."""


def fail() -> None:
    """Raise it."""
    raise UserError


class Job(abc.ABC):
    """A row of launches.

    Attributes:
        trains: Whether its launches are launches of a run.

    Args:
        stage: Where.
        run: Of which run.
        chance: Draws what happens.
        launches: How many there may be; one of them is drawn.
    """

    trains = False

    def __init__(self, stage: Stage, run: str, chance: random.Random, launches: tuple[int, ...]) -> None:
        self.stage = stage
        self.run = run
        self.chance = chance
        self.left = min(chance.choice(launches), chance.choice(stage.most_launches))
        self.begun = 0
        self.current: Launch | None = None

    def begin(self) -> None:
        """Begin the next launch, if there is one."""
        if not self.left or self.stage.is_closing:
            self.current = None
            return
        self.left -= 1
        self.begun += 1
        self.current = Launch(self.begun, f"{self.run}-{self.begun}", self.stage.world.now_us)
        if self.trains:
            self.stage.launches_of_jobs[self.run, self.current.key] = self.current
        self.launch(self.current)
        if not self.stage.is_brief and self.chance.random() < _OVERLAP_CHANCE:
            self.stage.world.later(
                self.chance.choice((0.0, 0.0, 0.05, 1.0, 20.0)), partial(self._overlap, self.current)
            )

    def _overlap(self, launch: Launch) -> None:
        """Somebody begins the next launch although this one still works: by mistake, or because he takes it for dead."""
        if self.current is launch:
            self.begin()

    @abc.abstractmethod
    def launch(self, launch: Launch) -> None:
        """Start its processes."""

    def ended(self, process: Process) -> None:
        """A process of the life has ended."""
        current = self.current
        if current is None or process not in current.processes:
            return
        if not any(other.alive for other in current.processes):
            self.begin()

    def paused(self, process: Process) -> None:
        """A process of the life stands still: whoever watches it takes it for dead, or does not notice."""
        current = self.current
        if current is not None and process in current.processes and self.chance.random() < 0.5:
            self.begin()

    # --- saving --------------------------------------------------------------------------------------------------------

    def spawn(self, launch: Launch, name: str, node: Node, main: Main) -> None:
        """Start one of its processes."""
        launch.processes.append(self.stage.spawn(name, node, main))

    def pauses(self, usual: tuple[float, ...]) -> tuple[float, ...]:
        """How long somebody may wait, in seconds; where little is to happen, just long enough for a pass of an agent."""
        return (0.0, 3.0) if self.stage.is_brief else usual

    def content(self, step: int, rank: int, writers: int) -> Files:
        """Files that nobody has written before: some packed together, one in several parts, one empty, one common to all."""
        chance = self.chance
        files = {f"{rank}/model.bin": chance.randbytes(chance.choice((65, 130, 200)))}
        if chance.random() < 0.6:
            files[f"{rank}/sub/state.bin"] = chance.randbytes(chance.randint(1, 39))
        if chance.random() < 0.3:
            files[f"{rank}/optimizer.bin"] = chance.randbytes(150)
        if chance.random() < 0.2:
            files[f"{rank}/empty"] = b""
        if writers > 1 and chance.random() < 0.5:
            files[COMMON] = common(self.run, step)
        if writers > 1 and chance.random() < 0.1:
            files = {}
        return files

    def save(self, node: Node, run: Run, slot: Slot, files: Files, *, raises: bool = False) -> bool:
        """Save a checkpoint as a trainer does; whether it was staged.

        Args:
            node: Where.
            run: Of which run.
            slot: As what.
            files: What.
            raises: Whether somebody asked for our errors to reach the training loop.
        """
        stage, chance = self.stage, self.chance
        process = stage.process
        assert process is not None
        fails, meddles = chance.random() < 0.08, chance.random() < (0.06 if stage.is_brief else 0.12)
        note = stage.diary.begin(slot, files, process)
        kept: WritableFile | None = None
        written = False
        checkpoint: Checkpoint = run.checkpoint(slot.step, metrics={"loss": 1 / (1 + slot.step)}, rank=slot.rank)
        try:
            with checkpoint:
                kept = write(node, str(checkpoint.path), files)
                if fails:
                    fail()
                written = True
        except (UserError, OSError) as error:
            if written:
                raise AssertionError("our own trouble has reached the training loop") from error
            stage.diary.drop(note)
            stage.met("user's code", error)
            return False
        except CkptArchiveError as error:
            if not raises:
                raise AssertionError("nobody asked for it, and it has reached the training loop") from error
            stage.diary.fail(note)
            stage.met("checkpoint", error)
            return False
        if checkpoint.staged:
            stage.diary.acknowledge(note)
            stage.shelf.acknowledged(note, node, stage.world.now_us)
            if meddles and kept is not None:
                self._meddle(node, slot, kept)
        elif checkpoint.duplicate:
            stage.diary.drop(note)
        else:
            stage.diary.fail(note)
        return checkpoint.staged

    def finish(self, node: Node, run: Run) -> None:
        """The end of a process: now and then it waits until what it has promised is archived."""
        waits = not self.stage.is_brief and self.chance.random() < 0.15
        before_us = self.stage.world.now_us
        try:
            if run.finish(timeout_seconds=self.chance.choice((0.0, 0.5)) if waits else None) and waits:
                self.stage.check_drained(node, run.name, before_us)
        except CkptArchiveError as error:
            self.stage.met("finish", error)

    def _meddle(self, node: Node, slot: Slot, kept: WritableFile) -> None:
        """Write into what is sealed: nobody may."""
        node.clock.sleep(self.chance.choice((0.0, 0.01, 1.0, 30.0)))
        self.stage.diary.spoilt.add(slot)
        try:
            kept.write_at(b"late", 0)
        except OSError as error:
            self.stage.met("meddling", error)
        else:
            self.stage.diary.changed_us[slot] = self.stage.world.now_us

    # --- checking what is returned -------------------------------------------------------------------------------------

    def check_returned(self, node: Node, restored: Restored, *, rank: int | None = None) -> None:
        """What a restore has returned must be what was saved; with `rank`, only that writer's files were asked for."""
        stage = self.stage
        files = self.files_at(node, restored)
        if files is None:
            return
        if any(inode.rotted for _, inode in node.disk.tree(str(restored.path))):
            # A bit may rot behind whoever has just read and compared it.
            return
        if not str(restored.path).startswith(f"{STAGING}/{restored.run}/ring/"):
            path = str(restored.path)
            problem = loose(node.disk.find(path)) or name_not_durable(node.disk, path)
            assert problem is None, f"{restored} was returned, and {problem}"
        if restored.source == "archive":
            assert restored.attempt is not None
            stage.oracle.check_archived((restored.run, restored.attempt, restored.step), files, rank)
            return
        key = self.key_of(node, restored)
        ring = f"{STAGING}/{restored.run}/ring"
        if key is None or any(inode.rotted for path, inode in node.disk.tree(ring) if "/files/" in path):
            return
        for slot in stage.diary.spoilt:
            if slot[:3] == (restored.run, key, restored.step) and not restored.verified:
                return
        process = stage.process
        since_us = -1 if process is None or not restored.verified else stage.born_us[process]
        stage.oracle.check_local(restored.run, key, restored.step, files, proved_since_us=since_us)

    def files_at(self, node: Node, restored: Restored) -> Files | None:
        """What a restore has returned; None if a later launch, which takes this one for dead, has removed it already."""
        try:
            return tree_of(node.disk.find(str(restored.path)))
        except OSError:
            assert self.begun > 1, f"{restored.path} was returned, and is gone"
            return None

    def key_of(self, node: Node, restored: Restored) -> str | None:
        """The launch whose ring this came from."""
        path = str(restored.path)
        in_place = path.removeprefix(f"{STAGING}/{restored.run}/ring/")
        if in_place != path:
            return self.stage.shelf.key_of(node, restored.run, int(in_place.partition("/")[0]))
        if restored.attempt is not None:
            record = self.stage.oracle.launches.get((restored.run, restored.attempt))
            return None if record is None else str(record["launch_key"])
        local = restored.path.name.removeprefix(f"{restored.run}-local").partition("-")[0]
        return self.stage.shelf.key_of(node, restored.run, int(local))


def write(node: Node, path: str, files: Mapping[str, bytes]) -> WritableFile | None:
    """Write files as a trainer does, nothing synced; one of them, still open."""
    kept: WritableFile | None = None
    for name, data in files.items():
        file = node.disk.create_beneath(path, name)
        half = len(data) // 2
        if half:
            file.write_at(data[:half], 0)
        file.write_at(data[half:], half)
        kept = file if data else kept
    return kept
