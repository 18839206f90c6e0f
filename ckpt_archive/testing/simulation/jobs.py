"""What people do on a simulated site: train alone or in a team, push folders, restore. All through the public API.

A job is a row of launches. When one ends, or seems dead because it stands still, the next one begins: then the first may wake
up and go on as a zombie.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ckpt_archive.checkpoint import Checkpoint
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import WritableFile, parent
from ckpt_archive.errors import CkptArchiveError, ConflictError
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.diary import COMMON, Files, Save, Slot, common
from ckpt_archive.testing.simulation.memory import Memory
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process
from ckpt_archive.testing.simulation.shelf import STAGING, tree_of
from ckpt_archive.testing.simulation.stage import Stage

_PATIENCE_TRIES = 60


class UserError(Exception):
    """What the training code itself raises while it saves."""


@dataclass(slots=True)
class Launch:
    """One launch of a job, in one or several processes.

    Attributes:
        number: Counted in the life, so that no two have the same key.
        processes: Of its ranks.
    """

    number: int
    processes: list[Process] = field(default_factory=list)


class Job:
    """A row of launches.

    Args:
        stage: Where.
        run: Of which run.
        chance: Draws what happens.
        launches: How many there are.
    """

    counter = 0

    def __init__(self, stage: Stage, run: str, chance: random.Random, launches: int) -> None:
        self.stage = stage
        self.run = run
        self.chance = chance
        self.left = launches
        self.begun = 0
        self.current: Launch | None = None

    def begin(self) -> None:
        """Begin the next launch, if there is one."""
        if not self.left or self.stage.is_closing:
            self.current = None
            return
        self.left -= 1
        self.begun += 1
        self.current = Launch(self.begun)
        self.launch(self.current)

    def launch(self, launch: Launch) -> None:
        """Start its processes."""
        raise NotImplementedError

    def ended(self, process: Process) -> None:
        """A process of the life has ended."""
        current = self.current
        if current is not None and process in current.processes:
            if all(not other.alive for other in current.processes):
                self.begin()

    def paused(self, process: Process) -> None:
        """A process of the life stands still: whoever watches it takes it for dead, or does not notice."""
        current = self.current
        if current is not None and process in current.processes and self.chance.random() < 0.5:
            self.begin()

    # --- saving --------------------------------------------------------------------------------------------------------

    def spawn(self, launch: Launch, name: str, node: Node, main: "object") -> None:
        """Start one of its processes."""
        launch.processes.append(self.stage.spawn(name, node, main))

    def content(self, step: int, rank: int, writers: int) -> Files:
        """Files that nobody has written before: some packed together, one in several parts, one empty, one common to all."""
        chance = self.chance
        files = {f"{rank}/model.bin": chance.randbytes(chance.choice((65, 130, 200)))}
        if chance.random() < 0.6:
            files[f"{rank}/sub/state.bin"] = chance.randbytes(chance.randint(1, 39))
        if chance.random() < 0.3:
            files[f"{rank}/empty"] = b""
        if writers > 1 and chance.random() < 0.5:
            files[COMMON] = common(self.run, step)
        if writers > 1 and chance.random() < 0.1:
            files = {}
        return files

    def save(self, node: Node, run: Run, slot: Slot, files: Files) -> bool:
        """Save a checkpoint as a trainer does; whether it was staged."""
        stage, chance = self.stage, self.chance
        process = stage.process
        assert process is not None
        fails, meddles = chance.random() < 0.08, chance.random() < 0.06
        note = stage.diary.begin(slot, files, process)
        kept: WritableFile | None = None
        checkpoint: Checkpoint = run.checkpoint(slot.step, metrics={"loss": 1 / (1 + slot.step)}, rank=slot.rank)
        try:
            with checkpoint:
                kept = _write(node, str(checkpoint.path), files)
                if fails:
                    raise UserError
        except (UserError, OSError) as error:
            stage.diary.drop(note)
            stage.met("user's code", error)
            return False
        except CkptArchiveError as error:
            stage.diary.fail(note)
            stage.met("checkpoint", error)
            return False
        if checkpoint.staged:
            stage.diary.acknowledge(note)
            stage.shelf.acknowledged(note, node)
            if meddles and kept is not None:
                self._meddle(node, slot, kept)
        elif checkpoint.duplicate:
            stage.diary.drop(note)
        else:
            stage.diary.fail(note)
        return checkpoint.staged

    def _meddle(self, node: Node, slot: Slot, kept: WritableFile) -> None:
        """Write into what is sealed: nobody may."""
        node.clock.sleep(self.chance.choice((0.0, 0.01, 1.0, 30.0)))
        self.stage.diary.spoilt.add(slot)
        try:
            kept.write_at(b"late", 0)
        except OSError as error:
            self.stage.met("meddling", error)

    # --- checking what is returned -------------------------------------------------------------------------------------

    def check_returned(self, node: Node, restored: Restored) -> None:
        """What a restore has returned must be what was saved."""
        stage = self.stage
        if any(inode.rotted for _, inode in node.disk.tree(restored.path)):
            # A bit may rot behind whoever has just read and compared it.
            return
        files = tree_of(node.disk.find(restored.path))
        if restored.source == "archive":
            assert restored.attempt is not None
            stage.oracle.check_archived((restored.run, restored.attempt, restored.step), files)
            return
        key = self._key_of(node, restored)
        ring = f"{STAGING}/{restored.run}/ring"
        if key is None or any(inode.rotted for path, inode in node.disk.tree(ring) if "/files/" in path):
            return
        for slot in stage.diary.spoilt:
            if slot[:3] == (restored.run, key, restored.step) and not restored.verified:
                return
        stage.oracle.check_local(restored.run, key, restored.step, files)

    def _key_of(self, node: Node, restored: Restored) -> str | None:
        """The launch whose ring this came from."""
        in_place = restored.path.removeprefix(f"{STAGING}/{restored.run}/ring/")
        if in_place != restored.path:
            return self.stage.shelf.key_of(node, restored.run, int(in_place.partition("/")[0]))
        if restored.attempt is not None:
            record = self.stage.oracle.launches.get((restored.run, restored.attempt))
            return None if record is None else str(record["launch_key"])
        local = restored.path.rpartition("/")[2].removeprefix(f"{restored.run}-local").partition("-")[0]
        return self.stage.shelf.key_of(node, restored.run, int(local))


def _write(node: Node, path: str, files: Mapping[str, bytes]) -> WritableFile | None:
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


class Training(Job):
    """A run trained by one process at a time, now and then on another node, now and then rolled back."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=chance.choice((1, 2, 2, 3, 4)))
        self.home = chance.choice(stage.nodes)
        self.keep_local = chance.choice((1, 1, 2, 3))
        self.promote = chance.choice((Every(1), Every(1), Every(2), Every(3), Every(2, save_every_steps=1)))
        self.moves = chance.random() < 0.3
        self.memory = Memory()
        self.choices: dict[int, tuple[int | None, int]] = {}

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        node = self.home
        if self.moves and self.chance.random() < 0.5:
            node = self.chance.choice(self.stage.nodes)
        delay = self.chance.choice((0.0, 5.0, 60.0)) if self.begun > 1 else 0.0
        self.spawn(launch, f"trainer-{launch.number}", node, partial(self._train, node, launch, delay))

    def _train(self, node: Node, launch: Launch, delay_seconds: float) -> None:
        stage, chance, memory = self.stage, self.chance, self.memory
        node.clock.sleep(delay_seconds)
        key = f"{self.run}-{launch.number}"
        run = stage.archive(node).run(
            self.run,
            staging=STAGING,
            keep_local=self.keep_local,
            promote=self.promote,
            launch_key=key,
            agent="external",
            on_error=chance.choice(("log", "raise")),
        )
        memory.begins(launch.number, node.name, zombies=self._others_alive(launch))
        try:
            restored, key = self._begin(node, run, launch, key)
        except CkptArchiveError as error:
            stage.met("resume", error)
            memory.gave_up(launch.number)
            return
        step = 0 if restored is None else restored.step
        for _ in range(chance.choice((1, 2, 3, 5))):
            if chance.random() < 0.85:
                step += 1
            for _ in range(2 if chance.random() < 0.15 else 1):
                if self._save(node, run, launch, Slot(self.run, key, step, 0)):
                    self._note_choice(launch, key)
            node.clock.sleep(chance.choice((0.0, 1.0, 10.0, 60.0)))
            if chance.random() < 0.1:
                self._look(node, run)
        run.finish()

    def _others_alive(self, launch: Launch) -> bool:
        return any(
            process.alive and process.name.startswith("trainer") and process not in launch.processes
            for process in self.stage.world.processes
        )

    def _save(self, node: Node, run: Run, launch: Launch, slot: Slot) -> bool:
        files = self.content(slot.step, 0, 1)
        self.memory.tries(launch.number, slot, files)
        staged = self.save(node, run, slot, files)
        if staged:
            self.memory.acknowledged(launch.number, slot, files)
        return staged

    def _begin(self, node: Node, run: Run, launch: Launch, key: str) -> tuple[Restored | None, str]:
        chance, memory = self.chance, self.memory
        steps = sorted(memory.steps)
        way = chance.random()
        if steps and way < 0.15:
            restored = run.rollback(chance.choice(steps))
            self.choices[launch.number] = restored.attempt, restored.step
            key = run._launch().launch.launch_key  # noqa: SLF001 - it has made a new one
            self.check_returned(node, restored)
            memory.chose(launch.number, tree_of(node.disk.find(restored.path)))
            self._note_choice(launch, key)
            return restored, key
        if steps and way < 0.25:
            # This decides where the launch goes on from only when it saves.
            restored = run.restore(chance.choice(steps))
            self.check_returned(node, restored)
            self.choices[launch.number] = restored.attempt, restored.step
            memory.may_choose(launch.number, tree_of(node.disk.find(restored.path)))
            return restored, key
        if way < 0.32:
            # Somebody who does not resume at all.
            return None, key
        return self._resume(node, run, launch), key

    def _note_choice(self, launch: Launch, key: str) -> None:
        choice = self.choices.pop(launch.number, None)
        if choice is not None:
            self.stage.oracle.chose(self.run, key, *choice)

    def _resume(self, node: Node, run: Run, launch: Launch) -> Restored | None:
        stage = self.stage
        before = self._trouble()
        choice = stage.oracle.choices.get(self.run)
        restored = run.resume()
        quiet = before == self._trouble()
        files = None
        if restored is not None:
            self.check_returned(node, restored)
            files = tree_of(node.disk.find(restored.path))
            if choice is not None and (quiet or restored.source == "archive"):
                assert restored.attempt is not None, f"resumed {restored}, whose launch has no number"
                assert restored.attempt >= choice[0] or (restored.attempt, restored.step) == choice[1], (
                    f"resumed {restored}, from before the choice of {choice}"
                )
        elif choice is not None and quiet:
            raise AssertionError(f"resumed nothing, after the choice of {choice}")
        spoilt = any(slot.run == self.run for slot in stage.diary.spoilt) or self._rotted(node)
        self.memory.resumed(launch.number, files, sure=not spoilt)
        return restored

    def _rotted(self, node: Node) -> bool:
        return any(inode.rotted for _, inode in node.disk.tree(f"{STAGING}/{self.run}"))

    def _trouble(self) -> int:
        """Changes whenever the store refuses somebody something."""
        faults = self.stage.world.faults_seen
        return sum(count for (kind, _), count in faults.items() if kind.startswith("store."))

    def _look(self, node: Node, run: Run) -> None:
        """Restore the latest while training goes on."""
        try:
            restored = run.restore(to=f"/home/{self.run}")
        except CkptArchiveError as error:
            self.stage.met("restore", error)
        else:
            self.check_returned(node, restored)


