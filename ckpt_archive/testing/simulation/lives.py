"""Whole lives of a site, for `search` and `every_crash_point`: the real code, everything that can go wrong, then calm.

A life draws from its seed who works there and for how long. While it lasts, oracles judge every I/O; when all work is
done nothing goes wrong any more, the agents go on until they have nothing left to do, and then everything must have
come to a good end: promoted checkpoints are archived or given up on record, whatever is committed restores, and
"latest" is what it must be.
"""

import random
from dataclasses import replace
from functools import partial

from ckpt_archive.agent.node import Pass
from ckpt_archive.testing.simulation.audit import Audit, check_settled
from ckpt_archive.testing.simulation.cast import Size
from ckpt_archive.testing.simulation.faults import Fault, Options
from ckpt_archive.testing.simulation.job import Job
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process
from ckpt_archive.testing.simulation.pushing import Pushing
from ckpt_archive.testing.simulation.stage import Stage, quick
from ckpt_archive.testing.simulation.team import Team
from ckpt_archive.testing.simulation.training import Training
from ckpt_archive.testing.simulation.visitors import Draining, Promoting, Restoring
from ckpt_archive.testing.simulation.weather import Weather
from ckpt_archive.testing.simulation.world import World

_SIZES = (
    Size(nodes=(1, 1, 2), jobs=(1,), launches=(1, 2), saves=(1, 1, 2), writers=(2, 2, 2, 3), restarts=2, troubles=2.0),
    Size(
        nodes=(1, 2, 2, 3),
        jobs=(1,),
        launches=(1, 2, 3),
        saves=(1, 2, 3),
        writers=(2, 2, 3, 4),
        restarts=2,
        troubles=1.5,
    ),
    Size(),
)
# Two things that meet are found in lives of two things, and of these far more can be lived than of long ones.
_MOST_PASSES = 60
_LATE_SECONDS = 400.0
_LASTING = frozenset((Fault.STORM, Fault.OUTAGE, Fault.CUT_OFF, Fault.DENIED))


def options_of(seed: int) -> Options:
    """What goes wrong in the life of a seed: in a short one more often, so that something does."""
    options, times = Options.drawn(seed), _size_of(seed).troubles
    # Where the store is away most of the time, little else can go wrong with it.
    lasting = frozenset() if random.Random(f"lasting {seed}").random() < 0.4 else _LASTING
    return replace(
        options,
        faults=options.faults - lasting,
        kill_chance=min(0.03, options.kill_chance * times),
        pause_chance=min(0.015, options.pause_chance * times),
        power_loss_chance=options.power_loss_chance * times,
        clock_jump_chance=options.clock_jump_chance * times,
        store_fault_chance=min(0.25, options.store_fault_chance * 2 * times),
        disk_fault_chance=min(0.01, options.disk_fault_chance * times),
    )


def _size_of(seed: int) -> Size:
    (size,) = random.Random(f"size {seed}").choices(_SIZES, weights=(60, 30, 10))
    return size


def life(world: World) -> None:
    """One life; see `search.Life`."""
    chance = random.Random(f"life {world.seed}")
    size = _size_of(world.seed)
    room = chance.choice((None, None, None, None, 6_000, 15_000))
    with remembering():
        _Life(world, chance, chance.choice(size.nodes), room, size=size).play()


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
        self,
        world: World,
        chance: random.Random,
        nodes: int,
        room_bytes: int | None,
        *,
        is_brief: bool = False,
        size: Size = Size(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(world, nodes, room_bytes, is_brief=is_brief, size=size)
        self._chance = chance
        self._agents: dict[Process, Node] = {}
        self._restarts = 3 if is_brief else size.restarts
        self._on_demand = not is_brief and chance.random() < 0.2
        self._each = 2 if not is_brief and chance.random() < 0.15 else 1
        kinds = chance.choices(
            (Training, Team, Pushing), weights=(5, 4, 2), k=1 if is_brief else chance.choice(size.jobs)
        )
        self._jobs: list[Job] = [
            kind(self, f"run-{number}", random.Random(f"job {world.seed} {number}"))
            for number, kind in enumerate(kinds)
        ]
        if not is_brief:
            visitors = (Restoring, 0.25), (Draining, 0.12), (Promoting, 0.08)
            self._jobs += [
                kind(self, "run-0", random.Random(f"{kind.__name__} {world.seed}"))
                for kind, likely in visitors
                if chance.random() < likely
            ]

    def play(self) -> None:
        """From beginning to end."""
        if not self._on_demand:
            for node in self.nodes:
                for _ in range(self._each):
                    self._start_agent(node, 0.0)
        for job in self._jobs:
            job.begin()
        if not self.is_brief:
            Weather(self, random.Random(f"weather {self.world.seed}")).begin()
        self.world.run()
        self._calm()

    def agent_wanted(self, node: Node) -> None:
        """See `Stage`: as the product's own spawner looks first whether one works there."""
        working = any(process.alive and there is node for process, there in self._agents.items())
        if self._on_demand and not working and not self.is_closing:
            self._start_agent(node, 0.0)

    def ended(self, process: Process) -> None:
        """See `Watcher`: whatever has ended is followed by its successor."""
        super().ended(process)
        node = self._agents.pop(process, None)
        if node is not None and self._restarts and not self.is_closing and not self._on_demand:
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
        main = partial(self.run_agent, node, delay_seconds, until_idle=self._on_demand)
        self._agents[self.spawn("agent", node, main, daemon=True)] = node

    # --- calm ----------------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        self.is_closing = True
        self.world.calm()
        for end in self.at_calm:
            end()
        for process in list(self.world.processes):
            if process.alive:
                self.world.kill(process)
        # What was still on its way arrives now.
        self.world.sleep(_LATE_SECONDS)
        self._settle()
        check_settled(self)
        auditor = Node(self.world, "auditor")
        audit = Audit(self, auditor, random.Random(f"audit {self.world.seed}"))
        self.spawn("auditor", auditor, audit.audit)
        self.world.run()

    def _settle(self) -> None:
        """The agents work until nothing changes any more anywhere."""
        agents = [(node, self.agent(node, quick(self.agent_settings))) for node in self.nodes]
        left = (0, 0)
        for _ in range(_MOST_PASSES):
            before = len(self.store.bucket.objects), left
            processes = [self.spawn("settling", node, agent.step) for node, agent in agents]
            self.world.run()
            passes = [process.result for process in processes if isinstance(process.result, Pass)]
            # What a pass has given up the next one tells the archive.
            left = sum(len(done.pending) for done in passes), sum(done.untold for done in passes)
            archived = any(done.archived for done in passes)
            if not archived and (len(self.store.bucket.objects), left) == before:
                return
            self.world.sleep(3.0)
