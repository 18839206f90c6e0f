"""What a policy would change for the checkpoints of one run, and why: a pure function of what was read.

The rules, in the order in which they count:

1. What has ended is left alone. Whose end has come goes on to its end as it was announced, whatever a policy says now.
2. What is held is neither announced nor tagged; what was announced for it is taken back.
3. So it is for the newest checkpoints of a run, and for the one that a launch would go on from; unless the whole run was
   dropped.
4. What no class chooses is kept: also what somebody gave a class that the policy does not have any more.
5. All others are announced with the tag of the class that chooses them now. Had they another one, that is taken back first.

An object is tagged when a lifecycle engine would not delete it before the end that was announced; what is older than its
class allows is announced first and tagged on its last day.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ckpt_archive.commit.fate import LAST_GENERATION, Fate
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.retention.plans.change import (
    Basis,
    Change,
    Kind,
    Looked,
    Need,
    Prices,
    RunPlan,
    RunSurvey,
    Surveyed,
)
from ckpt_archive.retention.policy.values import DAY, TRASH, Policy, RetentionClass, midnight_after
from ckpt_archive.store.protocol import ObjectInfo

__all__ = [
    "Basis",
    "Change",
    "Kind",
    "Looked",
    "Need",
    "Prices",
    "RunPlan",
    "RunSurvey",
    "Surveyed",
    "created_at",
    "ends_at",
    "is_given_up",
    "may_tag",
    "needs",
    "plan_run",
    "spared",
]

STANDARD = "STANDARD"

_LATE = timedelta(days=3)
"""S3's engine takes a day or two ("Expiring objects" in its user guide)."""


def needs(basis: Basis, run: RunSurvey) -> Mapping[Place, Need]:
    """Of which checkpoints a plan has to know more, and what; `run` has nothing but their fates."""
    protected = spared(basis.policy, run)
    found = {item.place: _need(basis, run.now, item, item.place in protected) for item in run.checkpoints}
    return {place: need for place, need in found.items() if need is not Need.NOTHING}


def plan_run(basis: Basis, run: RunSurvey) -> RunPlan:
    """What the policy changes for the checkpoints of a run.

    Args:
        basis: The policy, and what the store can do.
        run: Its checkpoints, with all that `needs` asks for.
    """
    protected = spared(basis.policy, run)
    changes: list[Change] = []
    problems: list[str] = []
    basis_of: dict[Place, Surveyed] = {}
    before: set[str] = set()
    after: set[str] = set()
    newer = 0
    alive = 0
    for item in run.checkpoints:
        judged = _Judged(basis, run.now, item, protected.get(item.place, ""), newer)
        found = list(judged.changes())
        changes += found
        if found:
            basis_of[item.place] = item
        problem = judged.problem()
        if problem:
            problems.append(f"{item.place}: {problem}")
        if not item.fate.has_ended:
            alive += 1
            tags = {*item.fate.announced, item.fate.tagged}
            before |= tags
            after |= _tags_after(tags, found)
        newer += not item.fate.is_over(run.now)
    return RunPlan(
        run=run.run,
        now=run.now,
        changes=tuple(changes),
        basis_of=basis_of,
        in_use=frozenset(before | after) - {""},
        in_use_after=frozenset(after) - {""},
        problems=tuple(problems),
        checkpoints=alive,
    )


def _tags_after(tags: set[str], changes: Sequence[Change]) -> set[str]:
    """The tags that a checkpoint has, or is announced with, when all this is done to it."""
    for change in changes:
        if change.kind in (Kind.TAKE_BACK, Kind.ENDED):
            tags = set()
        elif change.kind in (Kind.ANNOUNCE, Kind.TAG):
            tags = {*tags, change.after}
    return tags


