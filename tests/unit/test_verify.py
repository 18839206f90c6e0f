"""Verify: records and sizes, or every byte; every damage is a finding that names where it is, and none hides another."""

from pathlib import Path

import pytest

from ckpt_archive.audit.verify import VerifyFinding
from ckpt_archive.commit import layout
from ckpt_archive.errors import ColdError, DeniedError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import SMALL, archive_on, content, flip, keys, memory_store, put
from ckpt_archive.testing.checkpoints import archive_files, rewritten
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

FIRST = {"model.bin": b"weights!" * 400, "a.json": b"{}", "b.json": b"[1]", "common": b"c" * 900, "empty": b""}
SECOND = {"shard.bin": b"shard" * 300, "common": b"c" * 900}
SIZE = sum(map(len, FIRST.values())) + sum(map(len, SECOND.values()))


@pytest.fixture
def store() -> MemoryStore:
    """Two checkpoints of two writers, who have one file in common, and another run."""
    store = memory_store()
    archive_on(store)
    for step in (100, 200):
        archive_files(store, Place("run", 0, step), FIRST, SECOND, settings=SMALL)
    archive_files(store, Place("other", 0, 1), {"x": b"x"}, settings=SMALL)
    return store


def found(store: MemoryStore, *, deep: bool, step: int | None = None) -> tuple[VerifyFinding, ...]:
    return archive_on(store).verify("run", step, deep=deep).findings


def test_an_archive_in_order_has_no_findings(store: MemoryStore) -> None:
    for deep in (False, True):
        report = archive_on(store).verify(deep=deep)
        assert (report.deep, report.checkpoints, report.objects, report.findings) == (deep, 3, 2 * 5 + 1, ())
        assert report.size_bytes == 2 * SIZE + 1
    assert archive_on(store).verify("run").checkpoints == 2
    assert archive_on(store).verify("run", 100).checkpoints == 1


def test_what_it_costs(store: MemoryStore) -> None:
    counting = CountingStore(store)
    archive = archive_on(counting)
    counting.reset()
    archive.verify("run", attempt=0)
    # The listing of the checkpoints, and of what is said about their ends: nobody wants to hear that what has ended, as it
    # was announced, is missing. And to tell the archive: a listing for the store's time, the marker, the event.
    told = {"list": 2 + 1, "create": 2}
    # Of each checkpoint's objects one listing.
    assert counting.requests == {**told, "list": told["list"] + 2, "read": 2 * 3}
    counting.reset()
    archive.verify("run", attempt=0, deep=True)
    assert counting.requests == {**told, "read": 2 * 3, "head": 2 * 5, "fetch": 2 * (4 + 1 + 1 + 2 + 1)}


def test_a_step_needs_a_run(store: MemoryStore) -> None:
    with pytest.raises(InvalidInputError, match="of which run"):
        archive_on(store).verify(None, 100)
    with pytest.raises(InvalidInputError, match="of which run"):
        archive_on(store).verify(attempt=0)


def test_what_is_not_committed_is_not_found(store: MemoryStore) -> None:
    for run, step, attempt in (("none", None, None), ("run", 1, None), ("run", None, 3), ("run", 100, 1)):
        with pytest.raises(NotFoundError):
            archive_on(store).verify(run, step, attempt=attempt)


def test_every_flipped_bit_of_data_is_a_finding_of_a_deep_look_alone(store: MemoryStore) -> None:
    for key in keys(store, layout.data_folder("run", 0, 100)):
        before = content(store, key)
        for bit in range(0, len(before) * 8, 997 if len(before) > 100 else 1):
            flip(store, key, bit)
            assert found(store, deep=False) == ()
            findings = found(store, deep=True)
            assert {(item.run, item.attempt, item.step, item.key) for item in findings} == {("run", 0, 100, key)}
            put(store, key, before)


def test_a_flipped_bit_names_the_file(store: MemoryStore) -> None:
    large, packed = (
        next(key for key in keys(store, layout.data_folder("run", 0, 100)) if len(content(store, key)) == size)
        for size in (3200, 5)
    )
    flip(store, large, 8 * 1500)
    flip(store, packed, 8 * 3)
    findings = [(item.key, item.path, item.problem[:40]) for item in found(store, deep=True)]
    assert {(key, path) for key, path, _ in findings if path} == {(large, "model.bin"), (packed, "b.json")}
    assert any(path == "model.bin" and "in part 2" in problem for _, path, problem in findings)


