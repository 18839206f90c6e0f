"""A retention policy as values: classes, how checkpoints come into them, and what becomes of them there. No I/O.

`policy_file` makes it of `retention.toml`. What a class says about the bytes is spelled out in its tag, so that a tag means
the same for ever: another keep time is another tag, and no object ever ends sooner because a rule was edited.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from ckpt_archive.names import TRASH_CLASS

TAG_KEY = "ckpt-archive-class"
"""The tag by which rules find what they are about. What does not have it is kept."""

TRASH = TRASH_CLASS
"""The class of what somebody dropped; every policy has it."""

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Transition:
    """A move to another storage class.

    Attributes:
        after_days: Age in days, counted from the object's creation.
        storage_class: As S3 spells it: ``GLACIER_IR``, ``DEEP_ARCHIVE``, …; ``COLD`` for the second root of a file store.
    """

    after_days: int
    storage_class: str


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """Deletion is refused by the store itself.

    Attributes:
        mode: ``GOVERNANCE`` or ``COMPLIANCE``.
        days: Counted from the object's creation.
    """

    mode: str
    days: int


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """What becomes of the checkpoints of one class.

    Attributes:
        name: ``[a-z][a-z0-9-]{0,31}``.
        keep_days: Age at which their data ends; None: never.
        every: Chosen for each promoted checkpoint whose ordinal this divides; None: not chosen by it.
        milestone: Chosen for milestones whose name matches this pattern; "": not chosen by it.
        transitions: By age, ascending.
        lock: Object Lock, where the bucket has it.
        legal_basis: Why it is kept, for people.
        review: When somebody should ask whether that is still so.
    """

    name: str
    keep_days: int | None
    every: int | None = None
    milestone: str = ""
    transitions: tuple[Transition, ...] = ()
    lock: ObjectLock | None = None
    legal_basis: str = ""
    review: date | None = None

    @property
    def tag(self) -> str:
        """The value of `TAG_KEY`: the class and all that rules do with it, such as ``daily.365d.GLACIER-30d``.

        Only letters, digits, '.', '_' and '-', so that it can stand in keys and in every store's tags.
        """
        kept = "forever" if self.keep_days is None else f"{self.keep_days}d"
        moves = [f"{move.storage_class}-{move.after_days}d" for move in self.transitions]
        return ".".join([self.name, kept, *moves])

    def ends_at(self, created_at: datetime) -> datetime | None:
        """When a lifecycle engine may delete an object of this class that was created then; None: never.

        S3 adds the days to the time of creation and rounds up to the next midnight UTC (Amazon S3 User Guide, "Lifecycle
        rules: based on an object's age").
        """
        return None if self.keep_days is None else midnight_after(created_at + self.keep_days * DAY)


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that a run, or a project, may have stored.

    Attributes:
        scope: "run" or "project".
        pattern: Of its name, as `fnmatch` has it.
        max_bytes: Stored bytes; what would go above is given up as a gap.
        warn_share: From this share on somebody is warned.
    """

    scope: str
    pattern: str
    max_bytes: int
    warn_share: float = 0.8


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy.

    Attributes:
        classes: In the order of the file; `TRASH` is one of them.
        default: The class of what no other class chooses; "": that is kept, and has no class.
        lifecycle_owner: Who writes the bucket's lifecycle configuration: ``ckpt-archive`` or ``terraform``.
        keep_newest: So many newest checkpoints of every run have no class yet, whatever their age.
        notice_days: So long before its end, at least, a checkpoint's end is announced.
        abort_incomplete_days: Multipart uploads that were begun so long ago are removed.
        every: Promote every so-manieth checkpoint; None: the trainer says.
        save_every_steps: The trainer's save interval in steps; None: the trainer says.
        cold: URL of the second root of a file store; "" for none.
        quotas: Limits of runs and projects.
        name: Of a preset, or of the file it came from.
        text: The file it was made of, as it is stored.
        sha256: Of `text`, as UTF-8.
    """

    classes: tuple[RetentionClass, ...]
    default: str = ""
    lifecycle_owner: str = "ckpt-archive"
    keep_newest: int = 3
    notice_days: int = 2
    abort_incomplete_days: int = 7
    every: int | None = None
    save_every_steps: int | None = None
    cold: str = ""
    quotas: tuple[Quota, ...] = ()
    name: str = ""
    text: str = field(default="", repr=False)
    sha256: str = ""

    def named(self, name: str) -> RetentionClass | None:
        """The class of that name."""
        return next((item for item in self.classes if item.name == name), None)

    def _named(self, name: str, why: str) -> tuple[RetentionClass | None, str]:
        found = self.named(name)
        return found, why if found is not None else f"{why}, which the policy does not have"

    def choose(
        self, promotion: Mapping[str, object], said: str = "", assigned: str | None = None
    ) -> tuple[RetentionClass | None, str]:
        """The class of a checkpoint, and the reason for people.

        Args:
            promotion: As the manifest has it: ``{"rule": "every", "ordinal": …}``, ``{"rule": "milestone", "name": …}``.
            said: The class that was given when it was saved; "" for none.
            assigned: The class that somebody gave it later; None for none.

        Returns:
            None where there is none: then it is kept.
        """
        if assigned is not None:
            return self._named(assigned, f"assigned to {assigned}")
        if said:
            return self._named(said, f"saved as {said}")
        name = promotion.get("name")
        if promotion.get("rule") == "milestone" and isinstance(name, str):
            for item in self.classes:
                if item.milestone and fnmatch.fnmatchcase(name, item.milestone):
                    return item, f"milestone {name!r}"
        ordinal = promotion.get("ordinal")
        if isinstance(ordinal, int) and not isinstance(ordinal, bool):
            counted = [item for item in self.classes if item.every is not None and ordinal % item.every == 0]
            if counted:
                best = max(counted, key=lambda item: item.every or 0)
                return best, f"promotion {ordinal}, every {best.every}"
        if self.default:
            return self.named(self.default), "no other class chooses it"
        return None, "no class chooses it"


def midnight_after(moment: datetime) -> datetime:
    """The next midnight UTC, or `moment` if it is one."""
    utc = moment.astimezone(UTC)
    start = utc.replace(hour=0, minute=0, second=0, microsecond=0)
    return start if start == utc else start + DAY
