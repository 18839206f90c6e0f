"""The one object that makes a prefix of a bucket an archive: a random id that everything else is tied to.

A bucket that was emptied and made anew has another id, so nobody takes what the old one held for archived.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.commit import layout
from ckpt_archive.commit.writeonce import create_once, read_record
from ckpt_archive.errors import NotFoundError
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """What `archive.json` says.

    Attributes:
        archive_id: Random; 32 hexadecimal digits where we made it.
        created_at: By the clock of whoever made the archive.
        unknown: Members written by a newer release.
    """

    archive_id: str
    created_at: datetime
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members = {"archive": self.archive_id, "created_at": clock.to_text(self.created_at)}
        return record.encode("archive", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "ArchiveRecord":
        """Read it back.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("archive", data, what)
        decoded = cls(archive_id=fields.text("archive"), created_at=fields.time("created_at"))
        if not decoded.archive_id:
            fields.refuse("its id is empty")
        return replace(decoded, unknown=fields.rest())


def create_archive(store: Store, archive_id: str, now: datetime) -> ArchiveRecord:
    """Make the prefix an archive; if it is one already, nothing changes.

    Args:
        store: The bucket and prefix.
        archive_id: A new random id.
        now: The time.

    Returns:
        The record that stands: compare its id to know whether it was made by this call.
    """
    made = ArchiveRecord(archive_id, now)
    standing = create_once(store, layout.ARCHIVE, made.encode())
    return made if standing is None else ArchiveRecord.decode(standing, layout.ARCHIVE)


def open_archive(store: Store) -> ArchiveRecord:
    """The record of an existing archive.

    Raises:
        NotFoundError: If there is none.
    """
    try:
        stored = read_record(store, layout.ARCHIVE)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no archive at {store.url}", hint=f"Create it with: ckpt-archive init {store.url}"
        ) from error
    return ArchiveRecord.decode(stored.data, layout.ARCHIVE)
