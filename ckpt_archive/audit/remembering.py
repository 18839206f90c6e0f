"""What was done with an archive is told to it: who restored what, what was compared and how that ended.

Whoever may only read an archive can still restore from it and verify it: what can not be recorded is told once, as a
warning, and never stops or fails what it is about.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ckpt_archive.audit.verify import VerifyFinding
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import MAX_PLACES, MAX_TEXT_BYTES, RESTORED, VERIFIED, Event, record_event, store_time
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.selection import Selection

_log = logging.getLogger(__name__)

OK = "ok"
FAILED = "failed"
FINDINGS = "findings"

# The report has all of them; the event says what kind of damage it was.
_MOST_TOLD = 10
_MOST_PATTERNS = 10


class Memory:
    """Records events for one process of a user.

    Args:
        machine: The machine it runs on.
        connect: Connects to the archive, not patiently: nobody waits for this.
        actor: Who does it; "" if nobody says.
    """

    def __init__(self, machine: Machine, connect: Callable[[], Connection], actor: str) -> None:
        self._machine = machine
        self._connect = connect
        self._actor = text(actor)
        self._connection: Connection | None = None
        self._gave_up = False

    def record(self, kind: str, places: Sequence[Place], **members: Any) -> None:
        """Record an event, or say once that it could not be: then nothing else is tried."""
        if self._gave_up:
            return
        try:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            event = Event(
                connection.archive_id,
                kind,
                self._machine.nonce(),
                self._machine.clock.now(),
                self._actor,
                text(self._machine.node),
                tuple(places),
                **members,
            )
            record_event(connection.store, event, store_time(connection.store))
        except CkptArchiveError as error:
            self._gave_up = True
            _log.warning("%s was %s, and the archive can not be told: %s", _brief(places), kind, error)


def restored(memory: Memory, place: Place, selection: Selection, restore: Callable[[], Restored]) -> Restored:
    """Restore from the archive, and tell it how that ended.

    Args:
        memory: Tells it.
        place: The checkpoint that was asked for.
        selection: Which of its files.
        restore: Restores it, or what is taken instead.
    """
    details: dict[str, Any] = {"partial": not selection.everything}
    if selection.include:
        details["include"] = [text(pattern) for pattern in selection.include[:_MOST_PATTERNS]]
    try:
        done = restore()
    except CkptArchiveError as error:
        reason = text(str(error))
        memory.record(RESTORED, [place], rank=selection.rank, outcome=FAILED, reason=reason, details=details)
        raise
    taken = Place(done.run, place.attempt if done.attempt is None else done.attempt, done.step)
    if taken != place:
        details["instead_of"] = place.to_json()
    details |= {"files": done.files, "bytes_fetched": done.bytes_fetched, "to": text(str(done.path))}
    memory.record(RESTORED, [taken], rank=selection.rank, outcome=OK, size_bytes=done.size_bytes, details=details)
    return done


@contextlib.contextmanager
def verified(memory: Memory, *, deep: bool) -> Iterator[Callable[[Place, Sequence[VerifyFinding]], None]]:
    """Gives what is to be told of every checkpoint that was verified; the archive is told of up to 1,000 at a time.

    Args:
        memory: Tells it.
        deep: Whether every byte is read.
    """
    gathered = _Gathered(memory, deep)
    try:
        yield gathered.checked
    except CkptArchiveError:
        # What was looked at before is known all the same.
        gathered.finish()
        raise
    gathered.finish()


class _Gathered:
    """What was verified and not yet told."""

    def __init__(self, memory: Memory, deep: bool) -> None:
        self._memory = memory
        self._deep = deep
        self._places: dict[str, list[Place]] = {OK: [], FINDINGS: []}
        self._findings: list[VerifyFinding] = []
        self._count = 0

    def checked(self, place: Place, findings: Sequence[VerifyFinding]) -> None:
        """A checkpoint was looked at, and this was found."""
        outcome = FINDINGS if findings else OK
        self._places[outcome].append(place)
        self._count += len(findings)
        self._findings += findings[: _MOST_TOLD - len(self._findings)]
        if len(self._places[outcome]) == MAX_PLACES:
            self._tell(outcome)

    def finish(self) -> None:
        """Tell what has not been told."""
        for outcome, places in self._places.items():
            if places:
                self._tell(outcome)

    def _tell(self, outcome: str) -> None:
        details: dict[str, Any] = {"deep": self._deep}
        reason = ""
        if outcome == FINDINGS:
            told = [{"key": text(found.key), "problem": text(found.problem)} for found in self._findings]
            details |= {"findings": self._count, "first": told}
            reason = text(f"{self._findings[0].key}: {self._findings[0].problem}")
            self._findings, self._count = [], 0
        places, self._places[outcome] = self._places[outcome], []
        self._memory.record(VERIFIED, places, outcome=outcome, reason=reason, details=details)


def text(said: str) -> str:
    """As an event may hold it: a path may be no text, and a message longer than an event's."""
    data = said.encode("utf-8", "replace")
    if len(data) <= MAX_TEXT_BYTES:
        return data.decode()
    return data[: MAX_TEXT_BYTES - len("…".encode())].decode("utf-8", "ignore") + "…"


def _brief(places: Sequence[Place]) -> str:
    return str(places[0]) if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
