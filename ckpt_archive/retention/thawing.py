"""Asks for data that lies in a cold storage class, and waits until it can be read.

What is there is looked at first, object by object, so that objects, bytes, money and time are known before anything is asked
for. Asking may be repeated: what is warm, was asked for or was thawed already is counted and left alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ckpt_archive.clock import Clock
from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, record_event, store_time
from ckpt_archive.errors import InvalidInputError, UnsupportedError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress, ProgressEvent
from ckpt_archive.restore.selection import Selection
from ckpt_archive.retention.money.prices import PriceBook
from ckpt_archive.store.bucket import Temperature, Warmth
from ckpt_archive.store.file import files_of
from ckpt_archive.strictjson import Json

REQUESTED = "thaw-requested"
THAWED = "thawed"

TIERS = ("Standard", "Bulk", "Expedited")

_IN_FLIGHT = 16
_FIRST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 900.0
_WAKING_SECONDS = 1.0
MAX_DAYS = 36_500


class Thawer(Protocol):
    """What can tell whether objects can be read, and ask for them: a bucket, or a file store's second root."""

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`."""
        ...

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`."""
        ...


@dataclass(frozen=True, slots=True)
class Share:
    """The objects that hold what is wanted of a checkpoint.

    Attributes:
        place: The checkpoint.
        selection: What is wanted of it.
        items: Each object once, by key. An object that holds many small files is wanted whole for one of them.
    """

    place: Place
    selection: Selection
    items: tuple[Temperature, ...]

    def of(self, *warmths: Warmth) -> tuple[Temperature, ...]:
        """Those of its objects that are so warm."""
        return tuple(item for item in self.items if item.warmth in warmths)

    @property
    def is_readable(self) -> bool:
        """Whether all of it can be read now."""
        return not self.of(Warmth.COLD, Warmth.THAWING)

    @property
    def until_at(self) -> datetime | None:
        """Until when all of it can be read; None: for good, or not yet."""
        ends = [item.until_at for item in self.of(Warmth.THAWED) if item.until_at is not None]
        return min(ends, default=None) if self.is_readable else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What thawing costs.

    Attributes:
        usd: For all that is cold; the storage of the thawed copies is not in it.
        hours: Until the last object can be read.
    """

    usd: float
    hours: float


def thawer_of(connection: Connection) -> Thawer:
    """What thaws in this archive's store.

    Raises:
        UnsupportedError: If nothing is ever cold there.
    """
    files = files_of(connection.store)
    found: Thawer | None = connection.bucket if files is None else files.cold
    if found is None:
        raise UnsupportedError(
            f"{connection.store.url} has no cold storage classes", hint="Everything in it can be restored as it is."
        )
    return found


def look(machine: Machine, connection: Connection, thawer: Thawer, place: Place, selection: Selection) -> Share:
    """Find the objects that hold what is wanted, and how warm each is: a request for each, several at a time.

    Raises:
        NotFoundError: If the checkpoint is not committed, no file matches, or an object is missing.
        IntegrityError: If its records are damaged.
        UnavailableError: If the store does not answer.
    """
    loaded = catalog.load_manifest(connection.store, place)
    selection.check_rank(loaded.manifest.writers)
    ranks = None if selection.rank is None else (selection.rank,)
    receipts = catalog.load_receipts(connection.store, machine.executor, loaded.manifest, ranks)
    files = catalog.wanted(receipts)
    selection.check((item.file.path for item in files), place)
    keys = sorted({item.key for item in files if item.object is not None and selection.takes(item.file.path)})
    items = machine.executor.map_unordered(thawer.temperature, keys, limit=_IN_FLIGHT)
    return Share(place, selection, tuple(sorted(items, key=lambda item: item.key)))


def estimate(items: Sequence[Temperature], book: PriceBook, tier: str) -> Estimate:
    """What it costs to thaw objects, and how long it takes.

    Raises:
        InvalidInputError: If the book does not have their storage class, or that has no such tier.
    """
    sizes: dict[str, list[int]] = {}
    for item in items:
        sizes.setdefault(item.storage_class, []).append(item.size_bytes)
    tiers = {name: book.price(name).tier(tier) for name in sizes}
    return Estimate(
        usd=sum(tiers[name].usd(sum(found), len(found)) for name, found in sizes.items()),
        hours=max((found.hours for found in tiers.values()), default=0.0),
    )


def check_days(days: int) -> int:
    """Return `days` if a thaw may last so long, else raise `InvalidInputError`."""
    if 1 <= days <= MAX_DAYS:
        return days
    raise InvalidInputError(f"a thaw for {days} days can not be asked for", hint=f"Use 1 to {MAX_DAYS}.")


