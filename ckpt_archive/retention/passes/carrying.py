"""Carries out what is planned for one run, in an order that may be broken off anywhere and be made again.

What holds or locks comes first, what takes back is next, and what lets data end comes last. Nothing is done to a checkpoint
about which something else is known by now than when the plan was made: it is left for the next plan.

An end is announced by its event, then by a statement; it is taken back by a statement, and when no object has the tag any
more, by the event and a second statement. So events may be told twice if somebody dies in between, and none is missing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from ckpt_archive.commit import fating
from ckpt_archive.commit.fate import Fate, Fates, read_fates, read_run_fate
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.tagging import Tagger, strip
from ckpt_archive.retention.passes.voice import ENDED, ENDING, Voice, batches
from ckpt_archive.retention.plans.plan import Change, Kind, RunPlan, Surveyed
from ckpt_archive.retention.plans.survey import data_objects
from ckpt_archive.retention.policy.values import DAY, Policy
from ckpt_archive.store.bucket import Bucket

_PLACES_IN_FLIGHT = 8

_SLOW = timedelta(hours=6)
"""Whoever needs longer than this from reading the time to announcing an end gives less notice than he said."""


@dataclass(slots=True)
class Done:
    """What came of carrying out plans.

    Attributes:
        counts: Checkpoints, by what was done to them.
        objects: Objects, likewise.
        moved: Checkpoints about which something else was known by then, or that somebody else was busy with.
        problems: What can not be done, and why, for people.
        left: Changes that were not begun because there was no time.
    """

    counts: dict[Kind, int] = field(default_factory=dict)
    objects: dict[Kind, int] = field(default_factory=dict)
    moved: list[Place] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: int = 0

    def count(self, change: Change) -> None:
        """It is done."""
        self.counts[change.kind] = self.counts.get(change.kind, 0) + 1
        self.objects[change.kind] = self.objects.get(change.kind, 0) + change.objects


def always() -> bool:
    """There is time."""
    return True


def carry_out(voice: Voice, policy: Policy, plan: RunPlan, done: Done, go_on: Callable[[], bool] = always) -> None:
    """Do what a plan says for a run.

    Args:
        voice: Who does it.
        policy: By which it was planned.
        plan: It.
        done: Is told what was done.
        go_on: Asked before each checkpoint that would be announced or tagged.

    Raises:
        UnavailableError: If the store does not answer: the rest is left for whoever comes next.
    """
    if plan.changes:
        _Carrying(voice, policy, plan, done, go_on).run()


class _Carrying:
    def __init__(self, voice: Voice, policy: Policy, plan: RunPlan, done: Done, go_on: Callable[[], bool]) -> None:
        self._voice = voice
        self._machine: Machine = voice.machine
        self._store = voice.connection.store
        self._bucket = voice.connection.bucket
        self._archive_id = voice.connection.archive_id
        self._policy = policy
        self._plan = plan
        self._done = done
        self._go_on = go_on
        self._tagger: Tagger | None = None
        self._moved: set[Place] = set()
        self._left: set[Place] = set()
        # What was taken back leaves the next generation.
        self._generations = {place: item.fate.generation for place, item in plan.basis_of.items()}

    def run(self) -> None:
        if self._bucket is not None and any(change.kind is Kind.TAG for change in self._plan.changes):
            self._tagger = Tagger(self._voice, self._bucket, self._plan.run)
            self._tagger.begin()  # before anything is read that is acted upon
        fates = read_fates(self._store, self._plan.run)
        self._leave(place for place, item in self._plan.basis_of.items() if _differs(fates, item))
        if self._bucket is not None:
            self._each(Kind.HOLD, partial(self._hold, self._bucket))
            self._each(Kind.LOCK, partial(self._lock, self._bucket))
        self._take_back([*self._of(Kind.TAKE_BACK), *self._of(Kind.CLEAR)], fates.store_time)
        self._announce(fates.store_time)
        if self._tagger is not None:
            self._each(Kind.TAG, partial(self._tag, self._tagger))
        self._end(fates.store_time)
        if self._tagger is not None:
            self._tagger.end()
        self._done.moved += sorted(self._moved)

    def _of(self, kind: Kind) -> list[Change]:
        skipped = self._moved | self._left
        return [change for change in self._plan.changes if change.kind is kind and change.place not in skipped]

    def _leave(self, places: Iterable[Place]) -> None:
        self._moved.update(places)

    def _each(self, kind: Kind, work: Callable[[Change], bool]) -> None:
        """Do it to several at a time; what is not done any more is left, with all that comes after it."""

        def perform(change: Change) -> tuple[Change, bool]:
            return change, work(change)

        todo = self._while_there_is_time(self._of(kind))
        for change, was_done in self._machine.executor.map_unordered(perform, todo, limit=_PLACES_IN_FLIGHT):
            if was_done:
                self._done.count(change)
            else:
                self._leave([change.place])

    def _while_there_is_time(self, changes: list[Change]) -> Iterator[Change]:
        for number, change in enumerate(changes):
            if not self._go_on():
                self._done.left += len(changes) - number
                return
            yield change

    # --- against deletion ------------------------------------------------------------------------------------------------

    def _keys(self, place: Place) -> list[str]:
        return [info.key for info in data_objects(self._store, place)]

    def _hold(self, bucket: Bucket, change: Change) -> bool:
        for key in self._keys(change.place):
            bucket.write_legal_hold(key, on=True)
        return True

    def _lock(self, bucket: Bucket, change: Change) -> bool:
        until = change.until_at
        assert until is not None
        for key in self._keys(change.place):
            lock = bucket.read_lock(key)
            if lock.until_at is None or lock.until_at < until:
                # A lock is never weakened either.
                bucket.write_retention(key, lock.mode if lock.mode == "COMPLIANCE" else change.after, until)
        return True

    # --- taken back ------------------------------------------------------------------------------------------------------

    def _take_back(self, changes: list[Change], moment: datetime) -> None:
        # Before it is said that nothing ends, too: whoever reads that counts on it, also if we die before all tags are gone.
        self._strip(change for change in changes if change.kind is Kind.TAKE_BACK)
        changes = self._still_in_time(changes)
        for change in changes:
            if change.kind is Kind.TAKE_BACK:
                told = self._voice.told(f"taken back: {change.reason}")
                fating.revoke(self._store, self._archive_id, change.place, self._generations[change.place], told)
        self._strip(changes)
        over = [change for change in changes if self._fate(change).is_over(self._plan.now)]
        for change in over:
            self._done.count(change)
        rest = [change for change in changes if change not in over]
        if rest and self._are_others_tagging():
            self._leave(change.place for change in rest)
            return
        for batch in batches(rest):
            event_id = ""
            # What is announced again already is not told of as taken back.
            if batch[0].kind is Kind.TAKE_BACK or self._fate(batch[0]).is_open:
                event_id = self._voice.tell(ENDING, batch, moment, f"taken back: {batch[0].reason}")
            for change in batch:
                self._cleared(change, event_id)

    def _still_in_time(self, changes: list[Change]) -> list[Change]:
        """Without those that somebody else was busy with, or whose end has come, while their tags were removed."""
        taking = [change for change in changes if change.kind is Kind.TAKE_BACK]
        if taking:
            fates = read_fates(self._store, self._plan.run)
            self._leave(
                change.place
                for change in taking
                if fates.is_over(change.place) or _differs(fates, self._plan.basis_of[change.place])
            )
        return [change for change in changes if change.place not in self._moved]

    def _strip(self, changes: Iterable[Change]) -> None:
        if self._bucket is not None:
            for change in changes:
                strip(self._voice, self._bucket, self._keys(change.place))

    def _are_others_tagging(self) -> bool:
        """Whether somebody began to tag who may not know what was taken back, and is slow or dead: his last tag may come."""
        if self._bucket is None:
            return False
        whole, now = read_run_fate(self._store, self._plan.run)
        return any(self._tagger is None or not self._tagger.owns(item) for item in whole.passes_under_way(now))

    def _fate(self, change: Change) -> Fate:
        return self._plan.basis_of[change.place].fate

    def _cleared(self, change: Change, event_id: str) -> None:
        fate = self._fate(change)
        told = self._voice.told(f"taken back: {change.reason}", event_id)
        if change.kind is Kind.TAKE_BACK:
            fating.cleared(self._store, self._archive_id, change.place, fate.generation, told)
            self._generations[change.place] = fate.generation + 1
        elif fate.clearing is not None:
            fating.cleared(self._store, self._archive_id, change.place, fate.clearing, told)
        self._done.count(change)

    # --- announced -------------------------------------------------------------------------------------------------------

    def _announce(self, moment: datetime) -> None:
        # If the store's clock is behind ours, it may be right soon, and what ends by it has ended then.
        soonest = max(moment, self._machine.clock.now()) + self._policy.notice_days * DAY - _SLOW
        todo = self._of(Kind.ANNOUNCE)
        self._leave(change.place for change in todo if change.ends_after is not None and change.ends_after < soonest)
        announced: list[Change] = []
        for batch in batches(self._of(Kind.ANNOUNCE)):
            if not self._go_on():
                self._done.left += len(batch)
                self._left.update(change.place for change in batch)
                continue
            event_id = self._voice.tell(ENDING, batch, moment, batch[0].reason, batch[0].ends_after)

            def say(change: Change, event_id: str = event_id) -> Change:
                told = self._voice.told(change.reason, event_id)
                fating.announce(
                    self._store,
                    self._archive_id,
                    change.place,
                    self._generations[change.place],
                    change.ends_after,
                    change.after,
                    told,
                )
                return change

            for change in self._machine.executor.map_unordered(say, batch, limit=_PLACES_IN_FLIGHT):
                self._done.count(change)
                announced.append(change)
        if announced:
            self._take_back_what_is_held(announced, moment)

    def _take_back_what_is_held(self, announced: list[Change], moment: datetime) -> None:
        """Who held a checkpoint while its end was announced may not have seen that."""
        fates = read_fates(self._store, self._plan.run)
        for change in announced:
            cases = fates.cases(change.place)
            if not cases:
                continue
            self._leave([change.place])
            generation = self._generations[change.place]
            reason = f"taken back: held for {' and '.join(cases)}"
            fating.revoke(self._store, self._archive_id, change.place, generation, self._voice.told(reason))
            event_id = self._voice.tell(ENDING, [change], moment, reason)
            fating.cleared(self._store, self._archive_id, change.place, generation, self._voice.told(reason, event_id))

    # --- tagged, ended ---------------------------------------------------------------------------------------------------

    def _tag(self, tagger: Tagger, change: Change) -> bool:
        try:
            return tagger.tag(change.place, self._generations[change.place], change.after, change.reason)
        except InvalidInputError as error:
            # An object that can not have the tag, such as one with ten tags of others: its checkpoint is kept.
            self._done.problems.append(f"{change.place}: {error.message}")
            return False

    def _end(self, moment: datetime) -> None:
        todo = self._of(Kind.ENDED)
        self._leave(change.place for change in todo if self._keys(change.place))
        for batch in batches(self._of(Kind.ENDED)):
            event_id = self._voice.tell(ENDED, batch, moment, batch[0].reason, batch[0].ends_after)
            for change in batch:
                told = self._voice.told(change.reason, event_id)
                fating.ended(self._store, self._archive_id, change.place, self._generations[change.place], told)
                self._done.count(change)


def _differs(fates: Fates, item: Surveyed) -> bool:
    """Whether something was said about a checkpoint since the plan was made."""
    return fates.fate(item.place) != item.fate or fates.cases(item.place) != item.cases
