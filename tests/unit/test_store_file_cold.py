"""The second root of a store in a folder: moved there and back, at every I/O, and nothing else ever followed."""

import errno
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk import durable
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import (
    AlreadyExistsError,
    CapacityError,
    CkptArchiveError,
    ColdError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
)
from ckpt_archive.executor import Executor, ThreadExecutor
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Warmth
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.file_cold import OWNER
from ckpt_archive.store.protocol import Store, StoreLimits, list_all
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock
from ckpt_archive.testing.conformance import StoreConformance
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.platter import ERRNO
from ckpt_archive.testing.simulation.world import World

CONTENT = b"bytes of a tensor " * 100
FOLDER = "data/run/00000000/000000000100/000000"
KEY = f"{FOLDER}/{sha256_hex(CONTENT)}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "hot/archive"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    folder = tmp_path / "tape"
    folder.mkdir()
    return folder


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(root: Path, second: Path, clock: ManualClock) -> FileStore:
    store = FileStore(PosixFileSystem(), str(root), clock=clock)
    store.prepare()
    store.create(KEY, Body.of(CONTENT))
    store.cold.attach(str(second), ARCHIVE_ID)
    return store


def content(store: FileStore, key: str = KEY) -> bytes:
    return store.read(key, limit_bytes=1 << 20).data


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


# --- there and back -------------------------------------------------------------------------------------------------------


def test_what_is_cold_is_read_as_before(store: FileStore, root: Path, second: Path) -> None:
    before = store.head(KEY)
    assert store.cold.cool(KEY) == len(CONTENT)
    assert content(store) == CONTENT
    pieces: list[bytes] = []
    store.fetch(KEY, offset=6, length=4, etag=None, sink=lambda piece: pieces.append(bytes(piece)))
    assert b"".join(pieces) == CONTENT[6:10]
    after = store.head(KEY)
    assert (after.storage_class, after.size_bytes) == ("COLD", len(CONTENT))
    assert after.modified == before.modified, "its age is that of the checkpoint, not that of the copy"
    assert list_all(store, "data/") == (after,)
    assert os.readlink(root / KEY) == f"../../../../../.cold/{KEY}"
    assert (root / KEY).read_bytes() == CONTENT, "cp and sha256sum read it too"
    assert (second / KEY).read_bytes() == CONTENT
    assert store.cold.cool(KEY) == 0


def test_a_cold_object_is_not_created_again(store: FileStore) -> None:
    store.cold.cool(KEY)
    with pytest.raises(AlreadyExistsError):
        store.create(KEY, Body.of(CONTENT))
    upload_id = store.start_upload(KEY)
    part = store.upload_part(KEY, upload_id, 1, Body.of(CONTENT))
    with pytest.raises(AlreadyExistsError):
        store.complete_upload(KEY, upload_id, (part,))


def test_delete_removes_both(store: FileStore, root: Path, second: Path) -> None:
    store.cold.cool(KEY)
    store.delete(KEY)
    assert not os.path.lexists(root / KEY)
    assert files(second) == [OWNER]
    store.delete(KEY)


def test_delete_of_what_was_thawed_removes_both(store: FileStore, second: Path) -> None:
    store.cold.cool(KEY)
    store.cold.request_thaw(KEY, days=7, tier="")
    store.delete(KEY)
    assert files(second) == [OWNER]
    with pytest.raises(NotFoundError):
        store.head(KEY)


def test_thawed_for_a_while(store: FileStore, root: Path, second: Path, clock: ManualClock) -> None:
    before = store.head(KEY)
    assert store.cold.temperature(KEY).warmth is Warmth.WARM
    store.cold.cool(KEY)
    cold = store.cold.temperature(KEY)
    assert (cold.warmth, cold.storage_class, cold.size_bytes) == (Warmth.COLD, "COLD", len(CONTENT))
    store.cold.request_thaw(KEY, days=7, tier="Bulk")
    thawed = store.cold.temperature(KEY)
    assert (thawed.warmth, thawed.until_at) == (Warmth.THAWED, NOON + timedelta(days=7))
    assert not (root / KEY).is_symlink()
    assert store.head(KEY).modified == before.modified
    clock.sleep(86_400)
    store.cold.request_thaw(KEY, days=7, tier="Bulk")
    assert store.cold.temperature(KEY).until_at == NOON + timedelta(days=8)
    clock.sleep(7 * 86_400)
    assert store.cold.temperature(KEY).warmth is Warmth.WARM
    store.cold.forget_thawed(clock.now())
    assert store.cold.thawed() == {}
    written = (second / KEY).stat().st_ino
    assert store.cold.cool(KEY) == len(CONTENT)
    assert (second / KEY).stat().st_ino == written, "the copy is still there, and is not written again"


