"""What an object session is told, and what it asks for. Values only; `session` says when."""

from dataclasses import dataclass
from typing import TypeAlias

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.store.protocol import PartInfo


@dataclass(frozen=True, slots=True)
class Listed:
    """The listing shows the key with this size, or not (None)."""

    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class UploadsListed:
    """These uploads of the key are under way."""

    upload_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartsListed:
    """The store holds these parts of an upload; of `proved` ones the bytes are known to be ours."""

    upload_id: str
    parts: tuple[PartInfo, ...]
    proved: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Started:
    """A new upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class StartUnknown:
    """An upload may or may not have been started."""

    error: CkptArchiveError


@dataclass(frozen=True, slots=True)
class PartSent:
    """The store has taken a part."""

    upload_id: str
    part: PartInfo


@dataclass(frozen=True, slots=True)
class UploadGone:
    """There is no such upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Created:
    """The object was created whole, with this size."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """A conditional create or completion found the key taken."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The store has joined the parts."""


@dataclass(frozen=True, slots=True)
class CompletionUnknown:
    """The completion was answered by an error, or not at all."""

    error: CkptArchiveError


@dataclass(frozen=True, slots=True)
class Headed:
    """The object has this size, or is not there (None)."""

    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Aborted:
    """An upload is gone because we said so."""

    upload_id: str


Observation: TypeAlias = (
    Listed | UploadsListed | PartsListed | Started | StartUnknown | PartSent | UploadGone | Created | AlreadyThere
    | Completed | CompletionUnknown | Headed | Aborted
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CreateWhole:
    """Create the object by one conditional request."""


@dataclass(frozen=True, slots=True)
class ListUploads:
    """List the uploads of this key."""


@dataclass(frozen=True, slots=True)
class ListParts:
    """List the parts of an upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Begin a multipart upload."""


@dataclass(frozen=True, slots=True)
class SendPart:
    """Send part `number` (from 1)."""

    upload_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Complete:
    """Join all parts, 1 to N."""

    upload_id: str
    parts: tuple[PartInfo, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Look at the object."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Give an upload up."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Done:
    """The object is in the store and no upload of its key is left."""


Action: TypeAlias = (
    CreateWhole | ListUploads | ListParts | StartUpload | SendPart | Complete | Head | Abort | Done
)  # fmt: skip
Actions: TypeAlias = tuple[Action, ...]
