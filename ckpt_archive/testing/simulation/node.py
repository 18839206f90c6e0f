"""A simulated machine: a disk, a clock, and the processes that run on them."""

import random

from ckpt_archive.machine import Machine
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.executor import SimExecutor
from ckpt_archive.testing.simulation.process import Main, Process
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS
from ckpt_archive.testing.simulation.world import World


class Node:
    """One machine of a world.

    Args:
        world: Where it stands.
        name: Its host name.
        disk_bytes: Size of its disk.

    Attributes:
        name: As given.
        clock: Its own, wrong by as much as the world's options allow.
        disk: Its own.
    """

    def __init__(self, world: World, name: str, *, disk_bytes: int = 1 << 40) -> None:
        self._world = world
        self.name = name
        self.clock = SimClock(world)
        self.jump_clock(world.chance)
        self.disk = SimDisk(world, self.clock, total_bytes=disk_bytes)

    def machine(self) -> Machine:
        """What code under test is handed."""
        return Machine(
            fs=self.disk,
            clock=self.clock,
            executor=SimExecutor(self._world),
            nonce=self._world.nonce,
            node=self.name,
        )

    def spawn(self, name: str, main: Main, *, daemon: bool = False, mortal: bool = True) -> Process:
        """Start a process here; see `Scheduler.spawn`."""
        return self._world.spawn(name, self, main, daemon=daemon, mortal=mortal)

    def release(self, process: Process) -> None:
        """Take back the locks of a process that has ended."""
        self.disk.release(process)

    def lose_power(self, chance: random.Random) -> None:
        """Forget what was not durable; whatever set the clock sets it anew."""
        self.disk.power_loss(chance)
        self.jump_clock(chance)

    def jump_clock(self, chance: random.Random) -> None:
        """Let the clock be wrong by another amount, in either direction."""
        skew_us = round(self._world.options.clock_skew_seconds * MICROSECONDS)
        self.clock.skew_us = chance.randint(-skew_us, skew_us)
