"""What a sealer decides, without I/O: which markers to look at, what to make of what was found, what to write and when.

Times are the store's. A marker is named after the moment before it was written; whoever stands still in between writes it
late. A window that begins `OVERLAP` before what was looked at finds all that are not later than that; the sweep finds the
others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.log.batch import FINDING, MAX_ENTRIES, MAX_UNRESOLVED, Batch, Entry, Unresolved, announced
from ckpt_archive.log.sequence import Sealed
from ckpt_archive.store.protocol import ObjectInfo

OVERLAP = timedelta(hours=2)
"""How late a marker may be and still be found at once; also how far the clocks of a store's servers may be apart."""

SWEEP_EVERY = timedelta(days=1)
"""How late it is found otherwise."""

SWEEP_OVERLAP = timedelta(days=1)
"""How much later an object may be seen than it says it was created: a file is as old as its last byte, and linked later."""

GIVE_UP_AFTER = timedelta(days=7)
"""How long the record of a marker is waited for."""

MARKERS_LAST = timedelta(days=85)
"""Markers may be expired after 90 days: whoever has not looked for this long may have missed some."""

SETTLED_AFTER = timedelta(minutes=10)
"""A marker without its record that is younger is most likely a commit under way: not worth a batch of its own."""

MOST_ENTRIES = MAX_ENTRIES
"""How many entries a sealer puts into a batch."""

MOST_WAITING = MAX_UNRESOLVED
"""How many markers a sealer lets wait."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The watermark of a log that nobody has looked at a marker for."""

# Clocks of one store's servers are not that far apart: an object from further ahead has a time that says nothing.
_FUTURE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pending:
    """An object among the markers.

    Attributes:
        key: Its key.
        kind: Of which kind the record is, by its key; "" for a key that is no marker's.
        id: The marker's id, by its key.
        moment: When it was going to be written, by its key; None for a key that is no marker's.
        since: When it was created; None where the store does not tell.
    """

    key: str
    kind: str
    id: str
    moment: datetime | None
    since: datetime | None

    @classmethod
    def of(cls, info: ObjectInfo) -> "Pending":
        """As it was listed."""
        return cls.named(info.key, info.modified)

    @classmethod
    def named(cls, key: str, since: datetime | None) -> "Pending":
        """As its key says."""
        name = layout.marker_name(key)
        if name is None:
            return cls(key, "", "", None, since)
        return cls(key, name.kind, name.identity, name.moment, since)

    @property
    def announced(self) -> str:
        """See `Entry.announced`."""
        return announced(self.kind, self.id, self.key)

    @property
    def first_moment(self) -> datetime | None:
        """Nothing about it can be in a batch that was sealed earlier, unless its record is older; None: nobody knows."""
        return self.since if self.moment is None else self.moment


@dataclass(frozen=True, slots=True)
class Window:
    """Which markers a listing is to look at.

    Attributes:
        start: Those named after this moment and not created before; None for all.
        sweeps: Whether it takes everything, however it is named, that was not there by `seen_by`.
        seen_by: What was there by then has been looked at by an earlier sweep; None for nothing.
        besides: What this one takes has been looked at by this pass.
    """

    start: datetime | None
    sweeps: bool = False
    seen_by: datetime | None = None
    besides: "Window | None" = None

    def takes(self, pending: Pending) -> bool:
        """Whether it is to be looked at."""
        if self.besides is not None and self.besides.takes(pending):
            return False
        if self.sweeps:
            return self.seen_by is None or pending.since is None or pending.since >= self.seen_by
        if pending.moment is None:
            return False
        if self.start is None:
            return True
        return pending.moment >= self.start and (pending.since is None or pending.since >= self.start)


def window_of(newest: Batch | None) -> Window:
    """What every pass looks at."""
    if newest is None:
        return Window(None, sweeps=True)
    return Window(max(newest.watermark, NEVER) - OVERLAP)


def is_sweep_due(newest: Batch, now: datetime) -> bool:
    """Whether everything pending is to be listed; also if the store's clock ran backwards, for then no window is right."""
    swept_at = newest.swept_at
    return swept_at is None or now - swept_at >= SWEEP_EVERY or is_clock_back(newest, now)


def is_clock_back(newest: Batch, now: datetime) -> bool:
    """Whether the store's clock is behind what it was: then a window of it would find nothing for as long."""
    return now < max(newest.watermark, newest.swept_at or NEVER) - OVERLAP


def sweep_of(newest: Batch, now: datetime, besides: Window) -> Window:
    """What a sweep looks at, besides what this pass has looked at."""
    swept_at = newest.swept_at
    seen_by = swept_at - SWEEP_OVERLAP if swept_at is not None and swept_at <= now else None
    return Window(None, sweeps=True, seen_by=seen_by, besides=besides)


def may_have_missed(newest: Batch | None, oldest: datetime | None, now: datetime) -> bool:
    """Whether markers may have expired before anybody looked: then only a listing of the records tells.

    Args:
        newest: The newest batch before this pass.
        oldest: The moment of the oldest marker there is.
        now: The store's clock.
    """
    if newest is not None and newest.watermark > NEVER:
        return now - newest.watermark > MARKERS_LAST
    return oldest is not None and now - oldest > MARKERS_LAST


@dataclass(frozen=True, slots=True)
class Look:
    """What was found for a marker.

    Attributes:
        pending: The marker.
        entry: The record, if it is there, or what is wrong with it or with the marker.
        trouble: Why there is no entry yet.
    """

    pending: Pending
    entry: Entry | None = None
    trouble: str = ""


