"""The whole road on real servers: a folder goes in, is found, comes back, and what happens to it on the way is told."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.compose import connection_of, system_machine
from ckpt_archive.errors import ConflictError, IntegrityError, UnavailableError
from ckpt_archive.executor import InlineExecutor, ThreadExecutor
from ckpt_archive.machine import Machine
from ckpt_archive.settings import Environment
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo, Store
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.testing.archives import content, flip, keys, read_tree, write_tree
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.transfer.settings import TransferSettings

pytestmark = pytest.mark.server

MIB = 1 << 20
SETTINGS = TransferSettings(part_size_bytes=5 * MIB, pack_below_bytes=MIB, parts_in_flight=4)
FILES = {
    "model/shard-0.bin": os.urandom(12 * MIB + 17),
    "model/shard-1.bin": os.urandom(2 * MIB),
    "optimizer.bin": os.urandom(300_000),
    "config.json": b'{"layers": 2}',
    "empty": b"",
}
SIZE = sum(map(len, FILES.values()))


def patient(store: Store) -> RetryingStore:
    """Tries again at once: its clock passes pauses without waiting."""
    return RetryingStore(store, ManualClock())


def archive_at(store: Store, machine: Machine | None = None) -> Archive:
    """The archive in a store, which is made one if it is none; whether the store checks what it is sent is asked of it."""
    used = machine or system_machine()
    create_archive(store, used.nonce(), used.clock.now())

    def connect(_: object) -> Connection:
        return connection_of(patient(store), used, SETTINGS, None)

    return Archive(store.url, used, connect, lambda _: None, Environment(), SETTINGS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "checkpoint-100", FILES)


@pytest.fixture(params=["seaweed", "moto"])
def any_store(request: pytest.FixtureRequest) -> S3Store:
    found = request.getfixturevalue(f"{request.param}_store")
    assert isinstance(found, S3Store)
    return found


def test_there_and_back(any_store: S3Store, folder: Path, tmp_path: Path) -> None:
    archive = archive_at(any_store)
    pushed = archive.push(folder, "run", 100, metrics={"loss": 1.5})
    assert (pushed.state, pushed.bytes_sent) == ("committed", SIZE)
    again = archive.push(folder, "run", 100)
    assert (again.state, again.bytes_sent) == ("already-committed", 0)
    (info,) = archive.checkpoints("run")
    assert (info.step, info.size_bytes, info.files, info.metrics) == (100, SIZE, 5, {"loss": 1.5})
    restored = archive.restore("run", to=tmp_path / "back", exact_folder=True)
    assert (restored.bytes_fetched, restored.verified) == (SIZE, True)
    assert read_tree(tmp_path / "back") == FILES
    part = archive.restore("run", to=tmp_path, include="*.json")
    assert read_tree(part.path) == {"config.json": FILES["config.json"]}
    for deep in (False, True):
        report = archive.verify(deep=deep)
        assert (report.objects, report.size_bytes, report.findings) == (3, SIZE, ())
    assert archive.doctor() == ()
    (folder / "config.json").write_bytes(b"{}")
    with pytest.raises(ConflictError, match=r"config\.json"):
        archive.push(folder, "run", 100)
    assert archive.push(folder, "run", 100, new_attempt=True).attempt == 1
    assert any_store.list_uploads("") == ()


def test_every_damage_is_named_and_gets_no_final_name(seaweed_store: S3Store, folder: Path, tmp_path: Path) -> None:
    archive = archive_at(seaweed_store)
    archive.push(folder, "run", 100)
    archive.push(write_tree(tmp_path / "older", {"x": b"older"}), "run", 50)
    damaged = [
        layout.manifest("run", 0, 100),
        layout.receipt("run", 0, 100, 0),
        *keys(seaweed_store, "data/run/00000000/000000000100"),
    ]
    for number, key in enumerate(damaged):
        flip(seaweed_store, key, 8 * 11 + 2)
        target = tmp_path / f"back-{number}"
        with pytest.raises(IntegrityError) as caught:
            archive.restore("run", 100, to=target, exact_folder=True)
        assert key in caught.value.message
        assert not target.exists()
        assert key in {finding.key for finding in archive.verify("run", 100, deep=True).findings}
        fallen = archive.restore("run", 100, to=target, exact_folder=True, fallback=True)
        assert (fallen.step, read_tree(target)) == (50, {"x": b"older"})
        flip(seaweed_store, key, 8 * 11 + 2)
    assert read_tree(archive.restore("run", 100, to=tmp_path).path) == FILES


def test_a_missing_object_is_damage(seaweed_store: S3Store, folder: Path, tmp_path: Path) -> None:
    archive = archive_at(seaweed_store)
    archive.push(folder, "run", 100)
    (key, *_) = keys(seaweed_store, "data/")
    data = content(seaweed_store, key)
    seaweed_store.delete(key)
    with pytest.raises(IntegrityError, match=key):
        archive.restore("run", to=tmp_path / "back")
    assert [finding.key for finding in archive.verify().findings] == [key]
    assert archive.push(folder, "run", 100).bytes_sent == len(data)
    assert archive.verify(deep=True).findings == ()


class Died(BaseException):
    """Nobody catches it."""


def test_a_push_that_died_is_gone_on_with(seaweed_store: S3Store, folder: Path, tmp_path: Path) -> None:
    create_archive(seaweed_store, "a" * 32, ManualClock().now())

    def die(request: Request) -> None:
        if request.verb == "complete_upload":
            raise Died

    with pytest.raises(Died):
        archive_at(HookedStore(seaweed_store, before=die)).push(folder, "run", 100)
    archive = archive_at(seaweed_store)
    assert archive.runs() == []
    pushed = archive.push(folder, "run", 100)
    # Two full parts at least were there; one that was on its way may have been cut off.
    assert pushed.bytes_resumed >= 10 * MIB
    assert pushed.bytes_sent <= SIZE - pushed.bytes_resumed
    assert read_tree(archive.restore("run", to=tmp_path).path) == FILES
    assert seaweed_store.list_uploads("") == ()


@pytest.mark.parametrize("verb", ["create", "start_upload", "upload_part", "complete_upload", "head", "list", "read"])
def test_the_first_answer_of_every_kind_is_lost(
    seaweed_store: S3Store, folder: Path, tmp_path: Path, verb: str
) -> None:
    lost: set[tuple[str, str]] = set()

    def lose(request: Request) -> None:
        if request.verb == verb and (request.verb, request.key) not in lost:
            lost.add((request.verb, request.key))
            raise UnavailableError("the connection broke", hint="Try again.")

    archive_at(seaweed_store)
    hooked = HookedStore(seaweed_store, after=lose)
    machine = system_machine()
    archive = Archive(
        "s3://x",
        machine,
        lambda _: connection_of(patient(hooked), machine, SETTINGS, None),
        lambda _: None,
        Environment(),
        SETTINGS,
    )
    report = archive.push(folder, "run", 100)
    # A create whose answer was lost can not tell its own manifest from another's.
    assert report.state == ("already-committed" if verb == "create" else "committed")
    assert lost
    assert read_tree(archive.restore("run", to=tmp_path).path) == FILES
    assert seaweed_store.list_uploads("") == ()
    assert archive.verify(deep=True).findings == ()


@pytest.mark.parametrize("change", ["truncate", "rewrite"])
def test_a_file_changed_while_its_parts_are_sent_is_a_conflict(
    seaweed_store: S3Store, folder: Path, tmp_path: Path, change: str
) -> None:
    path = folder / "model" / "shard-0.bin"
    seen = []

    class Meddled(HookedStore):
        def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
            seen.append(number)
            if len(seen) == 2:
                # The part's file is open and was looked at; now its bytes change.
                if change == "truncate":
                    os.truncate(path, 6 * MIB)
                else:
                    path.write_bytes(bytes(len(FILES["model/shard-0.bin"])))
            return super().upload_part(key, upload_id, number, body)

    with pytest.raises(ConflictError, match="was changed while it was being archived"):
        archive_at(Meddled(seaweed_store)).push(folder, "run", 100)
    assert keys(seaweed_store, "receipts/") == []
    path.write_bytes(FILES["model/shard-0.bin"])
    archive = archive_at(seaweed_store)
    assert archive.push(folder, "run", 100).state == "committed"
    assert read_tree(archive.restore("run", to=tmp_path / "back").path) == FILES
    assert archive.verify(deep=True).findings == ()


def test_four_pushes_of_the_same_at_once(
    make_seaweed_store: Callable[[], S3Store], folder: Path, tmp_path: Path
) -> None:
    store = make_seaweed_store()
    archives = [archive_at(store) for _ in range(4)]

    def push(archive: Archive) -> str:
        return archive.push(folder, "run", 100).state

    states = sorted(ThreadExecutor().map_unordered(push, archives, limit=4))
    assert set(states) <= {"committed", "already-committed"}
    assert len(keys(store, "manifests/")) == 1
    assert read_tree(archives[0].restore("run", to=tmp_path).path) == FILES
    assert archives[0].verify(deep=True).findings == ()


def test_restores_into_one_folder_at_once_fetch_once(seaweed_store: S3Store, folder: Path, tmp_path: Path) -> None:
    archive = archive_at(seaweed_store)
    archive.push(folder, "run", 100)
    hooked = HookedStore(seaweed_store)
    archives = [archive_at(hooked) for _ in range(4)]

    def restore(one: Archive) -> int:
        return one.restore("run", to=tmp_path / "back").bytes_fetched

    assert sorted(ThreadExecutor().map_unordered(restore, archives, limit=4)) == [0, 0, 0, SIZE]
    fetched = [request for request in hooked.requests if request.verb == "fetch"]
    assert len(fetched) == 3 + 1 + 1  # parts of the large ones; the packed one


def test_a_restore_that_died_is_gone_on_with(seaweed_store: S3Store, folder: Path, tmp_path: Path) -> None:
    archive_at(seaweed_store).push(folder, "run", 100)
    fetches = []

    def die(request: Request) -> None:
        if request.verb == "fetch":
            fetches.append(request)
            if len(fetches) == 4:
                raise Died

    inline = replace(system_machine(), executor=InlineExecutor())
    with pytest.raises(Died):
        archive_at(HookedStore(seaweed_store, before=die), inline).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert not (tmp_path / "ck").exists()
    restored = archive_at(seaweed_store).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert restored.bytes_kept > 0
    assert restored.bytes_kept + restored.bytes_fetched == SIZE
    assert read_tree(tmp_path / "ck") == FILES


def test_an_object_replaced_while_it_is_read_is_a_conflict(
    seaweed_store: S3Store, folder: Path, tmp_path: Path
) -> None:
    archive_at(seaweed_store).push(folder, "run", 100)

    def swap(request: Request) -> None:
        if request.verb == "head" and request.key.startswith("data/"):
            flip(seaweed_store, request.key, 5)

    with pytest.raises((ConflictError, IntegrityError)):
        archive_at(HookedStore(seaweed_store, after=swap)).restore("run", to=tmp_path / "ck", exact_folder=True)
    assert not (tmp_path / "ck").exists()
