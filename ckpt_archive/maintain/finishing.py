"""Finds checkpoints whose committer died between the last receipt and the manifest, and commits them.

The log says where to look. An unresolved commit marker names one: its committer died within a moment of the manifest. Who
died just before the marker left nothing behind but receipts, in an attempt of which the log hears no more: such attempts are
looked at once they have been quiet for a while, those of the last hour at each pass, those of a whole day once a day.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from ckpt_archive.commit import layout
from ckpt_archive.commit.committing import Committed, Finished, finish_commit, finish_commits
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.marker import MarkerKind, read_marker
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.errors import CkptArchiveError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.log.batch import Entry, Unresolved
from ckpt_archive.log.sequence import Sealed, read_batches
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.place import Place

# Whoever is still at it commits within seconds after the marker, and saves again within minutes.
_MARKER_AGE = timedelta(minutes=2)
QUIET = timedelta(minutes=15)
# A pass is made every few minutes; in the hour after everything pending was listed, once a day, a whole day is looked at.
_WINDOW = timedelta(hours=1)
_WIDE_WINDOW = timedelta(hours=26)
_AFTER_SWEEP = timedelta(hours=1)
_BLOCK = 16

_UNREADABLE = (IntegrityError, InvalidInputError, NotFoundError)


@dataclass(slots=True)
class Finishing:
    """What was looked at.

    Attributes:
        committed: Checkpoints that were committed now.
        problems: Those that can not be, and why.
        left: How many checkpoints and attempts the budget did not reach.
    """

    committed: list[Place] = field(default_factory=list)
    problems: list[tuple[Place, CkptArchiveError]] = field(default_factory=list)
    left: int = 0

    def take(self, finished: Iterable[Finished]) -> None:
        """Count what came of some checkpoints; those that await writers are nobody's fault."""
        for place, outcome in finished:
            if isinstance(outcome, Committed):
                self.committed.append(place)
            elif isinstance(outcome, CkptArchiveError):
                self.problems.append((place, outcome))


def finish(machine: Machine, connection: Connection, newest: Sealed | None, now: datetime, budget: Budget) -> Finishing:
    """Commit what is complete and was not committed.

    Args:
        machine: Runs the reads.
        connection: The archive.
        newest: The newest batch of the log; None if there is none.
        now: The store's clock.
        budget: Asked before each attempt.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the log is damaged.
    """
    found = Finishing()
    if newest is None:
        return found
    places = list(_announced(connection, newest.batch.unresolved, now))
    attempts = quiet_attempts(_recent(machine, connection, newest, now - _window(newest, now)), now)
    work = [*(partial(_finish_place, machine, connection, place) for place in places)]
    work += [partial(_finish_attempt, machine, connection, run, attempt) for run, attempt in attempts]
    for number, item in enumerate(work):
        if budget.is_over():
            found.left = len(work) - number
            break
        found.take(item())
    return found


def _window(newest: Sealed, now: datetime) -> timedelta:
    swept_at = newest.batch.swept_at
    return _WIDE_WINDOW if swept_at is not None and now - swept_at < _AFTER_SWEEP else _WINDOW


# Read back, whatever the store compares: trying that out takes more requests than commits that are finished here ever do.


def _finish_place(machine: Machine, connection: Connection, place: Place) -> list[Finished]:
    outcome = finish_commit(connection.store, machine.executor, connection.archive_id, place, read_back=True)
    return [(place, outcome)]


def _finish_attempt(machine: Machine, connection: Connection, run: str, attempt: int) -> list[Finished]:
    return finish_commits(connection.store, machine.executor, connection.archive_id, run, attempt, read_back=True)


def _announced(connection: Connection, unresolved: Sequence[Unresolved], now: datetime) -> Iterator[Place]:
    """The checkpoints that commit markers speak of and that are not there."""
    for item in unresolved:
        if item.kind != MarkerKind.COMMIT or now - item.since < _MARKER_AGE:
            continue
        try:
            marker = read_marker(read_record(connection.store, item.key).data, item.key)
        except _UNREADABLE:
            continue  # the log tells of it
        if isinstance(marker.names, Place) and marker.archive_id == connection.archive_id:
            yield marker.names


def quiet_attempts(entries: Iterable[Entry], now: datetime) -> list[tuple[str, int]]:
    """The attempts of which these entries tell, and the newest of them long enough ago; the latest first."""
    newest: dict[tuple[str, int], datetime] = {}
    for entry in entries:
        attempt = _attempt_of(entry)
        if attempt is not None:
            newest[attempt] = max(entry.time, newest.get(attempt, entry.time))
    quiet: Mapping[tuple[str, int], datetime] = {key: at for key, at in newest.items() if now - at >= QUIET}
    return sorted(quiet, key=lambda key: quiet[key], reverse=True)


def _attempt_of(entry: Entry) -> tuple[str, int] | None:
    try:
        match entry.kind:
            case MarkerKind.COMMIT:
                return layout.manifest_place(entry.key)[:2]
            case MarkerKind.LAUNCH:
                return entry.key.split("/")[1], layout.attempt_number(entry.key)
            case _:
                return None
    except IntegrityError:
        return None


def _recent(machine: Machine, connection: Connection, newest: Sealed, since: datetime) -> Iterator[Entry]:
    """The entries of all batches that were sealed since then; no entry is younger than its batch."""
    yield from (entry for entry in newest.batch.entries if entry.time >= since)
    last, sealed_at = newest.number - 1, newest.batch.sealed_at
    while last > 0 and sealed_at >= since:
        first = max(1, last - _BLOCK + 1)
        sealed_at = since
        for number, sealed in enumerate(
            read_batches(connection.store, machine.executor, connection.archive_id, first, last)
        ):
            sealed_at = sealed.batch.sealed_at if number == 0 else sealed_at
            yield from (entry for entry in sealed.batch.entries if entry.time >= since)
        last = first - 1
