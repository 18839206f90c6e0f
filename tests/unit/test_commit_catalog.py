"""What the archive holds, and that nothing is believed without its digest."""

from dataclasses import replace

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.catalog import find, load_manifest, load_receipts, places, runs, wanted
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipts import read_receipt
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.checkpoints import INLINE, Files, archive_files, contribute_files, contribution_of
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.verify import verify_objects

PLACE = Place("run", 2, 100)
SHARES: tuple[Files, Files] = (
    {"a": b"aaaa", "shared": b"s", "empty": b""},
    {"b/c": b"bb", "shared": b"s", "empty": b""},
)


def filled() -> MemoryStore:
    store = MemoryStore()
    archive_files(store, PLACE, *SHARES)
    return store


def only(store: Store, place: Place) -> None:
    store.create(layout.manifest(place.run, place.attempt, place.step), Body.of(b"{}"))


def replaced(store: Store, key: str, old: bytes, new: bytes) -> None:
    data = store.read(key, limit_bytes=100_000).data
    assert old in data
    store.delete(key)
    store.create(key, Body.of(data.replace(old, new)))


def test_runs_and_places_come_from_manifests_alone() -> None:
    store = MemoryStore()
    for run, attempt, step in (("b", 0, 5), ("b", 0, 7), ("b", 1, 6), ("a", 0, 1), ("b-2", 0, 9)):
        only(store, Place(run, attempt, step))
    contribute_files(store, Place("uncommitted", 0, 1), {"a": b"x"})
    assert sorted(runs(store)) == ["a", "b", "b-2"]
    assert list(places(store, "b")) == [Place("b", 1, 6), Place("b", 0, 7), Place("b", 0, 5)]
    assert list(places(store, "b", 0)) == [Place("b", 0, 7), Place("b", 0, 5)]
    assert list(places(store, "nowhere")) == []


def test_listings_longer_than_a_page_are_whole() -> None:
    store = MemoryStore()
    for step in range(2_500):
        only(store, Place("run", 0, step))
        only(store, Place(f"run-{step}", 0, 0))
    assert [place.step for place in places(store, "run")] == list(range(2_499, -1, -1))
    assert len(list(runs(store))) == 2_501


def test_the_first_places_cost_one_request() -> None:
    store = MemoryStore()
    for step in range(2_500):
        only(store, Place("run", 0, step))
    counting = CountingStore(store)
    assert next(places(counting, "run")) == Place("run", 0, 2_499)
    assert counting.requests == {"list": 1}


def test_a_step_in_two_attempts_is_that_of_the_newest() -> None:
    store = MemoryStore()
    for attempt, step in ((0, 100), (3, 100), (12, 50)):
        only(store, Place("run", attempt, step))
    assert find(store, "run", 100) == Place("run", 3, 100)
    assert find(store, "run", 100, 0) == Place("run", 0, 100)
    counting = CountingStore(store)
    find(counting, "run", 100)
    assert counting.requests == {"list": 1, "head": 2}


