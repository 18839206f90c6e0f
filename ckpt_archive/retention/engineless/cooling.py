"""Moves the data of checkpoints below the second root of a file store when their class says so: `COLD` after so many days.

The class is the one with which a checkpoint was announced or tagged, and its tag spells the days: so nothing moves because a
policy was edited. The days count from an object's creation, rounded up to the next midnight UTC, as with lifecycle rules.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote, urlsplit

from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fate, read_fate, read_fates
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.plans.survey import data_objects, runs
from ckpt_archive.retention.policy.storage_classes import COLD
from ckpt_archive.retention.policy.values import DAY, midnight_after
from ckpt_archive.retention.rules.rules import terms_of
from ckpt_archive.store.file_cold import ColdFiles, is_coolable, thaw_name
from ckpt_archive.store.protocol import ObjectInfo

_RUNS_IN_FLIGHT = 4
_MOVES_IN_FLIGHT = 4  # a disk, or a tape, that many ask at once is slower and not faster


@dataclass(frozen=True, slots=True)
class Cooling:
    """A checkpoint whose data is to be moved.

    Attributes:
        place: Which.
        tag: That says so.
        objects: Those that are old enough and not there yet.
    """

    place: Place
    tag: str
    objects: tuple[ObjectInfo, ...]

    @property
    def size_bytes(self) -> int:
        """Of what is to be moved."""
        return sum(info.size_bytes for info in self.objects)


@dataclass(slots=True)
class Cooled:
    """What was moved.

    Attributes:
        objects: How many.
        size_bytes: Of these.
        problems: What could not be moved, and why, for people.
    """

    objects: int = 0
    size_bytes: int = 0
    problems: list[str] = field(default_factory=list)


def second_root(url: str) -> str:
    """The folder that a policy's `cold` names.

    Raises:
        InvalidInputError: If it names none.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.strip("/"):
        raise InvalidInputError(
            f"{url!r} names no folder", hint='Write cold = "file:///mnt/tape/archive" into the policy.'
        )
    return path


def find_coolings(machine: Machine, connection: Connection, files: ColdFiles, now: datetime) -> Iterator[Cooling]:
    """The checkpoints of which something is to be moved; nothing is changed.

    Costs a listing of every run's statements, and one of the data of every checkpoint whose class moves it at all.

    Args:
        machine: Runs the reads.
        connection: The archive, in a folder.
        files: Its second root, or what may become one.
        now: The store's clock.
    """
    thawed = files.thawed()

    def look(run: str) -> list[Cooling]:
        fates = read_fates(connection.store, run)
        found = (
            _cooling(connection, place, fate, thawed, now)
            for place, fate in sorted(fates.of.items())
            if not fate.is_over(now)
        )
        return [cooling for cooling in found if cooling.objects]

    for found in machine.executor.map_unordered(look, runs(connection.store), limit=_RUNS_IN_FLIGHT):
        yield from found


def cool(
    machine: Machine,
    connection: Connection,
    files: ColdFiles,
    coolings: Sequence[Cooling],
    now: datetime,
    *,
    go_on: Callable[[], bool] = lambda: True,
    moved: Callable[[int], None] = lambda _: None,
) -> Cooled:
    """Move what `find_coolings` has found, after another look at each checkpoint; the second root is attached.

    Args:
        machine: Copies.
        connection: The archive.
        files: Its second root.
        coolings: What was found.
        now: The store's clock.
        go_on: Asked before each object.
        moved: Told how many bytes were moved.

    Raises:
        ColdError: If the second root is not there.
        CapacityError: If it is full.
    """
    done = Cooled()

    def move(info: ObjectInfo) -> tuple[int, str]:
        try:
            return (files.cool(info.key), "") if go_on() else (0, "")
        except NotFoundError:
            return 0, ""  # its end has come meanwhile
        except (ConflictError, IntegrityError) as error:
            return 0, error.message

    files.forget_thawed(now)
    for planned in coolings:
        fate, _ = read_fate(connection.store, planned.place)
        cooling = _cooling(connection, planned.place, fate, files.thawed(), now)
        if fate.is_over(now) or not go_on():
            continue
        for size_bytes, problem in machine.executor.map_unordered(move, cooling.objects, limit=_MOVES_IN_FLIGHT):
            done.objects += size_bytes > 0
            done.size_bytes += size_bytes
            done.problems += [problem] if problem else []
            moved(size_bytes)
    return done


def _cooling(
    connection: Connection, place: Place, fate: Fate, thawed: Mapping[str, datetime], now: datetime
) -> Cooling:
    tag, after_days = _wanted(fate)
    if after_days is None:
        return Cooling(place, tag, ())
    objects = [
        info
        for info in data_objects(connection.store, place)
        if info.storage_class != COLD
        and is_coolable(info.key)
        and info.modified is not None
        and midnight_after(info.modified + after_days * DAY) <= now
        and thawed.get(thaw_name(info.key), now) <= now
    ]
    return Cooling(place, tag, tuple(objects))


def _wanted(fate: Fate) -> tuple[str, int | None]:
    """The tag of a checkpoint, and after how many days it is moved; None: not at all, or two tags disagree."""
    tags = {fate.tagged} if fate.tagged else set(fate.announced)
    if len(tags) != 1 or fate.has_ended:
        return "", None
    (tag,) = tags
    terms = terms_of(tag)
    moves = () if terms is None else terms[2]
    return tag, next((move.after_days for move in moves if move.storage_class == COLD), None)
