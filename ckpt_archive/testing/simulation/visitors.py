"""People who come by while others train: they restore, list, ask for a checkpoint, wait until a node is drained."""

import random
from functools import partial

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.commit.decision import PROMOTE, Decision, decide
from ckpt_archive.errors import CkptArchiveError, NotFoundError
from ckpt_archive.patience import Patience
from ckpt_archive.testing.simulation.cast import Launch
from ckpt_archive.testing.simulation.job import Job
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.shelf import STAGING
from ckpt_archive.testing.simulation.stage import Stage


class Restoring(Job):
    """Somebody who restores what is archived, or what his node has of it, whoever trains meanwhile."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2, 3))

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        node = self.chance.choice(self.stage.nodes)
        delay = self.chance.choice((1.0, 30.0, 60.0))
        self.spawn(launch, f"restore-{launch.number}", node, partial(self._restore, node, delay))

    def _restore(self, node: Node, delay_seconds: float) -> None:
        node.clock.sleep(delay_seconds)
        stage, chance = self.stage, self.chance
        step = chance.choice((None, None, 1, 2, 3))
        nearby, rank, fallback = chance.random() < 0.3, chance.random() < 0.1, chance.random() < 0.1
        mark = stage.oracle.mark(self.run)
        newest = -1 if step is None else stage.oracle.newest_with(self.run, step)
        answer: tuple[int, int] | None = None
        try:
            restored = stage.archive(node).restore(
                self.run,
                step,
                to="/home/somebody/restored",
                staging=STAGING if nearby else None,
                rank=0 if rank else None,
                fallback=fallback,
            )
        except CkptArchiveError as error:
            stage.met("restore", error)
            if not isinstance(error, NotFoundError):
                return
        else:
            self.check_returned(node, restored, rank=0 if rank else None)
            if step is not None and not fallback:
                assert restored.step == step, f"step {step} was asked for, and {restored} returned"
                older = restored.source == "archive" and (restored.attempt or 0) < newest
                assert not older, f"{restored} was returned, and attempt {newest} has that step too"
            answer = None if restored.attempt is None else (restored.attempt, restored.step)
        # A step that was chosen is answered as it was chosen, and may not be there; so is a writer that wrote nothing.
        if step is None and not nearby and not fallback and (answer is not None or not rank):
            self._check_latest(answer, mark)
        if chance.random() < 0.3:
            self._list(node)

    def _check_latest(self, answer: tuple[int, int] | None, mark: int) -> None:
        oracle = self.stage.oracle
        if not oracle.launches_damaged(self.run):
            allowed = oracle.answers_since(self.run, mark)
            gone = answer is None and any(at is not None and (self.run, *at) not in oracle.archived for at in allowed)
            assert answer in allowed or gone, f"the latest of {self.run} was {answer}, and not one of {allowed}"

    def _list(self, node: Node) -> None:
        try:
            listed = self.stage.archive(node).checkpoints(self.run)
        except CkptArchiveError as error:
            self.stage.met("list", error)
            return
        for info in listed:
            at = (info.run, info.attempt, info.step)
            assert at in self.stage.oracle.archived, f"{at} is listed, and was never committed"


class Draining(Job):
    """The end of a job: somebody waits until what a node has promised is archived."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 1, 2))

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        node = self.chance.choice(self.stage.nodes)
        delay = self.chance.choice((0.1, 10.0, 60.0))
        self.spawn(launch, f"drain-{launch.number}", node, partial(self._drain, node, delay))

    def _drain(self, node: Node, delay_seconds: float) -> None:
        node.clock.sleep(delay_seconds)
        stage = self.stage
        began_us = stage.world.now_us
        daemon = Daemon(node.machine(), stage.agent(node), stage.agent_settings)
        try:
            report = daemon.drain(self.chance.choice((0.0, 3.0, 10.0)))
        except CkptArchiveError as error:
            stage.met("drain", error)
            return
        if report.done:
            stage.check_drained(node, None, began_us)


class Promoting(Job):
    """Somebody who wants a checkpoint kept that the rule leaves out."""

    def __init__(self, stage: Stage, run: str, chance: random.Random) -> None:
        super().__init__(stage, run, chance, launches=(1, 2))

    def launch(self, launch: Launch) -> None:
        """See `Job`."""
        node = self.chance.choice(self.stage.nodes)
        delay = self.chance.choice((1.0, 10.0, 30.0))
        self.spawn(launch, f"promote-{launch.number}", node, partial(self._promote, node, delay))

    def _promote(self, node: Node, delay_seconds: float) -> None:
        node.clock.sleep(delay_seconds)
        stage = self.stage
        steps = [
            (stage.oracle.attempts[held.save.slot[:2]], held.save.slot.step)
            for held in stage.shelf.held.values()
            if held.save.slot.run == self.run and not held.promoted and held.save.slot[:2] in stage.oracle.attempts
        ]
        if not steps:
            return
        attempt, step = self.chance.choice(steps)
        try:
            connection = stage.connect(node, Patience.LONG)
            decision = Decision(
                connection.archive_id, self.run, attempt, step, PROMOTE, "it is the best", "somebody", node.clock.now()
            )
            decide(connection.store, decision)
        except CkptArchiveError as error:
            stage.met("promote", error)
