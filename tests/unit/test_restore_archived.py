"""From the archive into a folder: every damage is found and named, and nothing wrong ever has the final name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import (
    CkptArchiveError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.place import Place
from ckpt_archive.settings import Environment
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import (
    SMALL,
    archive_on,
    connected,
    content,
    flip,
    keys,
    memory_store,
    put,
    read_tree,
)
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, archive_files, forged_record
from ckpt_archive.testing.hooked import HookedStore, Request

FILES = {"model.bin": b"weights!" * 400, "optim/state.bin": b"moments" * 20, "config.json": b"{}", "empty": b""}
MORE = {"shard-1.bin": b"shard" * 100, "empty": b""}
MANIFEST = layout.manifest("run", 0, 100)
RECEIPT = layout.receipt("run", 0, 100, 0)


@pytest.fixture
def store() -> MemoryStore:
    """One checkpoint of one writer."""
    store = memory_store()
    archive_on(store)
    archived(store, 100, FILES)
    return store


def archived(store: MemoryStore, step: int, *ranks: dict[str, bytes], attempt: int = 0) -> None:
    if attempt == 0:
        record(store, 0, None)
    archive_files(store, Place("run", attempt, step), *ranks, settings=SMALL)


def record(store: MemoryStore, attempt: int, origin: Place | None, *, explicit: bool = False) -> None:
    request = LaunchRequest(ARCHIVE_ID, "run", f"launch-{attempt}", 1, NOON)
    assert open_launch(store, request, lambda _: Resumption(origin, explicit)).attempt == attempt


def nothing_under(target: Path) -> None:
    assert not target.exists()
    assert not list(target.parent.glob(".*.lock"))


def test_one_writers_tree_comes_back(store: MemoryStore, tmp_path: Path) -> None:
    restored = archive_on(store).restore("run", 100, to=tmp_path / "ck", exact_folder=True)
    size = sum(map(len, FILES.values()))
    assert (restored.path, restored.verified, restored.source) == (tmp_path / "ck", True, "archive")
    assert (restored.files, restored.size_bytes, restored.bytes_fetched, restored.bytes_kept) == (4, size, size, 0)
    assert read_tree(tmp_path / "ck") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


def test_a_folder_of_its_own_is_made_and_reused(store: MemoryStore, tmp_path: Path) -> None:
    archive = archive_on(store)
    first = archive.restore("run", to=tmp_path / "deep" / "er")
    assert first.path == tmp_path / "deep" / "er" / "run-0-100"
    hooked = HookedStore(store)
    again = archive_on(hooked).restore("run", to=tmp_path / "deep" / "er")
    assert (again.path, again.bytes_fetched, again.bytes_kept) == (first.path, 0, first.size_bytes)
    assert not [request for request in hooked.requests if request.verb == "fetch"]


def test_many_writers_and_one_of_them(tmp_path: Path) -> None:
    store = memory_store()
    archive = archive_on(store)
    archived(store, 100, FILES, MORE)
    assert read_tree(archive.restore("run", to=tmp_path).path) == FILES | MORE
    hooked = HookedStore(store)
    one = archive_on(hooked).restore("run", to=tmp_path, rank=1)
    assert read_tree(one.path) == MORE
    assert one.path != tmp_path / "run-0-100"
    # A rank reads the root and its own receipt.
    assert [request.key for request in hooked.requests if request.verb == "read"][-2:] == [
        MANIFEST,
        layout.receipt("run", 0, 100, 1),
    ]
    with pytest.raises(InvalidInputError, match="no rank 2 among 2 writers"):
        archive.restore("run", to=tmp_path, rank=2)


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("*.bin", {"model.bin", "optim/state.bin"}),
        ("optim/*", {"optim/state.bin"}),
        (["config.json", "empty"], {"config.json", "empty"}),
        ("", set(FILES)),
        ([], set(FILES)),
        ("[cm]*", {"config.json", "model.bin"}),
    ],
)
def test_only_what_is_included_is_fetched(
    store: MemoryStore, tmp_path: Path, include: str | list[str], expected: set[str]
) -> None:
    restored = archive_on(store).restore("run", to=tmp_path, include=include)
    assert read_tree(restored.path) == {path: FILES[path] for path in expected}
    assert restored.bytes_fetched == sum(len(FILES[path]) for path in expected)


def test_patterns_that_match_nothing_are_said_to(store: MemoryStore, tmp_path: Path) -> None:
    for fallback in (False, True):
        with pytest.raises(NotFoundError, match=r"no file of run step 100 .* matches '\*\.pt'"):
            archive_on(store).restore("run", to=tmp_path / "ck", include="*.pt", fallback=fallback)


@pytest.mark.parametrize(
    ("step", "attempt", "problem"),
    [(99, None, "step 99"), (100, 3, "attempt 3"), (None, 3, "attempt 3"), ("latest", 1, "attempt 1")],
)
def test_what_is_not_committed_is_not_found(
    store: MemoryStore, tmp_path: Path, step: int | None, attempt: int | None, problem: str
) -> None:
    with pytest.raises(NotFoundError, match=problem) as caught:
        archive_on(store).restore("run", step, attempt=attempt, to=tmp_path / "ck")
    assert caught.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'other'"):
        archive_on(store).restore("other", to=tmp_path)
    with pytest.raises(InvalidInputError, match="'newest'"):
        archive_on(store).restore("run", "newest", to=tmp_path)


# --- damage


def test_one_flipped_bit_anywhere_is_found_and_named(tmp_path: Path) -> None:
    store = memory_store()
    archive_on(store)
    archived(store, 100, {"model.bin": b"weights!" * 200, "a.json": b"{}", "b.json": b"[1]"})
    tried = 0
    for key in (MANIFEST, RECEIPT, *keys(store, "data/")):
        before = content(store, key)
        bits = len(before) * 8
        for bit in range(0, bits, max(1, bits // 150) | 1):
            flip(store, key, bit)
            target = tmp_path / str(tried)  # what one restore has fetched, right, the next one need not fetch
            with pytest.raises((IntegrityError, InvalidInputError)) as caught:
                archive_on(store).restore("run", 100, to=target, exact_folder=True)
            assert key in caught.value.message or "run step 100" in caught.value.message, caught.value.message
            assert caught.value.exit_code in (4, 2)
            nothing_under(target)
            put(store, key, before)
            tried += 1
    assert tried > 400
    archive_on(store).restore("run", 100, to=tmp_path / "good", exact_folder=True)


def test_a_cut_or_grown_object_is_found_by_its_size(store: MemoryStore, tmp_path: Path) -> None:
    for key in keys(store, "data/"):
        before = content(store, key)
        for data in (before[:-1], before + b"x", b""):
            put(store, key, data)
            with pytest.raises(IntegrityError, match=key):
                archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
            nothing_under(tmp_path / "ck")
        put(store, key, before)


def test_two_swapped_objects_are_found(tmp_path: Path) -> None:
    store = memory_store()
    archive_on(store)
    archived(store, 100, {"a": b"a" * 500, "b": b"b" * 500})
    first, second = keys(store, "data/")
    one, other = content(store, first), content(store, second)
    put(store, first, other)
    put(store, second, one)
    with pytest.raises(IntegrityError, match="came wrong twice"):
        archive_on(store).restore("run", to=tmp_path)


@pytest.mark.parametrize("prefix", ["data/", "receipts/"])
def test_a_missing_object_of_a_committed_checkpoint_is_damage_and_not_absence(
    store: MemoryStore, tmp_path: Path, prefix: str
) -> None:
    """Exit 6 would tell a script that it may begin anew."""
    (key, *_) = keys(store, prefix)
    store.delete(key)
    with pytest.raises(IntegrityError, match=key) as caught:
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert caught.value.exit_code == 4
    nothing_under(tmp_path / "ck")


def test_a_bit_that_flips_once_on_the_way_is_read_again(store: MemoryStore, tmp_path: Path) -> None:
    """The second answer is right."""
    (key, *_) = (key for key in keys(store, "data/") if len(content(store, key)) > 1000)
    before = content(store, key)
    seen = []

    class Flaky(HookedStore):
        def fetch(
            self, key: str, *, offset: int, length: int, etag: str | None, sink: Callable[[memoryview], None]
        ) -> None:
            def take(data: memoryview) -> None:
                seen.append(key)
                sink(memoryview(bytes([data[0] ^ 1]) + bytes(data[1:])) if len(seen) == 1 else data)

            super().fetch(key, offset=offset, length=length, etag=etag, sink=take)

    restored = archive_on(Flaky(store)).restore("run", to=tmp_path)
    assert read_tree(restored.path) == FILES
    assert restored.bytes_fetched > restored.size_bytes
    assert content(store, key) == before


def test_an_object_replaced_while_it_is_read_is_a_conflict(store: MemoryStore, tmp_path: Path) -> None:
    def replace_it(request: Request) -> None:
        if request.verb == "head" and request.key.startswith("data/"):
            put(store, request.key, content(store, request.key))

    with pytest.raises(ConflictError):
        archive_on(HookedStore(store, after=replace_it)).restore("run", to=tmp_path / "ck", exact_folder=True)
    nothing_under(tmp_path / "ck")


def test_a_request_that_fails_leaves_what_the_next_restore_goes_on_with(store: MemoryStore, tmp_path: Path) -> None:
    probe = HookedStore(store)
    archive_on(probe).restore("run", to=tmp_path / "probe")
    # What the archive is told afterwards is no part of the restore: see test_remembering.
    assert [request.verb for request in probe.requests[-3:]] == ["list", "create", "create"]
    for number in range(len(probe.requests) - 3):

        def fail(request: Request, number: int = number) -> None:
            if request.number == number:
                raise UnavailableError("cut off", hint="Try again.")

        target = tmp_path / f"ck-{number}"
        with pytest.raises(UnavailableError):
            archive_on(HookedStore(store, before=fail)).restore("run", to=target, exact_folder=True)
        nothing_under(target)
        restored = archive_on(store).restore("run", to=target, exact_folder=True)
        assert read_tree(target) == FILES
        assert restored.bytes_fetched + restored.bytes_kept == restored.size_bytes


# --- fallback


def test_a_damaged_checkpoint_falls_back_to_the_next_older_one(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archived(store, 200, {"model.bin": b"2" * 1500})
    archived(store, 300, {"model.bin": b"3" * 1500})
    for step in (200, 300):
        flip(store, keys(store, layout.data_folder("run", 0, step))[0], 11)
    archive = archive_on(store)
    with pytest.raises(IntegrityError):
        archive.restore("run", 300, to=tmp_path / "ck", exact_folder=True)
    restored = archive.restore("run", 300, to=tmp_path / "ck", exact_folder=True, fallback=True)
    assert (restored.step, read_tree(restored.path)) == (100, FILES)
    assert "instead of run step 300" in caplog.text
    # And nothing of the damaged ones lies around.
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


def test_a_fallback_that_finds_nothing_tells_of_the_first(store: MemoryStore, tmp_path: Path) -> None:
    archived(store, 200, {"model.bin": b"2" * 1500})
    for step in (100, 200):
        flip(store, keys(store, layout.data_folder("run", 0, step))[0], 11)
    with pytest.raises(IntegrityError, match="000000000200"):
        archive_on(store).restore("run", to=tmp_path / "ck", fallback=True)


def test_a_fallback_does_not_leave_the_way_that_led_here(tmp_path: Path) -> None:
    """Attempt 2 went on from step 100 of attempt 0: neither its later steps nor attempt 1 come into question."""
    store = memory_store()
    archive = archive_on(store)
    record(store, 0, None)
    for step in (50, 100, 150):
        archived(store, step, {"at": b"0-%d" % step}, attempt=0)
    record(store, 1, Place("run", 0, 150))
    archived(store, 160, {"at": b"1-160"}, attempt=1)
    record(store, 2, Place("run", 0, 100), explicit=True)
    archived(store, 110, {"at": b"2-110"}, attempt=2)
    archived(store, 120, {"at": b"2-120"}, attempt=2)
    found = []
    for turn in range(4):
        restored = archive.restore("run", to=tmp_path / str(turn), fallback=True)
        found.append((restored.attempt, restored.step))
        assert restored.attempt is not None
        flip(store, keys(store, layout.data_folder("run", restored.attempt, restored.step))[0], 3)
    assert found == [(2, 120), (2, 110), (0, 100), (0, 50)]


# --- a hostile bucket


def forged(store: MemoryStore, edit: Callable[[dict[str, object]], None]) -> None:
    """Change the receipt, and make the manifest fit it, as whoever can write into the bucket may."""
    members = json.loads(content(store, RECEIPT))
    edit(members)
    data = forged_record(members)
    put(store, RECEIPT, data)
    manifest = json.loads(content(store, MANIFEST))
    manifest["receipts"][0] |= {"sha256": sha256_hex(data), "size": len(data)}
    put(store, MANIFEST, forged_record(manifest))


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/outside",
        "a/../../outside",
        "nul\0byte",
        "back\\slash",
        "a//b",
        "./a",
        "",
        "..",
        "con\ntrol",
        "e\u0301",
        "x" * 300,
        "d/" * 40 + "f",
        "\ud800",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(store: MemoryStore, tmp_path: Path, path: str) -> None:
    def edit(members: dict[str, object]) -> None:
        members["files"][0]["path"] = path  # type: ignore[index]
        members["files"].sort(key=lambda file: file["path"])  # type: ignore[attr-defined]

    forged(store, edit)
    target = tmp_path / "inner" / "ck"
    with pytest.raises(IntegrityError, match=RECEIPT):
        archive_on(store).restore("run", to=target, exact_folder=True)
    assert list(tmp_path.rglob("*outside*")) == []
    assert not target.exists()


@pytest.mark.parametrize(("one", "other"), [("config.json", "Config.json"), ("model.bin", "model.bin/x")])
def test_paths_that_can_not_stand_together_are_refused(
    store: MemoryStore, tmp_path: Path, one: str, other: str
) -> None:
    def edit(members: dict[str, object]) -> None:
        files: list[dict[str, object]] = members["files"]  # type: ignore[assignment]
        (known,) = (file for file in files if file["path"] == one)
        files.append({**known, "path": other})
        files.sort(key=lambda file: str(file["path"]))

    forged(store, edit)
    with pytest.raises((IntegrityError, InvalidInputError), match=one):
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    nothing_under(tmp_path / "ck")


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 2**62), ("size", -1), ("size", 1.5), ("size", True), ("offset", 2**62), ("object", 99), ("crc32c", [])],
)
def test_numbers_that_can_not_be_are_refused(store: MemoryStore, tmp_path: Path, name: str, value: object) -> None:
    forged(store, lambda members: members["files"][-1].update({name: value}))  # type: ignore[index]
    with pytest.raises(IntegrityError, match=RECEIPT):
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    nothing_under(tmp_path / "ck")


def test_a_file_said_to_be_enormous_takes_no_room(store: MemoryStore, tmp_path: Path) -> None:
    """One object, one part, one checksum, 4 EiB: refused by the disk's room or by what the store holds."""

    def edit(members: dict[str, object]) -> None:
        for item in members["objects"]:  # type: ignore[attr-defined]
            item.update(size=2**62, part_size=2**62, crc32c=["00000000"])
        for file in members["files"]:  # type: ignore[attr-defined]
            if "object" in file:
                file.update(size=2**62, offset=0, crc32c=["00000000"])

    forged(store, edit)
    manifest = json.loads(content(store, MANIFEST))
    manifest["size"] = sum(file["size"] for file in json.loads(content(store, RECEIPT))["files"])
    put(store, MANIFEST, forged_record(manifest))
    with pytest.raises(CkptArchiveError) as caught:
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert caught.value.exit_code in (4, 7)
    nothing_under(tmp_path / "ck")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b"[" * 100_000,
        b'{"format":"ckpt-archive/receipt","version":1}',
        b'{"format":"ckpt-archive/manifest","version":1}',
        b'{"format":"ckpt-archive/manifest","version":2}',
        b"x" * ((64 << 20) + 1),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("key", [MANIFEST, RECEIPT])
