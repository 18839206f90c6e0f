"""Watches everything that lands in the store and judges it, by what names and bytes say: no code of the product is asked.

What must never happen is asserted when it happens; what must be so between two steps is asked by `check`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from ckpt_archive.place import Place
from ckpt_archive.store.protocol import ObjectInfo
from ckpt_archive.testing.lifecycle_configuration import due_after
from ckpt_archive.testing.retained.known import End, Generation, Known

SLOWEST = timedelta(hours=6)
"""A pass takes no longer in these histories."""
TAG = "ckpt-archive-class"

_MARKS = ("index/", "retention/")
"""Marks: who has lost them does something twice."""

_DATA = re.compile(r"data/(?P<run>[^/]+)/(?P<attempt>\d+)/(?P<step>\d+)/")
_MANIFEST = re.compile(r"manifests/(?P<run>[^/]+)/(?P<attempt>\d+)/(?P<step>\d+)\.json")
_SAID = re.compile(r"runs/(?P<run>[^/]+)/retention/(?P<attempt>\d+)/(?P<step>\d+)/(?P<name>.+)\.json")
_ENDS = re.compile(r"(?P<generation>\d{4})-(?:ends-(?P<day>\d{8})-(?P<tag>.+)|keeps-(?P<keeps>.+))")
_WORD = re.compile(r"(?P<generation>\d{4})-(?P<word>revoked|cleared|ended)")
_KEEP = re.compile(r"[^.]+\.(?P<days>\d+)d(?:\..*)?")


class ViolationError(AssertionError):
    """A promise was broken."""


class Oracle:
    """The judge.

    Args:
        now: The store's clock.

    Attributes:
        known: All checkpoints.
        keep_newest: The smallest number of newest checkpoints that any policy has kept.
        notice_days: The shortest and the longest notice of any policy.
        has_locks: Whether a policy locks, which makes ends later.
        given_up: Runs that somebody dropped as a whole.
        excused: What somebody went back to after its end was announced: it ends unless a pass takes that back.
        statements: How many were made about checkpoints.
        counts: What was seen.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.known: dict[Place, Known] = {}
        self.keep_newest = 0
        self.notice_days = (2, 2)  # without a policy things are dropped by the preset
        self.has_locks = False
        self.given_up: set[str] = set()
        self.excused: set[Place] = set()
        self.statements = 0
        self.counts: Counter[str] = Counter()
        self._holds: dict[Place | str, set[str]] = {}
        self._created: dict[str, ObjectInfo] = {}
        self._tags: dict[str, Mapping[str, str]] = {}
        self._for_good: dict[str, ObjectInfo] = {}

    # --- what lands --------------------------------------------------------------------------------------------------

    def created(self, info: ObjectInfo) -> None:
        """See `Witness.created`."""
        key = info.key
        if key.startswith("data/"):
            self._created[key] = info
            self._tags[key] = {}
            return
        if not key.startswith(_MARKS):
            self._for_good[key] = info
        if found := _MANIFEST.fullmatch(key):
            place = Place(found["run"], _inverted(found["attempt"]), _inverted(found["step"]))
            folder = self._folder(place)
            known = self._of(place)
            known.keys = frozenset(key for key in self._created if key.startswith(folder))
            known.committed_at = self._now()
            self._check(bool(known.keys), f"{place} was committed without data")
        elif found := _SAID.fullmatch(key):
            place = Place(found["run"], _inverted(found["attempt"]), _inverted(found["step"]))
            self._said(self._of(place), found["name"])

    def _said(self, known: Known, name: str) -> None:
        now = self._now()
        self.statements += 1
        if found := _ENDS.fullmatch(name):
            generation = known.generations.setdefault(int(found["generation"]), Generation())
            day = datetime.strptime(found["day"], "%Y%m%d").replace(tzinfo=UTC) if found["day"] else None
            end = End(day, found["tag"] or found["keeps"], self.statements)
            generation.ends.append(end)
            self.counts["announcements"] += 1
            self._announced(known, end)
        elif found := _WORD.fullmatch(name):
            generation = known.generations.setdefault(int(found["generation"]), Generation())
            match found["word"]:
                case "revoked":
                    generation.revoked_at = now
                    self.counts["taken back"] += 1
                case "cleared":
                    generation.cleared_at = now
                case _:
                    self._check(
                        len(known.lost) == len(known.keys) > 0, f"{known.place} is said to have ended and has data"
                    )
                    generation.ended_at = now
                    self.counts["ended"] += 1

    def _announced(self, known: Known, end: End) -> None:
        """An end is never announced for what is protected, nor too soon, nor later than the class says."""
        found, now, place = _KEEP.fullmatch(end.tag), self._now(), known.place
        self._check((found is None) == (end.ends_at is None), f"{place} ends at {end.ends_at} by {end.tag}")
        if end.ends_at is None or found is None:
            return
        created = [moment for key in known.keys if (moment := self._created[key].modified) is not None]
        keep = int(found["days"])
        by_age = due_after(min(created), keep)
        # The pass that says so has read the store's clock some time ago.
        soonest = now + timedelta(days=self.notice_days[0]) - SLOWEST
        notice = max(self.notice_days[1], keep if end.tag.startswith("trash.") else 0)
        latest = max(by_age, due_after(now, notice))
        self._check(
            end.ends_at >= max(by_age, soonest), f"the end of {place} is announced for {end.ends_at}, which is too soon"
        )
        self._check(
            self.has_locks or end.ends_at <= latest,
            f"the end of {place} is announced for {end.ends_at}, not for {latest}",
        )
        self._check(
            place.run in self.given_up or not self._is_newest(place),
            f"the end of {place} is announced, and it is one of the {self.keep_newest} newest",
        )

    def tagging(self, key: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """See `Witness.tagging`."""
        self._check(key in self._created, f"{key} is tagged, which is no data")
        self._check(
            {name: value for name, value in before.items() if name != TAG}
            == {name: value for name, value in after.items() if name != TAG},
            f"somebody else's tags of {key} became {after}",
        )
        self._tags[key] = dict(after)
        tag = after.get(TAG)
        if tag is None:
            return
        self.counts["tags"] += 1
        place = self._place(key)
        known = self._of(place)
        self._check(not self.held_for(place), f"{key} is tagged {tag}, and {place} is held for {self.held_for(place)}")
        ends = [end for one in known.generations.values() for end in one.ends if end.tag == tag]
        self._check(bool(ends), f"{key} is tagged {tag}, and nobody has said so before")
        self._check(
            place.run in self.given_up or not self._is_newest(place),
            f"{key} is tagged {tag}, and it is one of the {self.keep_newest} newest",
        )
        since = self._deletable_at(key)
        self._check(
            since is None or any(end.ends_at is not None and max(since, self._now()) >= end.ends_at for end in ends),
            f"{key} is tagged {tag}: an engine deletes it at {since}, and {ends} was announced",
        )

    def removing(self, key: str) -> None:
        """See `Witness.removing`."""
        now = self._now()
        self._check(key not in self._for_good or key.startswith("log/pending/"), f"{key} is deleted")
        if key not in self._created:
            return
        self.counts["deletions"] += 1
        place = self._place(key)
        known = self._of(place)
        known.lost.setdefault(key, now)
        self._check(key in known.keys, f"{key} is deleted, which belongs to no committed checkpoint")
        self._check(not self.held_for(place), f"{key} is deleted, and {place} is held for {self.held_for(place)}")
        reasons = [
            one
            for one in known.generations.values()
            if one.cleared_at is None
            and any(
                end.ends_at is not None and end.ends_at <= now and end.number > known.void_until for end in one.ends
            )
        ]
        self._check(bool(reasons), f"{key} is deleted, and no end of it has come: {known.generations}")
        self._check(
            place.run in self.given_up or not self._is_newest(place),
            f"{key} is deleted, and it is one of the {self.keep_newest} newest",
        )

    # --- what was promised to people ---------------------------------------------------------------------------------

    def policy(self, keep_newest: int, notice_days: int, *, locks: bool) -> None:
        """Somebody puts a policy into force."""
        self.keep_newest = min(self.keep_newest, keep_newest) if self.keep_newest else keep_newest
        least, most = self.notice_days
        self.notice_days = (min(least, notice_days), max(most, notice_days))
        self.has_locks = self.has_locks or locks

    def held(self, about: Place | str, case: str, over: Iterable[Place]) -> None:
        """A hold has returned.

        Args:
            about: What is held.
            case: For which case.
            over: What was over when it began: for that it came too late.
        """
        for place in over:
            if about in (place, place.run):
                self.known[place].too_late = True
        self._holds.setdefault(about, set()).add(case)
        self.counts["holds"] += 1

    def taken_back(self, places: Iterable[Place], until: int) -> None:
        """It was confirmed that these do not end, whatever was announced up to that statement."""
        for place in places:
            self.known[place].void_until = until

    def released(self, about: Place | str, case: str) -> None:
        """Somebody begins to release."""
        self._holds.get(about, set()).discard(case)

    def holds(self) -> list[tuple[Place | str, str]]:
        """What is held, for which case."""
        return sorted(((about, case) for about, cases in self._holds.items() for case in cases), key=str)

    def held_for(self, place: Place) -> set[str]:
        """The cases for which it was promised that a checkpoint stays."""
        known = self.known.get(place)
        if known is None or known.too_late:
            return set()
        return self._holds.get(place, set()) | self._holds.get(place.run, set())

    # --- between two steps -------------------------------------------------------------------------------------------

    def check(self, latest: Mapping[str, Place | None], listed: Iterable[Place]) -> None:
        """What must be so at any moment.

        Args:
            latest: By run: what a launch would go on from.
            listed: The checkpoints that readers are told to be there.
        """
        for run in sorted({place.run for place in self.known} - self.given_up):
            for place in self.newest(run, self.keep_newest):
                known = self.known[place]
                self._check(known.is_whole, f"{place} is one of the {self.keep_newest} newest, and is lost")
                self._check(not self.tags(place), f"{place} is one of the {self.keep_newest} newest, and is tagged")
        for run, head in latest.items():
            if head is not None and run not in self.given_up:
                known = self._of(head)
                self._check(known.is_whole or head in self.excused, f"{head} is the latest of its run, and is lost")
        for place in listed:
            self._check(
                self._of(place).is_whole, f"{place} is listed as good, and misses {sorted(self._of(place).lost)}"
            )
        for place, known in self.known.items():
            if self.held_for(place):
                self._check(known.is_whole, f"{place} is held for {self.held_for(place)}, and is lost")
                self._check(not self.tags(place), f"{place} is held for {self.held_for(place)}, and is tagged")

    def settled(self, keep_newest: int, latest: Mapping[str, Place | None], before: Iterable[Place]) -> None:
        """A pass has come to its end that nobody disturbed.

        Args:
            keep_newest: Of its policy.
            latest: By run: what a launch would go on from.
            before: What was committed when it began.
        """
        was_there = set(before)
        now = self._now()
        for run in sorted({place.run for place in was_there} - self.given_up):
            alive = [place for place in self.newest(run, len(self.known)) if not self.known[place].is_over(now)]
            head = latest.get(run)
            protected = {*alive[:keep_newest], *([head] if head else [])}
            for place in sorted(protected & was_there):
                known = self.known[place]
                if known.is_over(now):
                    continue
                self._check(not self.tags(place), f"{place} is protected, and is tagged after a whole pass")
                self._check(
                    known.current.ends_at is None, f"{place} is protected, and its end is announced after a pass"
                )
                self.excused.discard(place)

    def newest(self, run: str, count: int) -> list[Place]:
        """The newest committed checkpoints of a run."""
        committed = [place for place, known in self.known.items() if place.run == run and known.keys]
        return sorted(committed, key=lambda place: (place.attempt, place.step), reverse=True)[:count]

    def tags(self, place: Place) -> set[str]:
        """The tags of classes that its objects have, those that are left."""
        known = self.known[place]
        return {self._tags[key][TAG] for key in known.keys - set(known.lost) if TAG in self._tags[key]}

    def keys_left(self, place: Place) -> set[str]:
        """Its objects that are there."""
        return set(self.known[place].keys) - set(self.known[place].lost)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _is_newest(self, place: Place) -> bool:
        return place in self.newest(place.run, self.keep_newest)

    def _deletable_at(self, key: str) -> datetime | None:
        """When an engine may delete an object, going by its tag."""
        found = _KEEP.fullmatch(self._tags[key].get(TAG, ""))
        modified = self._created[key].modified
        assert modified is not None
        return due_after(modified, int(found["days"])) if found else None

    def _of(self, place: Place) -> Known:
        return self.known.setdefault(place, Known(place))

    @staticmethod
    def _folder(place: Place) -> str:
        return f"data/{place.run}/{place.attempt:08d}/{place.step:012d}/"

    @staticmethod
    def _place(key: str) -> Place:
        found = _DATA.match(key)
        assert found is not None, key
        return Place(found["run"], int(found["attempt"]), int(found["step"]))

    @staticmethod
    def _check(holds: bool, otherwise: str) -> None:
        if not holds:
            raise ViolationError(otherwise)


def _inverted(text: str) -> int:
    """The number whose inverted text this is."""
    return int("9" * len(text)) - int(text)
