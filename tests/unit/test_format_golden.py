"""Format version 1, held fast: the golden files are read, checked and restored, and today's code writes the same bytes."""

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.decision import GAP, PROMOTE, Decision, read_decisions
from ckpt_archive.commit.event import Event
from ckpt_archive.commit.latest import latest
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local import gaps, share_facts
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.gaps import load_missed
from ckpt_archive.local.launch_records import LocalAttempt, LocalLaunch, Resume
from ckpt_archive.local.launches import load_launches, read_attempt, read_resume
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.ring import scan
from ckpt_archive.local.sealed import Seal
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.log.batch import Batch
from ckpt_archive.place import Place
from ckpt_archive.restore.proof import prove
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.staged import local_machine

FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = FIXTURES / "format-1"
BATCHES = sorted((GOLDEN / "archive" / layout.SEQUENCE).iterdir())
RECORDS = sorted(
    str(path.relative_to(GOLDEN)) for path in (*GOLDEN.rglob("*.json"), *BATCHES) if "files" not in path.parts
)
MACHINE = local_machine()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_format_1", FIXTURES / "make_format_1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = generator()


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


@pytest.fixture
def archive(golden: Path) -> Archive:
    return Archive.open(f"file://{golden}/archive")


@pytest.fixture
def run(golden: Path) -> RunStaging:
    return Staging(MACHINE, str(golden / "staging"), allow_network=True).run(MAKE.ONE)


# --- what is written -----------------------------------------------------------------------------------------------------


def test_todays_code_writes_the_golden_files(tmp_path: Path) -> None:
    MAKE.make(tmp_path)
    made, kept = tree(tmp_path), tree(GOLDEN)
    assert made.keys() == kept.keys()
    for path in kept:
        assert made[path] == kept[path], path


def test_it_is_small() -> None:
    assert sum(map(len, tree(GOLDEN).values())) < 200_000


# --- every record --------------------------------------------------------------------------------------------------------


def _digests(data: bytes, what: str) -> Share:
    return Share.from_json(record.decode("digests", data, what))


Reencode = Callable[[bytes], bytes]

KEPT: Mapping[str, Reencode] = {
    "archive": lambda data: ArchiveRecord.decode(data, "it").encode(),
    "decision": lambda data: Decision.decode(data, "it").encode(),
    "event": lambda data: Event.decode(data, "it").encode(),
    "launch": lambda data: Launch.decode(data, "it").encode(),
    "local-launch": lambda data: LocalLaunch.decode(data, "it").encode(),
    "manifest": lambda data: Manifest.decode(data, "it").encode(),
    "marker": lambda data: Marker.decode(data, "it").encode(),
    "receipt": lambda data: Receipt.decode(data, "it").encode(),
    "seal": lambda data: Seal.decode(data, "it").encode(),
    "sequence": lambda data: Batch.decode(data, "it").encode(),
}
"""The kinds whose unknown members are kept when they are encoded again."""


def _status(data: bytes) -> bytes:
    # Derived, read and replaced in one place: nothing but that file makes one.
    fields = record.decode("agent-status", data, "it")
    names = ("at", "pid", "protocol", "pending", "troubles", "denied", "oldest_staged_at")
    return record.encode("agent-status", {name: fields.peek(name) for name in names}, {})


def _members(kind: str, *names: str) -> Reencode:
    def reencode(data: bytes) -> bytes:
        fields = record.decode(kind, data, "it")
        return record.encode(kind, {name: fields.peek(name) for name in names}, {})

    return reencode


def _gap(data: bytes) -> bytes:
    gap = share_facts.decode_gap(data, "it")
    assert gap.at is not None
    return share_facts.encode_gap(gap.reason, gap.at)


def _missed(data: bytes) -> bytes:
    gaps._decode(data, "it")
    return _members("missed-save", "launch", "step", "rank", "reason", "at")(data)


