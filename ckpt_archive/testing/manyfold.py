"""Archives of very many checkpoints in a folder, as fast as files can be made: for measuring what reads them.

Records are spelled by the real encoders once; then only the places where they differ are written anew, with their checksum.
`check_against_encoders` proves that these are the bytes that the encoders would have made.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.contribution import Contribution
from ckpt_archive.digest import crc32c
from ckpt_archive.log.batch import MAX_ENTRIES, Batch, Entry
from ckpt_archive.log.sequence import add_batch
from ckpt_archive.place import Place
from ckpt_archive.store.file import FileStore
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON
from ckpt_archive.testing.logged import digest_of, made_share

_CHECKSUM = b'"crc32c":"'


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of archive.

    Attributes:
        checkpoints: How many.
        runs: Of how many runs; each checkpoint is of the next one.
        files: How many files each has.
        step: Between two checkpoints of a run.
        seconds: Between two checkpoints, by the store's clock.
    """

    checkpoints: int
    runs: int = 50
    files: int = 10
    step: int = 100
    seconds: float = 10.0

    def place(self, number: int) -> Place:
        """Of a checkpoint, counted from 0."""
        return Place(f"project-{number % self.runs:05d}", 0, number // self.runs * self.step)


_LABELS = {"project": "translation", "owner": "jo", "team": "research", "cluster": "eu-west-1a", "purpose": "demo"}
_LINEAGE = {
    "sources": [{"uri": f"s3://corpus/part-{part}", "version": "3", "digest": digest_of(part)} for part in range(4)],
    "code": {
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "dirty": False,
        "repository": "git@example:model.git",
    },
    "config": {"sha256": digest_of("config")},
    "environment": {"sha256": digest_of("environment"), "image": "registry.example/train:2026.03"},
}


def encoded(shape: Shape, number: int) -> tuple[bytes, bytes]:
    """Receipt and manifest of a checkpoint, by the real encoders."""
    place = shape.place(number)
    share = made_share(place, 0, shape.files)
    said = Contribution(
        "slurm:4711",
        1,
        NOON,
        promotion={"rule": "every", "count": 5, "ordinal": 1, "save_every_steps": 100},
        metrics={"loss": 2.125, "accuracy": 0.5, "learning_rate": 1e-05, "tokens": 123456789},
        labels=_LABELS,
        lineage=_LINEAGE,
        retention_class="daily",
    )
    timings = {"timings": {"save_seconds": 0.41, "upload_seconds": 38.2}}
    receipt = Receipt(ARCHIVE_ID, place.run, place.attempt, place.step, 0, said, share, timings)
    data = receipt.encode()
    return data, Manifest.of([(receipt, data)]).encode()


class _Template:
    """A record of which some places are written anew."""

    def __init__(self, data: bytes, places: list[bytes]) -> None:
        self._pieces: list[bytes] = []
        rest = data
        order: list[tuple[int, int]] = []
        position = 0
        while True:
            found = [(rest.find(place), index) for index, place in enumerate(places) if place in rest]
            if not found:
                break
            start, index = min(found)
            self._pieces.append(rest[:start])
            order.append((position + start, index))
            rest = rest[start + len(places[index]) :]
        self._pieces.append(rest)
        self._order = [index for _, index in order]

    def filled(self, values: list[bytes]) -> bytes:
        """The record with these values in the places, and its checksum."""
        pieces = [self._pieces[0]]
        for index, piece in zip(self._order, self._pieces[1:], strict=True):
            pieces += (values[index], piece)
        data = b"".join(pieces)
        start = data.find(_CHECKSUM)
        end = start + len(_CHECKSUM) + len(b'xxxxxxxx",')
        checksum = crc32c(data[end:], crc32c(data[:start]))
        return b'%b"crc32c":"%08x",%b' % (data[:start], checksum, data[end:])


class Records:
    """The records of all checkpoints of a shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        receipt, manifest = encoded(shape, 0)
        self._run = f'"run":"{shape.place(0).run}"'.encode()
        digests = self._digests(0)
        self._receipt = _Template(receipt, [self._run, b'"step":0', *digests])
        self._manifest = _Template(
            manifest,
            [self._run, b'"step":0', hashlib.sha256(receipt).hexdigest().encode(), b'"size":%d}]' % len(receipt)],
        )

    def _digests(self, number: int) -> list[bytes]:
        place = self._shape.place(number)
        names: list[object] = ["packed", "large", *range(self._shape.files - 1)]
        return [digest_of(place, 0, name).encode() for name in names]

    def of(self, number: int) -> tuple[bytes, bytes]:
        """Receipt and manifest of a checkpoint."""
        place = self._shape.place(number)
        run, step = f'"run":"{place.run}"'.encode(), b'"step":%d' % place.step
        receipt = self._receipt.filled([run, step, *self._digests(number)])
        sha256 = hashlib.sha256(receipt).hexdigest().encode()
        return receipt, self._manifest.filled([run, step, sha256, b'"size":%d}]' % len(receipt)])


def check_against_encoders(shape: Shape, numbers: Iterator[int] | range) -> None:
    """Check that the fast way makes the same bytes."""
    records = Records(shape)
    for number in numbers:
        assert records.of(number) == encoded(shape, number), number


def write_archive(store: FileStore, folder: str, shape: Shape) -> int:
    """Fill an empty folder store; how many batches its log has.

    Args:
        store: Of `folder`, prepared.
        folder: Its path: records are written into it without asking the store, which would make each durable.
        shape: What kind.
    """
    create_archive(store, ARCHIVE_ID, NOON)
    records = Records(shape)
    before: tuple[Batch, str] | None = None
    folders: set[str] = set()
    entries: list[Entry] = []
    for number in range(shape.checkpoints):
        place = shape.place(number)
        receipt, manifest = records.of(number)
        key = layout.manifest(place.run, place.attempt, place.step)
        _write(folder, layout.receipt(place.run, place.attempt, place.step, 0), receipt, folders)
        _write(folder, key, manifest, folders)
        time = NOON + timedelta(seconds=shape.seconds * number)
        entries.append(Entry.of_record("commit", "", manifest, time, key))
        if len(entries) == MAX_ENTRIES or number == shape.checkpoints - 1:
            before = _seal(store, before, entries, time)
            entries = []
    return 0 if before is None else before[0].number


def _seal(
    store: FileStore, before: tuple[Batch, str] | None, entries: list[Entry], time: datetime
) -> tuple[Batch, str]:
    batch = Batch(
        archive_id=ARCHIVE_ID,
        number=1 if before is None else before[0].number + 1,
        previous="" if before is None else before[1],
        first_entry=0 if before is None else before[0].end_entry,
        sealed_at=time,
        sealed_by="generator",
        watermark=time,
        entries=tuple(entries),
    )
    _, sealed = add_batch(store, batch)
    return batch, sealed.sha256


def _write(folder: str, key: str, data: bytes, folders: set[str]) -> None:
    path = f"{folder}/{key}"
    parent = path.rpartition("/")[0]
    if parent not in folders:
        os.makedirs(parent, exist_ok=True)
        if len(folders) > 100_000:
            folders.clear()
        folders.add(parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
