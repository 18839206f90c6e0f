"""Takes back what was dropped, while there is time: an event, the class that it had before, and no end any more."""

from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import fating
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fates, class_statement_name, read_fates
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.selection import Selection, committed_places, selected
from ckpt_archive.retention.by_hand.telling import batches, tell
from ckpt_archive.retention.passes.taking_back import take_back
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.policy.values import TRASH

UNDROPPED = "undropped"


@dataclass(frozen=True, slots=True)
class Undropped:
    """What came of taking it back.

    Attributes:
        places: What is wanted again.
        too_late: What was dropped and has ended, and when.
    """

    places: tuple[Place, ...]
    too_late: tuple[tuple[Place, datetime | None], ...]


def undrop(machine: Machine, connection: Connection, selection: Selection, *, reason: str, actor: str) -> Undropped:
    """Take a drop back. What somebody had given a class before has that again.

    Args:
        machine: Where this runs.
        connection: The archive.
        selection: Which; only what was dropped counts.
        reason: Why, for people; "" if nobody says.
        actor: Who.

    Raises:
        NotFoundError: If there is no such checkpoint.
        UnavailableError: If the store does not answer: take it back again.
    """
    voice = Voice(machine, connection, actor, "")
    store = connection.store
    fates = read_fates(store, selection.run)
    places = selected(committed_places(store, selection.run), selection)
    dropped = [place for place in places if _was_dropped(fates, place)]
    todo = [place for place in dropped if not fates.is_over(place)]
    too_late = tuple((place, fates.fate(place).ends_at) for place in dropped if fates.is_over(place))
    for batch in batches(todo):
        event_id = tell(voice, UNDROPPED, batch, fates.store_time, reason)
        for place in batch:
            fate = fates.fate(place)
            if fate.assigned == TRASH:
                before = _before(connection, place, fate.assigned_number)
                told = voice.told(reason, event_id)
                fating.assign(store, connection.archive_id, place, fate.assigned_number + 1, before, told)
    # Who died here before has said so, and left tags for which the bucket's rules would come on their day.
    unfinished = [place for place in places if fates.fate(place).clearing is not None and not fates.is_over(place)]
    if todo or unfinished:
        take_back(voice, selection.run, sorted({*todo, *unfinished}), f"undropped: {reason}")
    return Undropped(tuple(todo), too_late)


def _was_dropped(fates: Fates, place: Place) -> bool:
    fate = fates.fate(place)
    return fate.assigned == TRASH or any(tag.partition(".")[0] == TRASH for tag in fate.announced)


def _before(connection: Connection, place: Place, number: int) -> str:
    """The class that somebody had given it before it was dropped; "" for none, or where that can not be read."""
    try:
        said = fating.read_statement(connection.store, place, class_statement_name(number, TRASH))
    except (NotFoundError, IntegrityError, InvalidInputError):
        return ""
    before = said.told.details.get("before")
    return before if isinstance(before, str) else ""