FACTS: Mapping[str, Reencode] = {
    "agent-handover": _members("agent-handover", "protocol"),
    "agent-status": _status,
    "archived": lambda data: share_facts.encode_archived(share_facts.decode_archived(data, "it")),
    "digests": lambda data: record.encode("digests", _digests(data, "it").to_json(), {}),
    "gap": _gap,
    "local-attempt": lambda data: LocalAttempt.decode(data, "it").encode(),
    "local-resume": lambda data: Resume.decode(data, "it").encode(),
    "missed-save": _missed,
    "promote": lambda data: share_facts.encode_promotion(share_facts.decode_promotion(data, "it")),
    "quarantine": _members("quarantine", "path", "reason", "set_aside_at"),
}
"""The kinds that are written once by one node and never encoded again."""


def kind_of(data: bytes) -> str:
    return str(strictjson.decode(data, "it")["format"]).removeprefix("ckpt-archive/")


def test_there_is_a_golden_record_of_every_kind() -> None:
    assert {kind_of((GOLDEN / path).read_bytes()) for path in RECORDS} == KEPT.keys() | FACTS.keys()


@pytest.mark.parametrize("path", RECORDS)
def test_a_record_encoded_again_has_the_same_bytes(path: str) -> None:
    data = (GOLDEN / path).read_bytes()
    assert {**KEPT, **FACTS}[kind_of(data)](data) == data


@pytest.mark.parametrize("path", RECORDS)
def test_the_bytes_are_canonical(path: str) -> None:
    data = (GOLDEN / path).read_bytes()
    assert strictjson.encode(strictjson.decode(data, path)) == data


@pytest.mark.parametrize("path", RECORDS)
def test_unknown_members_are_accepted_and_kept(path: str) -> None:
    members = strictjson.decode((GOLDEN / path).read_bytes(), path)
    kind = str(members["format"]).removeprefix("ckpt-archive/")
    data = record.with_checksum(with_unknown_members(members))
    if kind in KEPT:
        assert KEPT[kind](data) == data
    else:
        FACTS[kind](data)


def with_unknown_members(members: dict[str, Json]) -> dict[str, Json]:
    """As a newer release may write it: more at the top, and in the entries of files, objects, receipts and batches."""
    entries = {
        name: [
            {**entry, "tensors": [{"name": "w", "shape": [2]}], "timings": {"seconds": 1.5}} for entry in members[name]
        ]
        for name in ("files", "objects", "receipts", "entries")
        if isinstance(members.get(name), list)
    }
    if members["format"] == "ckpt-archive/seal":
        entries = {}
    return {**members, **entries, "timings": {"upload_seconds": 2.5}, "zukunft": ["ü", None, 1e300, -1, True]}


@pytest.mark.parametrize("path", RECORDS)
def test_what_requires_a_newer_release_is_refused(path: str) -> None:
    members = strictjson.decode((GOLDEN / path).read_bytes(), path)
    kind = str(members["format"]).removeprefix("ckpt-archive/")
    for newer in ({"requires": ["frames"]}, {"version": 2}):
        with pytest.raises(InvalidInputError, match="needs a newer release") as refused:
            {**KEPT, **FACTS}[kind](record.with_checksum({**members, **newer}))
        assert "Upgrade" in refused.value.hint


# --- the archive ---------------------------------------------------------------------------------------------------------


def test_the_archive_is_whole(archive: Archive) -> None:
    assert archive.id == MAKE.ARCHIVE_ID
    report = archive.verify(deep=True)
    assert (report.findings, report.checkpoints, report.objects) == ((), 3, 7)


@pytest.mark.parametrize(("attempt", "step"), [(0, 200), (1, 250)])
def test_a_checkpoint_of_one_writer_is_restored(archive: Archive, tmp_path: Path, attempt: int, step: int) -> None:
    archive.restore(MAKE.ONE, step, attempt=attempt, to=tmp_path / "out", exact_folder=True)
    assert tree(tmp_path / "out") == dict(MAKE.files_of(step))


