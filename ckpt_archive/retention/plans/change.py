"""The values of plans: what is known of a run's checkpoints, and what is to be done to them; see `plan`."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ckpt_archive import clock, strictjson
from ckpt_archive.commit.fate import NOTHING_SAID, Fate
from ckpt_archive.digest import sha256_hex
from ckpt_archive.place import Place
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.store.bucket import ObjectLockState
from ckpt_archive.store.protocol import ObjectInfo


class Prices(Protocol):
    """What storing costs."""

    def usd_a_month(self, storage_class: str, size_bytes: float, objects: int = 1) -> float:
        """So many bytes, in so many objects, for a month."""
        ...


class Kind(enum.StrEnum):
    """What is done to a checkpoint, in the order in which it is done."""

    HOLD = "hold"
    """The objects of a checkpoint of a held run are held in the bucket too."""
    LOCK = "lock"
    """The objects are locked for as long as the class says."""
    TAKE_BACK = "take-back"
    """What was announced counts no more, and the tags are removed."""
    CLEAR = "clear"
    """What was taken back by somebody who did not come to its end: the tags are removed."""
    ANNOUNCE = "announce"
    """Its end, or that it has none, is said."""
    TAG = "tag"
    """Its objects get the tag by which the bucket's rules find them."""
    ENDED = "ended"
    """Its data is gone: that is said."""


class Need(enum.IntEnum):
    """What a plan has to know of a checkpoint beside its fate."""

    NOTHING = 0
    DATA = 1
    """Its objects."""
    ALL = 2
    """Its manifest too."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What plans are made with, beside the checkpoints.

    Attributes:
        policy: The policy.
        has_tags: Whether the store has tags; without them announcements are all that there is.
        has_locks: Whether the bucket locks objects.
        compared: Tags that need no second look: every checkpoint that has one was compared with this very policy before,
            and only its class can have been changed since, by somebody who said so.
        prices: For the money; None: without.
    """

    policy: Policy
    has_tags: bool
    has_locks: bool = False
    compared: frozenset[str] = frozenset()
    prices: Prices | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What was read of a checkpoint beside its fate.

    Attributes:
        objects: All that lies where its data is.
        promotion: As its manifest has it; None where that was not read.
        said: The class that it was given when it was saved; "" for none.
        lock: Of the last one of its objects, which is the last one to be locked; None where nobody asked.
        tag: Likewise, of one whose end has come: the tag of a class that it has; "" for none.
    """

    objects: tuple[ObjectInfo, ...]
    promotion: Mapping[str, object] | None = None
    said: str = ""
    lock: ObjectLockState | None = None
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A committed checkpoint.

    Attributes:
        place: Which.
        fate: What was said about it.
        cases: Those for which it is held, itself or with its run.
        looked: What was read of it; None where nothing was needed, or there is a problem.
        problem: Why it can not be read; "" if it could.
    """

    place: Place
    fate: Fate = NOTHING_SAID
    cases: tuple[str, ...] = ()
    looked: Looked | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RunSurvey:
    """The committed checkpoints of a run.

    Attributes:
        run: The run.
        now: The store's clock before anything was read.
        checkpoints: Newest first: by attempt, then by step.
        latest: The one that a launch would go on from; None if there is none.
    """

    run: str
    now: datetime
    checkpoints: tuple[Surveyed, ...]
    latest: Place | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Something to be done to a checkpoint.

    Attributes:
        place: Which.
        kind: What.
        before: The tag that it has or was announced with; "" for none. Several are joined by blanks.
        after: The tag that it will have; "" for none. Of a lock its mode.
        reason: Why, for people.
        objects: How many objects it has.
        size_bytes: Their total size.
        ends_before: When its data would end without the change; None: never.
        ends_after: When it ends with it; None: never.
        until_at: Until when it is locked; None for everything but locks.
        usd_before: What it costs a month now; None without prices.
        usd_after: What it costs when all that the class says has come to pass.
    """

    place: Place
    kind: Kind
    before: str
    after: str
    reason: str
    objects: int = 0
    size_bytes: int = 0
    ends_before: datetime | None = None
    ends_after: datetime | None = None
    until_at: datetime | None = None
    usd_before: float | None = None
    usd_after: float | None = None

    @property
    def is_sooner(self) -> bool:
        """Whether it makes data end sooner than was announced before."""
        return self.kind is Kind.ANNOUNCE and self.ends_after is not None and self._ended_later()

    def _ended_later(self) -> bool:
        announced = bool(self.before)
        return announced and (self.ends_before is None or (self.ends_after or self.ends_before) < self.ends_before)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is to be done to the checkpoints of a run.

    Attributes:
        run: The run.
        now: The store's clock when it was made.
        changes: By checkpoint, newest first; of each in the order in which they are made.
        basis_of: What was known of the checkpoints that are changed: nothing is done to those of which something else is
            known by then.
        in_use: The tags of all checkpoints that have not ended, as they are before and while it is carried out.
        in_use_after: Likewise, when it is carried out.
        problems: What can not be planned, and why, for people.
        checkpoints: How many there are that have not ended.
    """

    run: str
    now: datetime
    changes: tuple[Change, ...] = ()
    basis_of: Mapping[Place, Surveyed] = field(default_factory=dict)
    in_use: frozenset[str] = frozenset()
    in_use_after: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    checkpoints: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of what it does, and of what it was made from."""
        rows = [
            [
                *(change.place.attempt, change.place.step, change.kind.value, change.before, change.after),
                *(change.objects, change.size_bytes),
                *(
                    clock.to_text(moment) if moment is not None else ""
                    for moment in (change.ends_before, change.ends_after, change.until_at)
                ),
            ]
            for change in self.changes
        ]
        return sha256_hex(strictjson.encode([self.run, rows]))


def _text(moment: datetime | None) -> str:
    return "" if moment is None else clock.to_text(moment)
