"""Reads the classes of a policy file, and refuses what a store would refuse, or bill in a way that nobody expects."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from ckpt_archive.names import CLASS_NAME
from ckpt_archive.retention.policy.reader import Mistakes, Table, as_table, kind, similar
from ckpt_archive.retention.policy.storage_classes import COLD, STORAGE_CLASSES
from ckpt_archive.retention.policy.units import read_days
from ckpt_archive.retention.policy.values import TRASH, ObjectLock, RetentionClass, Transition

RESERVED = ("none",)
"""What `retention assign` takes instead of a class."""

FOREVER = "forever"
_LIKE_FOREVER = (FOREVER, "never", "always", "infinite", "unlimited")
TRASH_DAYS = 7
MOST_LEGAL_CHARACTERS = 1_000
_TRASH_DAYS_RANGE = range(2, 91)

_KEYS = ("keep_for", "every", "milestone", "explicit", "transitions", "lock", "legal_basis", "review")
_TRANSITION_RIGHT = 'write transitions = [{ after = "30d", to = "GLACIER_IR" }]'
_PAID = "you pay for days that it is not there"
_LOCK_RIGHT = 'write lock = { mode = "COMPLIANCE", for = "1y" }'


def read_classes(mistakes: Mistakes, value: object, *, has_cold: bool) -> tuple[tuple[RetentionClass, ...], list[str]]:
    """The classes, `TRASH` among them, and the names of those that are chosen explicitly only.

    Args:
        mistakes: Takes what is wrong.
        value: What stands under ``classes``.
        has_cold: Whether there is a second root.
    """
    right = 'write a table for each class: [classes.recent] with keep_for = "2d"'
    if not isinstance(value, dict):
        mistakes.add(("classes",), f"{kind(value)} stands where tables belong", right)
        return (), []
    if not any(name != TRASH for name in value):
        mistakes.add(("classes",), "there is no class", right)
    classes: list[RetentionClass] = []
    explicit: list[str] = []
    for name, members in value.items():
        path = ("classes", name)
        _check_name(mistakes, name)
        table = as_table(mistakes, path, members, ("keep_for",) if name == TRASH else _KEYS, right)
        if table is None:
            continue
        item = _read_trash(table) if name == TRASH else _read_class(table, name, has_cold=has_cold)
        classes.append(item)
        if name != TRASH and _is_explicit(table):
            explicit.append(name)
    _check_selectors(mistakes, classes)
    if not any(item.name == TRASH for item in classes):
        classes.append(RetentionClass(TRASH, TRASH_DAYS))
    return tuple(classes), explicit


def _check_name(mistakes: Mistakes, name: str) -> None:
    if not CLASS_NAME.fullmatch(name):
        mended = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:32].rstrip("-") or "recent"
        rule = "a class name is 1 to 32 of a-z, 0-9 and '-', and begins with a letter"
        mistakes.add(("classes", name), rule, f"write [classes.{mended}]")
    elif name in RESERVED:
        mistakes.add(("classes", name), f"the name {name!r} has another meaning", f"write [classes.{name}-class]")


def _read_trash(table: Table) -> RetentionClass:
    days = _keep_days(table)
    if days not in _TRASH_DAYS_RANGE:
        table.wrong(
            "keep_for",
            "what was dropped must stay for 2 to 90 days, so that it can be taken back and does end",
            f'write keep_for = "{TRASH_DAYS}d", or leave [classes.{TRASH}] out',
        )
    return RetentionClass(TRASH, days)


def _read_class(table: Table, name: str, *, has_cold: bool) -> RetentionClass:
    keep_days = _keep_days(table)
    return RetentionClass(
        name=name,
        keep_days=keep_days,
        every=table.count("every", None, "write a number such as every = 12"),
        milestone=_milestone(table),
        transitions=_transitions(table, keep_days, has_cold=has_cold),
        lock=_lock(table, keep_days),
        legal_basis=_legal_basis(table),
        review=_review(table),
    )


def _keep_days(table: Table) -> int | None:
    if not table.has("keep_for"):
        table.wrong("keep_for", "it does not say for how long", 'write keep_for = "14d", or keep_for = "forever"')
        return None
    value = table.raw("keep_for")
    if value == FOREVER:
        return None
    if isinstance(value, str) and similar(value, _LIKE_FOREVER):
        table.wrong("keep_for", "that is no time", 'write keep_for = "forever"')
        return None
    return table.measured("keep_for", read_days, None)


def _milestone(table: Table) -> str:
    value = table.raw("milestone")
    if value is None or value is False:
        return ""
    if value is True:
        return "*"
    if isinstance(value, str) and value:
        return value
    problem = "an empty text matches no milestone" if value == "" else f"{kind(value)} is no pattern of names"
    table.wrong("milestone", problem, 'write milestone = true for all, or a pattern such as milestone = "v*"')
    return ""


def _is_explicit(table: Table) -> bool:
    explicit = table.flag("explicit")
    others = [key for key in ("every", "milestone") if table.has(key) and table.raw(key) is not False]
    if explicit and others:
        table.wrong(
            "explicit",
            f"a class that is given explicitly only can not have '{others[0]}' too",
            f"leave out explicit, or {others[0]}",
        )
    return explicit


def _transitions(table: Table, keep_days: int | None, *, has_cold: bool) -> tuple[Transition, ...]:
    value = table.raw("transitions")
    if value is None:
        return ()
    if not isinstance(value, list):
        table.wrong("transitions", f"{kind(value)} stands where an array belongs", _TRANSITION_RIGHT)
        return ()
    moves: list[Transition] = []
    for number, item in enumerate(value):
        path = (*table.path, "transitions", number)
        inner = as_table(table.mistakes, path, item, ("after", "to"), _TRANSITION_RIGHT)
        if inner is None:
            continue
        move = _transition(inner, has_cold=has_cold)
        if move is None:
            continue
        problem = _misplaced(move, moves[-1] if moves else None) or _too_late(move, keep_days)
        if problem is not None:
            inner.wrong(*problem)
        moves.append(move)
    return tuple(moves)


def _transition(table: Table, *, has_cold: bool) -> Transition | None:
    missing = [key for key in ("after", "to") if not table.has(key)]
    for key in missing:
        table.wrong(key, f"'{key}' is missing", 'write { after = "30d", to = "GLACIER_IR" }')
    after_days = table.measured("after", read_days, None)
    to = table.choice("to", tuple(STORAGE_CLASSES), "") if table.has("to") else ""
    if to == COLD and not has_cold:
        table.wrong("to", "there is no second root", 'say where it is: cold = "file:///mnt/tape/archive"')
    return None if missing or after_days is None or not to else Transition(after_days, to)


def _misplaced(move: Transition, before: Transition | None) -> tuple[str, str, str] | None:
    """What is wrong with a move, as it follows another."""
    demands = STORAGE_CLASSES[move.storage_class]
    if move.after_days < demands.youngest_days:
        problem = f"{move.storage_class} takes nothing younger than {demands.youngest_days} days"
        return "after", problem, f'write after = "{demands.youngest_days}d" or more'
    if before is None:
        return None
    previous = STORAGE_CLASSES[before.storage_class]
    if move.storage_class not in previous.colder:
        possible = f"one of {', '.join(previous.colder)}" if previous.colder else "nothing"
        return "to", f"objects can not go there from {before.storage_class}", f"let {possible} follow it"
    if move.after_days <= before.after_days:
        problem = f"it comes after the move at {before.after_days} days, so it must be later"
        return "after", problem, "order transitions by age, the youngest first"
    if move.after_days < before.after_days + previous.minimum_days:
        problem = (
            f"{before.storage_class} is paid for {previous.minimum_days} days at least, from day {before.after_days} on"
        )
        right = f'write after = "{before.after_days + previous.minimum_days}d" or more'
        return "after", f"{problem}: {_PAID}", right
    return None


def _too_late(move: Transition, keep_days: int | None) -> tuple[str, str, str] | None:
    """What is wrong with a move, as the class ends."""
    if keep_days is None:
        return None
    if move.after_days >= keep_days:
        problem = f"the class ends at {keep_days} days, so this never happens"
        return "after", problem, f"write less than {keep_days} days, or leave the transition out"
    minimum = STORAGE_CLASSES[move.storage_class].minimum_days
    if move.after_days + minimum > keep_days:
        latest = keep_days - minimum
        sooner = f', or after = "{latest}d" or less' if latest >= 1 else ""
        problem = (
            f"{move.storage_class} is paid for {minimum} days at least, and leaves after {keep_days - move.after_days}"
        )
        right = f'write keep_for = "{move.after_days + minimum}d" or more{sooner}, or leave the transition out'
        return "after", f"{problem}: {_PAID}", right
    return None


def _lock(table: Table, keep_days: int | None) -> ObjectLock | None:
    inner = table.table("lock", ("mode", "for"), _LOCK_RIGHT)
    if inner is None:
        return None
    missing = [key for key in ("mode", "for") if not inner.has(key)]
    for key in missing:
        inner.wrong(key, f"'{key}' is missing", _LOCK_RIGHT)
    mode = inner.choice("mode", ("GOVERNANCE", "COMPLIANCE"), "") if inner.has("mode") else ""
    days = inner.measured("for", read_days, None)
    if not mode or days is None:
        return None
    if keep_days is not None and days > keep_days:
        inner.wrong(
            "for",
            f"the lock outlasts the class, which ends at {keep_days} days: nobody could delete it then",
            f'write for = "{keep_days}d" or less, or a longer keep_for',
        )
    return ObjectLock(mode, days)


def _legal_basis(table: Table) -> str:
    text = table.text("legal_basis", 'write legal_basis = "Art. 18 AI Act"')
    if len(text) > MOST_LEGAL_CHARACTERS:
        table.wrong("legal_basis", f"it has {len(text)} characters", f"use at most {MOST_LEGAL_CHARACTERS}, and refer")
    return text


def _review(table: Table) -> date | None:
    value = table.raw("review")
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    table.wrong("review", f"{kind(value)} is no day", "write it without quotes and time: review = 2027-01-01")
    return None


def _check_selectors(mistakes: Mistakes, classes: Sequence[RetentionClass]) -> None:
    """Refuse a class that another one keeps from ever being chosen."""
    every: dict[int, str] = {}
    patterns: dict[str, str] = {}
    for item in classes:
        path = ("classes", item.name)
        if item.every is not None and every.setdefault(item.every, item.name) != item.name:
            problem = f"classes.{every[item.every]} has the same number"
            mistakes.add((*path, "every"), problem, "give one of them another number, such as a multiple of it")
        if not item.milestone:
            continue
        earlier = _covering(item.milestone, patterns)
        if earlier is not None:
            problem = f"classes.{earlier} stands before it and takes all of these"
            mistakes.add((*path, "milestone"), problem, "put the narrower pattern first")
        patterns.setdefault(item.milestone, item.name)


def _covering(pattern: str, earlier: Mapping[str, str]) -> str | None:
    return earlier.get("*") or earlier.get(pattern)
