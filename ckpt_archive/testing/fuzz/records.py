"""Every stored record: mutated by member, its checksum made anew, and mutated by byte."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ckpt_archive import clock, record
from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.decision import Action, Decision
from ckpt_archive.commit.event import Event
from ckpt_archive.commit.launch_record import Fallback, Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.local.facts import Decode
from ckpt_archive.local.launch_records import LocalAttempt, LocalLaunch, Resume
from ckpt_archive.local.sealed import Seal, SealedFile
from ckpt_archive.local.share_facts import (
    Archived,
    check_receipt,
    decode_archived,
    decode_gap,
    decode_promotion,
    encode_archived,
    encode_gap,
    encode_promotion,
)
from ckpt_archive.log.batch import Batch, Entry, Unresolved
from ckpt_archive.names import check_file_tree
from ckpt_archive.place import Place
from ckpt_archive.share import Share
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, contribution_of, share_of
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import bytes_mutated, mutated, sealed, value_of

PLACE = Place("run-a", 3, 200)
FILES: Mapping[str, bytes] = {"config.json": b"{}" * 60, "empty": b"", "model/w.bin": b"w" * 2500, "tiny": b"t" * 40}
REFUSALS = (IntegrityError, InvalidInputError)


def receipts(writers: int = 2) -> list[Receipt]:
    """Those of a small checkpoint."""
    said = contribution_of(
        writers, "key-1", metrics={"loss": 2.5, "é": 1}, labels={"project": "x"}, lineage={"code": "c"}
    )
    made = []
    for rank in range(writers):
        files = {f"{path}-{rank}": data + b"%d" % rank if data else data for path, data in FILES.items()}
        when = replace(
            said, staged_at=said.staged_at + timedelta(seconds=rank), promotion={"rule": "every", "count": 1}
        )
        made.append(Receipt(ARCHIVE_ID, *_place(), rank, when, share_of(files, SMALL)))
    return made


def _place() -> tuple[str, int, int]:
    return PLACE.run, PLACE.attempt, PLACE.step


def manifest() -> Manifest:
    """Of that checkpoint."""
    return Manifest.of([(receipt, receipt.encode()) for receipt in receipts()])


def launch(**said: Any) -> Launch:
    """The launch that wrote it."""
    told: dict[str, Any] = {
        "archive_id": ARCHIVE_ID, "run": "run-a", "attempt": 3, "launch_key": "key-1", "writers": 2,
        "started_at": NOON,
        "resume_from": Place("run-a", 1, 100), "explicit": True, "falls_back_to": Fallback(1, 100), "late": False,
        "labels": {"project": "x"}, "branch": 3,
    }  # fmt: skip
    return Launch(**{**told, **said})


def event() -> Event:
    """About that checkpoint, with all that an event may say."""
    return Event(
        ARCHIVE_ID, "held", "e" * 32, NOON, "anna", "node-a", (PLACE, replace(PLACE, step=300)), "run-a", 0,
        "case 4711", "b" * 64, "ok", "asked for", NOON, 10**9, {"case": {"id": 4711, "é": [1.5, None]}},
    )  # fmt: skip


def batch() -> Batch:
    """A batch of the log with every kind of entry."""
    records = [manifest().encode(), launch().encode(), event().encode()]
    moments = [NOON + timedelta(seconds=number) for number in range(4)]
    return Batch(
        archive_id=ARCHIVE_ID, number=7, previous="c" * 64, first_entry=123, sealed_at=moments[3], sealed_by="node-a",
        watermark=moments[3], swept_at=NOON, entries=(
            Entry.of_record("commit", "", records[0], moments[0], layout.manifest(*_place())),
            Entry.of_record("launch", "", records[1], moments[1], layout.attempt_record("run-a", 3)),
            Entry.of_record("event", "e" * 32, records[2], moments[2], layout.event_record("held", "e" * 32, NOON)),
            Entry.finding("log/pending/odd", NOON, "it is no marker", "d" * 64),
            Entry.finding("log/pending/gone", NOON, "it vanished"),
        ),
        unresolved=(Unresolved("log/pending/2026/03/01/12/waiting", "commit", NOON),),
    )  # fmt: skip


def seal() -> Seal:
    """Of a share."""
    files = tuple(SealedFile(path, len(data), 10**18 + 7, 42) for path, data in sorted(FILES.items()))
    return Seal("run-a", 1, 200, 0, 7, contribution_of(2, "key-1", metrics={"loss": 2.5}), files)


def _again(decode: Callable[[bytes, str], Any]) -> Callable[[Any], None]:
    """What was read and is written again reads as the same."""

    def check(value: Any) -> None:
        require(decode(value.encode(), "again") == value, "it reads otherwise when it is written again")

    return check


def _receipt_taken(found: Receipt) -> None:
    _again(Receipt.decode)(found)
    _share_taken(found.share)
    if found.rank == 0 and found.contribution.writers == 1:
        try:
            made = Manifest.of([(found, found.encode())])
        except ConflictError:
            return
        require(Manifest.decode(made.encode(), "again") == made, "its manifest reads otherwise")


def _share_taken(share: Share) -> None:
    check_file_tree(file.path for file in share.files)
    for file in share.files:
        if file.object_index is not None:
            item = share.objects[file.object_index]
            require(file.offset >= 0 and file.offset + file.size_bytes <= item.size_bytes, "a file lies outside")
            require(len(file.crc32c) == -(-file.size_bytes // item.part_size_bytes), "a file has too few checksums")
    require(share.size_bytes >= 0, "a negative size")


def _launch_taken(found: Launch) -> None:
    _again(Launch.decode)(found)
    require(found.falls_back_to is None or found.falls_back_to.attempt < found.attempt, "it falls back to itself")
    require(not found.late or found.falls_back_to is not None, "late without the one that answers")


def _marker_taken(found: Marker) -> None:
    _again(Marker.decode)(found)
    require(len(found.identity) == 32, "an id of another length")
    require(".." not in found.record_key and found.record_key.count("/") in (3, 4, 5), "a key of another shape")


def _batch_taken(found: Batch) -> None:
    _again(Batch.decode)(found)
    require(found.number > 0 and found.first_entry >= 0, "it counts below its beginning")
    require((found.number == 1) == (not found.previous), "it follows nothing")
    require(all(entry.digest or entry.kind == "finding" for entry in found.entries), "a record without a digest")
    require(all(len(entry.id) == 32 and entry.subject for entry in found.entries), "an entry about nothing")


def _local_launch() -> LocalLaunch:
    return LocalLaunch(
        "run-a", 1, "key-1", "file:///tmp/archive", 2, NOON, labels={"a": "b"}, sources=({"uri": "s3://x"},),
        every={"rule": "every", "count": 5}, quota_bytes=10**9,
    )  # fmt: skip


def _digests(data: bytes, what: str) -> Share:
    return Share.from_json(record.decode("digests", data, what))


def _nothing(_: object) -> None:
    """There is no more to it."""


def _kind(name: str, data: bytes, decode: Decode[Any], taken: Callable[[Any], None], weight: int) -> Kind:
    base = json.loads(data)
    template = data

    def make(chance: random.Random) -> Input:
        pick = chance.random()
        if pick < 0.7:
            return mutated(chance, base)
        if pick < 0.9:
            return bytes_mutated(chance, template)
        if pick < 0.98:
            return bytes_mutated(chance, sealed(mutated(chance, base)))
        return value_of(chance)

    def take(value: Input) -> bool:
        try:
            found = decode(sealed(value), f"the {name}")
        except REFUSALS as error:
            require(len(str(error)) < 20_000, "a message as long as that")
            return False
        taken(found)
        return True

    return Kind(f"record {name}", make, take, weight)


def _handover(data: bytes, what: str) -> int:
    return record.decode("agent-handover", data, what).number("protocol")


def _missed(data: bytes, what: str) -> object:
    fields = record.decode("missed-save", data, what)
    return (
        fields.number("launch"),
        fields.number("step"),
        fields.number("rank"),
        fields.text("reason"),
        fields.time("at"),
    )


def record_kinds() -> list[Kind]:
    """All of them."""
    first = receipts()[0]
    alone = receipts(1)[0]
    late = launch(late=True, falls_back_to=Fallback(2, None), branch=1, explicit=False, resume_from=None)
    markers = (
        Marker.of_commit(ARCHIVE_ID, PLACE, "a" * 64),
        Marker.of_launch(ARCHIVE_ID, "run-a", 3, b"launch"),
        Marker.of_decision(ARCHIVE_ID, PLACE, b"decision"),
        Marker.of_event(ARCHIVE_ID, "key-published", "e" * 32, NOON),
    )
    decision = Decision(ARCHIVE_ID, *_place(), Action.GAP, "the disk is full", "node-a", NOON)
    attempt = LocalAttempt(ARCHIVE_ID, 3, late=False)
    resume = Resume(Place("run-a", 1, 100), explicit=True, source="ring", from_ring=(0, 100))
    at = clock.to_text(NOON)
    missed = {"launch": 1, "step": 2, "rank": 0, "reason": "full", "at": at}
    return [
        _kind(
            "archive.json",
            ArchiveRecord(ARCHIVE_ID, NOON).encode(),
            ArchiveRecord.decode,
            _again(ArchiveRecord.decode),
            30,
        ),
        _kind("receipt", first.encode(), Receipt.decode, _receipt_taken, 110),
        _kind("receipt of one", alone.encode(), Receipt.decode, _receipt_taken, 50),
        _kind("manifest", manifest().encode(), Manifest.decode, _again(Manifest.decode), 110),
        _kind("launch", launch().encode(), Launch.decode, _launch_taken, 60),
        _kind("late launch", late.encode(), Launch.decode, _launch_taken, 20),
        _kind("decision", decision.encode(), Decision.decode, _again(Decision.decode), 40),
        *(_kind(f"{marker.kind} marker", marker.encode(), Marker.decode, _marker_taken, 20) for marker in markers),
        _kind("event", event().encode(), Event.decode, _again(Event.decode), 60),
        _kind("batch", batch().encode(), Batch.decode, _batch_taken, 60),
        _kind("seal", seal().encode(), Seal.decode, _again(Seal.decode), 90),
        _kind("digests", record.encode("digests", first.share.to_json(), {}), _digests, _share_taken, 50),
        _kind("local launch", _local_launch().encode(), LocalLaunch.decode, _again(LocalLaunch.decode), 40),
        _kind("resume", resume.encode(), Resume.decode, _again(Resume.decode), 30),
        _kind("attempt", attempt.encode(), LocalAttempt.decode, _again(LocalAttempt.decode), 20),
        _kind("promote.json", encode_promotion({"rule": "milestone"}), decode_promotion, _nothing, 20),
        _kind("archived.json", encode_archived(Archived(ARCHIVE_ID, 3, "b" * 64, NOON)), decode_archived, _nothing, 20),
        _kind("gap.json", encode_gap("full", NOON), decode_gap, _nothing, 20),
        _kind("receipt.json", first.encode(), check_receipt, _nothing, 10),
        _kind("missed save", record.encode("missed-save", missed, {}), _missed, _nothing, 10),
        _kind("handover", record.encode("agent-handover", {"protocol": 1}, {}), _handover, _nothing, 10),
    ]
