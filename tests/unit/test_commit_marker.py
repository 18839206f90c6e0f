"""Markers: each names one record, by fields from which its key is built, and by nothing else."""

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Marker, MarkerKind, read_marker, store_time, write_marker
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import content, keys
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, rewritten
from ckpt_archive.testing.counting import CountingStore

PLACE = Place("run", 3, 200)
ID = "e" * 32
MARKERS = {
    layout.manifest("run", 3, 200): Marker.of_commit(ARCHIVE_ID, PLACE, "a" * 64),
    layout.attempt_record("run", 3): Marker.of_launch(ARCHIVE_ID, "run", 3, b"launch"),
    layout.decision("run", 3, 200): Marker.of_decision(ARCHIVE_ID, PLACE, b"decision"),
    layout.event_record("key-published", ID, NOON): Marker.of_event(ARCHIVE_ID, "key-published", ID, NOON),
}
IDENTITIES = ["a" * 32, sha256_hex(b"launch")[:32], sha256_hex(b"decision")[:32], ID]


def test_there_is_one_of_every_kind() -> None:
    assert [marker.kind for marker in MARKERS.values()] == list(MarkerKind)


@pytest.mark.parametrize(("key", "identity"), [*zip(MARKERS, IDENTITIES, strict=True)])
def test_it_names_its_record_and_is_read_back_under_its_own_key(key: str, identity: str) -> None:
    store = MemoryStore()
    marker = MARKERS[key]
    assert (marker.record_key, marker.identity) == (key, identity)
    written = write_marker(store, marker, NOON)
    assert layout.marker_name(written) == layout.RecordName(marker.kind, identity, NOON)
    assert read_marker(content(store, written), written) == marker


@pytest.mark.parametrize("marker", [*MARKERS.values()])
def test_under_another_markers_key_it_is_refused(marker: Marker) -> None:
    for key in (
        layout.pending_marker(marker.kind, "0" * 32, NOON),
        layout.pending_marker("note", marker.identity, NOON),
        f"{layout.PENDING}note.json",
    ):
        with pytest.raises(IntegrityError, match="copied or renamed") as caught:
            read_marker(marker.encode(), key)
        assert key in caught.value.message


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("commit", b'"run":"run"', b'"run":"../up"'),
        ("commit", b'"commit"', b'"hold"'),
        ("commit", b'"manifest":"a', b'"manifest":"A'),
        ("launch", b'"attempt":3', b'"attempt":-3'),
        ("launch", b'"kind":"launch"', b'"kind":"decision"'),
        ("decision", b'"step":200', b'"step":"200"'),
        ("decision", b'"record"', b'"manifest"'),
        ("event", b'"key-published"', b'"key/published"'),
        ("event", b'"key-published"', b'"' + b"a" * 33 + b'"'),
        ("event", b"eeee", b"EEEE"),
        ("event", b"00.000000Z", b"00.000001Z"),
        ("event", b"2026-", b"0026-"),
    ],
)
def test_what_builds_no_key_is_refused(kind: str, before: bytes, after: bytes) -> None:
    marker = next(marker for marker in MARKERS.values() if marker.kind == kind)
    with pytest.raises(IntegrityError):
        Marker.decode(rewritten(marker.encode(), before, after), "it")


def test_of_a_newer_release_is_said_to_be_of_one() -> None:
    data = rewritten(MARKERS[layout.decision("run", 3, 200)].encode(), b'"run":', b'"requires":["x"],"run":')
    with pytest.raises(InvalidInputError, match="newer release"):
        read_marker(data, "it")


def test_the_stores_time_is_asked_for_with_one_small_listing() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    clock.sleep(60)
    counting = CountingStore(store)
    assert store_time(counting) == clock.now()
    assert counting.requests == {"list": 1}
    assert keys(store) == []