class Meeting:
    """Where the ranks of one launch exchange what they hold, as `torch.distributed.all_gather_object` lets them."""

    def __init__(self, size: int) -> None:
        self._rounds: list[dict[int, object]] = []
        self._size = size

    def gather(self, node: Node, rank: int, found: list[object], mine: object) -> None:
        """Wait until all have brought something; a peer that does not come ends the job."""
        brought = next((brought for brought in self._rounds if rank not in brought), None)
        if brought is None:
            brought = {}
            self._rounds.append(brought)
        brought[rank] = mine
        for _ in range(_PATIENCE_TRIES):
            if len(brought) == self._size:
                found[:] = [brought[number] for number in range(self._size)]
                return
            node.clock.sleep(1.0)
        raise UserError


class Team(Job):
    """A run trained by several ranks, each of which writes its share of every checkpoint."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=chance.choice((1, 2, 2, 3)))
        self.writers = chance.choice((2, 2, 3))
        self.homes = [chance.choice(stage.nodes) for _ in range(self.writers)]
        self.keep_local = chance.choice((2, 2, 3))
        self.every = chance.choice((1, 1, 2))
        self.saves = chance.choice((1, 2, 3))
        self.resumed: dict[int, set[object]] = {}

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        meeting = Meeting(self.writers) if self.chance.random() < 0.5 else None
        way = self.chance.random()
        for rank, node in enumerate(self.homes):
            self.spawn(
                launch, f"rank-{launch.number}-{rank}", node, partial(self._train, node, launch, rank, meeting, way)
            )

    def ended(self, process: Process) -> None:
        """See `Job`: if one dies, its launcher ends the others too, sooner or later."""
        current = self.current
        if current is None or process not in current.processes:
            return
        alive = [other for other in current.processes if other.alive]
        if alive and process.state.value == "killed" and not self.stage.is_closing:
            delay = self.chance.choice((0.0, 1.0, 60.0))
            self.stage.world.later(delay, lambda: [self.stage.world.kill(other) for other in alive])
        super().ended(process)

    def _train(self, node: Node, launch: Launch, rank: int, meeting: Meeting | None, way: float) -> None:
        stage, chance = self.stage, self.chance
        key = f"{self.run}-{launch.number}"
        run = stage.archive(node).run(
            self.run,
            staging=STAGING,
            keep_local=self.keep_local,
            promote=Every(self.every, save_every_steps=1),
            rank=rank,
            writers=self.writers,
            launch_key=key,
            agent="external",
        )
        restored: Restored | None = None
        try:
            if way < 0.8:
                agree = None if meeting is None else partial(meeting.gather, node, rank)
                restored = run.resume(agree=agree)
        except (CkptArchiveError, UserError) as error:
            stage.met("resume", error)
            return
        if way < 0.8:
            self._check_resumed(node, launch, restored)
        step = 0 if restored is None else restored.step
        for _ in range(self.saves):
            step += 1
            slot = Slot(self.run, key, step, rank)
            self.save(node, run, slot, self.content(step, rank, self.writers))
            node.clock.sleep(chance.choice((0.0, 1.0, 30.0)))
        run.finish()

    def _check_resumed(self, node: Node, launch: Launch, restored: Restored | None) -> None:
        came: object = None
        if restored is not None:
            self.check_returned(node, restored)
            key = (
                self.stage.oracle.launches[self.run, restored.attempt]["launch_key"]
                if restored.source == "archive" and restored.attempt is not None
                else self._key_of(node, restored)
            )
            came = (key, restored.step)
        ways = self.resumed.setdefault(launch.number, set())
        ways.add(came)
        assert len(ways) == 1, f"the ranks of launch {launch.number} went on from different checkpoints: {ways}"


class Pushing(Job):
    """Folders pushed into a run, by one writer or several; each try is repeated until it is done or refused."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=chance.choice((1, 2, 3, 5)))
        self.writers = chance.choice((1, 1, 2))
        self.plan: dict[tuple[int, int], Files] = {}
        self.steps = chance.choice((1, 2, 3))

    def launch(self, launch: Launch) -> None:
        """See `Job`: the first time everything is pushed, then again whatever there is."""
        for rank in range(self.writers):
            node = self.stage.nodes[(rank + launch.number) % len(self.stage.nodes)]
            self.spawn(launch, f"push-{launch.number}-{rank}", node, partial(self._push_all, node, launch, rank))

    def _push_all(self, node: Node, launch: Launch, rank: int) -> None:
        for step in range(1, self.steps + 1):
            files = self.plan.get((step, rank))
            if files is None or self.chance.random() < 0.15:
                files = self.content(step, rank, self.writers) or {f"{rank}/model.bin": b"x"}
                self.plan.setdefault((step, rank), files)
            self._push(node, step, rank, files, f"/home/{self.run}-{launch.number}-{rank}-{step}")

    def _push(self, node: Node, step: int, rank: int, files: Files, folder: str) -> None:
        stage, chance = self.stage, self.chance
        process = stage.process
        assert process is not None
        try:
            durable.remove_tree(node.disk, folder)
            durable.make_directories(node.disk, folder)
            kept = _write(node, folder, files)
        except OSError as error:
            stage.met("user's code", error)
            return
        launch_key = "together" if self.writers > 1 else None
        slot = Slot(self.run, f"push:{self.run}" + (f":{launch_key}" if launch_key else ""), step, rank)
        stage.shelf.note_source(slot, node.disk.find(folder))
        save: Save = stage.diary.begin(slot, files, process)
        if kept is not None and chance.random() < 0.1:
            # Whoever pushes what was changed before it was looked at pushes the changed folder.
            last = [path for path, data in files.items() if data][-1]
            stage.diary.begin(slot, {**files, last: b"late" + files[last][4:]}, process)
            self._meddle_later(node, kept, chance.choice((0.001, 0.02, 0.1)))
        for _ in range(3):
            try:
                stage.archive(node, launch_key).push(folder, self.run, step, rank=rank, writers=self.writers)
            except ConflictError as error:
                stage.met("push", error)
                break
            except CkptArchiveError as error:
                stage.met("push", error)
                node.clock.sleep(5.0)
            else:
                bound = stage.diary.bound.get(slot)
                assert bound in (files, tree_of(node.disk.find(folder))), (
                    f"{slot} was pushed, and something else archived"
                )
                break
        stage.diary.fail(save)

    def _meddle_later(self, node: Node, kept: WritableFile, delay_seconds: float) -> None:
        """Write into the folder while it is being pushed."""

        def meddle() -> None:
            node.clock.sleep(delay_seconds)
            try:
                kept.write_at(b"late", 0)
            except OSError as error:
                self.stage.met("meddling", error)

        self.stage.spawn("meddler", node, meddle)


class Restoring(Job):
    """Somebody who restores what is archived, whoever trains meanwhile."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=chance.choice((1, 2)))

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        node = self.chance.choice(self.stage.nodes)
        delay = self.chance.choice((1.0, 30.0, 120.0))
        self.spawn(launch, f"restore-{launch.number}", node, partial(self._restore, node, delay))

    def _restore(self, node: Node, delay_seconds: float) -> None:
        node.clock.sleep(delay_seconds)
        step = self.chance.choice((None, None, 1, 2, 3))
        try:
            restored = self.stage.archive(node).restore(self.run, step, to="/home/somebody/restored")
        except CkptArchiveError as error:
            self.stage.met("restore", error)
        else:
            self.check_returned(node, restored)


__all__ = ["Job", "Pushing", "Restoring", "Team", "Training"]
_ = parent
