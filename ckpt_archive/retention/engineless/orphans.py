"""What was begun and never came to its end: uploads, data that no receipt names, receipts that nobody committed.

It is stored and paid for, and no checkpoint has it. Young things, and those beside which something young lies, are at work
and no orphans; nor is anything below a committed checkpoint. Receipts and what they name wait for the other writers, and
`doctor` tells who that is. Held runs are left alone. `mending` removes what is found here.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import NOTHING_SAID, read_fate, read_fates, read_run_fate
from ckpt_archive.commit.receipts import contributed_ranks, read_receipt
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.names import MAX_ATTEMPT, MAX_STEP, RUN_NAME
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.sweeping import find_uploads
from ckpt_archive.retention.plans.survey import data_objects
from ckpt_archive.store.protocol import ObjectInfo, Store, list_all, list_folders

MARGIN = timedelta(days=7)
"""What nobody has touched for so long is an orphan."""

_STANDARD = "STANDARD"
_RUNS_IN_FLIGHT = 4
_UNREADABLE = (IntegrityError, InvalidInputError, NotFoundError)


class OrphanKind(enum.StrEnum):
    """What it is."""

    UPLOAD = "upload"
    """Begun and never completed: its parts are stored."""
    DATA = "data"
    """Objects that no receipt names."""
    RECEIPTS = "receipts"
    """Receipts, with what they name, of a checkpoint that was never committed."""


class Prices(Protocol):
    """What storing costs."""

    def usd_a_month(self, storage_class: str, size_bytes: float, objects: int = 1) -> float:
        """So many bytes, in so many objects, for a month."""
        ...


@dataclass(frozen=True, slots=True)
class Orphan:
    """Something that no checkpoint has.

    Attributes:
        kind: What it is.
        place: The checkpoint that it was to belong to; None for an upload of something else.
        key: The object that an upload was to become; the folder of data or receipts.
        upload_id: Of an upload; "" else.
        objects: The objects; of an upload none.
        size_bytes: What it takes.
        newest_at: When it was last written to; None where the store does not tell.
        reason: Why nobody has it, for people.
    """

    kind: OrphanKind
    place: Place | None
    key: str
    upload_id: str
    objects: tuple[ObjectInfo, ...]
    size_bytes: int
    newest_at: datetime | None
    reason: str

    @property
    def is_mended(self) -> bool:
        """Whether `mend` removes it."""
        return self.kind is not OrphanKind.RECEIPTS

    def usd_a_month(self, prices: Prices) -> float:
        """What it costs; what lies in a class that has no price, as if it were in the first one."""
        if self.kind is OrphanKind.UPLOAD:
            return prices.usd_a_month(_STANDARD, self.size_bytes)
        sizes: dict[str, list[int]] = {}
        for info in self.objects:
            sizes.setdefault(info.storage_class or _STANDARD, []).append(info.size_bytes)
        return sum(_usd(prices, name, sum(found), len(found)) for name, found in sizes.items())


def _usd(prices: Prices, storage_class: str, size_bytes: int, objects: int) -> float:
    try:
        return prices.usd_a_month(storage_class, size_bytes, objects)
    except InvalidInputError:
        return prices.usd_a_month(_STANDARD, size_bytes, objects)


def summary(orphans: Sequence[Orphan], prices: Prices) -> str:
    """What `mend` would remove and what that costs, in a sentence for people; "" for nothing."""
    mended = [orphan for orphan in orphans if orphan.is_mended]
    if not mended:
        return ""
    objects = sum(len(orphan.objects) for orphan in mended)
    uploads = sum(orphan.kind is OrphanKind.UPLOAD for orphan in mended)
    size_bytes = sum(orphan.size_bytes for orphan in mended)
    usd = sum(orphan.usd_a_month(prices) for orphan in mended)
    return (
        f"{objects} objects that no receipt names and {uploads} uploads that nobody completed, {size_bytes} bytes, older "
        f"than {MARGIN.days} days: they cost about {usd:,.2f} USD a month and belong to no checkpoint"
    )


def find_orphans(
    connection: Connection, machine: Machine, now: datetime, margin: timedelta = MARGIN
) -> tuple[Orphan, ...]:
    """Look for what no checkpoint has; nothing is changed.

    Costs a few listings for every attempt of every run, and for each checkpoint that is not committed two listings and the
    reading of its receipts; one request for each old upload.

    Args:
        connection: The archive.
        machine: Runs the reads.
        now: The store's clock.
        margin: How long nobody must have touched it.

    Raises:
        UnavailableError: If the store does not answer.
    """
    store = connection.store
    uploads = uploads_by_place(store)

    def look(run: str) -> list[Orphan]:
        return list(_of_run(store, run, now - margin, uploads))

    names = {name for prefix in ("data/", "receipts/") for name in _names(store, prefix) if RUN_NAME.fullmatch(name)}
    found: list[Orphan] = []
    for orphans in machine.executor.map_unordered(look, sorted(names), limit=_RUNS_IN_FLIGHT):
        found += orphans
    found += _old_uploads(store, now - margin)
    return tuple(sorted(found, key=lambda item: (item.key, item.kind, item.upload_id)))


def is_committed(store: Store, place: Place) -> bool:
    """Whether a checkpoint has a manifest."""
    try:
        store.head(layout.manifest(place.run, place.attempt, place.step))
    except NotFoundError:
        return False
    return True


def steps_of(store: Store, prefix: str, run: str) -> set[Place]:
    """The checkpoints that have a folder below ``prefix/run/``; strange names are not ours and are left alone."""
    found = set()
    for attempt in _names(store, f"{prefix}{run}/"):
        if not _is_number(attempt, MAX_ATTEMPT):
            continue
        for step in _names(store, f"{prefix}{run}/{attempt}/"):
            if _is_number(step, MAX_STEP):
                found.add(Place(run, int(attempt), int(step)))
    return found


def _of_run(store: Store, run: str, before: datetime, uploads: Mapping[Place, datetime | None]) -> Iterator[Orphan]:
    committed = set()
    for key in catalog.manifest_keys(store, run):
        try:
            committed.add(Place(*layout.manifest_place(key)))
        except IntegrityError:
            continue  # none of ours: `doctor` tells of it
    uncommitted = (steps_of(store, "data/", run) | steps_of(store, "receipts/", run)) - committed
    if not uncommitted:
        return
    fates = read_fates(store, run)
    # Only of what is committed an end is told: somebody has removed the manifest, and `doctor` tells of it.
    once = {place for place, fate in fates.of.items() if fate != NOTHING_SAID}
    for place in sorted(place for place in uncommitted - once if not fates.cases(place)):
        yield from orphans_of(store, place, before, uploads)


def orphans_of(
    store: Store, place: Place, before: datetime, uploads: Mapping[Place, datetime | None]
) -> Iterator[Orphan]:
    """What lies around of a checkpoint that is not committed, if nobody is at work there."""
    objects = data_objects(store, place)
    receipts = list_all(store, layout.receipts_folder(place.run, place.attempt, place.step))
    times = [info.modified for info in (*objects, *receipts)]
    if place in uploads:
        times.append(uploads[place])
    if any(at is None or at >= before for at in times) or is_committed(store, place):
        return
    newest = max((at for at in times if at is not None), default=None)
    if receipts:
        named, problem = _named(store, place)
        theirs = tuple(info for info in objects if named is None or info.key in named)
        yield Orphan(
            OrphanKind.RECEIPTS,
            place,
            layout.receipts_folder(place.run, place.attempt, place.step),
            "",
            theirs,
            sum(info.size_bytes for info in theirs),
            newest,
            problem,
        )
        objects = () if named is None else tuple(info for info in objects if info.key not in named)
    if objects:
        yield Orphan(
            OrphanKind.DATA,
            place,
            layout.data_folder(place.run, place.attempt, place.step),
            "",
            objects,
            sum(info.size_bytes for info in objects),
            newest,
            "no receipt names it" + (f", and nobody has written there since {newest:%Y-%m-%d}" if newest else ""),
        )


def _named(store: Store, place: Place) -> tuple[set[str] | None, str]:
    """The objects that receipts name, None if nobody may touch any; and why there is no manifest, for people."""
    ranks = sorted(contributed_ranks(store, place))
    if not ranks:
        return None, "what lies among its receipts is none"
    named: set[str] = set()
    writers = 0
    for rank in ranks:
        try:
            receipt, _ = read_receipt(store, place, rank)
        except _UNREADABLE as error:
            return None, f"a receipt can not be read: {error.message}"
        named |= {catalog.object_key(receipt, item) for item in receipt.share.objects}
        writers = max(writers, receipt.contribution.writers)
    if len(ranks) >= writers:
        return None, f"all {writers} receipts are there, and nobody has committed: `ckpt-archive maintain` does"
    return named, f"{writers - len(ranks)} of {writers} writers never came"


def _old_uploads(store: Store, before: datetime) -> Iterator[Orphan]:
    for upload in find_uploads(store, before, layout.DATA):
        place = data_place(upload.key)
        if place is not None and is_held(store, place):
            continue
        reason = "begun and never completed" + (f", untouched since {upload.since:%Y-%m-%d}" if upload.since else "")
        yield Orphan(OrphanKind.UPLOAD, place, upload.key, upload.name, (), upload.size_bytes, upload.since, reason)


def uploads_by_place(store: Store) -> Mapping[Place, datetime | None]:
    """When the newest upload of each checkpoint was begun; None where the store does not tell."""
    found: dict[Place, datetime | None] = {}
    for upload in store.list_uploads(layout.DATA):
        place = data_place(upload.key)
        if place is None:
            continue
        before = found.get(place, upload.started)
        found[place] = None if before is None or upload.started is None else max(before, upload.started)
    return found


def data_place(key: str) -> Place | None:
    """The checkpoint to which an object of data belongs; None if its key is none of ours."""
    _, _, rest = key.partition("/")
    components = rest.split("/")
    if len(components) < 4 or not RUN_NAME.fullmatch(components[0]):
        return None
    run, attempt, step = components[:3]
    if not (_is_number(attempt, MAX_ATTEMPT) and _is_number(step, MAX_STEP)):
        return None
    place = Place(run, int(attempt), int(step))
    return place if key.startswith(layout.data_folder(place.run, place.attempt, place.step)) else None


def is_held(store: Store, place: Place) -> bool:
    """Whether a checkpoint is held, itself or with its run."""
    return bool(read_fate(store, place)[0].cases or read_run_fate(store, place.run)[0].cases)


def _is_number(text: str, largest: int) -> bool:
    return len(text) == len(str(largest)) and text.isascii() and text.isdigit()


def _names(store: Store, prefix: str) -> Iterator[str]:
    for folder in list_folders(store, prefix):
        yield folder[len(prefix) :].rstrip("/")
