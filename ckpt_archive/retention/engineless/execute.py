"""Removes the data of checkpoints whose end has come, in stores that have no lifecycle engine to do it.

Nothing is decided here: an end was announced days before, and readers have taken leave of the checkpoint. It is looked at
again right before its first object is deleted, and is left alone if anything speaks against it: a hold, a lock, that it is
what a launch would go on from or among the newest of its run, that an engine would not delete one of its objects yet.

Objects are deleted one by one; when nothing is left, the event `ended` and then the statement say so. Whoever is killed
anywhere and runs again comes to the same end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ckpt_archive.commit import catalog, fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import store_time
from ckpt_archive.commit.fate import Fate, Fates, read_fates
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.voice import ENDED, Voice, batches
from ckpt_archive.retention.plans.plan import Change, Kind
from ckpt_archive.retention.plans.survey import data_objects, runs
from ckpt_archive.retention.policy.values import DAY, TRASH, Policy, midnight_after
from ckpt_archive.retention.rules.rules import terms_of
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.protocol import ObjectInfo, Store

MARGIN = timedelta(days=1)
"""So long after its end data is removed, unless somebody says otherwise: clocks differ, and so do minds."""

_CLOCKS_DIFFER = timedelta(hours=1)
_DELETES_IN_FLIGHT = 8
_RUNS_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Ending:
    """A checkpoint whose end has come.

    Attributes:
        place: Which.
        generation: In which its end was announced.
        tag: With which; of several the first.
        ends_at: When it ended.
        objects: What lies where its data is.
        objection: Why nothing is removed; "" if it is.
    """

    place: Place
    generation: int
    tag: str
    ends_at: datetime
    objects: tuple[ObjectInfo, ...]
    objection: str = ""

    @property
    def size_bytes(self) -> int:
        """Of all that lies there."""
        return sum(info.size_bytes for info in self.objects)

    @property
    def reason(self) -> str:
        """Why, for people."""
        return self.objection or f"its end on {self.ends_at:%Y-%m-%d} was announced with {self.tag}"


@dataclass(slots=True)
class Removed:
    """What was removed.

    Attributes:
        checkpoints: How many are gone.
        objects: How many were deleted.
        size_bytes: Of these.
        kept: Those against which something spoke after all.
    """

    checkpoints: int = 0
    objects: int = 0
    size_bytes: int = 0
    kept: list[Ending] = field(default_factory=list)


def check_margin(margin: timedelta) -> timedelta:
    """Return `margin` if it is one, else raise `InvalidInputError`."""
    if timedelta() <= margin <= timedelta(days=36_500):
        return margin
    raise InvalidInputError("data can not be removed before its end", hint="Use a margin of 0 or more, such as 1d.")


def find_endings(machine: Machine, connection: Connection, policy: Policy, margin: timedelta) -> Iterator[Ending]:
    """The checkpoints whose end has come, with what speaks against removing each; nothing is changed.

    Costs a listing for every run, and for one that has any the listing of its manifests, what `commit.latest` asks, and a
    listing of each such checkpoint's data; in a bucket that locks objects a request for each of them.

    Args:
        machine: Runs the reads.
        connection: The archive.
        policy: Says how many newest checkpoints of a run are kept.
        margin: How long after its end data is removed.
    """
    locks = _locking(connection)

    def look(run: str) -> list[Ending]:
        fates = read_fates(connection.store, run)
        there = _Run(connection.store, policy, run)
        ours = machine.clock.now()
        found = (_ending(connection, locks, there, fates, margin, place, ours) for place in sorted(fates.of))
        return [ending for ending in found if ending is not None]

    for found in machine.executor.map_unordered(look, runs(connection.store), limit=_RUNS_IN_FLIGHT):
        yield from found


def remove(
    voice: Voice,
    policy: Policy,
    margin: timedelta,
    endings: Sequence[Ending],
    go_on: Callable[[], bool] = lambda: True,
) -> Removed:
    """Remove what `find_endings` has found, after another look at each.

    Args:
        voice: Who does it.
        policy: As for `find_endings`.
        margin: Likewise.
        endings: What was found.
        go_on: Asked before each checkpoint.

    Raises:
        UnavailableError: If the store does not answer: whoever runs again goes on.
    """
    done = Removed()
    locks = _locking(voice.connection)
    by_run: dict[str, list[Ending]] = {}
    for ending in endings:
        by_run.setdefault(ending.place.run, []).append(ending)
    for found in by_run.values():
        tried = (
            _remove(voice, policy, margin, locks, ending.place, done)
            for ending in found
            if not ending.objection and go_on()
        )
        gone = [ending for ending in tried if ending is not None]
        _tell(voice, gone)
        done.checkpoints += len(gone)
    return done


def _remove(
    voice: Voice, policy: Policy, margin: timedelta, locks: Bucket | None, place: Place, done: Removed
) -> Ending | None:
    """Remove the data of one checkpoint; what that was, if it is gone now."""
    connection = voice.connection
    # The fates last: of two answers to a hold that comes meanwhile, the later one counts.
    now_there = _Run(connection.store, policy, place.run)
    fates = read_fates(connection.store, place.run)
    ending = _ending(connection, locks, now_there, fates, margin, place, voice.machine.clock.now())
    if ending is None or ending.objection:
        done.kept += [ending] if ending is not None else []
        return None

    def delete(info: ObjectInfo) -> int:
        connection.store.delete(info.key)
        return info.size_bytes

    for size_bytes in voice.machine.executor.map_unordered(delete, ending.objects, limit=_DELETES_IN_FLIGHT):
        done.objects += 1
        done.size_bytes += size_bytes
    # In a bucket that refuses, or where somebody goes on writing, something may be left.
    return None if data_objects(connection.store, place) else ending


def _tell(voice: Voice, gone: Sequence[Ending]) -> None:
    """Say that the data of these checkpoints is gone: the events first, then the statements."""
    if not gone:
        return
    generations = {ending.place: ending.generation for ending in gone}
    changes = [
        Change(
            place=ending.place,
            kind=Kind.ENDED,
            before=ending.tag,
            after="",
            reason=f"its data ended on {ending.ends_at:%Y-%m-%d} and was removed",
            objects=len(ending.objects),
            size_bytes=ending.size_bytes,
            ends_before=ending.ends_at,
            ends_after=ending.ends_at,
        )
        for ending in gone
    ]
    store = voice.connection.store
    moment = store_time(store)
    for batch in batches(changes):
        event_id = voice.tell(ENDED, batch, moment, batch[0].reason, batch[0].ends_after)
        for change in batch:
            told = voice.told(change.reason, event_id)
            fating.ended(store, voice.connection.archive_id, change.place, generations[change.place], told)


# --- what speaks against it ----------------------------------------------------------------------------------------------


class _Run:
    """The committed checkpoints of a run, and those among them that keep their data: read when first asked for."""

    def __init__(self, store: Store, policy: Policy, run: str) -> None:
        self._store = store
        self._policy = policy
        self._run = run
        self._committed: tuple[Place, ...] | None = None
        self._latest: Place | None = None
        self._problem = ""

    def objection(self, place: Place, fates: Fates) -> str:
        """Why a checkpoint keeps its data, as one of its run; "" if it does not."""
        if self._committed is None:
            self._committed = self._read()
        if self._problem:
            return self._problem
        if place not in self._committed:
            return "it is not committed"
        if fates.fate(place).assigned == TRASH:
            return ""  # whoever dropped it was asked whether the newest ones are meant too
        if place == self._latest:
            return "it is what a launch of its run would go on from"
        left = [item for item in self._committed if not fates.fate(item).has_ended]
        if place in left[: self._policy.keep_newest]:
            return f"it is one of the {self._policy.keep_newest} newest of its run that are left"
        return ""

    def _read(self) -> tuple[Place, ...]:
        try:
            self._latest = latest(self._store, self._run)
        except (IntegrityError, InvalidInputError) as error:
            # Nobody knows what a launch would go on from.
            self._problem = error.message
            return ()
        found = []
        for key in catalog.manifest_keys(self._store, self._run):
            try:
                found.append(Place(*layout.manifest_place(key)))
            except IntegrityError:
                continue  # none of ours: `doctor` tells of it
        return tuple(sorted(found, reverse=True))


def _ending(
    connection: Connection,
    locks: Bucket | None,
    there: _Run,
    fates: Fates,
    margin: timedelta,
    place: Place,
    ours: datetime,
) -> Ending | None:
    """A checkpoint as it is now, `ours` by this machine's clock; None if its end has not come, or it is known to be gone."""
    fate, now = fates.fate(place), fates.store_time
    if fate.has_ended or fate.ends_at is None or now < fate.ends_at + margin:
        return None
    objects = data_objects(connection.store, place)
    ending = Ending(place, fate.generation, fate.announced[0], fate.ends_at, objects)
    objection = (
        _held(fates, place)
        or there.objection(place, fates)
        or _not_by_ours(fate.ends_at + margin, ours)
        or _too_early(fate, objects, now - margin)
        or _locked(locks, objects, now)
    )
    return replace(ending, objection=objection)


