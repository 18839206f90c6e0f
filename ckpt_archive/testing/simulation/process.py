"""Simulated processes: what runs on a node, in one or several fibers, and may be switched, paused or killed at every I/O."""

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from greenlet import greenlet  # type: ignore[import-untyped]


class Killed(BaseException):
    """The process this runs in is dead: nothing it still does on its way out has any effect outside its memory."""


class StuckError(AssertionError):
    """Processes that should end do not: all wait for each other, or they went on for too long."""


class State(enum.Enum):
    """How far a process is."""

    ALIVE = "alive"
    DONE = "done"
    FAILED = "failed"
    KILLED = "killed"


class Host(Protocol):
    """What a process runs on."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def release(self, process: "Process") -> None:
        """Take back what a process held that has ended: its locks."""
        ...

    def lose_power(self, chance: random.Random) -> None:
        """Forget what was not durable; all processes have been killed before."""
        ...

    def jump_clock(self, chance: random.Random) -> None:
        """Be told another time."""
        ...


@dataclass(eq=False, slots=True)
class Fiber:
    """One thread of a process."""

    process: "Process"
    greenlet: greenlet
    done: bool = False
    error: BaseException | None = None


@dataclass(eq=False, slots=True)
class Process:
    """A function that runs on a node.

    Attributes:
        number: Counted from 1 in the order of their beginning.
        name: For people.
        node: Where it runs.
        daemon: Whether the world may stop while it still runs.
        mortal: Whether chance may kill or pause it.
        state: How far it is.
        result: What its function returned.
        error: What its function raised.
        paused_until_us: It stands still until then.
        paused_seconds: How long it has stood still in all.
        fibers: Its threads that are not done.
        waiting: Fibers that wait for its end.
    """

    number: int
    name: str
    node: Host
    daemon: bool = False
    mortal: bool = True
    state: State = State.ALIVE
    result: object = None
    error: BaseException | None = None
    paused_until_us: int = 0
    paused_seconds: float = 0.0
    fibers: list[Fiber] = field(default_factory=list)
    waiting: list[Fiber] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether it has neither ended nor been killed."""
        return self.state is State.ALIVE

    def __str__(self) -> str:
        return f"{self.name}#{self.number}@{self.node.name}"


Main = Callable[[], object]
"""What a process runs."""


class Watcher:
    """Told what happens in a world; the oracle and the supervisor of a workload override what they need.

    Whatever asserts here stops the world at that very I/O. Nothing in here may call an adapter.
    """

    def ended(self, process: Process) -> None:
        """A process returned, failed or was killed. It may be spawned again from here."""

    def paused(self, process: Process, seconds: float) -> None:
        """A process stands still; for everybody else it looks dead. Its successor may be spawned from here."""

    def power_lost(self, node: Host) -> None:
        """A node is up again after a power loss, with nothing running on it."""

    def stored(self, key: str, data: bytes) -> None:
        """An object has become visible in the store."""

    def deleted(self, key: str) -> None:
        """An object has been deleted from the store."""

    def after_io(self, kind: str, detail: str) -> None:
        """An I/O has had its effect. Costs time at every I/O: override only where needed."""
