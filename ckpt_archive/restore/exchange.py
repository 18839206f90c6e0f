"""What the ranks tell each other when many of them resume together, and the one answer that follows from it.

Rank 0 asks the archive, once for all; every rank says what its own node can serve it with. The answer is computed by each
from the same offers.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ckpt_archive.commit.latest import Standing
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, PastLaunch, choose, choose_offline

_log = logging.getLogger(__name__)

T = TypeVar("T")

Agree = Callable[[list[Any], Any], object]
"""As ``torch.distributed.all_gather_object``: fills the list with what every rank gave, in the order of ranks."""


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
        """As the node of `offer` knows it; of several launches with this key on one node, the newest."""
        return next(
            item.point
            for item in reversed(offer.points)
            if (item.launch_key, item.point.step) == (self.launch_key, self.step)
        )


def settle(offers: Sequence[Offer], damaged: Collection[CommonPoint] = ()) -> CommonPoint | Place | None:
    """The answer: the newest checkpoint that all nodes hold, unless the archive has a newer one, or says otherwise.

    Args:
        offers: In the order of ranks.
        damaged: Checkpoints that turned out to be damaged on some node.

    Raises:
        UnavailableError: If the archive did not answer and the ranks have nothing in common.
    """
    first = offers[0]
    held = [{CommonPoint(item.launch_key, item.point.step) for item in offer.points} for offer in offers]
    everywhere = set.intersection(*held) - set(damaged)
    common = [item for item in first.points if CommonPoint(item.launch_key, item.point.step) in everywhere]
    points = [item.point for item in common]
    if first.standing is None:
        choice: LocalPoint | Place | None = choose_offline(points, first.past)
    else:
        choice = choose(points, first.standing)
    if not isinstance(choice, LocalPoint):
        return choice
    chosen = next(item for item in common if item.point == choice)
    return CommonPoint(chosen.launch_key, choice.step)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of something on one rank: a value, or an error."""

    value: T | None
    error: CkptArchiveError | None = None


def together(agree: Agree, ranks: int, make: Callable[[], T]) -> list[Outcome[T]]:
    """What `make` gives on every rank, in their order. Every rank gets here, also where it fails: nobody waits for ever."""
    try:
        mine = Outcome(make())
    except CkptArchiveError as error:
        _log.error("%s", error)
        mine = Outcome(None, error)
    outcomes: list[Any] = [None] * ranks
    agree(outcomes, mine)
    return outcomes


def agreed(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """Their values.

    Raises:
        CkptArchiveError: On every rank, if one of them failed; the first one's error.
    """
    for rank, outcome in enumerate(outcomes):
        if outcome.error is not None:
            raise type(outcome.error)(f"rank {rank}: {outcome.error.message}", hint=outcome.error.hint)
    return [outcome.value for outcome in outcomes]  # type: ignore[misc]  # a value may be None where T allows it
