"""Runs that are trained by one process at a time."""

import random
from functools import partial

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.cast import Launch
from ckpt_archive.testing.simulation.diary import Files, Slot
from ckpt_archive.testing.simulation.job import Job
from ckpt_archive.testing.simulation.memory import Memory
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.shelf import STAGING
from ckpt_archive.testing.simulation.stage import Stage


class Training(Job):
    """A run trained by one process at a time, now and then on another node, now and then rolled back."""

    trains = True

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2, 2, 3, 4))
        self.quota = None if stage.is_brief else chance.choice((None, None, None, None, None, 800, 3_000))
        self.home = chance.choice(stage.nodes)
        self.keep_local = chance.choice((1, 1, 2, 3))
        self.promote = chance.choice((Every(1), Every(1), Every(2), Every(3), Every(2, save_every_steps=1)))
        self.moves = chance.random() < 0.3
        self.memory = Memory()
        self.last: tuple[Slot, Files] | None = None
        if self.quota is not None:
            stage.has_little_room = True
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
        key = launch.key
        on_error = chance.choice(("log", "raise"))
        run = stage.archive(node).run(
            self.run,
            staging=STAGING,
            keep_local=self.keep_local,
            promote=self.promote,
            launch_key=key,
            agent="auto",
            on_error=on_error,
            quota_bytes=None if self.quota is None else RESERVED_BYTES + self.quota,
        )
        memory.begins(launch.number, node.name, zombies=self._others_alive(launch))
        try:
            restored, key = self._begin(node, run, launch, key)
        except CkptArchiveError as error:
            stage.met("resume", error)
            memory.gave_up(launch.number)
            return
        step = 0 if restored is None else restored.step
        for _ in range(
            min(chance.choice((1, 1, 2) if stage.is_brief else (1, 1, 2, 3, 4)), chance.choice(stage.size.saves))
        ):
            if chance.random() < 0.85:
                step += 1
            for _ in range(2 if chance.random() < 0.15 else 1):
                if self._save(node, run, launch, Slot(self.run, key, step, 0), raises=on_error == "raise"):
                    self._note_choice(launch, key)
            node.clock.sleep(chance.choice(self.pauses((0.0, 1.0, 10.0, 60.0))))
            if chance.random() < 0.1:
                if self.choices.pop(launch.number, None) is not None:
                    # It has not saved since it restored a step, and now restores another one.
                    memory.gave_up(launch.number)
                self._look(node, run)
        self.finish(node, run)

    def _others_alive(self, launch: Launch) -> bool:
        return any(
            process.alive and process.name.startswith("trainer") and process not in launch.processes
            for process in self.stage.world.processes
        )

    def _save(self, node: Node, run: Run, launch: Launch, slot: Slot, *, raises: bool) -> bool:
        same = self.last is not None and self.last[0] == slot and self.chance.random() < 0.5
        files = self.last[1] if same and self.last is not None else self.content(slot.step, 0, 1)
        self.last = slot, files
        self.memory.tries(launch.number, slot, files)
        staged = self.save(node, run, slot, files, raises=raises)
        if staged:
            self.memory.acknowledged(launch.number, slot, files)
        return staged

    def _begin(self, node: Node, run: Run, launch: Launch, key: str) -> tuple[Restored | None, str]:
        chance, memory = self.chance, self.memory
        steps = sorted(memory.steps)
        # The same step of an abandoned branch: a fork.
        forks = [] if self.stage.is_brief else [at[1:] for at in self.stage.oracle.archived if at[0] == self.run]
        way = chance.random()
        if steps and way < 0.15:
            attempt, step = chance.choice(forks) if forks and chance.random() < 0.4 else (None, chance.choice(steps))
            restored = run.rollback(step, attempt=attempt)
            self.choices[launch.number] = restored.attempt, restored.step
            key = run._part.launch().launch.launch_key  # noqa: SLF001 - it has made a new one
            self.check_returned(node, restored)
            memory.chose(launch.number, self.files_at(node, restored))
            self._note_choice(launch, key)
            return restored, key
        if steps and way < 0.25:
            # This decides where the launch goes on from only when it saves.
            attempt, step = chance.choice(forks) if forks and chance.random() < 0.4 else (None, chance.choice(steps))
            restored = run.restore(step, attempt=attempt)
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
