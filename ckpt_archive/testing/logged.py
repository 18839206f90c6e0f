"""Archives for the index: launches, checkpoints, decisions and events with their log, made by the real encoders."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.decision import Action, Decision
from ckpt_archive.commit.event import Event
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.contribution import Contribution
from ckpt_archive.digest import crc32c
from ckpt_archive.index.reading import read_file
from ckpt_archive.index.tables import OpenTable
from ckpt_archive.log.batch import Batch, Entry, Unresolved
from ckpt_archive.log.sequence import Sealed, add_batch
from ckpt_archive.place import Place
from ckpt_archive.share import DataObject, FileEntry, Share
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON


def digest_of(*words: object) -> str:
    """A SHA-256 that depends on these alone."""
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()


def made_share(place: Place, rank: int, files: int, *, tensors: Sequence[Json] | None = None) -> Share:
    """A share of so many files without their bytes: one large object, the rest packed."""
    packed = DataObject(digest_of(place, rank, "packed"), 4_096 * max(1, files - 1), 8 << 20, (crc32c(b"packed"),))
    large = DataObject(digest_of(place, rank, "large"), 64 << 20, 64 << 20, (crc32c(b"large"),))
    entries = [
        FileEntry(
            f"model/layer-{index:05d}.bin",
            4_096,
            digest_of(place, rank, index),
            0,
            4_096 * index,
            (crc32c(b"file"),),
            {} if tensors is None else {"tensors": list(tensors)},
        )
        for index in range(files - 1)
    ]
    entries.append(FileEntry("weights.safetensors", large.size_bytes, large.sha256, 1, 0, large.part_crc32c))
    return Share(tuple(entries), (packed, large))


@dataclass(slots=True)
class LoggedArchive:
    """An archive whose log is written by hand, batch by batch.

    Attributes:
        store: Where.
        now: The clock of the store as the log tells it; moved on by a second for each record.
        entries: What the next batch will hold.
        sealed: The batches so far.
    """

    store: Store
    now: datetime = NOON
    entries: list[Entry] = field(default_factory=list)
    sealed: list[Sealed] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_archive(self.store, ARCHIVE_ID, NOON)

    def put(self, kind: str, identity: str, key: str, data: bytes) -> Entry:
        """Create a record and log it."""
        self.store.create(key, Body.of(data))
        return self.log(kind, identity, key, data)

    def log(self, kind: str, identity: str, key: str, data: bytes) -> Entry:
        """Log a record, whatever the store holds."""
        self.now += timedelta(seconds=1)
        entry = Entry.of_record(kind, identity, data, self.now, key)
        self.entries.append(entry)
        return entry

    def launch(self, run: str, attempt: int, **said: object) -> Launch:
        """Record a launch."""
        members: dict[str, object] = {
            "launch_key": f"{run}-{attempt}",
            "writers": 1,
            "started_at": self.now,
            "resume_from": None,
            "explicit": False,
            "falls_back_to": None,
            "late": False,
        }
        launch = Launch(ARCHIVE_ID, run, attempt, **(members | said))  # type: ignore[arg-type]
        self.put("launch", "", layout.attempt_record(run, attempt), launch.encode())
        return launch

    def decision(self, decision: Decision) -> None:
        """Record a decision."""
        key = layout.decision(decision.run, decision.attempt, decision.step)
        self.put("decision", "", key, decision.encode())

    def event(self, kind: str, **said: object) -> Event:
        """Record an event."""
        event_id = digest_of(kind, len(self.entries), self.now)[:32]
        event = Event(ARCHIVE_ID, kind, event_id, self.now, **said)  # type: ignore[arg-type]
        self.put("event", event_id, layout.event_record(kind, event_id, self.now), event.encode())
        return event

    def checkpoint(
        self,
        place: Place,
        *,
        files: Sequence[int] = (3,),
        timings: Json = None,
        tensors: Sequence[Json] | None = None,
        **said: object,
    ) -> Manifest:
        """Record a checkpoint of so many files of each writer."""
        receipts: list[tuple[Receipt, bytes]] = []
        contribution = Contribution(f"{place.run}-{place.attempt}", len(files), NOON, **said)  # type: ignore[arg-type]
        for rank, count in enumerate(files):
            share = made_share(place, rank, count, tensors=tensors)
            if rank:
                renamed = tuple(
                    FileEntry(
                        f"rank-{rank:05d}/{file.path}",
                        *(
                            getattr(file, name)
                            for name in ("size_bytes", "sha256", "object_index", "offset", "crc32c", "unknown")
                        ),
                    )
                    for file in share.files
                )
                share = Share(renamed, share.objects)
            unknown = {} if timings is None else {"timings": timings}
            receipt = Receipt(ARCHIVE_ID, place.run, place.attempt, place.step, rank, contribution, share, unknown)
            data = receipt.encode()
            self.store.create(layout.receipt(place.run, place.attempt, place.step, rank), Body.of(data))
            receipts.append((receipt, data))
        manifest = Manifest.of(receipts)
        self.put("commit", "", layout.manifest(place.run, place.attempt, place.step), manifest.encode())
        return manifest

    def seal(self, more: Iterable[Entry] = (), **said: object) -> Sealed:
        """Add a batch with what was recorded since the last one."""
        self.now += timedelta(seconds=1)
        before = self.sealed[-1] if self.sealed else None
        batch = Batch(
            archive_id=ARCHIVE_ID,
            number=before.number + 1 if before else 1,
            previous=before.sha256 if before else "",
            first_entry=before.batch.end_entry if before else 0,
            sealed_at=self.now,
            sealed_by="node",
            watermark=self.now,
            entries=(*self.entries, *more),
            **said,  # type: ignore[arg-type]
        )
        is_ours, sealed = add_batch(self.store, batch)
        assert is_ours
        self.sealed.append(sealed)
        self.entries = []
        return sealed


def table_rows(store: Store, opened: OpenTable) -> list[dict[str, Json]]:
    """All rows of a table, in the order of its columns as text: equal for equal rows, whatever files they are in."""
    rows = [
        row
        for file in opened.files()
        for batch in read_file(store, opened.table, file, [column.name for column in opened.table.columns])
        for row in batch.to_pylist()
    ]
    return sorted(rows, key=str)


def all_rows(store: Store, tables: Mapping[str, OpenTable]) -> dict[str, list[dict[str, Json]]]:
    """All rows of all tables."""
    return {name: table_rows(store, opened) for name, opened in tables.items()}


def small_archive(store: Store) -> LoggedArchive:
    """An archive with something of everything, in three batches."""
    made = LoggedArchive(store)
    labels = {"project": "translation", "owner": "jo", "purpose": "demo", "risk_class": "high"}
    lineage = {
        "sources": [
            {"uri": "s3://corpus/v3", "version": "3", "digest": digest_of("v3"), "licence": "CC-BY-4.0", "records": 10},
            "s3://plain",
        ],
        "code": {"commit": "9fceb02", "dirty": False},
        "config": {"sha256": digest_of("config")},
        "environment": {"sha256": digest_of("environment")},
    }
    metrics = {"loss": 2.5, "steps": 7, "worst": "NaN", "note": "x"}
    said: dict[str, Json] = {"labels": labels, "lineage": lineage, "metrics": metrics}
    made.launch("base", 0, labels=labels)
    for number in range(3):
        promotion = {"rule": "every", "count": 5, "ordinal": number}
        timings = {"save_seconds": 0.5 + number, "upload_seconds": 2}
        place = Place("base", 0, 100 * number)
        made.checkpoint(place, files=(3, 2), timings=timings, promotion=promotion, retention_class="daily", **said)
    made.seal()
    made.launch("base", 1, labels=labels, resume_from=Place("base", 0, 100))
    made.launch("tuned", 0, labels={"project": "chat"}, resume_from=Place("base", 1, 150), explicit=True)
    made.launch("base", 2, resume_from=Place("base", 0, 0), explicit=True, branch=2)
    made.checkpoint(Place("base", 1, 150), labels={"project": "translation", "owner": "al"})
    tensors = [{"name": "w", "dtype": "f32", "shape": [2, 3], "offset": 0, "size": 24}]
    made.checkpoint(Place("tuned", 0, 7), tensors=tensors, completeness="assumed")
    made.decision(Decision(ARCHIVE_ID, "tuned", 0, 9, Action.GAP, "the disk is full", "node", made.now))
    made.decision(Decision(ARCHIVE_ID, "tuned", 0, 11, Action.PROMOTE, "milestone:best", "jo", made.now))
    made.seal([Entry.finding("log/pending/odd", made.now, "it is not a marker's key")], unresolved=_UNRESOLVED)
    made.event("restored", places=(Place("base", 0, 100), Place("tuned", 0, 7)), actor="jo", outcome="ok", size_bytes=5)
    made.event("source", places=(Place("base", 0, 0),), subject="s3://late", actor="al", details={"licence": "MIT"})
    made.event("output", places=(Place("tuned", 0, 7),), digest=digest_of("gguf"), details={"relation": "quantized"})
    made.event("lineage", digest=digest_of("corpus"), subject="s3://raw", details={"relation": "dataset"})
    details = {
        "algorithm": "ecdsa-p256",
        "owner": "release",
        "public_key": "PEM",
        "valid_from": "2026-03-01T00:00:00.000000Z",
    }
    made.event("key-published", subject=digest_of("key"), details=details, until_at=NOON)
    made.event("key-revoked", subject=digest_of("key"), reason="rotated")
    made.event("incident", run="base", rank=3, node="gpu-17", reason="it diverged")
    made.seal()
    return made


_UNRESOLVED = (Unresolved("log/pending/2026/03/01/12/waiting", "commit", NOON),)
