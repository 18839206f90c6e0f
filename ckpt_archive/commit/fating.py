"""Saying what becomes of a checkpoint's data: statements, each written once. What their names mean is in `fate`.

A statement's body is for people and for the log: who said it, and why. Whoever finds his statement there goes on; the body
that stands stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.commit import fate, layout
from ckpt_archive.commit.fate import Pass
from ckpt_archive.commit.writeonce import create_once, read_record
from ckpt_archive.errors import IntegrityError
from ckpt_archive.names import check_event_id, check_run_name, check_sha256
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class Told:
    """Who says something, and why.

    Attributes:
        actor: Who; "" if nobody says.
        node: Where.
        reason: Why, for people.
        said_at: When, by the clock of whoever says it.
        event_id: The event that tells of it; "" for none.
        policy: SHA-256 of the policy by which it is said; "" for none.
        details: Whatever else there is to say, any JSON object.
    """

    actor: str
    node: str
    reason: str
    said_at: datetime
    event_id: str = ""
    policy: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it is stored.

    Attributes:
        archive_id: The archive it belongs to.
        about: The checkpoint, or the run, that it is about.
        name: What it says: see `fate`.
        told: By whom, and why.
        unknown: Members written by a newer release.
    """

    archive_id: str
    about: Place | str
    name: str
    told: Told
    unknown: Mapping[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it is stored."""
        if isinstance(self.about, str):
            return layout.run_statement(self.about, self.name)
        return layout.checkpoint_statement(self.about.run, self.about.attempt, self.about.step, self.name)

    def encode(self) -> bytes:
        """Canonical bytes.

        Raises:
            InvalidInputError: If no reader would accept it.
        """
        about: dict[str, Json]
        about = {"run": check_run_name(self.about)} if isinstance(self.about, str) else {"place": self.about.to_json()}
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "statement": self.name,
            "reason": self.told.reason,
            "actor": self.told.actor,
            "node": self.told.node,
            "said_at": clock.to_text(self.told.said_at),
        }
        if self.told.event_id:
            members["event"] = check_event_id(self.told.event_id)
        if self.told.policy:
            members["policy"] = check_sha256(self.told.policy)
        if self.told.details:
            members["details"] = dict(self.told.details)
        return record.encode("retention", {**members, **about}, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Statement":
        """Read a statement that may come from anybody.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("retention", data, what)
        decoded = cls(
            archive_id=fields.text("archive"),
            about=Place.from_json(Fields(fields.mapping("place"), f"{what}: place"))
            if fields.has("place")
            else fields.text("run", check_run_name),
            name=fields.text("statement"),
            told=Told(
                actor=fields.text("actor"),
                node=fields.text("node"),
                reason=fields.text("reason"),
                said_at=fields.time("said_at"),
                event_id=fields.text("event", check_event_id) if fields.has("event") else "",
                policy=fields.text("policy", check_sha256) if fields.has("policy") else "",
                details=fields.mapping("details") if fields.has("details") else {},
            ),
        )
        return replace(decoded, unknown=fields.rest())


def announce(
    store: Store, archive_id: str, place: Place, generation: int, ends_at: datetime | None, tag: str, told: Told
) -> None:
    """Say that a checkpoint ends at that midnight UTC, or with None that it never does, and which tag it will have.

    Raises:
        InvalidInputError: If `ends_at` is no midnight UTC, or the tag is not allowed.
    """
    _say(store, archive_id, place, fate.end_name(generation, ends_at, tag), told)


def tagged(store: Store, archive_id: str, place: Place, generation: int, tag: str, told: Told) -> None:
    """Say that all objects of a checkpoint have this tag."""
    _say(store, archive_id, place, fate.tagged_name(generation, tag), told)


def revoke(store: Store, archive_id: str, place: Place, generation: int, told: Told) -> None:
    """Take back whatever was announced in this generation."""
    _say(store, archive_id, place, fate.word_name(generation, "revoked"), told)


def cleared(store: Store, archive_id: str, place: Place, generation: int, told: Told) -> None:
    """Say that after this generation was taken back no object of a checkpoint has a tag of a class any more."""
    _say(store, archive_id, place, fate.word_name(generation, "cleared"), told)


def ended(store: Store, archive_id: str, place: Place, generation: int, told: Told) -> None:
    """Say that a checkpoint's data is gone."""
    _say(store, archive_id, place, fate.word_name(generation, "ended"), told)


def assign(store: Store, archive_id: str, place: Place, number: int, class_name: str, told: Told) -> None:
    """Give a checkpoint a class.

    Args:
        store: Where the archive is.
        archive_id: Of the archive.
        place: The checkpoint.
        number: One more than `Fate.assigned_number`.
        class_name: The class; "" takes the last one back.
        told: By whom, and why.
    """
    _say(store, archive_id, place, fate.class_statement_name(number, class_name), told)


def hold(store: Store, archive_id: str, about: Place | str, case: str, number: int, told: Told) -> None:
    """Hold a checkpoint, or a run, for a case.

    Args:
        store: Where the archive is.
        archive_id: Of the archive.
        about: The checkpoint, or the name of the run.
        case: For which case.
        number: One more than the case's of `Fate.case_numbers`, or 1.
        told: By whom, and why.
    """
    _say(store, archive_id, about, fate.case_name(case, number, held=True), told)


def release(store: Store, archive_id: str, about: Place | str, case: str, number: int, told: Told) -> None:
    """Release what is held for a case; the arguments are those of `hold`."""
    _say(store, archive_id, about, fate.case_name(case, number, held=False), told)


def begin_pass(store: Store, archive_id: str, run: str, begun: Pass, told: Told) -> None:
    """Say that somebody begins to tag checkpoints of a run: before he reads what is said about them."""
    _say(store, archive_id, run, fate.pass_name(begun, ended=False), told)


def end_pass(store: Store, archive_id: str, run: str, begun: Pass, told: Told) -> None:
    """Say that he is done."""
    _say(store, archive_id, run, fate.pass_name(begun, ended=True), told)


def read_statement(store: Store, about: Place | str, name: str) -> Statement:
    """The statement of that name (without ".json") about a checkpoint or a run.

    Raises:
        NotFoundError: If it was not made.
        IntegrityError: If it is malformed, or is another statement than its key says.
        InvalidInputError: If it needs a newer release.
    """
    if isinstance(about, str):
        key = layout.run_statement(about, name)
    else:
        key = layout.checkpoint_statement(about.run, about.attempt, about.step, name)
    statement = Statement.decode(read_record(store, key).data, key)
    if (statement.about, statement.name) != (about, name):
        raise IntegrityError(
            f"{key} holds the statement {statement.name} about {statement.about}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return statement


def _say(store: Store, archive_id: str, about: Place | str, name: str, told: Told) -> None:
    statement = Statement(archive_id, about, name, told)
    create_once(store, statement.key, statement.encode())
