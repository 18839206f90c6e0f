"""One site: its processes, and how they are started again when they have died."""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from ckpt_archive.clock import Clock
from ckpt_archive.testing.siege import actors
from ckpt_archive.testing.siege.figures import Figures
from ckpt_archive.testing.siege.jobs import Jobs
from ckpt_archive.testing.siege.journal import Journal
from ckpt_archive.testing.siege.processes import CRASHED, Child, Nursery, strays
from ckpt_archive.testing.siege.servers import Servers
from ckpt_archive.testing.siege.wire import Wiretap

_ON_DEMAND = 0.15  # of all sites have an agent that the trainer starts
_LONGEST_FREEZE_SECONDS = 1.2
_LONGEST_ABSENCE_SECONDS = 1.5  # of a server
# The worst ends: findings where nothing is found, wrong bytes, what nobody expects.
_BAD_ENDS = (1, 4, CRASHED, actors.WRONG)


@dataclass(slots=True)
class _Later:
    """Something that is due at some time."""

    at_seconds: float
    what: Callable[[], None]


class Site:
    """A site under siege.

    Args:
        seed: Decides what happens.
        folder: For everything of it.
        servers: Besieged too.
        nursery: Of its processes.
        clock: Of this machine.
        figures: Told everything.

    Attributes:
        chance: Of the seed.
        trainer: The one that should train now.
        agent: The one that should work now, unless trainers start it.
        jobs: Pushes and restores.
        wires: Between the S3 server and the agent, and between it and everybody else.
    """

    def __init__(
        self, seed: str, folder: Path, servers: Servers, nursery: Nursery, clock: Clock, figures: Figures
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.servers = servers
        self.nursery = nursery
        self.clock = clock
        self.figures = figures
        self.chance = random.Random(seed)
        self.trainer: Child | None = None
        self.agent: Child | None = None
        self._agent_mode = "auto" if self.chance.random() < _ON_DEMAND else "external"
        self._zombies: list[Child] = []
        self._down: set[str] = set()
        self._later: list[_Later] = []
        self._launches = 0
        folder.mkdir(parents=True)
        self.wires = {name: Wiretap(self._start_wire, servers.port) for name in ("jobs", "agent")}
        self.jobs = Jobs(seed, folder, self.start, figures, self.chance)
        if (made := self.run("init", actors.command("--json", "init"))).code != 0:
            raise AssertionError(f"no archive could be made: exit code {made.code}, see {self.log}")

    @property
    def staging(self) -> Path:
        """The staging folder."""
        return self.folder / "ssd"

    @property
    def log(self) -> str:
        """What its processes complain of."""
        return str(self.folder / "log")

    @property
    def journal(self) -> Journal:
        """What its trainers say."""
        return Journal(str(self.folder / "journal"))

    def found(self, what: str) -> None:
        """Something is not as it should be."""
        self.figures.findings.append(f"{self.seed}: {what}")

    # -- processes --

    def start(self, name: str, action: Callable[[], int]) -> Child:
        """A process of this site."""
        self.figures.starts[name] += 1
        server = self.servers.environment()
        wire = self.wires["agent" if name in ("agent", "trainer", "drain") else "jobs"]
        environment = {
            **server,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.port}",
            "CKPT_ARCHIVE_URL": f"{server['CKPT_ARCHIVE_URL']}/{self.seed}",
        }
        return self.nursery.start(name, action, environment, self.log)

    def _start_wire(self, action: Callable[[], int], keep: tuple[int, ...]) -> Child:
        return self.nursery.start("wire", action, {}, self.log, keep)

    def run(self, name: str, action: Callable[[], int], *, seconds: float = 180.0) -> Child:
        """A process that is left in peace until it ends, or the time is over."""
        child = self.start(name, action)
        if not self.nursery.wait(seconds, lambda: child.code is not None):
            self.nursery.kill(child)
            self.found(f"{name} did not end within {seconds:.0f} s")
        return child

    def training(self, *, saves: int | None = None, staging: Path | None = None) -> actors.Training:
        """What one more launch does."""
        self._launches += 1
        return actors.Training(
            self.seed,
            f"launch-{self._launches}",
            str(staging or self.staging),
            self.journal.path,
            self._agent_mode if saves is None else "external",
            self.chance.uniform(0.05, 0.35),
            saves,
        )

    def tend(self) -> None:
        """Take note of who has ended, and start again what should run."""
        self._do_what_is_due()
        if self.trainer is None or self.trainer.code is not None:
            self._note_end(self.trainer)
            self.trainer = self.start("trainer", self.training())
        if self._agent_mode == "auto":
            self._strike_at_on_demand_agents()
        elif self.agent is None or self.agent.code is not None:
            self._note_end(self.agent)
            words = ("agent", "--staging", str(self.staging), "--part-size", str(actors.PART_SIZE_BYTES), "--json")
            self.agent = self.start("agent", actors.command(*words))
        for child in self.jobs.ended():
            self._note_end(child)
        for zombie in [zombie for zombie in self._zombies if zombie.code is not None]:
            self._note_end(zombie)
            self._zombies.remove(zombie)

    def _note_end(self, child: Child | None) -> None:
        if child is None or child.code is None or child.code == -SIGKILL:
            return
        self.figures.ends[f"{child.name} {child.code}"] += 1
        if child.code in _BAD_ENDS or child.code < 0:
            self.found(f"{child.name} ended with {child.code}: {self.last_lines()}")

    def last_lines(self) -> str:
        """What was complained of last."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return " | ".join(line.strip() for line in file.readlines()[-4:])

    # -- time --

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        self._later.append(_Later(self.clock.monotonic() + seconds, what))

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait, and do meanwhile what is due; whether it is so before the time is over."""
        ends_at = self.clock.monotonic() + seconds
        while True:
            self._do_what_is_due()
            left = ends_at - self.clock.monotonic()
            soon = min((item.at_seconds - self.clock.monotonic() for item in self._later), default=left)
            if self.nursery.wait(max(0.0, min(left, soon)), until):
                return True
            if left <= 0:
                return False

    def _do_what_is_due(self, *, everything: bool = False) -> None:
        while due := [item for item in self._later if everything or item.at_seconds <= self.clock.monotonic()]:
            for item in due:
                self._later.remove(item)
                item.what()

    # -- death, and what looks like it --

    def kill(self, child: Child, moment: str, *, mid_upload: bool = False) -> None:
        """End a process."""
        if self.nursery.kill(child):
            self.figures.count_kill(child.name, moment, mid_upload=mid_upload)

    def freeze(self, child: Child) -> None:
        """A zombie: it stands still, others take its place, and then it goes on as if nothing had been."""
        if not child.send(SIGSTOP):
            return
        self.figures.freezes[child.name] += 1
        self._at(self.chance.uniform(0.05, _LONGEST_FREEZE_SECONDS), lambda: self._thaw(child))
        # Who has not said where it goes on from does not know its place among the launches yet.
        if child is self.trainer and len(child.lines) >= 2:
            self.trainer = None
            self._zombies.append(child)
        elif self.jobs.let_go(child):
            self._zombies.append(child)

    def _thaw(self, child: Child) -> None:
        child.send(SIGCONT)
        if child in self._zombies and child.name == "trainer":
            # It saves a few more times, then it is ended: two trainers at once are a mistake that is noticed at last.
            self._at(self.chance.uniform(0.1, 0.6), lambda: self.kill(child, "time"))

    def kill_node(self, name: str, node: str, moment: str, *, mid_upload: bool = False) -> bool:
        """End a server, which comes back a while later; whether it was there."""
        if node in self._down or not self.servers.kill(node):
            return False
        self.figures.count_kill(name, moment, mid_upload=mid_upload)
        self._down.add(node)
        self._at(self.chance.uniform(0, _LONGEST_ABSENCE_SECONDS), lambda: self._restart_node(node))
        return True

    def _restart_node(self, node: str) -> None:
        self.figures.starts[node] += 1
        self.servers.restart(node, wait=False)
        self._down.discard(node)

    def freeze_node(self, name: str, node: str) -> None:
        """A server stands still for a while."""
        if node in self._down:
            return
        self.figures.freezes[name] += 1
        self._down.add(node)
        self.servers.freeze(node)
        self._at(self.chance.uniform(0.1, _LONGEST_FREEZE_SECONDS), lambda: self._thaw_node(node))

    def _thaw_node(self, node: str) -> None:
        self.servers.thaw(node)
        self._down.discard(node)

    def _strike_at_on_demand_agents(self, share: float = 0.2, moment: str = "time") -> None:
        """They are children of trainers, which left them to us."""
        for pid in strays(str(self.staging)):
            if self.chance.random() < share:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, SIGKILL)
                    _, status = os.waitpid(pid, 0)
                    if os.WIFSIGNALED(status):
                        self.figures.count_kill("agent on demand", moment)

    # -- the end --

    def calm(self) -> None:
        """Everybody is killed once more, every server started again, and pushes are finished."""
        self._do_what_is_due(everything=True)
        pushes, restores = self.jobs.under_way("push"), self.jobs.under_way("restore")
        for child in (self.trainer, self.agent, *self._zombies, *pushes, *restores):
            if child is not None and child.code is None:
                self.kill(child, "end")
            self._note_end(child)
        self._zombies.clear()
        self._strike_at_on_demand_agents(1.0, "end")
        # What was done may have asked for more.
        self._do_what_is_due(everything=True)
        for node in self.servers.nodes():
            self.servers.restart(node, wait=True)
        for wire in self.wires.values():
            wire.go()
        self.jobs.ended()
        for job in self.jobs.unfinished_pushes:
            job.child = self.run("push", job.action)
            if job.child.code != 0:
                self.found(f"push of step {job.step} ends with {job.child.code} in the calm: {self.last_lines()}")
        self.jobs.ended()

    def close(self) -> None:
        """Its wires are cut."""
        for wire in self.wires.values():
            wire.close()
