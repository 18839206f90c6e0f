"""Events: what happened to checkpoints after they were written, each a record of its own that stays for good.

Who restored what, what was found whole or damaged, what was signed, held, released or ended: the archive itself does not
change when these happen, so this is the only place that knows. An event may be about many checkpoints, or about none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record, strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Marker, store_time, write_marker
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.names import check_event_id, check_event_kind, check_rank, check_run_name, check_sha256
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Fields, Json

__all__ = [
    "KINDS",
    "MAX_DETAILS_BYTES",
    "MAX_PLACES",
    "MAX_TEXT_BYTES",
    "RESTORED",
    "VERIFIED",
    "Event",
    "read_event",
    "record_event",
    "store_time",
]

# An event is read whole by whoever reads the log, thousands of them at a time.
MAX_PLACES = 1_000
MAX_TEXT_BYTES = 4 << 10
MAX_DETAILS_BYTES = 64 << 10

RESTORED = "restored"
VERIFIED = "verified"

KINDS: Mapping[str, str] = {
    RESTORED: "a checkpoint was brought out of the archive, or that failed",
    VERIFIED: "checkpoints were compared with what their manifests say",
    "scrubbed": "a share of the archive was read again in turn",
    "drilled": "a restore was rehearsed",
    "finding": "something is not as it should be",
    "signed": "a checkpoint was signed",
    "key-published": "a key for signatures was made known",
    "key-revoked": "a key for signatures is not to be trusted any more",
    "classed": "checkpoints were given a retention class",
    "held": "checkpoints must not be removed until they are released",
    "released": "checkpoints are not held any more",
    "ending": "the data of checkpoints will be removed on a day",
    "ended": "the data of checkpoints was removed",
    "dropped": "checkpoints are not wanted any more",
    "undropped": "checkpoints are wanted after all",
    "thaw-requested": "data was asked for from a cold storage class",
    "thawed": "data can be read again for a while",
    "digested": "bytes that were adopted in place were read, and have this digest",
    "duplicate": "a step was saved again with other content; the first one stands",
    "imported": "objects that were there before were adopted as a checkpoint",
    "copied": "a checkpoint was copied to another archive",
    "exported": "a checkpoint was written out in another format",
    "source": "what a run is trained on",
    "lineage": "what a checkpoint was made of",
    "output": "what was made of a checkpoint",
    "evaluated": "a checkpoint was measured",
    "deployed": "a checkpoint was put into service",
    "incident": "something went wrong that people should know of",
}
"""The kinds that have a meaning today, and which; others are kept and shown as they are."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        archive_id: The archive it belongs to.
        kind: What happened: one of `KINDS`, or whatever another release knows.
        event_id: 32 random hexadecimal digits.
        happened_at: When, by the clock of whoever tells.
        actor: Who did it; "" if nobody says.
        node: Where.
        places: The checkpoints that it is about, at most 1,000.
        run: The run that it is about, where it is not about checkpoints alone.
        rank: The writer that it is about.
        subject: What it is about, where that is no checkpoint: a file, a URI, the name of a key.
        digest: SHA-256 of that.
        outcome: How it ended, such as "ok", "failed", "findings".
        reason: Why, for people.
        until_at: Until when it holds, or from when.
        size_bytes: How many bytes it was about.
        details: Whatever else there is to say, any JSON object.
        unknown: Members written by a newer release.
    """

    archive_id: str
    kind: str
    event_id: str
    happened_at: datetime
    actor: str = ""
    node: str = ""
    places: tuple[Place, ...] = ()
    run: str | None = None
    rank: int | None = None
    subject: str = ""
    digest: str | None = None
    outcome: str = ""
    reason: str = ""
    until_at: datetime | None = None
    size_bytes: int | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes.

        Raises:
            InvalidInputError: If no reader would accept it.
        """
        check_event_kind(self.kind)
        check_event_id(self.event_id)
        for text in (self.actor, self.node, self.subject, self.outcome, self.reason):
            _check_text(text)
        _check_places(self.places)
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "event": self.kind,
            "id": self.event_id,
            "happened_at": clock.to_text(self.happened_at),
            "actor": self.actor,
            "node": self.node,
            "places": [place.to_json() for place in self.places],
            "subject": self.subject,
            "outcome": self.outcome,
            "reason": self.reason,
            "details": dict(self.details),
        }
        optional = {
            "run": None if self.run is None else check_run_name(self.run),
            "rank": None if self.rank is None else check_rank(self.rank),
            "digest": None if self.digest is None else check_sha256(self.digest),
            "until_at": None if self.until_at is None else clock.to_text(self.until_at),
            "size": self.size_bytes,
        }
        members |= {name: value for name, value in optional.items() if value is not None}
        data = record.encode("event", members, self.unknown)
        _check_details(self.details)
        return data

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Event":
        """Read an event that may come from anybody.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("event", data, what)
        decoded = cls(
            archive_id=fields.text("archive"),
            kind=fields.text("event", check_event_kind),
            event_id=fields.text("id", check_event_id),
            happened_at=fields.time("happened_at"),
            actor=fields.text("actor", _check_text),
            node=fields.text("node", _check_text),
            places=_places(fields),
            run=fields.text("run", check_run_name) if fields.has("run") else None,
            rank=fields.number("rank", check_rank) if fields.has("rank") else None,
            subject=fields.text("subject", _check_text),
            digest=fields.text("digest", check_sha256) if fields.has("digest") else None,
            outcome=fields.text("outcome", _check_text),
            reason=fields.text("reason", _check_text),
            until_at=fields.time("until_at") if fields.has("until_at") else None,
            size_bytes=fields.number("size") if fields.has("size") else None,
            details=_details(fields),
        )
        return replace(decoded, unknown=fields.rest())


def record_event(store: Store, event: Event, moment: datetime) -> str:
    """Record an event: its marker, then the event itself; its key.

    Args:
        store: Where the archive is.
        event: It.
        moment: The store's clock, from a listing made just before: see `store_time`.

    Raises:
        InvalidInputError: If no reader would accept it.
        ConflictError: If another event stands under its id.
        UnavailableError: If the store does not answer: it may have been recorded.
    """
    data = event.encode()
    marker = Marker.of_event(event.archive_id, event.kind, event.event_id, moment)
    write_marker(store, marker, moment)
    # What stands there with the same bytes is the effect of an earlier try whose answer was lost.
    if create_once(store, marker.record_key, data) not in (None, data):
        raise ConflictError(
            f"another event was recorded as {marker.record_key}", hint="Give every event a random id of its own."
        )
    return marker.record_key


def read_event(data: bytes, key: str) -> Event:
    """The event that was stored under `key`.

    Raises:
        IntegrityError: If it is malformed, or its key is another event's.
        InvalidInputError: If it needs a newer release.
    """
    event = Event.decode(data, key)
    name = layout.event_name(key)
    if (name.kind, name.identity) != (event.kind, event.event_id):
        raise IntegrityError(
            f"{key} holds the event {event.kind} {event.event_id}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return event


def _check_text(text: str) -> str:
    # No character has more bytes than four.
    if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise InvalidInputError(
            f"{strictjson.brief(text[:100])!r}… is too long for an event", hint=f"Use at most {MAX_TEXT_BYTES} bytes."
        )
    return text


def _check_places(places: tuple[Place, ...]) -> None:
    if len(places) > MAX_PLACES:
        raise InvalidInputError(
            f"an event about {len(places)} checkpoints can not be recorded",
            hint=f"Record several, each about at most {MAX_PLACES}.",
        )


def _check_details(details: Mapping[str, Json]) -> None:
    size = len(strictjson.encode(dict(details)))
    if size > MAX_DETAILS_BYTES:
        raise InvalidInputError(
            f"details of {size} bytes can not be recorded", hint=f"Use at most {MAX_DETAILS_BYTES} bytes of JSON."
        )


def _places(fields: Fields) -> tuple[Place, ...]:
    if len(fields.items("places")) > MAX_PLACES:
        fields.refuse(f"it is about more than {MAX_PLACES} checkpoints")
    return tuple(Place.from_json(item) for item in fields.objects("places"))


def _details(fields: Fields) -> Mapping[str, Json]:
    details = fields.mapping("details")
    if len(strictjson.encode(details)) > MAX_DETAILS_BYTES:
        fields.refuse(f"its details have more than {MAX_DETAILS_BYTES} bytes")
    return details