def test_what_was_never_cold_is_not_thawed(store: FileStore) -> None:
    store.cold.request_thaw(KEY, days=7, tier="")
    assert store.cold.temperature(KEY).warmth is Warmth.WARM
    with pytest.raises(NotFoundError):
        store.cold.request_thaw(KEY[:-1] + "0", days=7, tier="")


def test_only_what_can_be_proved_is_moved(store: FileStore) -> None:
    store.create("receipts/run/000000.json", Body.of(b"{}"))
    with pytest.raises(InvalidInputError, match="does not end in the SHA-256"):
        store.cold.cool("receipts/run/000000.json")
    wrong = f"{FOLDER}/{'0' * 64}"
    store.create(wrong, Body.of(b"other bytes"))
    with pytest.raises(IntegrityError, match="verify this checkpoint"):
        store.cold.cool(wrong)
    assert content(store, wrong) == b"other bytes"
    with pytest.raises(NotFoundError):
        store.cold.cool(f"{FOLDER}/{'1' * 64}")


def test_a_damaged_copy_is_written_anew(store: FileStore, second: Path) -> None:
    store.cold.cool(KEY)
    store.cold.request_thaw(KEY, days=0, tier="")
    (second / KEY).write_bytes(b"damaged")
    store.cold.cool(KEY)
    assert content(store) == CONTENT


def test_a_damaged_copy_does_not_take_the_place_of_a_link(store: FileStore, root: Path, second: Path) -> None:
    store.cold.cool(KEY)
    (second / KEY).write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        store.cold.request_thaw(KEY, days=7, tier="")
    assert (root / KEY).is_symlink()


# --- the second root ------------------------------------------------------------------------------------------------------


def test_attach_may_be_repeated(store: FileStore, second: Path) -> None:
    store.cold.attach(f"{second}/", ARCHIVE_ID)
    assert store.cold.root() == str(second)


def test_a_mount_that_moved_is_one_change(store: FileStore, root: Path, second: Path, tmp_path: Path) -> None:
    store.cold.cool(KEY)
    moved = tmp_path / "elsewhere"
    second.rename(moved)
    with pytest.raises(ConflictError, match=f"ln -sfn {moved} {root}/.cold"):
        store.cold.attach(str(moved), ARCHIVE_ID)
    (root / ".cold").unlink()
    (root / ".cold").symlink_to(moved)
    store.cold.attach(str(moved), ARCHIVE_ID)
    assert content(store) == CONTENT


def test_two_archives_have_two_second_roots(store: FileStore, second: Path, tmp_path: Path) -> None:
    other = FileStore(PosixFileSystem(), str(tmp_path / "other"))
    other.prepare()
    with pytest.raises(ConflictError, match="another archive"):
        other.cold.attach(str(second), "f" * 32)
    assert other.cold.root() is None


def test_what_can_not_be_a_second_root(root: Path, tmp_path: Path) -> None:
    store = FileStore(PosixFileSystem(), str(root))
    store.prepare()
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/archive.json").write_bytes(b"{}")
    (tmp_path / "file").write_bytes(b"")
    (root / "inner").mkdir()
    for path in (root, root / "inner", root.parent, tmp_path / "archive", tmp_path / "file", "/", f"{tmp_path}/x/.."):
        with pytest.raises(InvalidInputError, match="second root"):
            store.cold.attach(str(path), ARCHIVE_ID)
    with pytest.raises(ColdError, match="is not there"):
        store.cold.attach(str(tmp_path / "missing"), ARCHIVE_ID)
    assert store.cold.root() is None
    assert not (tmp_path / "missing").exists()


