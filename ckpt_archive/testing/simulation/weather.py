"""What befalls whole nodes, or the store, for hours, whoever works there: drawn for a life, as its options allow."""

import random
from collections.abc import Callable

from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.stage import Stage

_HOURS = (900.0, 3600.0, 10_800.0)
_BEGINS = (0.0, 1.0, 20.0, 60.0, 120.0)
_CHANCE = 0.1


class Weather:
    """Draws it.

    Args:
        stage: Over which it hangs.
        chance: Draws.
    """

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage = stage
        self._chance = chance

    def begin(self) -> None:
        """Let come what comes."""
        options = self._stage.world.options
        kinds: list[tuple[bool, Callable[[], None]]] = [
            (Fault.OUTAGE in options.faults and options.store_fault_chance > 0, self._store_goes_away),
            (Fault.CUT_OFF in options.faults and options.store_fault_chance > 0, self._node_is_cut_off),
            (Fault.NO_ROOM in options.faults and options.disk_fault_chance > 0, self._disk_is_full),
            (options.power_loss_chance > 0, self._node_is_lost),
        ]
        for may, event in kinds:
            comes, begins = self._chance.random() < _CHANCE, self._chance.choice(_BEGINS)
            if may and comes:
                self._stage.world.later(begins, event)

    def _store_goes_away(self) -> None:
        if not self._stage.is_closing:
            self._note("the store goes away")
            self._stage.store.trouble(Fault.OUTAGE, self._chance.choice(_HOURS))

    def _node_is_cut_off(self) -> None:
        if not self._stage.is_closing:
            node = self._node()
            self._note(f"{node.name} is cut off")
            self._stage.store.trouble(Fault.CUT_OFF, self._chance.choice(_HOURS), node.name)

    def _disk_is_full(self) -> None:
        """Others fill it, and make room again later."""
        disk = self._node().disk
        if self._stage.is_closing:
            return
        self._stage.has_little_room = True
        before = disk.total_bytes
        self._note("a disk is full")
        disk.total_bytes = disk.used_bytes + self._chance.choice((0, 0, 200, 1000))

        def make_room() -> None:
            disk.total_bytes = before

        self._stage.at_calm.append(make_room)
        self._stage.world.later(self._chance.choice((1.0, 60.0, 1800.0)), make_room)

    def _node_is_lost(self) -> None:
        """For ever, with its disk; another machine takes its place."""
        if not self._stage.is_closing:
            node = self._node()
            self._note(f"{node.name} is lost")
            replace_node(self._stage, node)

    def _node(self) -> Node:
        return self._chance.choice(self._stage.nodes)

    def _note(self, what: str) -> None:
        self._stage.world.note(None, what)


def replace_node(stage: Stage, node: Node) -> None:
    """Lose a node and its disk; an empty machine of another name takes its place."""
    for process in list(stage.world.processes):
        if process.node is node and process.alive:
            stage.world.kill(process)
    stage.shelf.node_lost(node)
    text = node.disk.text
    node.disk = SimDisk(stage.world, node.clock, total_bytes=stage.disk_bytes)
    node.disk.text = text
    node.name += "'"