def test_a_checkpoint_of_two_writers_is_restored(archive: Archive, tmp_path: Path) -> None:
    archive.restore(MAKE.TWO, 1000, to=tmp_path / "out", exact_folder=True)
    assert tree(tmp_path / "out") == {**MAKE.WRITERS[0], **MAKE.WRITERS[1]}


def test_launches_and_decisions_are_understood(archive: Archive) -> None:
    store = archive.connection.store
    assert latest(store, MAKE.ONE) == Place(MAKE.ONE, 1, 250)
    assert latest(store, MAKE.TWO) == Place(MAKE.TWO, 0, 1000)
    actions = {step: found.action for step, found in read_decisions(store, MAKE.ONE, 1).items()}
    assert actions == {400: GAP, 700: PROMOTE}


def test_the_log_holds_every_record_once() -> None:
    (path,) = BATCHES
    batch = Batch.decode(path.read_bytes(), "it")
    root = GOLDEN / "archive"
    logged = {entry.key: entry.digest for entry in batch.entries}
    found = [
        *(root / "manifests").rglob("*.json"),
        *(root / "runs").rglob("*.json"),
        *(root / "log/events").rglob("*.json"),
    ]
    assert logged == {str(path.relative_to(root)): sha256_hex(path.read_bytes()) for path in found}
    assert len(batch.entries) == len(logged)


def test_a_manifest_names_the_digests_that_sha256sum_prints() -> None:
    for path in (GOLDEN / "archive" / "manifests").rglob("*.json"):
        manifest = Manifest.decode(path.read_bytes(), "it")
        for entry in manifest.receipts:
            receipt = GOLDEN / "archive" / layout.receipt(manifest.run, manifest.attempt, manifest.step, entry.rank)
            assert sha256_hex(receipt.read_bytes()) == entry.sha256


def rewrite_checkpoint(root: Path, change: Callable[[dict[str, Json]], dict[str, Json]]) -> None:
    """Change the receipts of the checkpoint of `TWO`, and its manifest to match."""
    manifest = root / layout.manifest(MAKE.TWO, 0, 1000)
    members = strictjson.decode(manifest.read_bytes(), "manifest")
    for entry in members["receipts"]:
        path = root / layout.receipt(MAKE.TWO, 0, 1000, entry["rank"])
        data = record.with_checksum(change(strictjson.decode(path.read_bytes(), "receipt")))
        path.write_bytes(data)
        entry.update(sha256=sha256_hex(data), size=len(data))
    manifest.write_bytes(record.with_checksum(members))


def test_a_checkpoint_with_unknown_members_is_restored(archive: Archive, golden: Path, tmp_path: Path) -> None:
    rewrite_checkpoint(golden / "archive", with_unknown_members)
    archive.restore(MAKE.TWO, 1000, to=tmp_path / "out", exact_folder=True)
    assert tree(tmp_path / "out") == {**MAKE.WRITERS[0], **MAKE.WRITERS[1]}
    assert archive.verify(MAKE.TWO, deep=True).findings == ()


def test_reserved_members_that_change_nothing_are_accepted(archive: Archive, golden: Path, tmp_path: Path) -> None:
    def change(members: dict[str, Json]) -> dict[str, Json]:
        for file in members["files"]:
            file.update(encoding="identity", stored_size=file["size"], stored_sha256=file["sha256"])
        return members

    rewrite_checkpoint(golden / "archive", change)
    archive.restore(MAKE.TWO, 1000, to=tmp_path / "out", exact_folder=True)
    assert tree(tmp_path / "out") == {**MAKE.WRITERS[0], **MAKE.WRITERS[1]}