def test_not_mounted_is_not_missing(store: FileStore, root: Path, second: Path) -> None:
    warm = f"{FOLDER}/{sha256_hex(b'warm')}"
    store.create(warm, Body.of(b"warm"))
    store.cold.cool(KEY)
    second.rename(second.parent / "away")
    second.mkdir()  # the empty folder on which it should be mounted
    questions: list[Callable[[], object]] = [
        lambda: store.head(KEY),
        lambda: content(store),
        lambda: store.fetch(KEY, offset=0, length=1, etag=None, sink=lambda _: None),
        lambda: list_all(store, "data/"),
        lambda: store.create(KEY, Body.of(CONTENT)),
        lambda: store.delete(KEY),
        lambda: store.delete(warm),
        lambda: store.cold.cool(warm),
        lambda: store.cold.temperature(KEY),
        lambda: store.cold.request_thaw(KEY, days=1, tier=""),
        lambda: store.cold.attach(str(second), ARCHIVE_ID),
    ]
    for question in questions:
        with pytest.raises(ColdError, match=r"Mount it, or let the link .*\.cold lead to"):
            question()
    assert not list(second.iterdir()), "nothing may be written onto the wrong disk"
    assert content(store, warm) == b"warm"
    store.create("receipts/new", Body.of(b"new"))
    store.delete("receipts/new")
    (root / ".cold").unlink()
    with pytest.raises(ColdError):
        store.head(KEY)


def test_a_copy_that_vanished_is_missing_and_can_be_deleted(store: FileStore, second: Path) -> None:
    store.cold.cool(KEY)
    (second / KEY).unlink()
    with pytest.raises(NotFoundError, match="is not there any more"):
        store.head(KEY)
    assert [(info.key, info.size_bytes) for info in list_all(store, "")] == [(KEY, 0)]
    store.delete(KEY)
    assert list_all(store, "") == ()


def test_only_the_link_of_the_key_is_followed(store: FileStore, root: Path, second: Path, tmp_path: Path) -> None:
    """Neither one that leads elsewhere, nor one in a folder that is a link, nor one below the second root."""
    (tmp_path / "secret").write_bytes(b"secret")
    store.cold.cool(KEY)
    good = os.readlink(root / KEY)
    other = f"{FOLDER}/{'a' * 64}"
    for target in (str(tmp_path / "secret"), good, f"{root}/.cold/{other}", f"../{good}", f"./{good}"):
        (root / other).symlink_to(target)
        with pytest.raises(IntegrityError, match="no plain file"):
            store.head(other)
        assert [info.key for info in list_all(store, "")] == [KEY]
        (root / other).unlink()
    (second / other).symlink_to(tmp_path / "secret")
    (root / other).symlink_to(f"../../../../../.cold/{other}")
    with pytest.raises(IntegrityError):
        content(store, other)
    (root / "data/trap").symlink_to(root / "data/run")
    with pytest.raises(IntegrityError):
        content(store, KEY.replace("/run/", "/trap/"))
    with pytest.raises(InvalidInputError):
        store.head(f".cold/{KEY}")
    (second / "data/trap").symlink_to(second / "data/run")
    (root / "data/trap").unlink()
    key = KEY.replace("/run/", "/trap/")
    (root / key).parent.mkdir(parents=True)
    (root / key).symlink_to(f"../../../../../.cold/{key}")
    with pytest.raises(IntegrityError):
        content(store, key)


def test_the_hot_disk_is_full_when_it_is_thawed(store: FileStore, root: Path) -> None:
    class Full(PosixFileSystem):
        def replace(self, old: str, new: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), new)

    store.cold.cool(KEY)
    with pytest.raises(CapacityError):
        FileStore(Full(), str(root)).cold.request_thaw(KEY, days=1, tier="")
    assert content(store) == CONTENT
    assert files(root / ".tmp") == [f for f in files(root / ".tmp") if f.startswith("thawed/")]


def test_somebody_deletes_it_while_it_is_copied(store: FileStore, root: Path, second: Path) -> None:
    class Racing(PosixFileSystem):
        def link(self, old: str, new: str) -> None:
            super().link(old, new)
            (root / KEY).unlink()

    with pytest.raises(NotFoundError):
        FileStore(Racing(), str(root)).cold.cool(KEY)
    assert not os.path.lexists(root / KEY), "what was deleted does not come back"
    assert files(second) == [OWNER]


