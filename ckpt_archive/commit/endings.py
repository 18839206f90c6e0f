"""A checkpoint that ends, or has ended, as its readers are told: what happened, why, what there is instead."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ckpt_archive.commit import catalog, fate, layout
from ckpt_archive.commit.fate import Fate, read_fate, read_fates
from ckpt_archive.commit.fating import read_statement
from ckpt_archive.errors import EndedError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store

SOON = timedelta(days=7)
"""Whoever reads what ends sooner than that is told so."""


def check_not_over(store: Store, place: Place) -> str:
    """Refuse a checkpoint that is over; "" or, if it ends soon, a warning for people. One listing.

    Raises:
        EndedError: If it is over.
    """
    found, now = read_fate(store, place)
    if found.is_over(now):
        raise ended(store, place, found)
    if found.ends_at is None or found.ends_at - now > SOON:
        return ""
    return (
        f"{place} ends on {found.ends_at:%Y-%m-%d} by class {found.class_name}: `ckpt-archive retention hold {place.run} "
        f"{place.step} --attempt {place.attempt} --case ID --reason TEXT` keeps it"
    )


def is_over(store: Store, place: Place) -> bool:
    """Whether a checkpoint's data is gone, or may be going: one listing."""
    found, now = read_fate(store, place)
    return found.is_over(now)


def ended(store: Store, place: Place, found: Fate) -> EndedError:
    """The error about a checkpoint that is over. Reads why, and what there is instead.

    Raises:
        UnavailableError: If the store does not answer.
    """
    when = "" if found.ends_at is None else f" on {found.ends_at:%Y-%m-%d}"
    by = f" by class {found.class_name}" if found.class_name else ""
    reason = _reason(store, place, found)
    return EndedError(
        f"{place} ended{when}{by}{f' ({reason})' if reason else ''}: its data is removed, its records stay",
        hint=_instead(store, place),
    )


def explain_missing(store: Store, place: Place) -> EndedError | None:
    """Why data of a checkpoint is missing, if that is because it is over; None: then it is damaged. One listing."""
    found, now = read_fate(store, place)
    return ended(store, place, found) if found.is_over(now) else None


def why(found: Fate, now: datetime) -> str:
    """In one word what becomes of a checkpoint: "kept", "ending" or "ended"."""
    if found.is_over(now):
        return "ended"
    return "kept" if found.ends_at is None else "ending"


def _reason(store: Store, place: Place, found: Fate) -> str:
    """What was said when its end was announced; "" where that can not be read: that it is over is known all the same."""
    names = [fate.end_name(found.generation, found.ends_at, tag) for tag in found.announced]
    for name in names:
        try:
            return read_statement(store, place, name).told.reason
        except (NotFoundError, IntegrityError, InvalidInputError):
            continue
    return ""


def _instead(store: Store, place: Place) -> str:
    """The checkpoint of its run that is nearest to it and is kept; of two the older one, which leads there."""
    fates = read_fates(store, place.run)
    kept = [other for other in _committed(store, place.run) if not fates.is_over(other)]
    if not kept:
        return f"No other checkpoint of {place.run} is kept; `ckpt-archive ls {place.run} --all` shows what there was."
    nearest = min(kept, key=lambda other: (abs(other.step - place.step), other.step, -other.attempt))
    return (
        f"The nearest that is kept is step {nearest.step} (attempt {nearest.attempt}); `ckpt-archive ls {place.run}` lists "
        "them all."
    )


def _committed(store: Store, run: str) -> Iterator[Place]:
    """The committed checkpoints; a stranger among them is not what this is about."""
    for key in catalog.manifest_keys(store, run):
        try:
            yield Place(*layout.manifest_place(key))
        except IntegrityError:
            continue
