"""Lets checkpoints end that nobody wants any more. `undropping` takes that back while there is time.

Who is dropped gets the class `TRASH` and an announced end, some days from now: first an event, then the class, then the end.
Nothing is deleted here: on its day the bucket's rules do that, or `retention run`. Every step may be made again, and whoever
is held, or one of the newest of its run, is refused before the first one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ckpt_archive.commit import fating
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fate, read_fates
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import ConflictError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.assigning import check_reason
from ckpt_archive.retention.by_hand.selection import Selection, committed_places, selected
from ckpt_archive.retention.by_hand.telling import batches, tell
from ckpt_archive.retention.passes.carrying import Done, carry_out
from ckpt_archive.retention.passes.taking_back import take_back
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.plan import Kind, Looked, RunPlan, RunSurvey, Surveyed, plan_run, spared
from ckpt_archive.retention.plans.survey import READS_IN_FLIGHT, basis_of, data_objects
from ckpt_archive.retention.policy.values import TRASH, Policy

DROPPED = "dropped"

_WRITES_IN_FLIGHT = 8

_NAMED = 20
"""So many are named in an error; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Droppable:
    """What may be dropped, looked at before it is.

    Attributes:
        selection: What was meant.
        places: The checkpoints, oldest first; those that were dropped before and have an end are not among them.
        before: Those that were dropped before, and when they end.
        size_bytes: Of the data that ends.
        objects: Likewise.
        ends_at: When the last of it does, were it dropped now; None if nothing is to be done.
    """

    selection: Selection
    places: tuple[Place, ...]
    before: tuple[tuple[Place, datetime], ...]
    size_bytes: int
    objects: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What came of it.

    Attributes:
        places: What is dropped now, and when it ends; those that were dropped before too.
        left: What somebody else was busy with: drop it again.
    """

    places: tuple[tuple[Place, datetime], ...]
    left: tuple[Place, ...]


def look(machine: Machine, connection: Connection, policy: Policy, selection: Selection) -> Droppable:
    """What a drop would do; nothing is changed.

    Raises:
        NotFoundError: If there is no such checkpoint.
        ConflictError: If one is held, or is one of the newest of its run. Each is named.
        UnavailableError: If the store does not answer.
    """
    run, chosen = _survey(connection, selection)
    _refuse(policy, run, chosen, selection)
    before = tuple((item.place, item.fate.ends_at) for item in chosen if item.fate.ends_at and _is_dropped(item))
    rest = [item for item in chosen if not _is_dropped(item)]
    said = [replace(item, fate=_as_dropped(item)) for item in rest]
    plan = _plan(machine, connection, policy, run, said)
    _refuse_without_data(plan, said)
    changes = plan.changes
    ends = [change.ends_after for change in changes if change.ends_after is not None]
    return Droppable(
        selection=selection,
        places=tuple(sorted(item.place for item in rest)),
        before=tuple(sorted(before)),
        size_bytes=sum(change.size_bytes for change in changes if change.kind is Kind.ANNOUNCE),
        objects=sum(change.objects for change in changes if change.kind is Kind.ANNOUNCE),
        ends_at=max(ends, default=None),
    )


def drop(
    machine: Machine, connection: Connection, policy: Policy, selection: Selection, *, reason: str, actor: str
) -> Dropped:
    """Let checkpoints end some days from now. Saying it again does no harm, and goes on where it was broken off.

    Args:
        machine: Where this runs.
        connection: The archive.
        policy: For how long what was dropped stays, and how many newest ones of a run are kept.
        selection: Which.
        reason: Why, for people.
        actor: Who.

    Raises:
        InvalidInputError: If no reason is given.
        NotFoundError: If there is no such checkpoint.
        ConflictError: If one is held, or is one of the newest of its run: nothing was dropped.
        UnavailableError: If the store does not answer: drop it again.
    """
    check_reason(reason)
    voice = Voice(machine, connection, actor, policy.sha256)
    run, chosen = _survey(connection, selection)
    _refuse(policy, run, chosen, selection)
    other = [item.place for item in chosen if not item.fate.is_open and not _has_end_as_dropped(item)]
    if other:
        # What was announced as another class ends no sooner and no later than its class says: that is taken back.
        take_back(voice, selection.run, other, f"dropped: {reason}")
        run, chosen = _survey(connection, selection)
        _refuse(policy, run, chosen, selection)
    todo = [item for item in chosen if not _is_dropped(item)]
    said = [replace(item, fate=_as_dropped(item)) for item in todo]
    plan = _plan(machine, connection, policy, run, said)
    _refuse_without_data(plan, said)
    _say(voice, [item for item in todo if item.fate.assigned != TRASH], plan, run.now, reason)
    done = Done()
    carry_out(voice, policy, plan, done)
    after = read_fates(connection.store, selection.run)
    ended = [(item.place, after.fate(item.place)) for item in chosen]
    return Dropped(
        places=tuple(sorted((place, fate.ends_at) for place, fate in ended if fate.ends_at is not None)),
        left=tuple(sorted(place for place, fate in ended if fate.ends_at is None)),
    )


# --- what is there -------------------------------------------------------------------------------------------------------


def _survey(connection: Connection, selection: Selection) -> tuple[RunSurvey, list[Surveyed]]:
    """The run, and those of its checkpoints that are meant and have not ended, oldest first."""
    committed = committed_places(connection.store, selection.run)
    meant = set(selected(committed, selection))
    fates = read_fates(connection.store, selection.run)
    items = [Surveyed(place, fates.fate(place), fates.cases(place)) for place in reversed(committed)]
    run = RunSurvey(selection.run, fates.store_time, tuple(items), latest(connection.store, selection.run))
    chosen = [item for item in reversed(items) if item.place in meant and not item.fate.is_over(run.now)]
    return run, chosen


def _refuse(policy: Policy, run: RunSurvey, chosen: Iterable[Surveyed], selection: Selection) -> None:
    """Refuse what is held, and what is newest.

    Raises:
        ConflictError: Naming each.
    """
    newest = {} if selection.whole_run else spared(policy, run)
    problems = []
    for item in chosen:
        if item.cases:
            problems.append(f"{item.place} is held for {' and '.join(item.cases)}")
        elif item.place in newest:
            problems.append(f"{item.place} is {newest[item.place]}")
    if not problems:
        return
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    raise ConflictError(
        f"nothing was dropped: {'; '.join(problems[:_NAMED])}{more}",
        hint="Leave these out with --steps; --whole-run drops the newest too, and release ends a hold.",
    )


def _refuse_without_data(plan: RunPlan, said: Sequence[Surveyed]) -> None:
    """Refuse what has no data of its own in the archive: it was adopted in place, or its data is gone.

    Raises:
        ConflictError: Naming each.
    """
    planned = {change.place for change in plan.changes}
    empty = [str(item.place) for item in said if item.fate.is_open and item.place not in planned]
    if not empty:
        return
    more = f"; and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
    raise ConflictError(
        f"nothing was dropped: the archive holds no data of {'; '.join(empty[:_NAMED])}{more}",
        hint="What was adopted in place lies where it lay before, and is not ours to remove. Leave it out with --steps.",
    )


def _plan(
    machine: Machine, connection: Connection, policy: Policy, run: RunSurvey, said: Sequence[Surveyed]
) -> RunPlan:
    """What is announced for those that are dropped, and nothing about any other."""
    basis = basis_of(connection, policy)
    bucket = connection.bucket if basis.has_locks else None

    def looked(item: Surveyed) -> Surveyed:
        objects = data_objects(connection.store, item.place)
        lock = bucket.read_lock(objects[-1].key) if bucket is not None and objects else None
        return replace(item, looked=Looked(objects, lock=lock))

    found = {item.place: item for item in machine.executor.map_unordered(looked, said, limit=READS_IN_FLIGHT)}
    items = tuple(found.get(item.place, item) for item in run.checkpoints)
    plan = plan_run(basis, replace(run, checkpoints=items))
    # Tags are for whoever carries the policy out: in a day, or on the last one.
    kinds = (Kind.TAKE_BACK, Kind.CLEAR, Kind.ANNOUNCE)
    return replace(
        plan,
        changes=tuple(change for change in plan.changes if change.place in found and change.kind in kinds),
        basis_of={place: item for place, item in plan.basis_of.items() if place in found},
    )


def _has_end_as_dropped(item: Surveyed) -> bool:
    return item.fate.ends_at is not None and item.fate.class_name == TRASH


def _is_dropped(item: Surveyed) -> bool:
    """Whether nothing is left to be done."""
    return item.fate.assigned == TRASH and _has_end_as_dropped(item)


def _as_dropped(item: Surveyed) -> Fate:
    """Its fate as it is when it has the class."""
    fate = item.fate
    return fate if fate.assigned == TRASH else replace(fate, assigned=TRASH, assigned_number=fate.assigned_number + 1)


# --- what is said --------------------------------------------------------------------------------------------------------


def _say(voice: Voice, items: Sequence[Surveyed], plan: RunPlan, moment: datetime, reason: str) -> None:
    """Say that checkpoints are dropped, and give them the class."""
    connection, machine = voice.connection, voice.machine
    ends = {change.place: change.ends_after for change in plan.changes if change.kind is Kind.ANNOUNCE}
    by_end: dict[datetime | None, list[Surveyed]] = {}
    for item in items:
        by_end.setdefault(ends.get(item.place, item.fate.ends_at), []).append(item)
    for end, alike in by_end.items():
        for batch in batches(alike):
            places = [item.place for item in batch]
            event_id = tell(voice, DROPPED, places, moment, reason, outcome=TRASH, until_at=end)
            told = voice.told(reason, event_id)

            def give(item: Surveyed, told: Told = told) -> None:
                details = {"before": item.fate.assigned or ""}
                number = item.fate.assigned_number + 1
                fating.assign(
                    connection.store, connection.archive_id, item.place, number, TRASH, replace(told, details=details)
                )

            for _ in machine.executor.map_unordered(give, batch, limit=_WRITES_IN_FLIGHT):
                pass
