"""What is known of a checkpoint: its objects, what was said about its end, what is lost."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ckpt_archive.place import Place

MARGIN = timedelta(hours=1)
"""So long before its end readers take leave of it."""


@dataclass(frozen=True, slots=True)
class End:
    """An announcement.

    Attributes:
        ends_at: When; None: never.
        tag: Of which class.
        number: It was the so-manieth statement.
    """

    ends_at: datetime | None
    tag: str
    number: int


@dataclass(slots=True)
class Generation:
    """What was said between two times that an end was taken back."""

    ends: list[End] = field(default_factory=list)
    revoked_at: datetime | None = None
    cleared_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """The earliest end."""
        return min((end.ends_at for end in self.ends if end.ends_at is not None), default=None)


@dataclass(slots=True)
class Known:
    """What is known of a checkpoint.

    Attributes:
        keys: Its objects when it was committed.
        committed_at: When.
        generations: What was said about its end.
        lost: The objects that are gone, and since when.
        too_late: Whether it was over when somebody held it.
        void_until: What was announced up to this statement was taken back by somebody to whom that was confirmed.
    """

    place: Place
    keys: frozenset[str] = frozenset()
    committed_at: datetime | None = None
    generations: dict[int, Generation] = field(default_factory=dict)
    lost: dict[str, datetime] = field(default_factory=dict)
    too_late: bool = False
    void_until: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all its bytes are there."""
        return not self.lost

    @property
    def current(self) -> Generation:
        """What counts now."""
        closed = [number for number, one in self.generations.items() if one.revoked_at or one.cleared_at]
        number = max([*(number + 1 for number in closed), *self.generations], default=0)
        return self.generations.setdefault(number, Generation())

    def is_over(self, now: datetime) -> bool:
        """Whether nobody may count on it any more."""
        if any(one.ended_at for one in self.generations.values()):
            return True
        end = self.current.ends_at
        return end is not None and now >= end - MARGIN
