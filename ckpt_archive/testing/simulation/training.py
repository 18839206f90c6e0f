"""Runs that are trained: by one process, or by several ranks, each of which writes its share of every checkpoint."""

import random
from functools import partial

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.diary import Slot
from ckpt_archive.testing.simulation.job import Job, Launch, UserError
from ckpt_archive.testing.simulation.memory import Memory
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process, State
from ckpt_archive.testing.simulation.shelf import STAGING
from ckpt_archive.testing.simulation.stage import Stage

# About a minute: then a collective operation gives up.
_PATIENCE_TRIES = 60


class Training(Job):
    """A run trained by one process at a time, now and then on another node, now and then rolled back."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2, 2, 3, 4))
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
        delay = self.chance.choice(self.pauses((0.0, 5.0, 60.0))) if self.begun > 1 else 0.0
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
        for _ in range(chance.choice((1, 1, 2) if stage.is_brief else (1, 2, 3, 5))):
            if chance.random() < 0.85:
                step += 1
            for _ in range(2 if chance.random() < 0.15 else 1):
                if self._save(node, run, launch, Slot(self.run, key, step, 0)):
                    self._note_choice(launch, key)
            node.clock.sleep(chance.choice(self.pauses((0.0, 1.0, 10.0, 60.0))))
            if chance.random() < 0.1:
                if self.choices.pop(launch.number, None) is not None:
                    # It has not saved since it restored a step, and now restores another one.
                    memory.gave_up(launch.number)
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
            key = run._part.launch().launch.launch_key  # noqa: SLF001 - it has made a new one
            self.check_returned(node, restored)
            memory.chose(launch.number, self.files_at(node, restored))
            self._note_choice(launch, key)
            return restored, key
        if steps and way < 0.25:
            # This decides where the launch goes on from only when it saves.
            restored = run.restore(chance.choice(steps))
            self.check_returned(node, restored)
            self.choices[launch.number] = restored.attempt, restored.step
            memory.may_choose(launch.number, self.files_at(node, restored))
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
        before = self._refusals()
        choice = stage.oracle.choices.get(self.run)
        restored = run.resume()
        quiet = before == self._refusals() and not stage.store.is_troubled
        files = None
        if restored is not None:
            self.check_returned(node, restored)
            files = self.files_at(node, restored)
            if choice is not None and (quiet or restored.source == "archive"):
                assert restored.attempt is not None, f"resumed {restored}, whose launch has no number"
                assert restored.attempt >= choice[0] or (restored.attempt, restored.step) == choice[1], (
                    f"resumed {restored}, from before the choice of {choice}"
                )
        elif choice is not None and quiet:
            raise AssertionError(f"resumed nothing, after the choice of {choice}")
        spoilt = any(slot.run == self.run for slot in stage.diary.spoilt) or self._rotted(node)
        gone = restored is not None and files is None
        self.memory.resumed(launch.number, files, sure=not (spoilt or gone))
        return restored

    def _rotted(self, node: Node) -> bool:
        return any(inode.rotted for _, inode in node.disk.tree(f"{STAGING}/{self.run}"))

    def _refusals(self) -> int:
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
        super().__init__(stage, run, chance, launches=(1, 2, 2, 3))
        self.writers = 2 if stage.is_brief else chance.choice((2, 2, 3))
        self.homes = [chance.choice(stage.nodes) for _ in range(self.writers)]
        self.keep_local = chance.choice((2, 2, 3))
        self.every = chance.choice((1, 1, 2))
        self.saves = 1 if stage.is_brief else chance.choice((1, 2, 3))
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
        if alive and process.state is State.KILLED and not self.stage.is_closing:
            delay = self.chance.choice(self.pauses((0.0, 1.0, 60.0)))
            self.stage.world.later(delay, lambda: self._kill(alive))
        super().ended(process)

    def _kill(self, processes: list[Process]) -> None:
        for process in processes:
            self.stage.world.kill(process)

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
            node.clock.sleep(chance.choice(self.pauses((0.0, 1.0, 30.0))))
        run.finish()

    def _check_resumed(self, node: Node, launch: Launch, restored: Restored | None) -> None:
        came: object = None
        if restored is not None:
            self.check_returned(node, restored)
            key = (
                self.stage.oracle.launches[self.run, restored.attempt]["launch_key"]
                if restored.source == "archive" and restored.attempt is not None
                else self.key_of(node, restored)
            )
            came = (key, restored.step)
        ways = self.resumed.setdefault(launch.number, set())
        ways.add(came)
        assert len(ways) == 1, f"the ranks of launch {launch.number} went on from different checkpoints: {ways}"