def ends_at(
    policy: Policy, chosen: RetentionClass, objects: Sequence[ObjectInfo], now: datetime, locked_until: datetime | None
) -> datetime | None:
    """When the data of a checkpoint ends that comes into a class now; None: never.

    Never before it was announced for the days of notice, nor while its objects are locked.
    """
    if chosen.keep_days is None:
        return None
    notice = chosen.keep_days if chosen.name == TRASH else policy.notice_days
    oldest = min((created_at(info, now) for info in objects), default=now)
    moments = [oldest + chosen.keep_days * DAY, now + notice * DAY, *([locked_until] if locked_until else [])]
    return midnight_after(max(moments))


def may_tag(keep_days: int | None, objects: Sequence[ObjectInfo], end: datetime | None, now: datetime) -> bool:
    """Whether no lifecycle engine deletes any of these objects before that end, were they tagged now."""
    if end is None or keep_days is None or now >= end:
        return True
    return all(midnight_after(created_at(info, now) + keep_days * DAY) >= end for info in objects)


def created_at(info: ObjectInfo, now: datetime) -> datetime:
    """When an object was created; where the store does not tell, now, which keeps it longest."""
    return info.modified or now


def is_given_up(run: RunSurvey) -> bool:
    """Whether all that is there of a run was dropped: then nobody wants its newest ones either.

    One that is committed afterwards makes this false again, and the newest ones are kept.
    """
    alive = [item.fate for item in run.checkpoints if not item.fate.is_over(run.now)]
    return bool(alive) and all(fate.assigned == TRASH for fate in alive)


def spared(policy: Policy, run: RunSurvey) -> Mapping[Place, str]:
    """The checkpoints that keep their data whatever their class, and why."""
    alive = [item.place for item in run.checkpoints if not item.fate.is_over(run.now)]
    if is_given_up(run):
        return {}
    newest = alive[: policy.keep_newest]
    which = (
        "the newest one of its run" if policy.keep_newest == 1 else f"one of the {policy.keep_newest} newest of its run"
    )
    found = dict.fromkeys(newest, which)
    if run.latest is not None:
        found.setdefault(run.latest, "what a launch of its run would go on from")
    return found


def _need(basis: Basis, now: datetime, item: Surveyed, is_protected: bool) -> Need:
    fate = item.fate
    if fate.has_ended:
        return Need.NOTHING
    if fate.is_over(now):
        return Need.DATA
    locks = basis.has_locks and any(one.lock for one in basis.policy.classes)
    if item.cases or is_protected:
        if locks:
            return Need.ALL
        native = basis.has_locks and bool(item.cases)
        return Need.DATA if native or not fate.is_open or fate.clearing is not None else Need.NOTHING
    if fate.is_open or not _is_compared(basis, fate):
        return Need.ALL
    waits = basis.has_tags and not fate.tagged
    return Need.DATA if waits or fate.clearing is not None else Need.NOTHING


def _is_compared(basis: Basis, fate: Fate) -> bool:
    """Whether what was announced is what the policy says, as far as one can tell without a look."""
    if fate.assigned is not None:
        assigned = basis.policy.named(fate.assigned)
        if assigned is None or fate.announced != (assigned.tag,):
            return False
    return len(fate.announced) == 1 and fate.announced[0] in basis.compared


def _choose(policy: Policy, item: Surveyed) -> tuple[RetentionClass | None, str]:
    """The class of a checkpoint, and why; None where there is none, or nobody has looked."""
    looked, announced = item.looked, item.fate.announced
    if looked is None:
        return None, ""
    if looked.promotion is not None or item.fate.assigned is not None:
        return policy.choose(looked.promotion or {}, looked.said, item.fate.assigned)
    # It was compared before.
    found = [one for one in policy.classes if announced == (one.tag,)]
    return (found[0], "it was announced so") if found else (None, "")