class TestConformance(StoreConformance):
    """A second root changes nothing for those who do not use it."""

    @pytest.fixture
    def store(self, root: Path, second: Path) -> Store:
        store = FileStore(PosixFileSystem(), str(root), limits=StoreLimits(min_part_size_bytes=1))
        store.prepare()
        store.cold.attach(str(second), ARCHIVE_ID)
        return store

    @pytest.fixture
    def executor(self) -> Executor:
        return ThreadExecutor()


# --- at every I/O ---------------------------------------------------------------------------------------------------------


class DiedError(BaseException):
    """The process was killed here."""


class Dying(SimDisk):
    """Dies before or after the n-th I/O; the dead do nothing."""

    def __init__(self) -> None:
        world = World(1)
        super().__init__(world, SimClock(world))
        self.dies_at = -1
        self.ios = 0
        world.done = self._done  # type: ignore[method-assign]

    def step(self, kind: str, path: str) -> None:
        self._count()
        super().step(kind, path)

    def _done(self, kind: str, detail: str = "") -> None:
        self._count()

    def _count(self) -> None:
        self.ios += 1
        if 0 <= self.dies_at < self.ios:
            raise DiedError


def sim_store(disk: SimDisk, nonce: int = 0) -> FileStore:
    chance = random.Random(nonce)
    return FileStore(disk, "/hot/archive", clock=ManualClock(), nonce=lambda: f"{chance.getrandbits(128):032x}")


def cool(store: FileStore) -> None:
    store.cold.attach("/tape", ARCHIVE_ID)
    store.cold.cool(KEY)


def thaw(store: FileStore) -> None:
    store.cold.request_thaw(KEY, days=7, tier="")


def delete(store: FileStore) -> None:
    store.delete(KEY)


def cool_again(store: FileStore) -> None:
    store.cold.cool(KEY)


def prepared(action: Callable[[FileStore], None]) -> Dying:
    disk = Dying()
    durable.make_directories(disk, "/tape")
    store = sim_store(disk, 1)
    store.prepare()
    store.create(KEY, Body.of(CONTENT))
    if action is not cool:
        cool(store)
    if action is cool_again:
        thaw(store)
    disk.ios = 0
    return disk


@pytest.mark.parametrize("loses_power", [False, True], ids=["killed", "power loss"])
@pytest.mark.parametrize("action", [cool, thaw, cool_again, delete])
def test_it_dies_at_any_moment_and_the_next_one_comes_to_the_same_end(
    action: Callable[[FileStore], None], loses_power: bool
) -> None:
    smooth = prepared(action)
    action(sim_store(smooth, 2))
    for dies_at in range(1000):
        disk = prepared(action)
        disk.dies_at = dies_at
        try:
            action(sim_store(disk, 2))
            died = False
        except DiedError:
            died = True
        disk.dies_at = -1
        if loses_power:
            disk.power_loss(random.Random(dies_at))
        survivor = sim_store(disk, 3)
        if action is not delete:
            assert content(survivor) == CONTENT, f"lost at I/O {dies_at}"
        action(survivor)
        assert outcome(disk) == outcome(smooth)
        if not died:
            assert dies_at > 5
            return
    pytest.fail("it never came to its end")


def outcome(disk: SimDisk) -> list[tuple[str, str, bytes]]:
    """All that counts: not what is temporary."""
    return sorted(
        (path, inode.kind.value, bytes(inode.data))
        for path, inode in disk.tree()
        if "/.tmp/" not in path and "/.new-" not in path
    )


@pytest.mark.parametrize("action", [cool, thaw, cool_again])
@pytest.mark.parametrize("fault", [Fault.NO_ROOM, Fault.WRITE_ERROR, Fault.READ_ERROR, Fault.SYNC_FAILED])
def test_any_call_fails_once_and_nothing_is_lost(action: Callable[[FileStore], None], fault: Fault) -> None:
    class Failing(Dying):
        def _count(self) -> None:
            self.ios += 1
            if self.ios == self.dies_at:
                raise OSError(ERRNO[fault], "told to", "")

    for fails_at in range(1, 1000):
        disk = prepared(action)
        disk.__class__ = Failing
        disk.dies_at = fails_at
        failed = False
        try:
            action(sim_store(disk, 2))
        except CkptArchiveError:  # and no OSError
            failed = True
        disk.dies_at = -1
        assert content(sim_store(disk, 3)) == CONTENT
        action(sim_store(disk, 4))
        if not failed:
            return
    pytest.fail("it never came to its end")
