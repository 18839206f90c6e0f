"""Pushes and restores: begun again until they succeed, as a script would, and judged when they have."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ckpt_archive.testing.siege import actors
from ckpt_archive.testing.siege.content import Identity, WrongBytesError, check, write
from ckpt_archive.testing.siege.figures import Figures
from ckpt_archive.testing.siege.processes import Child

_NOT_EMPTY = 2  # how a restore ends that finds something else in its folder
_IN_PARTS = 0.6  # of all pushes


@dataclass(slots=True)
class Job:
    """A push or a restore.

    Attributes:
        name: "push" or "restore".
        action: What it does.
        step: Of a push.
        target: Of a restore.
        child: The process that is at it.
    """

    name: str
    action: Callable[[], int]
    step: int = 0
    target: Path | None = None
    child: Child | None = None


@dataclass(slots=True)
class Jobs:
    """Those of a site.

    Attributes:
        seed: Of the site.
        folder: For what is pushed and what is restored.
        start: Starts a process.
        figures: Told everything.
        chance: Decides what they are.
        committed: Steps of which a push has said that they are in the archive.
    """

    seed: str
    folder: Path
    start: Callable[[str, Callable[[], int]], Child]
    figures: Figures
    chance: random.Random
    committed: list[int] = field(default_factory=list)
    _jobs: list[Job] = field(default_factory=list)
    _pushes: int = 0
    _restores: int = 0

    def under_way(self, name: str) -> list[Child]:
        """The processes that are at such a job."""
        return [job.child for job in self._jobs if job.name == name and job.child is not None]

    @property
    def unfinished_pushes(self) -> list[Job]:
        """Those that have not succeeded yet."""
        return [job for job in self._jobs if job.name == "push"]

    def begin(self, name: str) -> None:
        """See to it that at least one is under way: what was killed goes on, else there is a new one."""
        if self.under_way(name):
            return
        waiting = [job for job in self._jobs if job.name == name]
        if not waiting:
            waiting = self._new_pushes() if name == "push" else [self._new_restore()]
            self._jobs += waiting
        for job in waiting:
            job.child = self.start(name, job.action)

    def let_go(self, child: Child) -> bool:
        """Others may take up its job, although it lives; whether it had one."""
        for job in self._jobs:
            if job.child is child:
                job.child = None
                return True
        return False

    def ended(self) -> list[Child]:
        """Judge those that have ended, by themselves or not; their processes."""
        children = []
        for job in list(self._jobs):
            if job.child is not None and job.child.code is not None:
                children.append(job.child)
                self._judge(job, job.child)
        return children

    def _judge(self, job: Job, child: Child) -> None:
        job.child = None
        if child.code == _NOT_EMPTY and job.target is not None:
            # The one before was killed when its work was done, and meanwhile another checkpoint is the latest.
            self._jobs.remove(job)
            self._check_restored(job.target)
        if child.code != 0:
            return
        self._jobs.remove(job)
        if job.target is None:
            if all(other.step != job.step for other in self.unfinished_pushes):
                self.committed.append(job.step)
            return
        for document in actors.one_document(child.lines):
            self._check_restored(job.target, document["step"])

    def _check_restored(self, folder: Path, step: object = None) -> None:
        self.figures.counts["restored"] += 1
        try:
            found = {identity.step for identity in check(folder)}
        except WrongBytesError as error:
            self.figures.wrong.append(f"{self.seed}: {error}")
            return
        if step is not None and found != {step}:
            self.figures.wrong.append(f"{self.seed}: {folder} was to be step {step} and is {found}")

    def _new_pushes(self) -> list[Job]:
        self._pushes += 1
        step = self._pushes
        writers = self.chance.choice((1, 1, 2))
        jobs = []
        for rank in range(writers):
            folder = self.folder / f"push-{step}-{rank}"
            write(folder, Identity(self.seed, actors.PUSHED, step, f"rank-{rank}"))
            # In parts through the API alone: those of the command line are larger than what is worth sending here.
            in_parts = self.chance.random() < _IN_PARTS
            words = ["push", str(folder), "--run", actors.PUSHED, "--step", str(step)]
            words += ["--rank", str(rank), "--writers", str(writers), "--json"]
            action = actors.Pushing(str(folder), step, rank, writers) if in_parts else actors.command(*words)
            jobs.append(Job("push", action, step=step))
        return jobs

    def _new_restore(self) -> Job:
        self._restores += 1
        target = self.folder / f"restored-{self._restores}"
        if self.committed and self.chance.random() < 0.5:
            words = ["restore", actors.PUSHED, str(self.chance.choice(self.committed))]
        else:
            words = ["restore", actors.RUN, "--if-any"]
        return Job("restore", actors.command(*words, "--to", str(target), "--json"), target=target)
