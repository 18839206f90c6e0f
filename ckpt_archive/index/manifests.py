"""Manifests, read fast: what our own writers spell is checked with few steps, anything else by the strict decoder.

The CRC32C of a record is that of its canonical bytes without this member. In canonical bytes it can be cut out, so they need
not be made again: whoever fits is canonical, or was forged, and a forgery fits the slow way too. The members of version 1
are found by one pattern; labels and lineage, equal in all checkpoints of a launch, are parsed once. Whatever is not as
expected is given to the strict decoder, which names the problem or accepts it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ckpt_archive import strictjson
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.digest import crc32c
from ckpt_archive.index.said import Labels, Lineage
from ckpt_archive.names import MAX_WRITERS
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Json

_CHECKSUM = b'"crc32c":"'
_CHECKSUM_BYTES = len(_CHECKSUM) + len(b'xxxxxxxx",')
_MOST = 2**63

_TEXT = rb'"([^"\\\x00-\x1f]*)"'
_NUMBER = rb"(0|[1-9][0-9]{0,17})"
_TIME = rb'"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)"'
# The members in the order of their names. A free one ends where the next name begins, if what is between is one object.
_HEAD = re.compile(
    rb'\{"archive":' + _TEXT + rb',"attempt":' + _NUMBER + rb'(?:,"class":' + _TEXT + rb')?,"completeness":' + _TEXT
    + rb',"crc32c":"[0-9a-f]{8}","files":' + _NUMBER + rb',"first_staged_at":' + _TIME
    + rb',"format":"ckpt-archive/manifest","labels":'
)  # fmt: skip
_AFTER_LABELS = re.compile(rb',"launch_key":' + _TEXT + rb',"lineage":')
_TAIL = re.compile(
    rb',"run":' + _TEXT + rb',"size":' + _NUMBER + rb',"staged_at":' + _TIME + rb',"step":' + _NUMBER
    + rb',"version":1,"writers":' + _NUMBER + rb"\}\n"
)  # fmt: skip
_RECEIPT = re.compile(rb'\{"rank":' + _NUMBER + rb',"sha256":"([0-9a-f]{64})","size":' + _NUMBER + rb"\}(,|\])")

# So many texts of at most this length are remembered; a run has one or two.
_REMEMBERED = 1_024
_REMEMBERED_BYTES = 8 << 10


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest as the index needs it.

    Attributes:
        archive_id: See `Manifest`, as for all that follows.
        launch_key: …
        writers: …
        first_staged_at: …
        staged_at: …
        retention_class: …
        completeness: …
        files: …
        size_bytes: …
        labels: …
        lineage: …
        metrics: …
        promotion: …
        receipts: Rank, SHA-256 and length of each.
    """

    archive_id: str
    launch_key: str
    writers: int
    first_staged_at: datetime
    staged_at: datetime
    retention_class: str
    completeness: str
    files: int
    size_bytes: int
    labels: Labels
    lineage: Lineage
    metrics: Mapping[str, Json]
    promotion: Mapping[str, Json]
    receipts: Sequence[tuple[int, str, int]]


class ReadsManifests(Protocol):
    """A way to read manifests."""

    def read(self, data: bytes, key: str, place: Place) -> ReadManifest:
        """A manifest; see `ManifestReader.read`."""
        ...


class StrictManifestReader:
    """Reads manifests member by member, each as if it were alone."""

    def read(self, data: bytes, key: str, place: Place) -> ReadManifest:
        """See `ManifestReader.read`."""
        return _strict(data, key, place)


