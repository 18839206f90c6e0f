"""Removes orphans, by plan only: old uploads are given up, and data that no receipt names is deleted.

Each is looked at again right before: a writer who was away may have come back. Receipts, and what they name, are never
touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ckpt_archive.commit.event import Event, record_event, store_time
from ckpt_archive.commit.receipts import contributed_ranks
from ckpt_archive.retention.engineless.orphans import (
    MARGIN,
    Orphan,
    OrphanKind,
    is_committed,
    is_held,
    orphans_of,
    uploads_by_place,
)
from ckpt_archive.retention.passes.voice import ENDED, Voice
from ckpt_archive.store.protocol import ObjectInfo

ORPHANED = "orphaned"
"""Outcome of the event that tells of data that was removed because nobody named it."""


@dataclass(slots=True)
class Mended:
    """What was removed.

    Attributes:
        uploads: How many were given up.
        objects: How many were deleted.
        size_bytes: Of both.
        kept: What somebody has gone on with meanwhile, or has held.
    """

    uploads: int = 0
    objects: int = 0
    size_bytes: int = 0
    kept: list[Orphan] = field(default_factory=list)


def mend(
    voice: Voice,
    orphans: Sequence[Orphan],
    now: datetime,
    margin: timedelta = MARGIN,
    go_on: Callable[[], bool] = lambda: True,
) -> Mended:
    """Remove what `find_orphans` has found, after another look at each.

    The event comes before the first object is deleted: nothing goes that nobody told of.

    Args:
        voice: Who does it.
        orphans: What was found; only of this anything is removed.
        now: The store's clock.
        margin: As for `find_orphans`.
        go_on: Asked before each of them.

    Raises:
        UnavailableError: If the store does not answer: whoever runs again goes on.
    """
    done = Mended()
    store = voice.connection.store
    for orphan in orphans:
        if not orphan.is_mended or not go_on():
            continue
        if orphan.place is not None and is_held(store, orphan.place):
            done.kept.append(orphan)
        elif orphan.kind is OrphanKind.UPLOAD:
            store.abort_upload(orphan.key, orphan.upload_id)
            done.uploads += 1
            done.size_bytes += orphan.size_bytes
        else:
            _delete(voice, orphan, now - margin, done)
    return done


def _delete(voice: Voice, orphan: Orphan, before: datetime, done: Mended) -> None:
    assert orphan.place is not None
    store = voice.connection.store
    planned = {info.key for info in orphan.objects}
    still = [
        item for item in orphans_of(store, orphan.place, before, uploads_by_place(store)) if item.key == orphan.key
    ]
    objects = [info for item in still if item.kind is OrphanKind.DATA for info in item.objects if info.key in planned]
    if not objects:
        done.kept.append(orphan)
        return
    ranks = contributed_ranks(store, orphan.place)
    _tell(voice, orphan, objects)
    for info in objects:
        # Whoever comes back now finds its objects in a listing, and may name them in a receipt.
        if contributed_ranks(store, orphan.place) != ranks or is_committed(store, orphan.place):
            done.kept.append(orphan)
            return
        store.delete(info.key)
        done.objects += 1
        done.size_bytes += info.size_bytes


def _tell(voice: Voice, orphan: Orphan, objects: Sequence[ObjectInfo]) -> None:
    """No places: nobody was ever told that this was a checkpoint."""
    assert orphan.place is not None
    store = voice.connection.store
    event = Event(
        archive_id=voice.connection.archive_id,
        kind=ENDED,
        event_id=voice.machine.nonce(),
        happened_at=voice.machine.clock.now(),
        actor=voice.actor,
        node=voice.machine.node,
        run=orphan.place.run,
        subject=orphan.key,
        outcome=ORPHANED,
        reason=orphan.reason,
        size_bytes=sum(info.size_bytes for info in objects),
        details={"objects": len(objects)},
    )
    record_event(store, event, store_time(store))
