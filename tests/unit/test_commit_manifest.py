"""The manifest: what it is made of, and what it refuses."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.commit.manifest import Manifest, ReceiptEntry
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.contribution import Contribution
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, Files, contribution_of, rewritten, share_of

PLACE = Place("run", 2, 100)


def receipt(rank: int, files: Files, said: Contribution, place: Place = PLACE, archive_id: str = ARCHIVE_ID) -> Receipt:
    return Receipt(archive_id, place.run, place.attempt, place.step, rank, said, share_of(files))


def pair(item: Receipt) -> tuple[Receipt, bytes]:
    return item, item.encode()


def two() -> list[Receipt]:
    first = contribution_of(2, seconds=5, metrics={"loss": 2.1}, labels={"a": "b"}, promotion={"rule": "every"})
    second = contribution_of(2, seconds=3, metrics={"loss": 9.9}, completeness="assumed")
    return [receipt(0, {"a": b"12", "same": b"s"}, first), receipt(1, {"b/c": b"345", "same": b"s"}, second)]


def test_it_says_what_the_receipts_say() -> None:
    items = two()
    assert Manifest.of([pair(item) for item in items]) == Manifest(
        archive_id=ARCHIVE_ID,
        run="run",
        attempt=2,
        step=100,
        launch_key="launch-1",
        writers=2,
        first_staged_at=NOON + timedelta(seconds=3),
        staged_at=NOON + timedelta(seconds=5),
        retention_class="",
        completeness="assumed",
        promotion={"rule": "every"},
        metrics={"loss": 2.1},
        labels={"a": "b"},
        lineage={},
        files=3,
        size_bytes=6,
        receipts=tuple(
            ReceiptEntry(item.rank, sha256_hex(item.encode()), len(item.encode()))
            for item in sorted(items, key=rank_of)
        ),
    )


def rank_of(item: Receipt) -> int:
    return item.rank


def test_it_survives_the_round_trip_with_members_of_a_newer_release() -> None:
    manifest = replace(Manifest.of([pair(item) for item in two()]), unknown={"newer": {"x": [None]}})
    assert Manifest.decode(manifest.encode(), "it") == manifest
    assert Manifest.decode(manifest.encode(), "it").encode() == manifest.encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"launch_key": "launch-2"}, ["the launch key", "'launch-1' for rank 0", "'launch-2' for rank 1"]),
        ({"writers": 3}, ["the number of writers", "2 for rank 0", "3 for rank 1"]),
        ({"retention_class": "daily"}, ["the retention class", "'' for rank 0", "'daily' for rank 1"]),
    ],
)
def test_receipts_of_two_launches_are_a_conflict_that_names_both(
    change: Mapping[str, object], words: list[str]
) -> None:
    first, second = two()
    other = replace(second, contribution=replace(second.contribution, **change))  # type: ignore[arg-type]
    with pytest.raises(ConflictError) as caught:
        Manifest.of([pair(other), pair(first)])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("change", [{"archive_id": "other"}, {"step": 101}, {"attempt": 3}, {"run": "other"}])
def test_receipts_of_two_checkpoints_are_a_conflict(change: Mapping[str, object]) -> None:
    first, second = two()
    with pytest.raises(ConflictError):
        Manifest.of([pair(first), pair(replace(second, **change))])  # type: ignore[arg-type]


def test_the_same_path_with_other_bytes_is_a_conflict_that_names_path_and_ranks() -> None:
    said = contribution_of(2)
    with pytest.raises(ConflictError, match="ranks 0 and 1 both wrote 'same'"):
        Manifest.of([pair(receipt(0, {"same": b"1"}, said)), pair(receipt(1, {"same": b"2"}, said))])


@pytest.mark.parametrize("others", [("a", "a/b"), ("Model", "model")])
def test_files_that_can_not_stand_in_one_tree_are_a_conflict(others: tuple[str, str]) -> None:
    said = contribution_of(2)
    with pytest.raises(ConflictError, match="one tree"):
        Manifest.of([pair(receipt(0, {others[0]: b"1"}, said)), pair(receipt(1, {others[1]: b"2"}, said))])


def test_a_missing_or_doubled_writer_is_refused() -> None:
    first, second = two()
    for items in ([first], [second], [first, first], [first, first, second], []):
        with pytest.raises(InvalidInputError):
            Manifest.of([pair(item) for item in items])


def test_a_writer_may_contribute_nothing() -> None:
    said = contribution_of(2)
    manifest = Manifest.of([pair(receipt(0, {"a": b"1"}, said)), pair(receipt(1, {}, said))])
    assert (manifest.files, manifest.size_bytes) == (1, 1)


def test_a_manifest_of_another_place_is_refused() -> None:
    manifest = Manifest.of([pair(item) for item in two()])
    assert manifest.check_place(PLACE) is manifest
    with pytest.raises(IntegrityError, match=r"says that it is of run step 100 \(attempt 2\)"):
        manifest.check_place(Place("run", 2, 101))


def entries(manifest: Manifest) -> list[dict[str, object]]:
    decoded: list[dict[str, object]] = strictjson.decode(manifest.encode(), "it")["receipts"]
    return decoded


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"writers": 3}, "2 receipts of 3 writers"),
        ({"writers": 0, "receipts": []}, "writers = 0 is not allowed"),
        ({"staged_at": "2026-03-01T00:00:00.000000Z"}, "sealed after"),
        ({"files": -1}, "files"),
        ({"size": 1.5}, "size"),
        ({"run": "../x"}, "run"),
        ({"receipts": [{"rank": 0, "sha256": "00", "size": 1}]}, "sha256"),
        ({"version": 2}, "version 2"),
        ({"requires": ["frames"]}, "frames"),
        ({"format": "ckpt-archive/receipt"}, "is not a manifest"),
    ],
)
def test_a_damaged_manifest_is_refused(change: Mapping[str, object], problem: str) -> None:
    members = {**strictjson.decode(Manifest.of([pair(item) for item in two()]).encode(), "it"), **change}
    with pytest.raises((IntegrityError, InvalidInputError), match=problem):
        Manifest.decode(record.with_checksum(members), "it")


def test_receipts_out_of_order_are_refused() -> None:
    manifest = Manifest.of([pair(item) for item in two()])
    members = {**strictjson.decode(manifest.encode(), "it"), "receipts": entries(manifest)[::-1]}
    with pytest.raises(IntegrityError, match="ranks 0, 1, 2"):
        Manifest.decode(record.with_checksum(members), "it")


def test_the_root_of_1000_writers_stays_small() -> None:
    said = contribution_of(1_000)
    items = [pair(receipt(rank, {f"rank-{rank:04d}/model": b"x"}, said)) for rank in range(1_000)]
    assert len(Manifest.of(items).encode()) < 120_000


def test_a_marker_written_twice_within_a_second_is_one_marker() -> None:
    store = MemoryStore()
    marker = Marker.of_commit(ARCHIVE_ID, PLACE, "ab" * 32)
    keys = {write_marker(store, marker, NOON), write_marker(store, marker, NOON + timedelta(milliseconds=1))}
    assert keys == {f"log/pending/2026/03/01/12/20260301T120000-commit-{'ab' * 16}.json"}
    stored = store.read(*keys, limit_bytes=10_000).data
    assert Marker.decode(stored, "it") == marker
    with pytest.raises(IntegrityError, match="'hold' is not a valid MarkerKind"):
        Marker.decode(rewritten(stored, b'"commit"', b'"hold"'), "it")
