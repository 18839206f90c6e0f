"""What happens in a scripted life: a word of operations, where it begins, who recovers, and what a power loss takes."""

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ckpt_archive.promotion import Every
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.oracle import TEXT
from ckpt_archive.testing.simulation.world import World

T = TypeVar("T")


class Operation(enum.Enum):
    """What a word is made of.

    Saving and restoring are the trainer's, through the public API; a restart is its death and a new launch that resumes.
    All others are pieces of an agent's pass.
    """

    SAVE = "save"
    PROMOTE = "promote"
    UPLOAD = "upload"
    COMMIT = "commit"
    RESTORE = "restore"
    EVICT = "evict"
    RESTART = "restart"


Word = tuple[Operation, ...]


class Start(enum.Enum):
    """What is there before the first operation, and which checkpoints go to the archive."""

    RULE = "nothing is there, and every checkpoint is promoted by the rule"
    DEMAND = "one checkpoint is staged, and none is promoted unless somebody asks for it"

    @property
    def before(self) -> Word:
        """What is done first."""
        return (Operation.SAVE,) if self is Start.DEMAND else ()

    @property
    def promote(self) -> Every:
        """The rule."""
        return Every(1_000) if self is Start.DEMAND else Every(1)


class Order(enum.Enum):
    """Who comes first after a crash."""

    TRAINER = "the trainer resumes, then the agent settles"
    AGENT = "the agent settles, beside a trainer that has survived, then a trainer resumes"


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a life.

    Attributes:
        start: Before the first operation.
        word: The operations.
        order: Who comes first afterwards.
        loss: Which part of what was not durable a power loss takes: 0 for all of it, other numbers for some of it.
    """

    start: Start
    word: Word
    order: Order = Order.TRAINER
    loss: int = 0


class _Nothing(random.Random):
    """Chance for a power loss that takes all that was not durable."""

    def random(self) -> float:
        """The least."""
        return 0.0

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        """The first: of the states of a name that is the durable one."""
        return seq[0]


class ScriptedNode(Node):
    """A node whose power losses do not depend on what happened before.

    Args:
        world: Where it stands.
        name: Its host name.
        loss: See `Script`.
    """

    def __init__(self, world: World, name: str, loss: int) -> None:
        super().__init__(world, name)
        self.disk.text = TEXT
        self._loss = loss

    def lose_power(self, chance: random.Random) -> None:
        """See `Node`."""
        del chance
        super().lose_power(random.Random(f"loss {self._loss}") if self._loss else _Nothing())