def test_a_malformed_record_is_refused_by_name(store: MemoryStore, tmp_path: Path, key: str, data: bytes) -> None:
    put(store, key, data)
    with pytest.raises((IntegrityError, InvalidInputError), match=key):
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    nothing_under(tmp_path / "ck")


def test_a_manifest_in_another_ones_place_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    put(store, layout.manifest("run", 0, 200), content(store, MANIFEST))
    with pytest.raises(IntegrityError, match=r"run step 200 .* says that it is of run step 100"):
        archive_on(store).restore("run", 200, to=tmp_path / "ck")


def test_a_manifest_that_its_receipts_do_not_make_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    manifest = Manifest.decode(content(store, MANIFEST), MANIFEST)
    put(store, MANIFEST, replace(manifest, metrics={"loss": 0}).encode())
    with pytest.raises(IntegrityError, match="is not the one that its receipts make"):
        archive_on(store).restore("run", to=tmp_path / "ck")


def test_a_receipt_can_not_point_to_another_runs_object(store: MemoryStore, tmp_path: Path) -> None:
    """An object's key is made of the receipt's place and the digest, never taken from it."""
    receipt = Receipt.decode(content(store, RECEIPT), RECEIPT)
    assert archive_files(store, Place("secret", 0, 1), {"secret.txt": b"secret" * 100})
    (secret,) = keys(store, "data/secret/")
    sha256 = secret.rpartition("/")[2]
    forged(store, lambda members: members["objects"][0].update(sha256=sha256))  # type: ignore[index]
    with pytest.raises(IntegrityError, match=f"data/run/.*{sha256}"):
        archive_on(store).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert receipt.rank == 0
    nothing_under(tmp_path / "ck")


def test_only_the_wanted_object_of_a_connection_is_read(store: MemoryStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    Archive(
        "memory://x", archive_on(store)._machine, lambda _: connected(hooked), lambda _: None, Environment(), SMALL
    ).restore("run", 100, to=tmp_path, include="config.json")
    fetched = {request.key for request in hooked.requests if request.verb in ("head", "fetch")}
    assert len([key for key in fetched if key.startswith("data/")]) == 1
