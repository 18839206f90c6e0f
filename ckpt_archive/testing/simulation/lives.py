"""Whole lives of a site, for `search` and `every_crash_point`: the real code, everything that can go wrong, then calm.

A life draws from its seed who works there and for how long. While it lasts, oracles judge every I/O; when all work is
done nothing goes wrong any more, the agents go on until they have nothing left to do, and then everything must have
come to a good end: promoted checkpoints are archived or given up on record, whatever is committed restores, and
"latest" is what it must be.
"""

import random
from functools import partial

from ckpt_archive.commit import catalog
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.patience import Patience
from ckpt_archive.restore.result import Restored
from ckpt_archive.testing.simulation.diary import Files
from ckpt_archive.testing.simulation.faults import Options
from ckpt_archive.testing.simulation.job import Job
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process
from ckpt_archive.testing.simulation.pushing import Pushing, Restoring
from ckpt_archive.testing.simulation.shelf import Held, tree_of
from ckpt_archive.testing.simulation.stage import Stage, quick
from ckpt_archive.testing.simulation.training import Team, Training
from ckpt_archive.testing.simulation.world import World

_MOST_PASSES = 60
_LATE_SECONDS = 400.0


def options_of(seed: int) -> Options:
    """What goes wrong in the life of a seed."""
    return Options.drawn(seed)


def life(world: World) -> None:
    """One life; see `search.Life`."""
    chance = random.Random(f"life {world.seed}")
    nodes = chance.choice((1, 1, 2, 2, 3))
    room = chance.choice((None, None, None, None, 6_000, 15_000))
    with remembering():
        _Life(world, chance, nodes, room).play()


BRIEF = (0, 1, 2, 4, 8, 12, 19, 20, 22, 24, 27, 36, 37, 38, 43, 49, 51, 52, 54, 56)
"""Seeds whose brief lives can be broken off everywhere in seconds: trainers, teams and pushes on one node or two."""


def brief_options_of(seed: int) -> Options:
    """What goes wrong in the brief life of a seed before it is broken off: nothing; but stores and schedules differ."""
    return Options(
        switch_chance=(0.02, 0.1, 0.3)[seed % 3], checksums_enforced=seed % 2 == 0, conditional_complete=seed % 4 < 2
    )


def brief_life(world: World) -> None:
    """A life of a few hundred I/Os, for `every_crash_point`."""
    with remembering():
        _Life(world, random.Random(f"life {world.seed}"), 1 + world.seed % 2, None, is_brief=True).play()


