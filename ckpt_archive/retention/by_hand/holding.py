"""Holds: what must not be removed for the sake of a case, whatever its class says, until it is released.

A hold is a statement first: from then on no plan lets the checkpoint end, and whoever tags it finds that out and takes his
tags away again (`tagging`). What was announced is taken back. Where the bucket has Object Lock every object is held natively
too, against everybody; the last one last, and released first, so that one can tell from that one.

Whose end had come before the hold stays ended for readers: what is left of it stays, and nobody knows how much that will be.
Every step may be made again: who dies here, or gets no answer, holds again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ckpt_archive.commit import catalog, fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, record_event, store_time
from ckpt_archive.commit.fate import Fate, Fates, check_case, read_fate, read_fates, read_fates_of, read_run_fate
from ckpt_archive.commit.fating import Told
from ckpt_archive.errors import DeniedError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.native_holds import hold_objects, locking_bucket, release_objects
from ckpt_archive.retention.passes.tagging import strip
from ckpt_archive.retention.passes.taking_back import take_back
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.survey import data_objects
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.strictjson import Json

Result = TypeVar("Result")

HELD = "held"
RELEASED = "released"

_PLACES_IN_FLIGHT = 8
_MOST_VERSIONS = 10_000  # hints: a few hundred kilobytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A checkpoint that is held, and of which something is missing.

    Attributes:
        place: Which.
        missing: How many of its objects.
        objects: How many it has.
        reason: Why, or what else is wrong, for people.
    """

    place: Place
    missing: int
    objects: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a hold, or of a release.

    Attributes:
        run: The run.
        place: The checkpoint; None for the whole run.
        case: For which case.
        checkpoints: How many it is about.
        objects: How many objects were held, or released, in the bucket itself.
        is_native: Whether the bucket has Object Lock.
        taken_back: Whose announced end was taken back.
        over: Whose end had come before: held is what is left of them.
        gone: Of which something is missing.
        others: The cases for which it is still held.
    """

    run: str
    place: Place | None
    case: str
    checkpoints: int = 0
    objects: int = 0
    is_native: bool = False
    taken_back: tuple[Place, ...] = ()
    over: tuple[Place, ...] = ()
    gone: tuple[Gone, ...] = ()
    others: tuple[str, ...] = ()


def hold(
    machine: Machine, connection: Connection, run: str, place: Place | None, case: str, reason: str, actor: str
) -> Report:
    """Hold a checkpoint, or a run with all checkpoints that it has and will have.

    Costs one small object and an event; per checkpoint its records and a listing; with Object Lock a request per object; and
    up to a minute where somebody tags the run at the moment.

    Args:
        machine: Where this runs.
        connection: The archive.
        run: Run name.
        place: The checkpoint; None for the whole run.
        case: Its id.
        reason: Why, for people.
        actor: Who.

    Raises:
        NotFoundError: If the run has no checkpoint, or the checkpoint is not committed.
        InvalidInputError: If the case can not be one, or no reason is given.
        UnavailableError: If the store does not answer: hold again.
    """
    return _Holding(machine, connection, run, place, case, reason, actor).hold()


def release(
    machine: Machine, connection: Connection, run: str, place: Place | None, case: str, reason: str, actor: str
) -> Report:
    """Release what is held for a case; what is held for others too stays held. The arguments are those of `hold`.

    Raises:
        NotFoundError: If it was never held for this case.
        InvalidInputError: If the case can not be one, or no reason is given.
        UnavailableError: If the store does not answer: release again.
    """
    return _Holding(machine, connection, run, place, case, reason, actor).release()


class _Holding:
    """One hold, or one release."""

    def __init__(
        self,
        machine: Machine,
        connection: Connection,
        run: str,
        place: Place | None,
        case: str,
        reason: str,
        actor: str,
    ) -> None:
        check_case(case)
        if not reason.strip():
            raise InvalidInputError("no reason was given", hint="Say why, for whoever asks in some years.")
        self._machine = machine
        self._connection = connection
        self._store = connection.store
        self._bucket = connection.bucket
        self._run = run
        self._place = place
        self._about: Place | str = run if place is None else place
        self._case = case
        self._reason = reason
        self._voice = Voice(machine, connection, actor, "")

    # --- hold --------------------------------------------------------------------------------------------------------

    def hold(self) -> Report:
        self._committed()
        said = self._read_own()
        number = said.case_numbers.get(self._case, 0) + (self._case not in said.cases)
        event_id = self._machine.nonce()
        told = self._told(self._reason, event_id, self._version_ids())
        fating.hold(self._store, self._connection.archive_id, self._about, self._case, number, told)
        self._tell(HELD, event_id)
        places = self._held()
        locking = locking_bucket(self._connection)
        objects = 0 if locking is None else sum(self._each(places, lambda place: self._hold_objects(locking, place)))
        taken_back = take_back(self._voice, self._run, places, f"held for {self._case}")
        if self._case in said.cases:
            self._strip(places)
        fates = self._read_fates()
        gone = [item for item in self._each(places, lambda place: self._look_at(place, fates)) if item is not None]
        return Report(
            run=self._run,
            place=self._place,
            case=self._case,
            checkpoints=len(places),
            objects=objects,
            is_native=locking is not None,
            taken_back=taken_back,
            over=tuple(sorted(place for place in places if fates.is_over(place))),
            gone=tuple(sorted(gone, key=lambda item: item.place)),
        )

    def _held(self) -> list[Place]:
        """What is held, as it was committed after the statement was written: of a run not what has ended for good."""
        places = self._committed()
        if self._place is not None:
            return places
        fates = self._read_fates()
        return [place for place in places if not fates.fate(place).has_ended]

    def _hold_objects(self, bucket: Bucket, place: Place) -> int:
        return hold_objects(self._machine, self._connection, bucket, place)

    def _strip(self, places: Sequence[Place]) -> None:
        """Held again: also what somebody tagged who was stopped for long and saw no hold, as `drift --tags` shows."""
        bucket = self._bucket
        if bucket is None:
            return
        for place in places:
            strip(self._voice, bucket, [info.key for info in data_objects(self._store, place)])

    def _look_at(self, place: Place, fates: Fates) -> Gone | None:
        """What is missing of a checkpoint that is held."""
        is_over = fates.is_over(place)
        why = "its end had come before it was held" if is_over else "somebody removed it"
        try:
            missing, count = catalog.missing_objects(self._store, self._machine.executor, place)
        except (IntegrityError, InvalidInputError, NotFoundError) as error:
            return Gone(place, 0, 0, error.message)
        return Gone(place, len(missing), count, why) if missing else None

    # --- release -----------------------------------------------------------------------------------------------------

    def release(self) -> Report:
        said = self._read_own()
        if self._case not in said.case_numbers:
            held_for = f"It is held for {' and '.join(said.cases)}." if said.cases else "It is not held."
            raise NotFoundError(f"{self._about_text} was never held for the case {self._case}", hint=held_for)
        event_id = self._machine.nonce()
        if self._case in said.cases:
            number = said.case_numbers[self._case] + 1
            told = self._told(self._reason, event_id)
            fating.release(self._store, self._connection.archive_id, self._about, self._case, number, told)
        self._tell(RELEASED, event_id)
        places = self._committed()
        locking = locking_bucket(self._connection)
        objects = 0 if locking is None else self._release_objects(locking, places)
        return Report(
            run=self._run,
            place=self._place,
            case=self._case,
            checkpoints=len(places),
            objects=objects,
            is_native=locking is not None,
            others=self._read_own().cases if self._place is None else self._read_fates().cases(self._place),
        )

    def _release_objects(self, bucket: Bucket, places: Sequence[Place]) -> int:
        """Release natively what is held for no case any more; whoever holds meanwhile has it held again."""
        fates = self._read_fates()
        free = [place for place in places if not fates.cases(place)]

        count = sum(self._each(free, lambda place: release_objects(self._machine, self._connection, bucket, place)))
        again = self._read_fates()
        held = [place for place in free if again.cases(place)]
        for _ in self._each(held, lambda place: self._hold_objects(bucket, place)):
            pass
        return count

    # --- what both need ------------------------------------------------------------------------------------------------

    @property
    def _about_text(self) -> str:
        return f"the run {self._run}" if self._place is None else str(self._place)

    def _each(self, places: Iterable[Place], work: Callable[[Place], Result]) -> Iterable[Result]:
        return self._machine.executor.map_unordered(work, list(places), limit=_PLACES_IN_FLIGHT)

    def _committed(self) -> list[Place]:
        if self._place is not None:
            place = self._place
            return [catalog.find(self._store, place.run, place.step, place.attempt)]
        found = list(catalog.places(self._store, self._run))
        if not found:
            raise NotFoundError(
                f"the run {self._run!r} has no committed checkpoint", hint="`ckpt-archive ls` lists the runs."
            )
        return found

    def _read_own(self) -> Fate:
        if self._place is None:
            return read_run_fate(self._store, self._run)[0]
        return read_fate(self._store, self._place)[0]

    def _read_fates(self) -> Fates:
        return (
            read_fates(self._store, self._run)
            if self._place is None
            else read_fates_of(self._store, self._run, [self._place])
        )

    def _told(self, reason: str, event_id: str = "", details: dict[str, Json] | None = None) -> Told:
        voice = self._voice
        return Told(voice.actor, self._machine.node, reason, self._machine.clock.now(), event_id, details=details or {})

    def _tell(self, kind: str, event_id: str) -> None:
        event = Event(
            archive_id=self._connection.archive_id,
            kind=kind,
            event_id=event_id,
            happened_at=self._machine.clock.now(),
            actor=self._voice.actor,
            node=self._machine.node,
            places=() if self._place is None else (self._place,),
            run=self._run if self._place is None else None,
            subject=self._case,
            reason=self._reason,
        )
        record_event(self._store, event, store_time(self._store))

    def _version_ids(self) -> dict[str, Json]:
        """The versions of the objects, as hints for whoever looks for them later; of a checkpoint, not of a run."""
        bucket, place = self._bucket, self._place
        if bucket is None or place is None:
            return {}
        try:
            if not bucket.features().versioned:
                return {}
            folder = layout.data_folder(place.run, place.attempt, place.step)
            current = (item for item in bucket.versions(folder) if item.is_latest and not item.is_marker)
            found: dict[str, Json] = {item.key: item.version_id for item in islice(current, _MOST_VERSIONS)}
        except DeniedError:
            return {}  # whoever may not list versions can hold all the same
        return {"versions": found}
