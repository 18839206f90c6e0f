"""What may become of a sealed share, as values and records. Beside each share lies one file per fact."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive import clock, record, strictjson
from ckpt_archive.names import check_attempt, check_sha256
from ckpt_archive.strictjson import Json

DIGESTS = "digests.json"
PROMOTE = "promote.json"
RECEIPT = "receipt.json"
ARCHIVED = "archived.json"
GAP = "gap.json"


@dataclass(frozen=True, slots=True)
class Archived:
    """That a manifest was read which holds this share's receipt.

    Attributes:
        archive_id: In which archive.
        attempt: Under which attempt.
        manifest_sha256: Of the manifest's bytes.
        at: When it was read.
    """

    archive_id: str
    attempt: int
    manifest_sha256: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """That this share will never be archived.

    Attributes:
        reason: Why, for people.
        at: When it was decided; None if the record can not be read, which changes nothing.
    """

    reason: str
    at: datetime | None


def encode_archived(archived: Archived) -> bytes:
    """Canonical bytes."""
    members: dict[str, Json] = {
        "archive": archived.archive_id,
        "attempt": archived.attempt,
        "manifest_sha256": check_sha256(archived.manifest_sha256),
        "at": clock.to_text(archived.at),
    }
    return record.encode("archived", members, {})


def encode_gap(reason: str, at: datetime) -> bytes:
    """Canonical bytes."""
    return record.encode("gap", {"reason": reason, "at": clock.to_text(at)}, {})


def encode_promotion(reason: Mapping[str, Json]) -> bytes:
    """Canonical bytes."""
    return record.encode("promote", {"promotion": dict(reason)}, {})


def decode_promotion(data: bytes, what: str) -> Mapping[str, Json]:
    """Why a share was promoted after it was sealed."""
    return record.decode("promote", data, what).mapping("promotion")


def check_receipt(data: bytes, what: str) -> bytes:
    """A receipt is kept as it came; here it need only be a record."""
    strictjson.decode(data, what)
    return data


def decode_archived(data: bytes, what: str) -> Archived:
    """See `Archived`."""
    fields = record.decode("archived", data, what)
    return Archived(
        archive_id=fields.text("archive"),
        attempt=fields.number("attempt", check_attempt),
        manifest_sha256=fields.text("manifest_sha256", check_sha256),
        at=fields.time("at"),
    )


def decode_gap(data: bytes, what: str) -> Gap:
    """See `Gap`."""
    fields = record.decode("gap", data, what)
    return Gap(fields.text("reason"), fields.time("at"))
