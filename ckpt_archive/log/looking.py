"""Looks at markers and at the records they name. What is read once is in the log for good, so it is read surely."""

from collections.abc import Callable
from datetime import datetime

from ckpt_archive import record, strictjson
from ckpt_archive.commit.marker import Marker, MarkerKind, read_marker
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ColdError, IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.log.batch import Entry
from ckpt_archive.log.plan import Look, Pending
from ckpt_archive.store.protocol import Store, StoredBytes

Keep = Callable[[str, bytes], None]
"""Is given the key and the bytes of each record that was read, from any thread."""

_MOST_READS = 5


def forget(key: str, data: bytes) -> None:
    """Keep nothing."""


def look_at(store: Store, archive_id: str, pending: Pending, now: datetime, keep: Keep = forget) -> Look:
    """What there is of a marker and its record.

    Args:
        store: Where the archive is.
        archive_id: The archive's id.
        pending: The marker, as it was listed.
        now: The store's clock.
        keep: Is given the record.

    Raises:
        UnavailableError: If the store does not answer.
    """
    since = pending.since or now

    def finding(problem: str, digest: str = "") -> Look:
        return Look(pending, Entry.finding(pending.key, since, problem, digest))

    if pending.moment is None:
        return finding("this is not the key of a marker, and nothing else may be among them")
    understood: list[Marker] = []

    def is_right(data: bytes) -> bool:
        try:
            understood[:] = [read_marker(data, pending.key)]
        except InvalidInputError:
            return True
        except IntegrityError:
            return False
        return True

    try:
        data = _read_surely(store, pending.key, is_right).data
    except NotFoundError:
        return finding("this marker vanished before its record was there")
    except IntegrityError as error:
        return finding(error.message)
    except ColdError as error:
        return Look(pending, trouble=error.message)
    try:
        marker = understood[0] if understood else read_marker(data, pending.key)
    except IntegrityError as error:
        return finding(error.message, sha256_hex(data))
    except InvalidInputError as error:
        # Whoever is newer than this release can read it: he may still come.
        return Look(pending, trouble=error.message)
    if marker.archive_id != archive_id:
        return finding(f"this marker is one of the archive {marker.archive_id}", sha256_hex(data))
    return _record_of(store, pending, marker, now, keep)


def _record_of(store: Store, pending: Pending, marker: Marker, now: datetime, keep: Keep) -> Look:
    identity = marker.identity if marker.kind is MarkerKind.EVENT else ""
    try:
        entry = read_entry(
            store, marker.kind.value, marker.record_key, now, keep, identity=identity, sha256=marker.sha256
        )
    except NotFoundError:
        return Look(pending, trouble=f"{marker.record_key}, which this marker announces, is not there")
    except ColdError as error:
        return Look(pending, trouble=error.message)
    return Look(pending, entry)


def read_entry(
    store: Store, kind: str, key: str, now: datetime, keep: Keep = forget, *, identity: str = "", sha256: str = ""
) -> Entry:
    """The entry of a record; a finding if it can not be read.

    Args:
        store: Where the archive is.
        kind: Of the record.
        key: Of the record.
        now: The store's clock.
        keep: Is given the record.
        identity: An event's id.
        sha256: What its digest most likely is.

    Raises:
        NotFoundError: If it is not there.
        UnavailableError: If the store does not answer.
    """
    try:
        stored = _read_surely(store, key, lambda data: sha256_hex(data) == sha256 or _is_whole(data))
    except IntegrityError as error:
        return Entry.finding(key, store.head(key).modified or now, error.message)
    keep(key, stored.data)
    return Entry.of_record(kind, identity, stored.data, stored.info.modified or now, key)


def _read_surely(store: Store, key: str, is_right: Callable[[bytes], bool]) -> StoredBytes:
    """Read a record whole; if its bytes are not right, as they are twice in a row: then they stand there like that."""
    stored = read_record(store, key)
    for _ in range(_MOST_READS):
        if is_right(stored.data):
            return stored
        again = read_record(store, key)
        if again.data == stored.data:
            return again
        stored = again
    raise UnavailableError(
        f"{key} has other bytes each time it is read", hint="They change on the way: find out where, then try again."
    )


def _is_whole(data: bytes) -> bool:
    """Whether these are the bytes of a record, as its checksum says."""
    try:
        return record.with_checksum(strictjson.decode(data, "it")) == data
    except IntegrityError:
        return False
