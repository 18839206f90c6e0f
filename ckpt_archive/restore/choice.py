"""Where a new launch goes on: one rule over what the ring holds and what the archive says. Values only.

The archive's newest launch decides the branch, so nobody goes on with one that was abandoned; the ring only answers with
something newer *on that branch*, or with the same checkpoint faster. Without the archive the ring's own record of launches
stands in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.commit.latest import Standing
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.errors import UnavailableError
from ckpt_archive.place import Place


@dataclass(frozen=True, slots=True)
class LocalPoint:
    """A checkpoint in the ring that could be resumed.

    Attributes:
        launch: Ordinal of the launch that wrote it, on this node.
        attempt: That launch's number in the archive; None while it has none.
        step: Its step.
    """

    launch: int
    attempt: int | None
    step: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What an earlier launch on this node went on from.

    Attributes:
        launch: Ordinal of the launch that wrote it, if it came from the ring; else None.
        attempt: That launch's number, if known.
        step: Its step.
        explicit: Whether somebody chose it (a roll-back), rather than the rule.
    """

    launch: int | None
    attempt: int | None
    step: int
    explicit: bool

    def names(self, point: LocalPoint) -> bool:
        """Whether `point` is that checkpoint."""
        same_launch = self.launch == point.launch or (self.attempt is not None and self.attempt == point.attempt)
        return same_launch and self.step == point.step


@dataclass(frozen=True, slots=True)
class PastLaunch:
    """An earlier launch on this node: its ordinal, and what it went on from (None: from nothing)."""

    ordinal: int
    origin: Origin | None


def choose_offline(points: Sequence[LocalPoint], launches: Sequence[PastLaunch]) -> LocalPoint | None:
    """The answer while the archive can not be asked; for a single writer.

    Args:
        points: What the ring holds, oldest first by (launch, order of sealing).
        launches: Earlier launches on this node, oldest first.

    Raises:
        UnavailableError: If the newest branch begins at a checkpoint that is not on this node.
    """
    for launch in reversed(launches):
        own = [point for point in points if point.launch == launch.ordinal]
        if own:
            return own[-1]
        if launch.origin is not None:
            same = [point for point in points if launch.origin.names(point)]
            if same:
                return same[-1]
            raise UnavailableError(
                f"the archive does not answer, and step {launch.origin.step}, from which the last launch went on, is not on "
                "this node",
                hint="Try again when the archive can be reached.",
            )
    return None


def choose(points: Sequence[LocalPoint], standing: Standing) -> LocalPoint | Place | None:
    """The answer when the archive was asked.

    Args:
        points: What the ring holds, oldest first; those of launches without a number are newer than the archive knows.
        standing: What the archive says.

    Returns:
        A checkpoint of the ring, one of the archive, or None if there is nothing to go on from.
    """
    newest, head = standing.newest, standing.head
    unnumbered = [point for point in points if point.attempt is None]
    if newest is None or unnumbered:
        return _last(unnumbered or points)
    own = [point for point in points if point.attempt == newest.attempt]
    if own or (head is not None and head.attempt == newest.attempt):
        return _newer(own, head)
    if newest.resume_from is not None:
        same = [point for point in points if _is(point, newest.resume_from)]
        if same:
            return same[-1]
    if head is not None:
        return _newer(
            [point for point in points if point.attempt == head.attempt and not _is_chosen(newest, head)], head
        )
    if newest.explicit:
        return None
    # It went on from nothing and saved nothing: the ring may hold what came before it.
    return _last([point for point in points if point.attempt is not None and point.attempt >= newest.branch])


def _is_chosen(newest: Launch, head: Place) -> bool:
    """Whether `head` answers because somebody chose exactly that step."""
    fallback = newest.falls_back_to
    return fallback is not None and (fallback.attempt, fallback.step) == (head.attempt, head.step)


def _last(points: Sequence[LocalPoint]) -> LocalPoint | None:
    return points[-1] if points else None


def _is(point: LocalPoint, place: Place) -> bool:
    return (point.attempt, point.step) == (place.attempt, place.step)


def _newer(points: Sequence[LocalPoint], head: Place | None) -> LocalPoint | Place | None:
    """The last of `points`, all of the attempt of `head`, unless the archive's is newer; of the same one, the ring's."""
    best = _last(points)
    if best is None or (head is not None and head.step > best.step):
        return head
    return best