@pytest.mark.parametrize(
    ("entries", "newer"),
    [
        ("files", {"encoding": "split-zstd-1"}),
        ("objects", {"encoding": "split-zstd-1"}),
        ("files", {"key": "import/model.bin"}),
        ("files", {"key": "import/model.bin", "version_id": "7", "etag": "abc", "sha256": None}),
        ("objects", {"key": "import/model.bin", "version_id": "7", "etag": "abc", "sha256": None}),
    ],
)
def test_bytes_that_lie_elsewhere_or_otherwise_need_a_newer_release(
    archive: Archive, golden: Path, tmp_path: Path, entries: str, newer: dict[str, Json]
) -> None:
    def change(members: dict[str, Json]) -> dict[str, Json]:
        members[entries][0].update(newer)
        return members

    rewrite_checkpoint(golden / "archive", change)
    with pytest.raises(InvalidInputError, match=rf"receipts/.*{entries}\[0\] needs a newer release"):
        archive.restore(MAKE.TWO, 1000, to=tmp_path / "out", exact_folder=True)
    assert not (tmp_path / "out").exists()
    (finding, *_) = archive.verify(MAKE.TWO).findings
    assert "needs a newer release" in finding.problem


@pytest.mark.parametrize(
    ("entries", "damage", "problem"),
    [
        ("objects", {"crc32c": ["xyz"]}, "CRC32C"),
        ("files", {"crc32c": ["0000000"]}, "CRC32C"),
        ("files", {"path": "../up"}, "not allowed"),
        ("files", {"path": "a/b"}, "order|folder|twice"),
        ("files", {"encoding": "identity", "stored_size": 1}, "another size"),
        ("files", {"sha256": None}, "missing"),
    ],
)
def test_a_malformed_entry_is_an_integrity_error_that_names_the_record(
    archive: Archive, golden: Path, tmp_path: Path, entries: str, damage: dict[str, Json], problem: str
) -> None:
    def change(members: dict[str, Json]) -> dict[str, Json]:
        members[entries][-1].update(damage)
        return members

    rewrite_checkpoint(golden / "archive", change)
    with pytest.raises(IntegrityError, match=rf"receipts/{MAKE.TWO}/.*({problem})"):
        archive.restore(MAKE.TWO, 1000, to=tmp_path / "out", exact_folder=True)


# --- the staging directory -----------------------------------------------------------------------------------------------


def test_the_ring_is_read_and_proved(run: RunStaging) -> None:
    shares = {(share.launch, share.step): share for share in scan(run)}
    assert list(shares) == [(0, 300), (1, 250), (1, 300), (1, 400)]
    for (_, step), share in shares.items():
        made = step if share.launch == 0 or step != 300 else 302
        found = {file.path: (Path(share.files_path) / file.path).read_bytes() for file in share.seal.files}
        assert found == dict(MAKE.files_of(made))
        assert prove(MACHINE, share)
    assert {place for place, share in shares.items() if share.is_archived} == {(1, 250)}
    assert {place for place, share in shares.items() if share.has_gap} == {(1, 400)}
    assert shares[1, 250].promotion() == {"rule": "milestone", "name": "best"}
    assert shares[1, 300].generation == 1
    receipt = shares[1, 250].receipt_bytes()
    assert receipt == (GOLDEN / "archive" / layout.receipt(MAKE.ONE, 1, 250, 0)).read_bytes()


def test_what_is_known_of_launches_is_read(run: RunStaging) -> None:
    first, second = load_launches(run)
    assert (first.launch_key, second.launch_key, first.quota_bytes) == ("launch-a", "launch-b", 1 << 40)
    assert read_resume(run, 0) == Resume(None, False, "")
    assert read_resume(run, 1) == Resume(Place(MAKE.ONE, 0, 200), True, "archive", (0, 200))
    assert read_attempt(run, 1) == LocalAttempt(MAKE.ARCHIVE_ID, 1, False)


def test_gaps_quarantine_and_status_are_read(run: RunStaging) -> None:
    (missed,) = load_missed(run)
    assert (missed.launch, missed.step, missed.rank) == (1, 500, 0)
    (aside,) = quarantined(run)
    assert aside.path == "ring/note.txt"
    status = read_status(run.staging)
    assert status is not None
    assert status.pid == 4242
