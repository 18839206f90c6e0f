"""Runs that are trained by several ranks on several nodes, each of which writes its share of every checkpoint."""

import random
from dataclasses import dataclass, field
from functools import partial

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.cast import Launch
from ckpt_archive.testing.simulation.diary import Files, Slot, own_files
from ckpt_archive.testing.simulation.job import Job, UserError
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process, State
from ckpt_archive.testing.simulation.shelf import STAGING
from ckpt_archive.testing.simulation.stage import Stage

# About a minute: then a collective operation gives up.
_PATIENCE_TRIES = 60


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


@dataclass(slots=True)
class Crew:
    """The ranks of one launch.

    Attributes:
        launch: Of which launch.
        homes: The node of every rank.
        meeting: Where they talk, if they do.
        resumes: Whether they resume.
        chosen: (attempt, step) that somebody chose for them to go on from, instead of the latest.
        came: What each of them went on from: (launch key, step), and its files.
    """

    launch: Launch
    homes: list[Node]
    meeting: Meeting | None
    resumes: bool
    chosen: tuple[int, int] | None
    came: dict[int, tuple[tuple[str | None, int] | None, Files | None]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Their launch key."""
        return self.launch.key


class Team(Job):
    """A run trained by several ranks; now and then another launch has more of them, or fewer, or goes back."""

    trains = True

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2, 2, 3))
        self.writers = 2 if stage.is_brief else chance.choice(stage.size.writers)
        self.homes = [chance.choice(stage.nodes) for _ in range(self.writers)]
        self.keep_local = chance.choice((2, 2, 3))
        self.every = chance.choice((1, 1, 2))
        self.saves = (
            1
            if stage.is_brief or self.writers > 4
            else min(chance.choice((1, 1, 2, 3)), chance.choice(stage.size.saves))
        )
        self.sizes: dict[str, int] = {}

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        chance = self.chance
        if self.begun > 1 and not self.stage.is_brief:
            self._change()
        talks, way = chance.random() < 0.5, chance.random()
        committed = [at[1:] for at in self.stage.oracle.archived if at[0] == self.run]
        chosen = chance.choice(committed) if committed and way > 0.9 else None
        crew = Crew(
            launch, list(self.homes), Meeting(self.writers) if talks else None, way < 0.8 and chosen is None, chosen
        )
        self.sizes[crew.key] = self.writers
        for rank, node in enumerate(crew.homes):
            self.spawn(launch, f"rank-{launch.number}-{rank}", node, partial(self._train, node, crew, rank))

    def _change(self) -> None:
        """The next launch may have another number of writers, and other nodes."""
        chance, nodes = self.chance, self.stage.nodes
        if chance.random() < 0.25:
            self.writers = chance.choice(self.stage.size.writers[:5])
            self.homes = [*self.homes, *(chance.choice(nodes) for _ in range(self.writers))][: self.writers]
        if chance.random() < 0.25:
            self.homes = [chance.choice(nodes) if chance.random() < 0.5 else home for home in self.homes]

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

    def _train(self, node: Node, crew: Crew, rank: int) -> None:
        stage, chance = self.stage, self.chance
        run = stage.archive(node).run(
            self.run,
            staging=STAGING,
            keep_local=self.keep_local,
            promote=Every(self.every, save_every_steps=1),
            rank=rank,
            writers=len(crew.homes),
            launch_key=crew.key,
            agent="auto",
        )
        try:
            restored = self._begin(node, run, crew, rank)
        except (CkptArchiveError, UserError) as error:
            stage.met("resume", error)
            return
        step = 0 if restored is None else restored.step
        for _ in range(self.saves):
            step += 1
            slot = Slot(self.run, crew.key, step, rank)
            staged = self.save(node, run, slot, self.content(step, rank, len(crew.homes)))
            if not staged and step % self.every == 0:
                stage.awaited.append((slot, node.name))
            if staged and crew.chosen is not None:
                stage.oracle.chose(self.run, crew.key, *crew.chosen)
            node.clock.sleep(chance.choice(self.pauses((0.0, 1.0, 30.0))))
        self.finish(node, run)

    def _begin(self, node: Node, run: Run, crew: Crew, rank: int) -> Restored | None:
        restored: Restored | None = None
        if crew.chosen is not None:
            attempt, step = crew.chosen
            restored = run.restore(step, attempt=attempt)
            assert restored.step == step, f"step {step} was wanted, and {restored} returned"
            self.check_returned(node, restored)
        elif crew.resumes:
            agree = None if crew.meeting is None else partial(crew.meeting.gather, node, rank)
            restored = run.resume(agree=agree)
            self._check_resumed(node, crew, rank, restored)
        return restored

    def _check_resumed(self, node: Node, crew: Crew, rank: int, restored: Restored | None) -> None:
        """All ranks go on from the same checkpoint, and from the whole of it."""
        came: tuple[str | None, int] | None = None
        files: Files | None = None
        if restored is not None:
            self.check_returned(node, restored)
            # What rots once it has been proved is nobody's fault.
            rotted = any(inode.rotted for _, inode in node.disk.tree(str(restored.path)))
            files = None if rotted else self.files_at(node, restored)
            key = (
                self.stage.oracle.launches.get((self.run, restored.attempt), {}).get("launch_key")
                if restored.source == "archive" and restored.attempt is not None
                else self.key_of(node, restored)
            )
            came = (key, restored.step)
        crew.came[rank] = came, files
        ways = {way for way, _ in crew.came.values()}
        assert len(ways) == 1, f"the ranks of launch {crew.launch.number} went on from different checkpoints: {ways}"
        if came is not None and came[0] is not None and len(crew.came) == len(crew.homes):
            self._check_whole(came[0], came[1], [files for _, files in crew.came.values()])

    def _check_whole(self, key: str, step: int, parts: list[Files | None]) -> None:
        diary = self.stage.diary
        if None in parts:
            return
        whole = {path: data for files in parts if files is not None for path, data in files.items()}
        for rank in range(self.sizes.get(key, 0)):
            slot = Slot(self.run, key, step, rank)
            saved = [own_files(content, rank) for content in diary.staged.get(slot, ())]
            excused = slot in diary.spoilt or self.stage.shelf.has_rotted(slot)
            assert own_files(whole, rank) in saved or excused, (
                f"step {step} of {key} was gone on from without the share of rank {rank}"
            )
