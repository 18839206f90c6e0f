"""What goes into the reading of receipts, and what comes out of it. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from ckpt_archive.place import Place
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class Source:
    """A receipt whose bytes are those that the manifest names.

    Attributes:
        place: Of the checkpoint.
        rank: Which writer.
        committed_at: When the manifest was created.
        log_seq: Of the batch that told of it.
        data: Its bytes.
    """

    place: Place
    rank: int
    committed_at: datetime
    log_seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """What a receipt says beside its files."""

    objects: int
    stored_bytes: int
    save_seconds: float | None
    upload_seconds: float | None


@dataclass(frozen=True, slots=True)
class Layout:
    """A table of tensors, and its digest."""

    sha256: str
    tensors: Sequence[Json]
    committed_at: datetime


@dataclass(slots=True)
class Parsed:
    """What many receipts say.

    Attributes:
        files: Rows by month, in the order of the receipts.
        totals: Of each receipt; None for one that could not be read.
        problems: Which receipts could not be read, by index, and why.
        layouts: Tables of tensors that they have; repeated where files share one.
    """

    files: list[tuple[str, pa.Table]] = field(default_factory=list)
    totals: list[Totals | None] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)
