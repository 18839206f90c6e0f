"""Gives a checkpoint a class by hand: an event, a statement, and whatever was announced for another class is taken back.

The next pass of the policy says what the new class means for it. Until then it is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.commit import fating
from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.endings import ended
from ckpt_archive.commit.fate import read_fate
from ckpt_archive.errors import ConflictError, InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_class_name
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.telling import tell
from ckpt_archive.retention.passes.taking_back import take_back
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.policy.reader import nearest
from ckpt_archive.retention.policy.values import TRASH, Policy

CLASSED = "classed"

NO_CLASS = "none"
"""Said instead of a class: the policy chooses again."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What came of it.

    Attributes:
        place: The checkpoint.
        before: The class that somebody gave it before; "" for none.
        after: The class that it has now; "" for none: the policy chooses.
        taken_back: Whether an end that was announced for another class was taken back.
    """

    place: Place
    before: str
    after: str
    taken_back: bool


def assign(
    machine: Machine,
    connection: Connection,
    policy: Policy,
    place: Place,
    class_name: str,
    *,
    reason: str,
    actor: str,
) -> Assigned:
    """Give a checkpoint a class. Saying it again does no harm.

    Args:
        machine: Where this runs.
        connection: The archive.
        policy: Which classes there are.
        place: The checkpoint.
        class_name: One of the policy's; `NO_CLASS`: the policy chooses again.
        reason: Why, for people.
        actor: Who.

    Raises:
        InvalidInputError: If the policy has no such class, or no reason is given.
        NotFoundError: If there is no such checkpoint, or it has ended.
        ConflictError: If it is dropped, or somebody gives it another class at the same time.
    """
    check_reason(reason)
    wanted = _checked(policy, class_name)
    store = connection.store
    load_manifest(store, place)
    fate, now = read_fate(store, place)
    if fate.is_over(now):
        raise ended(store, place, fate)
    if fate.assigned == TRASH:
        raise ConflictError(f"{place} was dropped", hint=f"Take that back first: ckpt-archive undrop {place.run}")
    voice = Voice(machine, connection, actor, policy.sha256)
    before = fate.assigned or ""
    if before != wanted:
        event_id = tell(voice, CLASSED, [place], now, reason, outcome=wanted)
        told = voice.told(reason, event_id)
        fating.assign(store, connection.archive_id, place, fate.assigned_number + 1, wanted, told)
        _check_it_counts(connection, place, wanted)
    item = policy.named(wanted)
    again: Sequence[Place] = ()
    if not fate.is_open and (item is None or set(fate.announced) != {item.tag}):
        again = take_back(voice, place.run, [place], f"class {wanted or 'as the policy chooses'}: {reason}")
    return Assigned(place, before, wanted, bool(again))


def check_reason(reason: str) -> None:
    """Refuse to do what nobody gives a reason for.

    Raises:
        InvalidInputError: If it is blank.
    """
    if not reason.strip():
        raise InvalidInputError("no reason was given", hint="Say why, for whoever asks in some years.")


def _checked(policy: Policy, class_name: str) -> str:
    if class_name == NO_CLASS:
        return ""
    check_class_name(class_name)
    if policy.named(class_name) is None:
        names = [item.name for item in policy.classes if item.name != TRASH]
        raise InvalidInputError(
            f"the policy {policy.name} has no class {class_name!r}", hint=f"Use {nearest(class_name, names)}."
        )
    return class_name


def _check_it_counts(connection: Connection, place: Place, wanted: str) -> None:
    """Of two who give a class at the same time one is told that it is not his."""
    fate, _ = read_fate(connection.store, place)
    if (fate.assigned or "") != wanted:
        raise ConflictError(
            f"somebody else gave {place} the class {fate.assigned or NO_CLASS!r} at the same time",
            hint="Agree on one, then say it again.",
        )
