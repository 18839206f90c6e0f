"""Receipts in any order make one manifest; damaged records are never anything but refused."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive import record, strictjson
from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.decision import GAP, Decision
from ckpt_archive.commit.launch import Fallback, Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.contribution import Contribution
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, share_of

PLACE = Place("run", 1, 100)

# Few names and contents, so that writers often agree, and often do not.
files = st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e"]), st.sampled_from([b"", b"1", b"22"]), max_size=4)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=3)


@st.composite
def contributions(draw: st.DrawFn, writers: int) -> Contribution:
    return Contribution(
        launch_key="key",
        writers=writers,
        staged_at=NOON + timedelta(microseconds=draw(st.integers(0, 10**9))),
        metrics=draw(mappings),
        labels=draw(mappings),
        completeness=draw(st.sampled_from(["sealed", "assumed"])),
    )


@st.composite
def receipts(draw: st.DrawFn) -> list[tuple[Receipt, bytes]]:
    writers = draw(st.integers(1, 4))
    made = []
    for rank in range(writers):
        share: Share = share_of(draw(files))
        item = Receipt(ARCHIVE_ID, "run", 1, 100, rank, draw(contributions(writers)), share)
        made.append((item, item.encode()))
    return made


@given(receipts(), st.randoms(use_true_random=False))
def test_a_manifest_is_a_function_of_its_receipts_in_any_order(
    made: list[tuple[Receipt, bytes]], chance: random.Random
) -> None:
    shuffled = list(made)
    chance.shuffle(shuffled)
    contents: dict[str, set[str]] = {}
    for receipt, _ in made:
        for file in receipt.share.files:
            contents.setdefault(file.path, set()).add(file.sha256)
    if any(len(digests) > 1 for digests in contents.values()):
        with pytest.raises(ConflictError):
            Manifest.of(made)
        with pytest.raises(ConflictError):
            Manifest.of(shuffled)
        return
    manifest = Manifest.of(made)
    assert Manifest.of(shuffled).encode() == manifest.encode()
    assert manifest.files == len(contents)
    staged = [receipt.contribution.staged_at for receipt, _ in made]
    assert (manifest.first_staged_at, manifest.staged_at) == (min(staged), max(staged))
    assert Manifest.decode(manifest.encode(), "it") == manifest
    reread = [(Receipt.decode(data, "it"), data) for _, data in shuffled]
    assert Manifest.of(reread).encode() == manifest.encode()


SAID = Contribution("key", 1, NOON, {"rule": "every"}, {"loss": 2.5}, {"a": "b"}, {"parent": [1]}, "daily")
RECEIPT = Receipt(ARCHIVE_ID, "run", 1, 100, 0, SAID, share_of({"a": b"1", "b/c": b"22", "empty": b""}))
RECORDS: dict[str, tuple[bytes, Callable[[bytes, str], object]]] = {
    "receipt": (RECEIPT.encode(), Receipt.decode),
    "manifest": (Manifest.of([(RECEIPT, RECEIPT.encode())]).encode(), Manifest.decode),
    "launch": (
        Launch(ARCHIVE_ID, "run", 3, "key", 2, NOON, PLACE, True, Fallback(1, 100), False, "p", {"a": "b"}, 3).encode(),
        Launch.decode,
    ),
    "decision": (Decision(ARCHIVE_ID, "run", 1, 100, GAP, "full", "node", NOON).encode(), Decision.decode),
    "archive": (ArchiveRecord(ARCHIVE_ID, NOON).encode(), ArchiveRecord.decode),
    "marker": (Marker.of_commit(ARCHIVE_ID, PLACE, "ab" * 32).encode(), Marker.decode),
}


def edits(size: int) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    """(position, bytes removed, bytes put there)."""
    pieces = st.sampled_from(
        [b"", b'"', b"{", b"}", b"[]", b",", b":", b"null", b"-1", b"1e999", b"NaN", b"0", b"\\ud800"]
    )
    edit = st.tuples(st.integers(0, size), st.integers(0, 12), pieces | st.binary(max_size=4))
    return st.lists(edit, min_size=1, max_size=3)


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
def test_a_record_with_mutated_bytes_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    stored, decode = RECORDS[kind]
    mutated = bytearray(stored)
    for position, removed, put in data.draw(edits(len(stored))):
        mutated[position : position + removed] = put
    read_or_refuse(decode, bytes(mutated))


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
def test_a_record_with_any_member_replaced_is_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    stored, decode = RECORDS[kind]
    members = strictjson.decode(stored, "it")
    target, name = data.draw(st.sampled_from(list(slots(members))))
    value = data.draw(json_values | st.sampled_from(odd_values()))
    target[name] = value
    try:
        damaged = record.with_checksum(members)
    except (ValueError, UnicodeEncodeError):
        return
    read_or_refuse(decode, damaged)


def odd_values() -> list[object]:
    return [-1, 2**63, 1.5, True, "", "../x", "0" * 64, "2026-03-01T12:00:00.000000Z", [], {}, [[]], [{}], [0, 0]]


def slots(value: Json) -> list[tuple[Json, Json]]:
    """Every place in a JSON value that can be replaced: (container, key)."""
    found: list[tuple[Json, Json]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found.append((value, name))
        found.extend(slots(inner))
    return found


def read_or_refuse(decode: Callable[[bytes, str], object], data: bytes) -> None:
    try:
        decoded = decode(data, "the key")
    except (IntegrityError, InvalidInputError):
        pass
    else:
        encode = decoded.encode  # type: ignore[attr-defined]
        assert decode(encode(), "the key") == decoded
