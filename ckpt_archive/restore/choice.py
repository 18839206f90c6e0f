"""Where a new launch goes on: one rule over what the ring holds and what the archive says. Values only.

The newest launch that has a checkpoint anywhere answers with its newest one, and nothing from before the last explicit
choice does, so nobody goes on with a branch that was abandoned. The archive knows the launches; the ring only adds what it
has not yet, or the same checkpoint faster. Without the archive the ring's own record of launches stands in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.commit.latest import Standing
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


def choose_offline(points: Sequence[LocalPoint], launches: Sequence[PastLaunch]) -> LocalPoint:
    """The answer while the archive can not be asked; for a single writer.

    Args:
        points: What the ring holds, oldest first by (launch, order of sealing).
        launches: Earlier launches on this node, oldest first.

    Raises:
        UnavailableError: If nothing here tells: the run may have begun elsewhere, or go on from what is not on this node.
    """
    for launch in reversed(launches):
        own = [point for point in points if point.launch == launch.ordinal]
        if own:
            return own[-1]
        origin = launch.origin
        if origin is None:
            continue
        same = next((point for point in reversed(points) if origin.names(point)), None)
        if same is None:
            raise UnavailableError(
                f"the archive does not answer, and step {origin.step}, from which launch {launch.ordinal} went on, is not on"
                " this node",
                hint="Try again when the archive can be reached.",
            )
        if origin.explicit:
            return same
        # Where it went on from is not where the run stands: an older launch may have saved since.
    raise UnavailableError(
        "the archive does not answer, and no checkpoint on this node tells where the run stands",
        hint="Try again when the archive can be reached: beginning anew could lose what was archived.",
    )


def newest_attempt_first(points: Sequence[LocalPoint], archived: Place | None) -> list[LocalPoint | Place]:
    """The checkpoints of one step; the ring's copy before the archive's, which is the same only slower.

    Args:
        points: Those that the ring holds, oldest first. What has no number is newer than the archive knows.
        archived: The archive's; None if it has none, or does not answer.
    """
    ring: list[LocalPoint | Place] = [
        *sorted((point for point in points if point.attempt is not None), key=lambda point: point.attempt or 0),
        *(point for point in points if point.attempt is None),
    ]
    if archived is not None:
        older = [item for item in ring if item.attempt is not None and item.attempt < archived.attempt]
        ring.insert(len(older), archived)
    return ring[::-1]


def choose(points: Sequence[LocalPoint], standing: Standing) -> LocalPoint | Place | None:
    """The answer when the archive was asked.

    Args:
        points: What the ring holds, oldest first. Launches without a number that are newer than all numbered ones are newer
            than the archive knows.
        standing: What the archive says.

    Returns:
        A checkpoint of the ring, one of the archive, or None if there is nothing to go on from.
    """
    newest, head = standing.newest, standing.head
    if newest is None or (points and points[-1].attempt is None):
        return points[-1] if points else None
    numbered = [(point.attempt, index) for index, point in enumerate(points) if point.attempt is not None]
    attempt, index = max(numbered, default=(-1, -1))
    best = points[index] if attempt >= newest.branch else None
    if head is None or (best is not None and _is_newer(best, head, newest.branch)):
        return best
    return next((point for point in points if (point.attempt, point.step) == (head.attempt, head.step)), head)


def _is_newer(point: LocalPoint, head: Place, branch: int) -> bool:
    """Whether `point`, of the branch, comes after what the archive answers; anything does if that was chosen before it."""
    return head.attempt < branch or (point.attempt or 0, point.step) > (head.attempt, head.step)
