"""The pending marker of a commit: an intent, written before the manifest, so that whoever reads the log's feed misses none.

It is filed under the hour of the store's clock. That it is there says only that a manifest may be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import record
from ckpt_archive.commit import layout
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.names import check_sha256
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json

_KIND = "commit"
# Enough of the manifest's digest that no two commits share a key: 128 bits.
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class CommitMarker:
    """What a commit's marker says.

    Attributes:
        archive_id: The archive it belongs to.
        place: Which checkpoint is about to be committed.
        manifest_sha256: Of the manifest's bytes as this committer would write them.
        unknown: Members written by a newer release.
    """

    archive_id: str
    place: Place
    manifest_sha256: str
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "kind": _KIND,
            "archive": self.archive_id,
            **self.place.to_json(),
            "manifest": self.manifest_sha256,
        }
        return record.encode("marker", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "CommitMarker":
        """Read a marker that may come from anybody.

        Raises:
            IntegrityError: If it is malformed, or of another kind.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("marker", data, what)
        if fields.text("kind") != _KIND:
            fields.refuse("it is not the marker of a commit")
        decoded = cls(fields.text("archive"), Place.from_json(fields), fields.text("manifest", check_sha256))
        return replace(decoded, unknown=fields.rest())


def write_marker(store: Store, marker: CommitMarker, store_time: datetime) -> str:
    """Write the marker; its key.

    Args:
        store: Where the archive is.
        marker: What it says.
        store_time: The store's clock, from a listing made just before.
    """
    key = layout.pending_marker(_KIND, marker.manifest_sha256[:_ID_DIGITS], store_time)
    # What stands there was written for the same manifest within the same second: an equal intent.
    create_once(store, key, marker.encode())
    return key