def request(
    machine: Machine,
    connection: Connection,
    thawer: Thawer,
    share: Share,
    *,
    days: int,
    tier: str,
    actor: str = "",
    progress: Progress | None = None,
) -> int:
    """Ask for all that is cold; how many objects that were.

    The event comes first: who dies in between has told of more than was asked for, and whoever asks again asks for the rest.

    Args:
        machine: Where.
        connection: The archive.
        thawer: See `thawer_of`.
        share: What is wanted.
        days: How long it is to stay readable.
        tier: How fast: one of `TIERS`.
        actor: Who asks.
        progress: Told how much was asked for.

    Raises:
        InvalidInputError: If it can not be asked for so long.
        UnavailableError: If the store does not answer: some may have been asked for.
        CapacityError: If there is no room for what a second root gives back.
    """
    check_days(days)
    cold = share.of(Warmth.COLD)
    if not cold:
        return 0
    _tell(
        machine,
        connection,
        REQUESTED,
        share,
        actor=actor,
        objects=cold,
        outcome=tier,
        reason=f"to be readable for {days} days",
        details={"days": days},
    )

    def ask(item: Temperature) -> int:
        thawer.request_thaw(item.key, days=days, tier=tier)
        return item.size_bytes

    meter = Meter(progress, "thaw", sum(item.size_bytes for item in cold))
    for asked_bytes in machine.executor.map_unordered(ask, cold, limit=_IN_FLIGHT):
        meter(asked_bytes)
    return len(cold)


def follow(
    machine: Machine,
    thawer: Thawer,
    share: Share,
    *,
    wait: bool,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> Share:
    """Look again, and if wanted wait until everything can be read.

    Pauses grow to a quarter of an hour: thawing takes hours. Only what could not be read the last time is asked about, and a
    pass ends with the first few that still can not.

    Args:
        machine: Whose clock passes the time.
        thawer: See `thawer_of`.
        share: As it was.
        wait: Whether to wait.
        should_stop: Asked every second.
        progress: Told how much can be read.

    Returns:
        As it is now.
    """
    items = {item.key: item for item in share.items}
    pause = _FIRST_PAUSE_SECONDS
    while True:
        waiting = [key for key in sorted(items) if items[key].warmth in (Warmth.COLD, Warmth.THAWING)]
        for start in range(0, len(waiting), _IN_FLIGHT):
            keys = waiting[start : start + _IN_FLIGHT]
            found = list(machine.executor.map_unordered(thawer.temperature, keys, limit=_IN_FLIGHT))
            items |= {item.key: item for item in found}
            if wait and not Share(share.place, share.selection, tuple(found)).is_readable:
                break
        now = Share(share.place, share.selection, tuple(items[key] for key in sorted(items)))
        if progress is not None and wait:
            readable = sum(item.size_bytes for item in now.of(Warmth.WARM, Warmth.THAWED))
            progress(ProgressEvent("readable", readable, sum(item.size_bytes for item in now.items)))
        if not wait or now.is_readable or should_stop():
            return now
        _sleep(machine.clock, pause, should_stop)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def tell_thawed(machine: Machine, connection: Connection, share: Share, *, actor: str = "") -> None:
    """Record that everything that is wanted can be read, and until when."""
    _tell(
        machine,
        connection,
        THAWED,
        share,
        actor=actor,
        objects=share.of(Warmth.THAWED),
        outcome="ok",
        until_at=share.until_at,
    )


def restore_command(share: Share) -> str:
    """The command that fetches what was thawed."""
    place, wanted = share.place, share.selection
    words = ["ckpt-archive", "restore", place.run, str(place.step), "--attempt", str(place.attempt), "--to", "DIR"]
    if wanted.rank is not None:
        words += ["--rank", str(wanted.rank)]
    for pattern in wanted.include:
        words += ["--include", pattern]
    return " ".join(word if word == "DIR" else _quoted(word) for word in words)


def hours_text(hours: float) -> str:
    """A time to wait, for people."""
    if hours <= 0:
        return "at once"
    number, unit = (math.ceil(hours * 60), "minute") if hours < 1 else (hours, "hour")
    return f"within {number:g} {unit}{'' if number == 1 else 's'}"


def _quoted(word: str) -> str:
    plain = word.replace("-", "").replace("_", "").replace(".", "").replace("/", "")
    return word if plain.isascii() and plain.isalnum() else "'" + word.replace("'", "'\\''") + "'"


def _sleep(clock: Clock, seconds: float, should_stop: Callable[[], bool]) -> None:
    until = clock.monotonic() + seconds
    while (left := until - clock.monotonic()) > 0 and not should_stop():
        clock.sleep(min(left, _WAKING_SECONDS))


def _tell(
    machine: Machine,
    connection: Connection,
    kind: str,
    share: Share,
    *,
    actor: str,
    objects: Sequence[Temperature],
    outcome: str,
    reason: str = "",
    until_at: datetime | None = None,
    details: Mapping[str, Json] | None = None,
) -> None:
    wanted = share.selection
    event = Event(
        archive_id=connection.archive_id,
        kind=kind,
        event_id=machine.nonce(),
        happened_at=machine.clock.now(),
        actor=actor,
        node=machine.node,
        places=(share.place,),
        rank=wanted.rank,
        subject=" ".join(wanted.include)[:1000],
        outcome=outcome,
        reason=reason,
        until_at=until_at,
        size_bytes=sum(item.size_bytes for item in objects),
        details={"objects": len(objects), **(details or {})},
    )
    record_event(connection.store, event, store_time(connection.store))