class ManifestReader:
    """Reads manifests, and remembers what many of them say."""

    def __init__(self) -> None:
        self._labels: dict[bytes, Labels] = {}
        self._lineages: dict[bytes, Lineage] = {}

    def read(self, data: bytes, key: str, place: Place) -> ReadManifest:
        """A manifest.

        Raises:
            IntegrityError: If it is malformed, or of another checkpoint.
            InvalidInputError: If it needs a newer release.
        """
        return self._fast(data, place) or _strict(data, key, place)

    def _fast(self, data: bytes, place: Place) -> ReadManifest | None:
        head = _HEAD.match(data)
        if head is None or not has_checksum(data):
            return None
        end = data.find(b',"launch_key":"', head.end())
        middle = _AFTER_LABELS.match(data, end)
        if end < 0 or middle is None:
            return None
        ends = [data.find(b',"metrics":', middle.end()), 0, 0]
        ends[1] = data.find(b',"promotion":', ends[0])
        ends[2] = data.find(b',"receipts":[', ends[1])
        if min(ends) < 0 or b"\\u" in data:
            return None
        receipts, tail_start = _receipts(data, ends[2] + len(b',"receipts":['))
        tail = _TAIL.fullmatch(data, tail_start)
        if tail is None:
            return None
        try:
            labels = self._remembered_labels(data[head.end() : end])
            lineage = self._remembered_lineage(data[middle.end() : ends[0]])
            metrics = _shallow(data[ends[0] + len(b',"metrics":') : ends[1]])
            promotion = _shallow(data[ends[1] + len(b',"promotion":') : ends[2]])
            found = ReadManifest(
                archive_id=head[1].decode(),
                launch_key=middle[1].decode(),
                writers=int(tail[5]),
                first_staged_at=datetime.fromisoformat(head[6].decode()),
                staged_at=datetime.fromisoformat(tail[3].decode()),
                retention_class="" if head[3] is None else head[3].decode(),
                completeness=head[4].decode(),
                files=int(head[5]),
                size_bytes=int(tail[2]),
                labels=labels,
                lineage=lineage,
                metrics=metrics,
                promotion=promotion,
                receipts=receipts,
            )
        except (ValueError, RecursionError):
            return None
        is_sound = (
            (tail[1].decode(), int(head[2]), int(tail[4])) == (place.run, place.attempt, place.step)
            and 1 <= found.writers <= MAX_WRITERS
            and len(receipts) == found.writers
            and found.first_staged_at <= found.staged_at
        )
        return found if is_sound else None

    def _remembered_labels(self, data: bytes) -> Labels:
        found = self._labels.get(data)
        if found is None:
            found = Labels.of(_shallow(data))
            _remember(self._labels, data, found)
        return found

    def _remembered_lineage(self, data: bytes) -> Lineage:
        found = self._lineages.get(data)
        if found is None:
            found = Lineage.of(_shallow(data))
            _remember(self._lineages, data, found)
        return found


def _remember(known: dict[bytes, strictjson.T], data: bytes, value: strictjson.T) -> None:
    if len(data) <= _REMEMBERED_BYTES:
        if len(known) >= _REMEMBERED:
            known.clear()
        known[data] = value


def _receipts(data: bytes, start: int) -> tuple[list[tuple[int, str, int]], int]:
    """The receipts from `start`, and where what follows begins; -1 if they are not spelled as ours."""
    found: list[tuple[int, str, int]] = []
    match = _RECEIPT.match
    while (item := match(data, start)) is not None:
        rank, sha256, size, after = item.groups()
        if int(rank) != len(found):
            break
        found.append((len(found), sha256.decode(), int(size)))
        start = item.end()
        if after == b"]":
            return found, start
    return found, len(data)


def _shallow(data: bytes) -> dict[str, Json]:
    """A free member that was parsed by itself. Raises `ValueError` if that is not one object, or a deep one."""
    value = strictjson.parse(data)
    if any(type(item) in (dict, list) for item in value.values()):
        # As deep as it is inside of the record.
        strictjson.check([value])
    return value


def _strict(data: bytes, key: str, place: Place) -> ReadManifest:
    manifest = Manifest.decode(data, key).check_place(place)
    return ReadManifest(
        archive_id=manifest.archive_id,
        launch_key=manifest.launch_key,
        writers=manifest.writers,
        first_staged_at=manifest.first_staged_at,
        staged_at=manifest.staged_at,
        retention_class=manifest.retention_class,
        completeness=manifest.completeness,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        labels=Labels.of(manifest.labels),
        lineage=Lineage.of(manifest.lineage),
        metrics=manifest.metrics,
        promotion=manifest.promotion,
        receipts=[(entry.rank, entry.sha256, entry.size_bytes) for entry in manifest.receipts],
    )


def has_checksum(data: bytes) -> bool:
    """Whether these are canonical bytes with the right CRC32C."""
    start = data.find(_CHECKSUM)
    if start < 0:
        return False
    end = start + _CHECKSUM_BYTES
    said = data[start + len(_CHECKSUM) : end - 2]
    return said == b"%08x" % crc32c(data[end:], crc32c(data[:start]))


def is_number(value: Json) -> bool:
    """Whether it is what `Fields.number` takes."""
    return type(value) is int and 0 <= value < _MOST