class _Life(Stage):
    def __init__(
        self, world: World, chance: random.Random, nodes: int, room_bytes: int | None, *, is_brief: bool = False
    ) -> None:
        super().__init__(world, nodes, room_bytes, is_brief=is_brief)
        self._chance = chance
        self._agents: dict[Process, Node] = {}
        self._restarts = 3 if is_brief else 12
        kinds = chance.choices(
            (Training, Team, Pushing), weights=(5, 3, 2), k=1 if is_brief else chance.choice((1, 1, 2))
        )
        self._jobs: list[Job] = [
            kind(self, f"run-{number}", random.Random(f"job {world.seed} {number}"))
            for number, kind in enumerate(kinds)
        ]
        if not is_brief and chance.random() < 0.5:
            self._jobs.append(Restoring(self, "run-0", random.Random(f"restoring {world.seed}")))

    def play(self) -> None:
        """From beginning to end."""
        for node in self.nodes:
            self._start_agent(node, 0.0)
        for job in self._jobs:
            job.begin()
        self.world.run()
        self._calm()

    def ended(self, process: Process) -> None:
        """See `Watcher`: whatever has ended is followed by its successor."""
        super().ended(process)
        node = self._agents.pop(process, None)
        if node is not None and self._restarts and not self.is_closing:
            self._restarts -= 1
            self._start_agent(node, 1.0 if self.is_brief else self._chance.choice((1.0, 10.0, 100.0)))
        for job in self._jobs:
            job.ended(process)

    def paused(self, process: Process, seconds: float) -> None:
        """See `Watcher`."""
        if seconds > 1.0 and not self.is_closing:
            for job in self._jobs:
                job.paused(process)

    def _start_agent(self, node: Node, delay_seconds: float) -> None:
        main = partial(self.run_agent, node, delay_seconds)
        self._agents[self.spawn("agent", node, main, daemon=True)] = node

    # --- calm ----------------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        self.is_closing = True
        self.world.calm()
        for process in list(self.world.processes):
            if process.alive:
                self.world.kill(process)
        # What was still on its way arrives now.
        self.world.sleep(_LATE_SECONDS)
        for node in self.nodes:
            self.spawn("settling", node, partial(self._settle, node))
        self.world.run()
        self._check_settled()
        auditor = Node(self.world, "auditor")
        self.spawn("auditor", auditor, partial(self._audit, auditor))
        self.world.run()

    def _settle(self, node: Node) -> None:
        """An agent works until, for a while, nothing changes any more anywhere."""
        agent = self.agent(node, quick(self.agent_settings))
        quiet = 0
        for _ in range(_MOST_PASSES):
            before = len(self.store.bucket.objects)
            done = agent.step()
            node.clock.sleep(3.0)
            quiet = 0 if done.archived or len(self.store.bucket.objects) != before else quiet + 1
            if quiet > 1:
                return

    def _check_settled(self) -> None:
        for held in self.shelf.held.values():
            problem = self._unsettled(held)
            assert problem is None, f"{held.save.slot} {problem}"
        left = self.left_uploads()
        assert not left, f"uploads were left behind: {left}"

    def _unsettled(self, held: Held) -> str | None:
        """What is still to be done for an acknowledged share, although nothing stands in the way."""
        slot = held.save.slot
        if not held.promoted or (slot in self.oracle.slots and self.diary.bound[slot] == held.save.files):
            return None
        attempt = self.oracle.attempts.get((slot.run, slot.launch_key))
        if attempt is not None and (slot.run, attempt, slot.step) in self.oracle.gaps:
            return None
        peers = [other for other in self.shelf.held.values() if other.save.slot[:3] == slot[:3]]
        if any(self._is_spoilt(other) for other in peers):
            return None
        if attempt is None:
            return "is promoted, and its launch has never got a number"
        writers = self.oracle.launches[slot.run, attempt]["writers"]
        if len(peers) < writers or self.oracle.is_damaged((slot.run, attempt, slot.step)):
            return None
        return f"is promoted, and neither archived (attempt {attempt}) nor given up on record"

    def _is_spoilt(self, held: Held) -> bool:
        """Whether it, or a record of its launch, has rotted."""
        return held.rotted() or self.shelf.records_rotted(held.node, held.save.slot.run)

    def _audit(self, node: Node) -> None:
        """Whatever is committed restores, and latest is what it must be."""
        archive = self.archive(node)
        store = self.connect(node, Patience.LONG).store
        for run in {run for run, _ in self.oracle.launches}:
            found = latest(store, run)
            wanted = self.oracle.expected_latest(run)
            answer = None if found is None else (found.attempt, found.step)
            assert answer == wanted, f"latest of {run} is {answer}, and should be {wanted}"
        for (run, attempt, step), files in self.oracle.archived.items():
            try:
                restored = archive.restore(run, step, attempt=attempt, to="/out")
            except CkptArchiveError as error:
                if self.oracle.is_damaged((run, attempt, step)):
                    continue
                raise AssertionError(f"{run} step {step} of attempt {attempt} is committed, but: {error}") from error
            assert _tree(node, restored) == files, f"{run} step {step} of attempt {attempt} came back different"
        listed = {
            (place.run, place.attempt, place.step)
            for run in catalog.runs(store)
            for place in catalog.places(store, run)
        }
        known = set(self.oracle.archived)
        assert all(self.oracle.is_damaged(at) for at in listed ^ known), f"listed are {listed}, committed {known}"


def _tree(node: Node, restored: Restored) -> Files:
    return tree_of(node.disk.find(str(restored.path)))
