"""The pending marker: an intent, written before the record that it names, so that whoever reads the log's feed misses none.

It is filed under the hour of the store's clock. That it is there says only that the record may be there. It names the record
by its numbers, from which the key is built; a key that somebody else spelled is never followed.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ckpt_archive import clock, record
from ckpt_archive.commit import layout
from ckpt_archive.commit.layout import RecordName
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError
from ckpt_archive.names import check_attempt, check_event_id, check_event_kind, check_run_name, check_sha256
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Fields, Json

# Enough of a record's digest that no two records share a marker's key: 128 bits.
_ID_DIGITS = 32


class MarkerKind(enum.StrEnum):
    """What kind of record is about to be written."""

    COMMIT = "commit"
    LAUNCH = "launch"
    DECISION = "decision"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The number of a launch.

    Attributes:
        run: Run name.
        number: Its number.
    """

    run: str
    number: int


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker says. Made by `of_commit`, `of_launch`, `of_decision` and `of_event`.

    Attributes:
        archive_id: The archive it belongs to.
        kind: Of which kind the record is.
        names: The record: a place for a commit or a decision, an attempt for a launch, what its key says for an event.
        sha256: Of the record's bytes as whoever wrote the marker would write them; "" for an event, which has an id.
        unknown: Members written by a newer release.
    """

    archive_id: str
    kind: MarkerKind
    names: Place | Attempt | RecordName
    sha256: str = ""
    unknown: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of_commit(cls, archive_id: str, place: Place, manifest_sha256: str) -> "Marker":
        """A checkpoint is about to be committed."""
        return cls(archive_id, MarkerKind.COMMIT, place, manifest_sha256)

    @classmethod
    def of_launch(cls, archive_id: str, run: str, attempt: int, data: bytes) -> "Marker":
        """A launch is about to get a number; `data` is its record."""
        return cls(archive_id, MarkerKind.LAUNCH, Attempt(run, attempt), sha256_hex(data))

    @classmethod
    def of_decision(cls, archive_id: str, place: Place, data: bytes) -> "Marker":
        """A decision is about to be recorded; `data` is its record."""
        return cls(archive_id, MarkerKind.DECISION, place, sha256_hex(data))

    @classmethod
    def of_event(cls, archive_id: str, kind: str, identity: str, store_time: datetime) -> "Marker":
        """An event is about to be recorded at that time by the store's clock."""
        # Its key has seconds.
        name = RecordName(kind, identity, store_time.astimezone(UTC).replace(microsecond=0))
        return cls(archive_id, MarkerKind.EVENT, name)

    @property
    def identity(self) -> str:
        """Its id, in its own key and among the entries of the log."""
        return self.names.identity if isinstance(self.names, RecordName) else self.sha256[:_ID_DIGITS]

    @property
    def record_key(self) -> str:
        """The key of the record that it names."""
        match self.names:
            case RecordName(kind, identity, moment):
                return layout.event_record(kind, identity, moment)
            case Attempt(run, number):
                return layout.attempt_record(run, number)
            case Place(run, attempt, step):
                of = layout.decision if self.kind is MarkerKind.DECISION else layout.manifest
                return of(run, attempt, step)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {"kind": self.kind.value, "archive": self.archive_id}
        match self.names:
            case RecordName(kind, identity, moment):
                members |= {"event": kind, "id": identity, "recorded_at": clock.to_text(moment)}
            case Attempt(run, number):
                members |= {"run": run, "attempt": number}
            case Place():
                members |= self.names.to_json()
        if self.kind is not MarkerKind.EVENT:
            members[_digest_member(self.kind)] = self.sha256
        return record.encode("marker", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Marker":
        """Read a marker that may come from anybody.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("marker", data, what)
        kind = MarkerKind(fields.text("kind", MarkerKind))
        archive_id = fields.text("archive")
        sha256 = "" if kind is MarkerKind.EVENT else fields.text(_digest_member(kind), check_sha256)
        decoded = cls(archive_id, kind, _names(kind, fields), sha256)
        return replace(decoded, unknown=fields.rest())


def read_marker(data: bytes, key: str) -> Marker:
    """The marker that was stored under `key`.

    Raises:
        IntegrityError: If it is malformed, or its key is another marker's.
        InvalidInputError: If it needs a newer release.
    """
    marker = Marker.decode(data, key)
    name = layout.marker_name(key)
    if name is None or (name.kind, name.identity) != (marker.kind, marker.identity):
        raise IntegrityError(
            f"{key} holds the {marker.kind} marker {marker.identity}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return marker


def write_marker(store: Store, marker: Marker, store_time: datetime) -> str:
    """Write the marker; its key.

    Args:
        store: Where the archive is.
        marker: What it says.
        store_time: The store's clock, from a listing made just before.
    """
    key = layout.pending_marker(marker.kind, marker.identity, store_time)
    # What stands there was written for the same record within the same second: an equal intent.
    create_once(store, key, marker.encode())
    return key


def store_time(store: Store) -> datetime:
    """The store's clock, for whoever has not just listed something: the cheapest listing there is."""
    return store.list(layout.ARCHIVE, limit=1).store_time


def _digest_member(kind: MarkerKind) -> str:
    return "manifest" if kind is MarkerKind.COMMIT else "record"


def _names(kind: MarkerKind, fields: Fields) -> Place | Attempt | RecordName:
    if kind is MarkerKind.LAUNCH:
        return Attempt(fields.text("run", check_run_name), fields.number("attempt", check_attempt))
    if kind is not MarkerKind.EVENT:
        return Place.from_json(fields)
    name = RecordName(
        fields.text("event", check_event_kind), fields.text("id", check_event_id), fields.time("recorded_at")
    )
    if layout.event_name(layout.event_record(name.kind, name.identity, name.moment)) != name:
        fields.refuse("'recorded_at' is not a time to the second")
    return name