def judge(look: Look, now: datetime) -> Entry | Unresolved:
    """What becomes of a marker: an entry, or it is to be looked at again."""
    if look.entry is not None:
        return look.entry
    since = look.pending.since or now
    if now - since < GIVE_UP_AFTER:
        return Unresolved(look.pending.key, look.pending.kind, since)
    return Entry.finding(look.pending.key, since, f"given up after {GIVE_UP_AFTER.days} days: {look.trouble}")


def record_since(entry: Entry, moment: datetime | None, now: datetime) -> datetime | None:
    """The time before which no batch was sealed that holds this entry; None if nothing is known.

    Args:
        entry: What was found.
        moment: When its marker was going to be written; None where there is none.
        now: The store's clock.
    """
    if entry.time > now + _FUTURE:
        return None
    return entry.time if moment is None else min(entry.time, moment)


class Draft:
    """What goes into the next batch; a value that grows, and can be put behind any batch.

    Args:
        archive_id: The archive's id.
        node: Who seals.
        now: The store's clock.
    """

    def __init__(self, archive_id: str, node: str, now: datetime) -> None:
        self._archive_id = archive_id
        self._node = node
        self.now = now
        self._entries: dict[str, Entry] = {}
        self._waiting: dict[str, Unresolved] = {}
        self._settled: set[str] = set()
        self._watermark: datetime | None = None
        self._swept_at: datetime | None = None
        self._sweeps = False

    @property
    def is_full(self) -> bool:
        """Whether it is to be written before more is added."""
        # Each waiting marker may push another one out of a full list, and that becomes an entry.
        return len(self._entries) + len(self._waiting) >= MOST_ENTRIES - 1

    def add(self, entry: Entry) -> None:
        """Add an entry, unless one about the same is there."""
        self._entries.setdefault(entry.subject, entry)
        if self.now < entry.time <= self.now + _FUTURE:
            self.now = entry.time

    def wait(self, marker: Unresolved) -> None:
        """A marker is to be looked at again."""
        self._waiting[marker.key] = marker

    def settle(self, key: str) -> None:
        """A marker needs no more looking at."""
        self._settled.add(key)
        self._waiting.pop(key, None)

    def looked_until(self, moment: datetime) -> None:
        """Every marker that is named after an earlier moment was looked at."""
        moment = min(moment, self.now)
        self._watermark = moment if self._watermark is None else max(self._watermark, moment)

    def swept(self, moment: datetime) -> None:
        """Everything that was there at `moment` was looked at."""
        self._watermark = self._swept_at = moment
        self._sweeps = True

    def behind(self, head: Sealed | None) -> Batch:
        """The batch that follows `head`."""
        before = None if head is None else head.batch
        entries = list(self._entries.values())
        waiting = sorted(self._waits(before), key=lambda marker: (marker.since, marker.key))
        excess = max(0, len(waiting) - MOST_WAITING)
        entries += [
            Entry.finding(marker.key, marker.since, f"more than {MOST_WAITING} markers wait for their records")
            for marker in waiting[:excess]
        ]
        sealed_at = self.now if before is None else max(self.now, before.sealed_at)
        watermark, swept_at = self._marks(before)
        return Batch(
            archive_id=self._archive_id,
            number=1 if before is None else before.number + 1,
            previous="" if head is None else head.sha256,
            first_entry=0 if before is None else before.end_entry,
            sealed_at=sealed_at,
            sealed_by=self._node,
            watermark=watermark,
            swept_at=swept_at,
            entries=tuple(entries),
            unresolved=tuple(waiting[excess:]),
        )

    def is_worth_writing(self, head: Sealed | None) -> bool:
        """Whether a batch behind `head` says what must not be lost, or saves others much work."""
        if self._entries or self.is_full:
            return True
        before = None if head is None else head.batch
        known = {marker.key for marker in before.unresolved} if before is not None else set()
        if any(
            marker.key not in known and self.now - marker.since >= SETTLED_AFTER for marker in self._waiting.values()
        ):
            return True
        if before is None or self._swept_at is None:
            return False
        return before.swept_at is None or is_sweep_due(before, self._swept_at)

    def rebase(self, theirs: Batch) -> None:
        """Somebody else has added a batch: what he has sealed need not be sealed again."""
        sealed = {entry.announced for entry in theirs.entries}
        for entry in theirs.entries:
            if self._entries.pop(entry.subject, None) is not None and entry.kind != FINDING:
                # What was wrong about it was that it was not there.
                self._entries.pop(f"!{entry.key}", None)
        for key in [key for key in self._waiting if Pending.named(key, None).announced in sealed]:
            del self._waiting[key]

    def written(self) -> None:
        """It stands in the log: begin the next one."""
        self._entries.clear()
        self._waiting.clear()
        self._settled.clear()
        self._sweeps = False

    def _waits(self, before: Batch | None) -> Iterator[Unresolved]:
        carried = () if before is None else before.unresolved
        merged = {marker.key: marker for marker in carried if marker.key not in self._settled}
        merged.update(self._waiting)
        return iter(merged.values())

    def _marks(self, before: Batch | None) -> tuple[datetime, datetime | None]:
        """Watermark and time of the last sweep; neither goes back, unless a whole sweep found that the clock did."""
        if before is None:
            return self._watermark or NEVER, self._swept_at
        if self._sweeps and self._swept_at is not None and is_clock_back(before, self._swept_at):
            return self._swept_at, self._swept_at
        watermark = max(before.watermark, self._watermark or NEVER)
        swept_at = max(filter(None, (before.swept_at, self._swept_at)), default=None)
        return watermark, swept_at


def youngest(unresolved: Iterable[Unresolved], most: int) -> list[Unresolved]:
    """The `most` youngest markers, oldest first: a record that comes late mostly comes soon."""
    return sorted(unresolved, key=lambda marker: (marker.since, marker.key))[-most:]