def test_every_flipped_bit_of_a_record_is_a_finding_without_reading_data(store: MemoryStore) -> None:
    for key in (layout.manifest("run", 0, 100), layout.receipt("run", 0, 100, 1)):
        before = content(store, key)
        for bit in range(0, len(before) * 8, 61):
            flip(store, key, bit)
            findings = found(store, deep=False)
            assert len(findings) >= 1, bit
            assert {(item.run, item.step) for item in findings} == {("run", 100)}
            # A digest in the manifest that changed looks like a receipt that did.
            assert {item.key for item in findings} <= {
                key,
                layout.receipt("run", 0, 100, 0),
                layout.receipt("run", 0, 100, 1),
            }
            put(store, key, before)


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_or_short_object_is_a_finding(store: MemoryStore, deep: bool) -> None:
    first, second = keys(store, layout.share_folder("run", 0, 200, 1))
    store.delete(first)
    put(store, second, b"short")
    findings = found(store, deep=deep)
    assert [(item.step, item.key) for item in findings] == [(200, first), (200, second)]
    assert "is not in the store" in findings[0].problem
    assert "has 5 bytes, not" in findings[1].problem


@pytest.mark.parametrize("deep", [False, True])
def test_a_file_of_two_writers_is_looked_for_in_both(store: MemoryStore, deep: bool) -> None:
    """A restore of all takes the first one's; a restore of one rank needs its own."""
    (key,) = (key for key in keys(store, layout.share_folder("run", 0, 100, 1)) if len(content(store, key)) == 900)
    store.delete(key)
    assert [item.key for item in found(store, deep=deep)] == [key]


@pytest.mark.parametrize("deep", [False, True])
def test_no_damage_hides_another(store: MemoryStore, deep: bool) -> None:
    missing = layout.receipt("run", 0, 100, 0)
    store.delete(missing)
    (lost, *_) = keys(store, layout.share_folder("run", 0, 100, 1))
    store.delete(lost)
    broken = layout.manifest("run", 0, 200)
    put(store, broken, b"{}")
    assert sorted(item.key for item in found(store, deep=deep)) == sorted([missing, lost, broken])


def test_a_record_of_another_archive_is_a_finding(store: MemoryStore) -> None:
    put(store, layout.ARCHIVE, rewritten(content(store, layout.ARCHIVE), b"0123456789abcdef", b"f" * 16))
    findings = found(store, deep=False, step=100)
    assert [item.key for item in findings] == [layout.manifest("run", 0, 100)]
    assert "was written for the archive 0123" in findings[0].problem


def test_a_cold_object_is_said_not_to_have_been_read_and_the_others_are(store: MemoryStore) -> None:
    (cold, other, *_) = keys(store, layout.data_folder("run", 0, 100))
    flip(store, other, 5)

    def freeze(request: Request) -> None:
        if request.verb == "fetch" and request.key == cold:
            raise ColdError("it is cold")

    report = archive_on(HookedStore(store, before=freeze)).verify("run", 100, deep=True)
    assert {item.key for item in report.findings} == {cold, other}
    assert any("not read: thaw it first" in item.problem for item in report.findings)


@pytest.mark.parametrize("error", [UnavailableError("gone"), DeniedError("no")])
@pytest.mark.parametrize("verb", ["read", "head", "fetch", "list"])
def test_a_store_that_does_not_answer_is_no_finding(store: MemoryStore, error: UnavailableError, verb: str) -> None:
    def fail(request: Request) -> None:
        if request.verb == verb and request.key != layout.ARCHIVE:
            raise error

    with pytest.raises(type(error)):
        archive_on(HookedStore(store, before=fail)).verify("run", attempt=0, deep=True)


def test_verify_is_what_a_restore_would_say(store: MemoryStore, tmp_path: Path) -> None:
    """It once happened to others that a check passed and the restore failed."""
    for number, key in enumerate(keys(store, layout.data_folder("run", 0, 100))):
        flip(store, key, 7)
        with pytest.raises(Exception, match=r"wrong twice|SHA-256"):
            archive_on(store).restore("run", 100, to=tmp_path / str(number), rank=int(key.split("/")[4]))
        assert found(store, deep=True, step=100)
        flip(store, key, 7)