def test_what_is_not_committed_is_not_found() -> None:
    store = MemoryStore()
    contribute_files(store, PLACE, {"a": b"x"}, contribution=contribution_of(2))
    for call in (
        lambda: find(store, "run", 100),
        lambda: find(store, "run", 100, 2),
        lambda: find(store, "nowhere", 1),
        lambda: load_manifest(store, PLACE),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert "ckpt-archive ls" in caught.value.hint


@pytest.mark.parametrize(("run", "step"), [("Run", 1), ("run", -1), ("run", 10**12)])
def test_names_that_can_not_be_are_refused(run: str, step: int) -> None:
    with pytest.raises(InvalidInputError):
        find(MemoryStore(), run, step)


def test_everything_is_loaded_and_every_byte_is_as_recorded() -> None:
    store = filled()
    manifest = load_manifest(store, PLACE).manifest
    receipts = load_receipts(store, ThreadExecutor(), manifest)
    assert [receipt.rank for receipt in receipts] == [0, 1]
    files = wanted(receipts)
    assert [item.file.path for item in files] == ["a", "b/c", "empty", "shared"]
    assert len(files) == manifest.files
    assert sum(item.file.size_bytes for item in files) == manifest.size_bytes
    assert verify_objects(store, INLINE, files, TransferSettings()) == []


def test_the_store_tells_when_it_was_committed() -> None:
    store = filled()
    key = layout.manifest("run", 2, 100)
    assert load_manifest(store, PLACE).committed_at == store.head(key).modified


def test_one_rank_reads_its_own_receipt_alone() -> None:
    store = filled()
    manifest = load_manifest(store, PLACE).manifest
    counting = CountingStore(store)
    [receipt] = load_receipts(counting, INLINE, manifest, [1])
    assert receipt.rank == 1
    assert counting.requests == {"read": 1}
    with pytest.raises(NotFoundError, match="no rank 2"):
        load_receipts(store, INLINE, manifest, [2])


def test_a_changed_receipt_is_an_integrity_error_that_names_the_key() -> None:
    store = filled()
    manifest = load_manifest(store, PLACE).manifest
    key = layout.receipt("run", 2, 100, 1)
    replaced(store, key, b"launch-1", b"launch-9")
    with pytest.raises(IntegrityError, match=key):
        load_receipts(store, INLINE, manifest, [1])


def test_a_receipt_that_was_exchanged_for_another_whole_one_is_an_integrity_error_also_for_one_rank() -> None:
    store = filled()
    manifest = load_manifest(store, PLACE).manifest
    receipt, _ = read_receipt(store, PLACE, 1)
    other = replace(receipt, contribution=replace(receipt.contribution, labels={"who": "somebody else"}))
    key = layout.receipt("run", 2, 100, 1)
    store.delete(key)
    store.create(key, Body.of(other.encode()))
    assert read_receipt(store, PLACE, 1)[0] == other
    with pytest.raises(IntegrityError, match=key):
        load_receipts(store, INLINE, manifest, [1])


def test_a_missing_receipt_is_an_integrity_error_that_names_the_key() -> None:
    store = filled()
    manifest = load_manifest(store, PLACE).manifest
    key = layout.receipt("run", 2, 100, 0)
    store.delete(key)
    with pytest.raises(IntegrityError, match=key):
        load_receipts(store, INLINE, manifest)


@pytest.mark.parametrize(
    "change",
    [
        {"size_bytes": 1},
        {"files": 9},
        {"metrics": {"loss": 0.0}},
        {"launch_key": "x"},
        {"retention_class": "milestone"},
    ],
)
def test_a_forged_root_over_true_receipts_is_found_when_all_are_read(change: dict[str, object]) -> None:
    store = filled()
    forged = replace(load_manifest(store, PLACE).manifest, **change)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match="not the one that its receipts make"):
        load_receipts(store, INLINE, forged)


def test_a_root_over_receipts_that_do_not_fit_together_is_an_integrity_error() -> None:
    store, other = filled(), MemoryStore()
    archive_files(other, PLACE, SHARES[0], {"x": b"1"}, launch_key="launch-2")
    theirs = load_manifest(other, PLACE).manifest.receipts[1]
    key = layout.receipt("run", 2, 100, 1)
    store.delete(key)
    store.create(key, Body.of(other.read(key, limit_bytes=10_000).data))
    manifest = load_manifest(store, PLACE).manifest
    forged = replace(manifest, receipts=(manifest.receipts[0], theirs))
    with pytest.raises(IntegrityError, match="do not make a checkpoint"):
        load_receipts(store, INLINE, forged)


def test_a_manifest_under_another_key_is_refused() -> None:
    store = filled()
    data = store.read(layout.manifest("run", 2, 100), limit_bytes=10_000).data
    store.create(layout.manifest("run", 2, 101), Body.of(data))
    with pytest.raises(IntegrityError, match="says that it is of run step 100"):
        load_manifest(store, Place("run", 2, 101))


def test_members_of_a_newer_release_do_not_disturb_a_reader() -> None:
    store = filled()
    manifest = Manifest.decode(replace(load_manifest(store, PLACE).manifest, unknown={"codec": 1}).encode(), "it")
    assert len(load_receipts(store, INLINE, manifest)) == 2
