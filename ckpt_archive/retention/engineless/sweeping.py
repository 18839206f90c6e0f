"""What a bucket's rules would sweep away, for stores without an engine: old markers, and uploads that nobody goes on with.

A marker is removed when it is 90 days old and the log is known to have what it tells of: a marker that nobody has looked at
stays, however old it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError, InvalidInputError, UploadGoneError
from ckpt_archive.log.batch import Batch
from ckpt_archive.log.sequence import newest_number, read_batch
from ckpt_archive.machine import Machine
from ckpt_archive.retention.policy.values import DAY
from ckpt_archive.store.file import files_of
from ckpt_archive.store.protocol import ObjectInfo, Store, list_pages

MARKER_DAYS = 90
"""As old as the rule `markers` lets markers become."""

_PROMPT = timedelta(hours=2)
"""What is later than this after the time in its key is only covered by a sweep of the log: see `docs/format.md`."""

_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class Litter:
    """Something that a rule would remove.

    Attributes:
        kind: "marker", "upload", or "temporary" for what a writer in a folder left.
        key: Of the marker, or what the upload is of.
        name: The upload's id, or the name of the file; "" for a marker.
        since: When it was last written, as far as the store tells.
        size_bytes: What it takes; 0 where that is not told.
        reason: Why, for people.
    """

    kind: str
    key: str
    name: str
    since: datetime | None
    size_bytes: int
    reason: str


def find_litter(connection: Connection, now: datetime, abort_days: int) -> Iterator[Litter]:
    """What is to be swept away; nothing is changed.

    Args:
        connection: The archive.
        now: The store's clock.
        abort_days: From the policy: how old an upload may become.
    """
    yield from _markers(connection, now - MARKER_DAYS * DAY)
    yield from find_uploads(connection.store, now - abort_days * DAY)


def sweep(
    machine: Machine,
    connection: Connection,
    litter: Iterator[Litter] | tuple[Litter, ...],
    now: datetime,
    abort_days: int,
    go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Remove what `find_litter` has found; how many there were.

    Raises:
        UnavailableError: If the store does not answer: whoever runs again goes on.
    """
    files = files_of(connection.store)

    def remove(item: Litter) -> int:
        if item.kind == "marker":
            connection.store.delete(item.key)
        elif files is None:
            connection.store.abort_upload(item.key, item.name)
        return 1

    removed = 0
    items = (item for item in litter if go_on())
    for one in machine.executor.map_unordered(remove, items, limit=_IN_FLIGHT):
        removed += one
    if files is not None and go_on():
        # It looks again at each: somebody may have gone on writing.
        files.clean(now - abort_days * DAY)
    return removed


def _markers(connection: Connection, before: datetime) -> Iterator[Litter]:
    number = newest_number(connection.store)
    if not number:
        return
    try:
        batch = read_batch(connection.store, connection.archive_id, number).batch
    except (IntegrityError, InvalidInputError):
        return  # nobody knows what the log has: `index check` tells of it
    waiting = {item.key for item in batch.unresolved}
    for page in list_pages(connection.store, layout.PENDING):
        for info in page.objects:
            if info.key not in waiting and _is_done_with(info, batch, before):
                reason = f"older than {MARKER_DAYS} days, and the log has what it tells of"
                yield Litter("marker", info.key, "", info.modified, info.size_bytes, reason)
        names = [layout.marker_name(info.key) for info in page.objects]
        if names and all(name is not None and name.moment >= before for name in names):
            return  # they list by the time in their names


def _is_done_with(info: ObjectInfo, batch: Batch, before: datetime) -> bool:
    name = layout.marker_name(info.key)
    if name is None or info.modified is None or info.modified >= before:
        return False
    is_swept = batch.swept_at is not None and info.modified < batch.swept_at
    return is_swept or (info.modified < batch.watermark and info.modified - name.moment < _PROMPT)


def find_uploads(store: Store, before: datetime, prefix: str = "") -> Iterator[Litter]:
    """The uploads below `prefix` to which nobody has written since `before`, as far as the store tells, else begun then."""
    reason = f"nobody has gone on with it since {before:%Y-%m-%d}"
    files = files_of(store)
    if files is not None:
        for left in files.left_over(before):
            if left.key.startswith(prefix):
                kind = "upload" if left.is_upload else "temporary"
                yield Litter(kind, left.key, left.name, left.written_at, left.size_bytes, reason)
        return
    for upload in store.list_uploads(prefix):
        if upload.started is not None and upload.started < before:
            size_bytes = _upload_bytes(store, upload.key, upload.upload_id)
            yield Litter("upload", upload.key, upload.upload_id, upload.started, size_bytes, reason)


def _upload_bytes(store: Store, key: str, upload_id: str) -> int:
    """What the parts of an upload take."""
    try:
        return sum(part.size_bytes for part in store.list_parts(key, upload_id))
    except UploadGoneError:
        return 0
