"""Folders that are pushed into a run."""

import random
from functools import partial

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import WritableFile
from ckpt_archive.errors import CkptArchiveError, ConflictError
from ckpt_archive.testing.simulation.cast import Launch
from ckpt_archive.testing.simulation.diary import Files, Slot
from ckpt_archive.testing.simulation.job import Job, write
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.shelf import tree_of
from ckpt_archive.testing.simulation.stage import Stage


class Pushing(Job):
    """Folders pushed into a run, by one writer or several; each try is repeated until it is done or refused."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2, 3))
        self.writers = chance.choice((1, 1, 2))
        self.plan: dict[tuple[int, int], Files] = {}
        self.keys: dict[int, str] = {}
        self.steps = 1 if stage.is_brief else min(chance.choice((1, 2, 3)), chance.choice(stage.size.saves))

    def launch(self, launch: Launch) -> None:
        """See `Job`: the first time everything is pushed, then again whatever there is."""
        if not self.stage.is_brief and self.chance.random() < 0.25:
            # A launch of its own, beside the one that all pushes into this run share.
            self.keys[launch.number] = f"own-{launch.number}"
        for rank in range(self.writers):
            node = self.stage.nodes[(rank + launch.number) % len(self.stage.nodes)]
            self.spawn(launch, f"push-{launch.number}-{rank}", node, partial(self._push_all, node, launch, rank))

    def _push_all(self, node: Node, launch: Launch, rank: int) -> None:
        for step in range(1, self.steps + 1):
            files = self.plan.get((step, rank))
            if files is None or self.chance.random() < 0.15:
                files = self.content(step, rank, self.writers) or {f"{rank}/model.bin": b"x"}
                self.plan.setdefault((step, rank), files)
            self._push(node, launch.number, step, rank, files, f"/home/{self.run}-{launch.number}-{rank}-{step}")

    def _push(self, node: Node, number: int, step: int, rank: int, files: Files, folder: str) -> None:
        stage, chance = self.stage, self.chance
        process = stage.process
        assert process is not None
        try:
            durable.remove_tree(node.disk, folder)
            durable.make_directories(node.disk, folder)
            kept = write(node, folder, files)
        except OSError as error:
            stage.met("user's code", error)
            return
        launch_key = "together" if self.writers > 1 else self.keys.get(number)
        slot = Slot(self.run, f"push:{self.run}" + (f":{launch_key}" if launch_key else ""), step, rank)
        stage.shelf.note_source(slot, node.disk.find(folder))
        save = stage.diary.begin(slot, files, process)
        meddled = kept is not None and chance.random() < 0.1
        if kept is not None and meddled:
            # Whoever pushes what was changed before it was looked at pushes the changed folder.
            last = [path for path, data in files.items() if data][-1]
            stage.diary.begin(slot, {**files, last: b"late" + files[last][4:]}, process)
            self._meddle_later(node, slot, folder, kept, chance.choice((0.001, 0.02, 0.1)))
        for _ in range(3):
            try:
                report = stage.archive(node, launch_key).push(folder, self.run, step, rank=rank, writers=self.writers)
            except ConflictError as error:
                stage.met("push", error)
                break
            except CkptArchiveError as error:
                stage.met("push", error)
                node.clock.sleep(5.0)
            else:
                stage.told_archived(process, slot, report.attempt)
                archived = stage.diary.bound.get(slot)
                now = tree_of(node.disk.find(folder))
                rotted = any(inode.rotted for _, inode in node.disk.tree(folder))
                unchanged = now == files or meddled or rotted
                assert unchanged, f"{folder} was pushed, and is changed"
                # Between two bits that rot in the folder it holds what it held neither before nor after.
                assert archived in (files, now) or rotted, f"{slot} was pushed, and something else was archived"
                break
        stage.diary.fail(save)

    def _meddle_later(self, node: Node, slot: Slot, folder: str, kept: WritableFile, delay_seconds: float) -> None:
        """Write into the folder while it is being pushed."""

        def meddle() -> None:
            node.clock.sleep(delay_seconds)
            try:
                kept.write_at(b"late", 0)
            except OSError as error:
                # A part of it may have been written, and then that is what lies there to be pushed.
                process = self.stage.process
                assert process is not None
                self.stage.diary.begin(slot, tree_of(node.disk.find(folder)), process)
                self.stage.met("meddling", error)

        self.stage.spawn("meddler", node, meddle)
