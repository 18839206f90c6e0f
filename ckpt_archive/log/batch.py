"""A batch of the log: what became known of together, and what was looked at by then. Values and their spelling, no I/O."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import SHA256_HEX
from ckpt_archive.strictjson import NOTHING, Fields, Json, brief

MAX_ENTRIES = 4_096
MAX_UNRESOLVED = 100_000
MAX_PROBLEM_CHARACTERS = 1_000

FINDING = "finding"
"""The kind of an entry that says what is wrong; all other kinds name a record that is there."""

_KIND = re.compile(r"[a-z][a-z-]{0,31}")
_ID = re.compile(r"[0-9a-f]{32}")
_ID_DIGITS = 32
_MAX_KEY_CHARACTERS = 1_024


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that is there, or something that is wrong.

    Attributes:
        kind: `commit`, `launch`, `decision`, `event` or `finding`.
        id: Of an event its own, of another record the first 32 digits of its digest, of a finding those of its key's digest.
        digest: SHA-256 of the bytes; "" for a finding about bytes that nobody has read.
        time: When the object was created, by the store's clock.
        key: Of the object: the record, or what the finding is about.
        problem: What a finding says; else "".
        unknown: Members written by a newer release.
    """

    kind: str
    id: str
    digest: str
    time: datetime
    key: str
    problem: str = ""
    unknown: Mapping[str, Json] = field(default_factory=lambda: NOTHING, compare=False)

    @classmethod
    def finding(cls, key: str, time: datetime, problem: str, digest: str = "") -> "Entry":
        """Something is wrong with the object `key`."""
        text = problem if len(problem) <= MAX_PROBLEM_CHARACTERS else f"{problem[: MAX_PROBLEM_CHARACTERS - 1]}…"
        return cls(FINDING, sha256_hex(key.encode())[:_ID_DIGITS], digest, time, key, text)

    @classmethod
    def of_record(cls, kind: str, identity: str, data: bytes, time: datetime, key: str) -> "Entry":
        """A record with these bytes; `identity` is an event's id, "" for the other kinds."""
        digest = sha256_hex(data)
        return cls(kind, identity or digest[:_ID_DIGITS], digest, time, key)

    @property
    def subject(self) -> str:
        """What occurs once in the whole log: the key of a record; that of what a finding is about, with a '!' before it."""
        return f"!{self.key}" if self.kind == FINDING else self.key

    @property
    def announced(self) -> str:
        """What the keys of the markers that announce it, as it stands, have in common."""
        return announced(self.kind, self.id, self.key)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A marker whose record is not there.

    Attributes:
        key: The marker's.
        kind: Of which kind the record would be.
        since: When the marker was created, by the store's clock.
    """

    key: str
    kind: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        archive_id: The archive it belongs to.
        number: Counted from 1.
        previous: SHA-256 of the bytes of the batch before; "" for the first.
        first_entry: How many entries stand in all batches before.
        sealed_at: The store's clock; no batch before was sealed later, and no entry is younger, unless its time is far off.
        sealed_by: Which node.
        watermark: Every marker that was written by then, on time, is in this batch, in one before, or among `unresolved`.
        swept_at: Likewise for every marker that was there then, however late it was written; None before the first sweep.
        entries: What became known of.
        unresolved: The markers that are to be looked at again.
        unknown: Members written by a newer release.
    """

    archive_id: str
    number: int
    previous: str
    first_entry: int
    sealed_at: datetime
    sealed_by: str
    watermark: datetime
    swept_at: datetime | None = None
    entries: tuple[Entry, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    unknown: Mapping[str, Json] = field(default_factory=dict)

    @property
    def end_entry(self) -> int:
        """How many entries stand in all batches up to this one."""
        return self.first_entry + len(self.entries)

    def encode(self) -> bytes:
        """Canonical bytes.

        Raises:
            InvalidInputError: If it holds more than a reader takes.
        """
        problem = _too_many(self.entries, self.unresolved)
        if problem:
            raise InvalidInputError(f"batch {self.number} would have {problem}", hint="Seal it in several batches.")
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "number": self.number,
            "previous": self.previous,
            "first_entry": self.first_entry,
            "sealed_at": clock.to_text(self.sealed_at),
            "sealed_by": self.sealed_by,
            "watermark": clock.to_text(self.watermark),
            "entries": [_entry_to_json(entry) for entry in self.entries],
            "unresolved": [
                {"key": marker.key, "kind": marker.kind, "since": clock.to_text(marker.since)}
                for marker in self.unresolved
            ],
            **({"swept_at": clock.to_text(self.swept_at)} if self.swept_at is not None else {}),
        }
        return record.encode("sequence", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Batch":
        """Read a batch that may come from anybody.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("sequence", data, what)
        number = fields.number("number")
        batch = cls(
            archive_id=fields.text("archive"),
            number=number,
            previous=fields.text("previous", _check_previous),
            first_entry=fields.number("first_entry"),
            sealed_at=fields.time("sealed_at"),
            sealed_by=fields.text("sealed_by"),
            watermark=fields.time("watermark"),
            swept_at=fields.time("swept_at") if fields.has("swept_at") else None,
            entries=tuple(_entry_from_json(entry) for entry in fields.objects("entries")),
            unresolved=tuple(_unresolved_from_json(marker) for marker in fields.objects("unresolved")),
        )
        problem = _too_many(batch.entries, batch.unresolved)
        if problem:
            fields.refuse(f"it has {problem}")
        if number < 1 or (number == 1) != (batch.previous == "") or (number == 1 and batch.first_entry):
            fields.refuse(f"batch {number} can not follow {brief(batch.previous or 'nothing')}")
        return replace(batch, unknown=fields.rest())


def announced(kind: str, identity: str, key: str) -> str:
    """What a marker's key has in common with that of its record, if their kind and id are these.

    An event that is recorded twice has one id; the moment tells which of its records is meant.
    """
    moment = key.rpartition("/")[2].partition("-")[0] if kind == "event" else ""
    return f"{kind}:{identity}:{moment}"


def _too_many(entries: Sequence[Entry], unresolved: Sequence[Unresolved]) -> str:
    if len(entries) > MAX_ENTRIES:
        return f"{len(entries)} entries, more than the {MAX_ENTRIES} that a batch may have"
    if len(unresolved) > MAX_UNRESOLVED:
        return f"{len(unresolved)} unresolved markers, more than the {MAX_UNRESOLVED} that a batch may have"
    return ""


def _entry_to_json(entry: Entry) -> dict[str, Json]:
    members: dict[str, Json] = {
        **entry.unknown,
        "kind": entry.kind,
        "id": entry.id,
        "time": clock.to_text(entry.time),
        "key": entry.key,
    }
    if entry.digest:
        members["digest"] = entry.digest
    if entry.problem:
        members["problem"] = entry.problem
    return members


def _entry_from_json(fields: Fields) -> Entry:
    kind = fields.text("kind", _check_kind)
    digest = fields.text("digest", _check_digest) if fields.has("digest") else ""
    if not digest and kind != FINDING:
        fields.refuse("it has no digest")
    return Entry(
        kind=kind,
        id=fields.text("id", _check_id),
        digest=digest,
        time=fields.time("time"),
        key=fields.text("key", _check_key),
        problem=fields.text("problem") if fields.has("problem") else "",
        unknown=fields.rest(),
    )


def _unresolved_from_json(fields: Fields) -> Unresolved:
    return Unresolved(fields.text("key", _check_key), fields.text("kind", _check_kind), fields.time("since"))


def _checked(text: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{brief(repr(text))} is not {what}")
    return text


def _check_kind(text: str) -> str:
    return _checked(text, _KIND, "the kind of an entry")


def _check_id(text: str) -> str:
    return _checked(text, _ID, "an id of 32 hexadecimal digits")


def _check_digest(text: str) -> str:
    return _checked(text, SHA256_HEX, "a SHA-256")


def _check_previous(text: str) -> str:
    return text and _check_digest(text)


def _check_key(text: str) -> str:
    if not 0 < len(text) <= _MAX_KEY_CHARACTERS:
        raise ValueError(f"a key of {len(text)} characters is not possible")
    return text