class _Judged:
    """One checkpoint, and what is to be done to it."""

    def __init__(self, basis: Basis, now: datetime, item: Surveyed, protected: str, newer: int) -> None:
        self._basis = basis
        self._now = now
        self._item = item
        self._fate = item.fate
        self._protected = protected
        self._newer = newer
        looked = item.looked
        self._objects = looked.objects if looked else ()
        self._chosen, self._why = _choose(basis.policy, item)

    def problem(self) -> str:
        """What can not be planned, or should not be so."""
        if self._item.problem:
            return self._item.problem
        if self._fate.generation > LAST_GENERATION:
            return "nobody can announce its end any more, so it is kept: somebody has used up the numbers of its statements"
        end = self._fate.ends_at
        if self._objects and end is not None and self._is_late(end):
            return f"its data ended on {_day(end)} and is still there: nobody carries out the rule of {self._fate.tagged!r}"
        return ""

    def _is_late(self, end: datetime) -> bool:
        return (
            bool(self._fate.tagged) and not self._fate.has_ended and not self._item.cases and self._now >= end + _LATE
        )

    def changes(self) -> Iterator[Change]:
        """In the order in which they are made."""
        fate = self._fate
        if fate.has_ended or self._item.problem:
            return
        if fate.is_over(self._now):
            yield from self._over()
            return
        yield from self._native_hold()
        yield from self._lock()
        if self._item.cases:
            yield from self._open_again(f"held for {' and '.join(self._item.cases)}")
        elif self._protected:
            yield from self._open_again(self._protected)
        elif self._item.looked is None:
            return  # compared before
        elif self._chosen is None:
            yield from self._open_again(self._why)
        else:
            yield from self._in_class(self._chosen)

    def _over(self) -> Iterator[Change]:
        """Its end has come: readers have taken leave of it."""
        fate, end = self._fate, self._fate.ends_at
        if self._item.looked is None or end is None:
            return
        if not self._objects:
            yield self._change(Kind.ENDED, "", f"its data ended on {_day(end)} and is gone", ends_after=end)
        elif not self._basis.has_tags:
            return  # `retention run` removes it
        elif self._item.cases:
            if self._item.looked.tag:
                held = " and ".join(self._item.cases)
                yield self._change(Kind.CLEAR, "", f"held for {held} after its end: what is left stays", ends_after=end)
        elif not (fate.tagged and self._item.looked.tag) and self._now >= end:
            # Either it was not tagged before, or somebody who was slow has removed the tags of an older generation.
            tag = next((tag for tag in fate.announced if not _is_forever(tag)), "")
            if tag:
                yield self._change(Kind.TAG, tag, f"its end on {_day(end)} was announced, and has come", ends_after=end)

    def _native_hold(self) -> Iterator[Change]:
        lock = self._item.looked.lock if self._item.looked else None
        if self._item.cases and self._objects and lock is not None and not lock.legal_hold:
            yield self._change(Kind.HOLD, self._tags, f"held for {' and '.join(self._item.cases)}", same_end=True)

    def _lock(self) -> Iterator[Change]:
        lock = self._item.looked.lock if self._item.looked else None
        until = self._wanted_lock()
        if self._chosen is None or self._chosen.lock is None or lock is None or until is None or self._now >= until:
            return
        if lock.until_at is None or lock.until_at < until:
            reason = f"class {self._chosen.name} locks for {self._chosen.lock.days} days; {self._why}"
            yield self._change(Kind.LOCK, self._chosen.lock.mode, reason, same_end=True, until_at=until)

    def _wanted_lock(self) -> datetime | None:
        """Until when all objects are to be locked; None: not at all."""
        if self._chosen is None or self._chosen.lock is None or not self._basis.has_locks or not self._objects:
            return None
        return max(created_at(info, self._now) for info in self._objects) + self._chosen.lock.days * DAY

    def _open_again(self, why: str) -> Iterator[Change]:
        """It keeps its data: whatever was announced is taken back."""
        if not self._fate.is_open:
            yield self._change(Kind.TAKE_BACK, "", why)
        else:
            yield from self._clear()

    def _clear(self) -> Iterator[Change]:
        if self._fate.clearing is not None:
            yield self._change(Kind.CLEAR, self._tags, "taken back before, and not to its end", same_end=True)

    def _in_class(self, chosen: RetentionClass) -> Iterator[Change]:
        fate = self._fate
        if fate.announced == (chosen.tag,) and fate.tagged in ("", chosen.tag):
            yield from self._clear()
            if self._basis.has_tags and not fate.tagged and self._may_tag(chosen, fate.ends_at):
                yield self._change(Kind.TAG, chosen.tag, self._reason(chosen, fate.ends_at), same_end=True)
            return
        if not self._objects:
            return  # nothing costs nothing
        if fate.is_open:
            yield from self._clear()
        else:
            yield self._change(Kind.TAKE_BACK, "", f"it is to be announced as {chosen.tag}; {self._why}")
        if fate.generation + (not fate.is_open) > LAST_GENERATION:
            return  # nothing more can be said: it is kept
        locked_until = self._locked_until()
        end = ends_at(self._basis.policy, chosen, self._objects, self._now, locked_until)
        reason = self._reason(chosen, end)
        yield self._change(Kind.ANNOUNCE, chosen.tag, reason, ends_after=end)
        if self._basis.has_tags and self._may_tag(chosen, end):
            yield self._change(Kind.TAG, chosen.tag, reason, ends_after=end)

    def _may_tag(self, chosen: RetentionClass, end: datetime | None) -> bool:
        return may_tag(chosen.keep_days, self._objects, end, self._now)

    def _locked_until(self) -> datetime | None:
        lock = self._item.looked.lock if self._item.looked else None
        moments = [lock.until_at if lock else None, self._wanted_lock()]
        return max((moment for moment in moments if moment is not None), default=None)

    def _reason(self, chosen: RetentionClass, end: datetime | None) -> str:
        when = "kept for ever" if end is None else f"ends {_day(end)}"
        if end is not None and chosen.ends_at(self._oldest()) != end:
            when += ", and not sooner because that is said beforehand"
        newer = "1 newer one is" if self._newer == 1 else f"{self._newer} newer ones are"
        return f"{newer} committed; class {chosen.name} because {self._why}; {when}"

    def _oldest(self) -> datetime:
        return min((created_at(info, self._now) for info in self._objects), default=self._now)

    @property
    def _tags(self) -> str:
        return " ".join(sorted({*self._fate.announced, self._fate.tagged} - {""}))

    def _change(
        self,
        kind: Kind,
        after: str,
        reason: str,
        *,
        ends_after: datetime | None = None,
        until_at: datetime | None = None,
        same_end: bool = False,
    ) -> Change:
        before, after_usd = self._money(kind, ends_after)
        return Change(
            place=self._item.place,
            kind=kind,
            before=self._tags,
            after=after,
            reason=reason,
            objects=len(self._objects),
            size_bytes=sum(info.size_bytes for info in self._objects),
            ends_before=self._fate.ends_at,
            ends_after=self._fate.ends_at if same_end else ends_after,
            until_at=until_at,
            usd_before=before,
            usd_after=after_usd,
        )

    def _money(self, kind: Kind, ends_after: datetime | None) -> tuple[float | None, float | None]:
        """What it costs a month, before and after; None where there is no price."""
        by_class: dict[str, list[int]] = {}
        for info in self._objects:
            by_class.setdefault(info.storage_class or STANDARD, []).append(info.size_bytes)
        now = self._usd(by_class)
        if kind not in (Kind.ANNOUNCE, Kind.TAKE_BACK):
            return now, now
        if ends_after is not None:
            return now, None if now is None else 0.0
        if kind is Kind.ANNOUNCE and self._chosen is not None and self._chosen.transitions:
            sizes = [info.size_bytes for info in self._objects]
            return now, self._usd({self._chosen.transitions[-1].storage_class: sizes})
        return now, now

    def _usd(self, by_class: Mapping[str, Sequence[int]]) -> float | None:
        prices = self._basis.prices
        if prices is None:
            return None
        try:
            return sum(prices.usd_a_month(name, sum(sizes), len(sizes)) for name, sizes in by_class.items())
        except InvalidInputError:
            return None  # the book has no price for it


def _is_forever(tag: str) -> bool:
    return tag.split(".")[1:2] == ["forever"]


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
