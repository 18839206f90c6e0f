"""What each rank offers when many of them resume together, and the one answer that follows from all offers. Values only.

Rank 0 asks the archive, once for all; every rank says what its own node can serve it with. The answer is computed by each
from the same offers, so there is nothing to agree on afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.commit.latest import Standing
from ckpt_archive.errors import UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, PastLaunch, choose, choose_offline


@dataclass(frozen=True, slots=True)
class OfferedPoint:
    """A checkpoint that a node can serve one of its ranks with.

    Attributes:
        launch_key: Of the launch that wrote it: the one name of it that all nodes share.
        point: As this node knows it.
    """

    launch_key: str
    point: LocalPoint


@dataclass(frozen=True, slots=True)
class Offer:
    """What one rank brings.

    Attributes:
        points: What its node holds for it, oldest first.
        past: Earlier launches on its node, oldest first.
        standing: What the archive says; only rank 0 asks, and None if it got no answer.
    """

    points: tuple[OfferedPoint, ...]
    past: tuple[PastLaunch, ...]
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class CommonPoint:
    """A checkpoint that every rank can be served with by its own node.

    Attributes:
        launch_key: Of the launch that wrote it.
        step: Its step.
    """

    launch_key: str
    step: int

    def among(self, offer: Offer) -> LocalPoint:
        """As the node of `offer` knows it."""
        return next(
            item.point for item in offer.points if (item.launch_key, item.point.step) == (self.launch_key, self.step)
        )


def settle(offers: Sequence[Offer]) -> CommonPoint | Place | None:
    """The answer: the newest checkpoint that all nodes hold, unless the archive has a newer one, or says otherwise.

    Args:
        offers: In the order of ranks.

    Raises:
        UnavailableError: If the archive did not answer and the ranks have nothing in common.
    """
    first = offers[0]
    held = [{(item.launch_key, item.point.step) for item in offer.points} for offer in offers]
    everywhere = set.intersection(*held)
    common = [item for item in first.points if (item.launch_key, item.point.step) in everywhere]
    points = [item.point for item in common]
    if first.standing is None:
        choice: LocalPoint | Place | None = choose_offline(points, first.past)
        if choice is None:
            raise UnavailableError(
                "the archive does not answer, and there is no checkpoint that every rank has on its own node",
                hint="Try again when the archive can be reached.",
            )
    else:
        choice = choose(points, first.standing)
    if not isinstance(choice, LocalPoint):
        return choice
    chosen = next(item for item in common if item.point == choice)
    return CommonPoint(chosen.launch_key, choice.step)
