"""Small histories, broken off at every single request of whoever changes what becomes of a checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass

from ckpt_archive.testing.retained.life import Life, Tally
from ckpt_archive.testing.retained.story import (
    Apply,
    Assign,
    Commit,
    Deed,
    Drop,
    Engine,
    History,
    Hold,
    Launch,
    Maintain,
    Pass,
    PolicyText,
    Step,
    ToEnd,
    Undrop,
    alone,
)
from ckpt_archive.testing.retained.world import Blow, Strike

BLOWS = (Blow.KILLED_BEFORE, Blow.KILLED_AFTER, Blow.ANSWER_LOST, Blow.REFUSED)

_POLICY = PolicyText(keep_newest=1, notice=1, recent=3)

DEEDS: tuple[Deed, ...] = (
    Hold(0, 1, 0),
    Hold(0, 3, 0),
    Hold(0, None, 0),
    Undrop(0, 0),
    Assign(0, 2, "keeper"),
    Assign(0, 2, "long"),
    Drop(0, 2),
    Launch(0, 3),
    Maintain(),
    Apply(PolicyText(keep_newest=1, notice=1, recent=5)),
    Apply(PolicyText(keep_newest=3, notice=1, recent=3)),
    Apply(PolicyText(keep_newest=1, notice=1, recent=None, hourly=2)),
)
"""What is broken off, after four checkpoints of which one was dropped, and all but the newest have an end."""


@dataclass(frozen=True, slots=True)
class Case:
    """A deed, broken off in one way.

    Attributes:
        deed: What.
        blow: How.
        object_lock: Whether the bucket locks, and so keeps old versions.
        comes_back: Whether the same is done again afterwards.
    """

    deed: Deed
    blow: Blow
    object_lock: bool
    comes_back: bool

    def history(self, at: int) -> History:
        """Broken off at one request; then nobody maintains the archive until all that was announced has come."""
        steps: list[Step] = [alone(Launch(0)), *[alone(Commit(0))] * 4, alone(Apply(_POLICY)), Pass(24)]
        steps += [alone(Drop(0, 1)), Pass(24), alone(Maintain()), Pass(20)]
        steps.append(alone(self.deed, Strike(self.blow, at)))
        steps += [alone(self.deed)] * self.comes_back
        for _ in range(4):
            steps += [ToEnd(30), Engine(1.0)]
        return History(at, self.object_lock, self.object_lock, True, False, tuple(steps))


def cases() -> Iterator[Case]:
    """All of them."""
    for object_lock in (False, True):
        for deed in DEEDS:
            for blow in BLOWS:
                for comes_back in (False, True):
                    yield Case(deed, blow, object_lock, comes_back)


def every_request(case: Case) -> Tally:
    """Break it off at each of its requests.

    Raises:
        ViolationError: If a promise was broken.
    """
    total = Tally()
    at = 0
    while True:
        life = Life(case.history(at))
        total.add(life.live())
        at += 1
        if at > life.struck_requests:
            return total