def _held(fates: Fates, place: Place) -> str:
    cases = fates.cases(place)
    return f"it is held for {' and '.join(cases)}" if cases else ""


def _not_by_ours(due: datetime, ours: datetime) -> str:
    """A store whose clock is ahead says of everything that its end has come."""
    if ours >= due - _CLOCKS_DIFFER:
        return ""
    return f"by this machine's clock it is {ours:%Y-%m-%d %H:%M} UTC, and its end has not come: set the clocks right"


def _too_early(fate: Fate, objects: Sequence[ObjectInfo], now: datetime) -> str:
    """What an engine would say that goes by the tags and the age of each object."""
    days = 0
    for tag in fate.announced:
        terms = terms_of(tag)
        if terms is None:
            return f"this release does not know what its tag {tag!r} means"
        if terms[1] is None:
            return f"it was announced with {tag}, which ends nothing, too"
        days = max(days, terms[1])
    for info in objects:
        if info.modified is None:
            return "the store does not tell how old its objects are"
        due = midnight_after(info.modified + days * DAY)
        if now < due:
            return f"an object of it is so young that {' and '.join(fate.announced)} keeps it until {due:%Y-%m-%d}"
    return ""


def _locking(connection: Connection) -> Bucket | None:
    """The bucket, if it locks objects."""
    bucket = connection.bucket
    return bucket if bucket is not None and bucket.features().object_lock else None


def _locked(locks: Bucket | None, objects: Sequence[ObjectInfo], now: datetime) -> str:
    if locks is None:
        return ""
    for info in objects:
        lock = locks.read_lock(info.key)
        if lock.legal_hold:
            return "an object of it is held in the bucket"
        if lock.until_at is not None and lock.until_at > now:
            return f"an object of it is locked until {lock.until_at:%Y-%m-%d}"
    return ""
