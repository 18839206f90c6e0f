"""Who stores how much, what of it is ending, and what it costs a month: from manifests and what was said about their ends.

In which storage class a checkpoint lies is reckoned from its tag and its age, not asked of the store; bytes are those of the
checkpoints, without records, orphans and old versions.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fate, Fates, read_fates
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.money.prices import STANDARD, PriceBook
from ckpt_archive.retention.policy.values import DAY, midnight_after
from ckpt_archive.retention.rules.rules import terms_of
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.flow import flow

BY = ("run", "project", "class", "age", "month")
"""By what it can be told apart."""

_AGES = ((1, "under a day"), (7, "under a week"), (31, "under a month"), (366, "under a year"))
_OLDEST = "a year and more"


@dataclass(frozen=True, slots=True)
class Written:
    """A committed checkpoint, as far as it is counted.

    Attributes:
        place: Which one.
        project: The run's label ``project``; "" for none.
        retention_class: That it was saved as; "" for none.
        size_bytes: Of its files.
        objects: That hold them; one per writer where that is not known.
        committed_at: By the store's clock; None where it does not tell.
    """

    place: Place
    project: str
    retention_class: str
    size_bytes: int
    objects: int
    committed_at: datetime | None


@dataclass(slots=True)
class Usage:
    """What is stored of something.

    Attributes:
        name: Run, project, class, age or month.
        checkpoints: That were committed.
        written_bytes: Of all of these.
        there: Checkpoints whose data is there.
        kept_bytes: Of those that have no end.
        ending_bytes: Of those whose end is announced.
        ended_bytes: Of those whose data is gone, or may be going.
        held_bytes: Of those that are held for a case, whatever else is said about them.
        usd_a_month: What those that are there cost.
    """

    name: str
    checkpoints: int = 0
    written_bytes: int = 0
    there: int = 0
    kept_bytes: int = 0
    ending_bytes: int = 0
    ended_bytes: int = 0
    held_bytes: int = 0
    usd_a_month: float = 0.0

    @property
    def stored_bytes(self) -> int:
        """Of those that are there."""
        return self.kept_bytes + self.ending_bytes


def summarize(written: Iterable[Written], fates: Callable[[str], Fates], by: str, book: PriceBook) -> list[Usage]:
    """Add up.

    Args:
        written: The checkpoints.
        fates: What was said about those of a run; asked once for each run.
        by: One of `BY`.
        book: The prices.

    Returns:
        The dearest first; ages and months in their order.
    """
    known: dict[str, Fates] = {}
    found: dict[str, Usage] = {}
    for item in written:
        of_run = known.get(item.place.run)
        if of_run is None:
            of_run = known[item.place.run] = fates(item.place.run)
        name = _name(item, of_run, by)
        _add(found.setdefault(name, Usage(name)), item, of_run, book)
    if by == "age":
        return [found[name] for name in (*(name for _, name in _AGES), _OLDEST, "") if name in found]
    if by == "month":
        return [found[name] for name in sorted(found)]
    return sorted(found.values(), key=lambda line: (-line.usd_a_month, -line.written_bytes, line.name))


def _name(item: Written, fates: Fates, by: str) -> str:
    if by == "run":
        return item.place.run
    if by == "project":
        return item.project
    if by == "class":
        fate = fates.fate(item.place)
        return fate.class_name or fate.assigned or item.retention_class
    if item.committed_at is None:
        return ""
    if by == "month":
        return item.committed_at.strftime("%Y-%m")
    age = fates.store_time - item.committed_at
    return next((name for days, name in _AGES if age < days * DAY), _OLDEST)


def _add(line: Usage, item: Written, fates: Fates, book: PriceBook) -> None:
    fate = fates.fate(item.place)
    size = item.size_bytes
    line.checkpoints += 1
    line.written_bytes += size
    line.held_bytes += size if fates.cases(item.place) else 0
    if fate.is_over(fates.store_time):
        line.ended_bytes += size
        return
    line.there += 1
    if fate.ends_at is None:
        line.kept_bytes += size
    else:
        line.ending_bytes += size
    storage_class = storage_class_of(fate, item.committed_at, fates.store_time, book)
    line.usd_a_month += book.usd_a_month(storage_class, size, item.objects)


def storage_class_of(fate: Fate, committed_at: datetime | None, now: datetime, book: PriceBook) -> str:
    """Where the rules for its tag have moved a checkpoint by now; `STANDARD` where the book has no price for that."""
    terms = terms_of(fate.tagged) if fate.tagged else None
    if terms is None or committed_at is None:
        return STANDARD
    due = [move.storage_class for move in terms[2] if midnight_after(committed_at + move.after_days * DAY) <= now]
    return due[-1] if due and due[-1] in book.storage else STANDARD


def read_written(
    machine: Machine, connection: Connection, run: str | None = None, *, problems: list[str] | None = None
) -> Iterator[Written]:
    """The committed checkpoints of an archive, or of a run: one listing for every thousand, and a read of each.

    Args:
        machine: Runs the reads.
        connection: The archive.
        run: Run name; None for all.
        problems: Takes a sentence for each manifest that can not be counted; None: it is an error.

    Raises:
        IntegrityError: If something can not be read, and `problems` is None.
        UnavailableError: If the store does not answer.
    """
    store = connection.store
    for name in [run] if run is not None else sorted(catalog.runs(store)):
        jobs = deque(catalog.places(store, name))
        perform = partial(_read, store, problems)
        found = flow(machine.executor, jobs, perform, limit=connection.settings.parts_in_flight)
        yield from (item for item in found if item is not None)


def _read(store: Store, problems: list[str] | None, place: Place) -> Written | None:
    try:
        loaded = catalog.load_manifest(store, place)
    except (IntegrityError, InvalidInputError, NotFoundError) as error:
        if problems is None:
            raise
        problems.append(f"{place} is not counted: {error.message}")
        return None
    return written_of(loaded.manifest, loaded.committed_at)


def written_of(manifest: Manifest, committed_at: datetime | None) -> Written:
    """What a manifest says about it."""
    project = manifest.labels.get("project")
    return Written(
        place=manifest.place,
        project=project if isinstance(project, str) else "",
        retention_class=manifest.retention_class,
        size_bytes=manifest.size_bytes,
        objects=manifest.writers,
        committed_at=committed_at,
    )


def fates_of(connection: Connection) -> Callable[[str], Fates]:
    """Reads what was said about a run: one listing for every thousand statements."""
    return partial(read_fates, connection.store)
