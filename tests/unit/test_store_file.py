"""The store in a folder: what lies on disk, what its file system may do to it, and deaths at any moment."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.digest import crc32c
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.errors import (
    AlreadyExistsError,
    CapacityError,
    CkptArchiveError,
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.protocol import PartInfo, Store, StoreLimits, list_all

KEY = "data/run/object"


class DiedError(BaseException):
    """The process was killed here."""


class TroubledFileSystem(PosixFileSystem):
    """Fails with `errno` in the verbs that `fails` names, or dies at the n-th change of the disk.

    The dead do nothing: what a `finally` asks for is refused as well.
    """

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}
        self.dies_at = -1
        self.changes = 0
        self.lose_answer_of_link = False
        self.synced: list[str] = []

    def _do(self, verb: str, path: str) -> None:
        if verb in self.fails:
            raise OSError(self.fails[verb], os.strerror(self.fails[verb]), path)
        self.changes += 1
        if 0 <= self.dies_at < self.changes:
            raise DiedError

    def create(self, path: str) -> PosixFile:
        self._do("create", path)
        with super().create(path) as file:
            return TroubledFile(os.dup(file.fileno()), self)

    def make_directory(self, path: str) -> None:
        self._do("make_directory", path)
        super().make_directory(path)

    def link(self, old: str, new: str) -> None:
        self._do("link", new)
        super().link(old, new)
        if self.lose_answer_of_link:
            raise FileExistsError(errno.EEXIST, "the client asked again", new)

    def rename(self, old: str, new: str) -> None:
        self._do("rename", new)
        super().rename(old, new)

    def replace(self, old: str, new: str) -> None:
        self._do("replace", new)
        super().replace(old, new)

    def remove(self, path: str) -> None:
        self._do("remove", path)
        super().remove(path)

    def remove_directory(self, path: str) -> None:
        self._do("remove_directory", path)
        super().remove_directory(path)

    def sync_directory(self, path: str) -> None:
        self._do("sync_directory", path)
        self.synced.append(path)
        super().sync_directory(path)


class TroubledFile(PosixFile):
    def __init__(self, descriptor: int, fs: TroubledFileSystem) -> None:
        super().__init__(descriptor)
        self._fs = fs

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        self._fs._do("write", "")
        super().write_at(data, offset)

    def sync(self) -> None:
        self._fs._do("sync", "")
        super().sync()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "archive"


@pytest.fixture
def fs() -> TroubledFileSystem:
    return TroubledFileSystem()


@pytest.fixture
def store(root: Path, fs: TroubledFileSystem) -> FileStore:
    store = FileStore(fs, str(root))
    store.prepare()
    fs.changes = 0
    return store


def test_a_key_is_one_plain_file_of_that_path_and_content(store: FileStore, root: Path) -> None:
    data = os.urandom(3_000_000)
    store.create(KEY, Body.of(data))
    assert hashlib.sha256((root / KEY).read_bytes()).digest() == hashlib.sha256(data).digest()
    (root / "by/hand").mkdir(parents=True)
    (root / "by/hand/file").write_bytes(b"copied in")
    assert store.read("by/hand/file", limit_bytes=100).data == b"copied in"


def test_nothing_is_left_in_the_scratch_folder(store: FileStore, root: Path) -> None:
    store.create("a", Body.of(b"a"))
    with pytest.raises(AlreadyExistsError):
        store.create("a", Body.of(b"b"))
    upload_id = store.start_upload("b")
    store.complete_upload("b", upload_id, (store.upload_part("b", upload_id, 1, Body.of(b"b")),))
    store.abort_upload("c", store.start_upload("c"))
    assert [path.name for path in (root / ".tmp").rglob("*")] == ["uploads"]


def test_scratch_and_what_nfs_leaves_behind_are_no_objects(store: FileStore, root: Path) -> None:
    store.start_upload("x")
    store.create("folder/key", Body.of(b""))
    (root / "folder/.nfs0000001").write_bytes(b"removed while somebody had it open")
    (root / "folder/link").symlink_to("/etc/passwd")
    os.mkfifo(root / "folder/fifo")
    (root / os.fsdecode(b"folder/not-utf8-\xff")).write_bytes(b"")
    assert [info.key for info in list_all(store, "")] == ["folder/key"]
    assert store.list("", delimiter="/").prefixes == ("folder/",)
    for key in (".tmp/x", ".tmp", "folder/.nfs1"):
        with pytest.raises(InvalidInputError):
            store.create(key, Body.of(b""))
        with pytest.raises(InvalidInputError):
            store.start_upload(key)


def test_symbolic_links_lead_nowhere(store: FileStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    for key in ("link", "folder/secret"):
        with pytest.raises(CkptArchiveError):
            store.read(key, limit_bytes=100)
        with pytest.raises(CkptArchiveError):
            store.head(key)
    assert not list_all(store, "")


def test_a_folder_where_an_object_is_due(store: FileStore) -> None:
    store.create("a", Body.of(b""))
    with pytest.raises(ConflictError, match="is an object and not a folder"):
        store.create("a/b", Body.of(b""))
    store.create("c/d", Body.of(b""))
    with pytest.raises(AlreadyExistsError):
        store.create("c", Body.of(b""))


def test_the_disk_is_not_mounted(store: FileStore, root: Path) -> None:
    store.create(KEY, Body.of(b""))
    upload_id = store.start_upload("other")
    root.rename(root.parent / "elsewhere")
    root.mkdir()  # the empty folder on which it should be mounted
    questions: list[Callable[[], object]] = [
        lambda: store.create("new", Body.of(b"")),
        lambda: store.head(KEY),
        lambda: store.read(KEY, limit_bytes=10),
        lambda: store.fetch(KEY, offset=0, length=0, etag="", sink=lambda _: None),
        lambda: store.list("data/"),
        lambda: store.delete(KEY),
        lambda: store.start_upload(KEY),
        lambda: store.upload_part("other", upload_id, 1, Body.of(b"")),
        lambda: store.list_parts("other", upload_id),
        lambda: store.complete_upload("other", upload_id, ()),
        lambda: store.abort_upload("other", upload_id),
        lambda: store.list_uploads(""),
    ]
    for question in questions:
        with pytest.raises(UnavailableError, match="Perhaps the disk is not mounted"):
            question()
    assert not list(root.iterdir()), "nothing may be written onto the wrong disk"


def test_a_copy_of_an_archive_comes_without_scratch_and_is_read(store: FileStore, root: Path) -> None:
    store.create("archive.json", Body.of(b"{}"))
    shutil.rmtree(root / ".tmp")
    assert store.list("data/").objects == ()
    with pytest.raises(NotFoundError):
        store.head(KEY)


def test_a_root_that_nobody_prepared_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"ckpt-archive init file:///.*/new"):
        FileStore(PosixFileSystem(), str(tmp_path / "new")).list("")


def test_prepare_may_be_repeated(store: FileStore) -> None:
    store.create(KEY, Body.of(b"data"))
    store.prepare()
    assert store.head(KEY).size_bytes == 4


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_prepare_refuses_a_file_system_without_hard_links(root: Path, fs: TroubledFileSystem, number: int) -> None:
    fs.fails["link"] = number
    with pytest.raises(InvalidInputError, match="no hard links"):
        FileStore(fs, str(root)).prepare()


def test_prepare_refuses_a_file_system_whose_links_replace(root: Path) -> None:
    class Replacing(PosixFileSystem):
        def link(self, old: str, new: str) -> None:
            Path(new).write_bytes(Path(old).read_bytes())

    with pytest.raises(InvalidInputError, match="replaces what is there"):
        FileStore(Replacing(), str(root)).prepare()


@pytest.mark.parametrize("root", ["", "/", "//", "relative/path"])
def test_a_root_is_an_absolute_path_of_a_folder(root: str) -> None:
    with pytest.raises(InvalidInputError):
        FileStore(PosixFileSystem(), root)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, CapacityError),
        (errno.EDQUOT, CapacityError),
        (errno.EACCES, DeniedError),
        (errno.EROFS, DeniedError),
        (errno.EIO, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.ENAMETOOLONG, InvalidInputError),
    ],
)
@pytest.mark.parametrize("verb", ["create", "write", "sync", "make_directory", "link", "sync_directory"])
def test_a_failing_disk_is_told_in_our_words(
    store: FileStore, fs: TroubledFileSystem, root: Path, verb: str, number: int, kind: type[CkptArchiveError]
) -> None:
    fs.fails[verb] = number
    with pytest.raises(kind, match=KEY) as caught:
        store.create(KEY, Body.of(b"data"))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.hint
    fs.fails.clear()
    assert [path.name for path in (root / ".tmp").iterdir()] == ["uploads"], "a failed try must not fill the disk"
    if verb == "sync_directory":
        return
    with pytest.raises(NotFoundError):
        store.head(KEY)


def test_the_disk_is_full_while_a_part_is_sent(store: FileStore, fs: TroubledFileSystem) -> None:
    upload_id = store.start_upload(KEY)
    fs.fails["write"] = errno.ENOSPC
    with pytest.raises(CapacityError, match="Make room"):
        store.upload_part(KEY, upload_id, 1, Body.of(b"part"))
    fs.fails.clear()
    assert store.list_parts(KEY, upload_id) == ()


def test_a_local_source_that_fails_is_not_the_disk_of_the_archive(store: FileStore) -> None:
    error = OSError(errno.EIO, "the SSD")

    class BadSsd:
        def read_into(self, buffer: memoryview, offset: int) -> int:
            raise error

    body = Body((Region(BadSsd(), 0, 10),), 0)
    upload_id = store.start_upload(KEY)
    for send in (lambda: store.create(KEY, body), lambda: store.upload_part(KEY, upload_id, 1, body)):
        with pytest.raises(OSError, match="the SSD") as caught:
            send()
        assert caught.value is error


def test_link_landed_and_the_answer_was_lost(store: FileStore, fs: TroubledFileSystem) -> None:
    """An NFS client that asks again is told EEXIST, of the name it made itself."""
    fs.lose_answer_of_link = True
    assert store.create(KEY, Body.of(b"ours")).etag == store.head(KEY).etag
    fs.lose_answer_of_link = False
    with pytest.raises(AlreadyExistsError):
        store.create(KEY, Body.of(b"ours"))


def test_somebody_links_between_our_look_and_our_link(store: FileStore, fs: TroubledFileSystem, root: Path) -> None:
    other = FileStore(PosixFileSystem(), str(root))

    class Racing:
        def read_into(self, buffer: memoryview, offset: int) -> int:
            other.create(KEY, Body.of(b"first"))
            buffer[:] = b"second"
            return 6

    with pytest.raises(AlreadyExistsError):
        store.create(KEY, Body((Region(Racing(), 0, 6),), crc32c(b"second")))
    assert store.read(KEY, limit_bytes=100).data == b"first"
    assert str((root / KEY).parent) in fs.synced, "the loser acknowledges what it found: it must be durable"


@pytest.mark.parametrize(
    "look",
    [
        lambda store: store.head(KEY),
        lambda store: store.read(KEY, limit_bytes=10),
        lambda store: store.list("data/"),
    ],
)
def test_the_writer_died_between_link_and_sync_and_another_relies_on_the_object(
    store: FileStore, fs: TroubledFileSystem, root: Path, look: Callable[[Store], object]
) -> None:
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).write_bytes(b"linked")
    fs.synced.clear()
    look(store)
    assert fs.synced == [str((root / KEY).parent)]


def test_names_of_new_folders_are_durable_before_the_object_appears(
    store: FileStore, fs: TroubledFileSystem, root: Path
) -> None:
    """Also of folders that are there already: whoever made them may have died before they were durable."""
    (root / "data").mkdir()
    fs.synced.clear()
    fs.fails["link"] = errno.EIO
    with pytest.raises(UnavailableError):
        store.create(KEY, Body.of(b""))
    assert fs.synced == [str(root), str(root / "data")]


def sent(store: FileStore, upload_id: str) -> tuple[PartInfo, ...]:
    return tuple(store.upload_part(KEY, upload_id, n, Body.of(bytes([n]) * 100)) for n in (1, 2, 3))


CONTENT = b"".join(bytes([n]) * 100 for n in (1, 2, 3))


def create(store: FileStore) -> None:
    store.create(KEY, Body.of(CONTENT))


def upload(store: FileStore) -> None:
    """A session as `transfer` runs it: what is listed goes on, and what is left over is given up."""
    for found in store.list_uploads(KEY):
        upload_id = found.upload_id
        break
    else:
        upload_id = store.start_upload(KEY)
    store.complete_upload(KEY, upload_id, sent(store, upload_id))


def life(action: Callable[[FileStore], None]) -> Callable[[FileStore], None]:
    def run(store: FileStore) -> None:
        try:
            store.head(KEY)
        except NotFoundError:
            action(store)
        for left in store.list_uploads(KEY):
            store.abort_upload(KEY, left.upload_id)

    return run


@pytest.mark.parametrize("action", [create, upload])
def test_the_process_dies_at_any_moment_and_the_next_one_finishes(
    tmp_path: Path, action: Callable[[FileStore], None]
) -> None:
    run = life(action)
    for dies_at in range(200):
        root = tmp_path / str(dies_at)
        FileStore(PosixFileSystem(), str(root)).prepare()
        fs = TroubledFileSystem()
        fs.dies_at = dies_at
        try:
            run(FileStore(fs, str(root)))
            died = False
        except DiedError:
            died = True
        survivor = FileStore(PosixFileSystem(), str(root))
        assert all(info.size_bytes == len(CONTENT) for info in list_all(survivor, "")), "nothing partial is visible"
        run(survivor)
        assert survivor.read(KEY, limit_bytes=1000).data == CONTENT
        assert not survivor.list_uploads("")
        survivor.clean(SystemClock().now() + timedelta(hours=1))
        assert [path.name for path in (root / ".tmp").rglob("*")] == ["uploads"]
        if not died:
            assert dies_at > 5
            return
    pytest.fail("it never came to its end")


def test_complete_landed_and_the_process_died_before_the_parts_were_removed(
    store: FileStore, fs: TroubledFileSystem
) -> None:
    upload_id = store.start_upload(KEY)
    parts = sent(store, upload_id)
    fs.fails["rename"] = errno.EIO
    with pytest.raises(UnavailableError):
        store.complete_upload(KEY, upload_id, parts)
    fs.fails.clear()
    with pytest.raises(AlreadyExistsError):
        store.complete_upload(KEY, upload_id, parts)
    assert store.read(KEY, limit_bytes=1000).data == CONTENT
    store.abort_upload(KEY, upload_id)
    assert not store.list_uploads("")


@pytest.mark.parametrize("damage", [b"\0" * 100, b"\1" * 99, b""], ids=["zeros", "short", "empty"])
def test_a_part_that_a_power_loss_damaged_is_found_and_sent_again(store: FileStore, root: Path, damage: bytes) -> None:
    upload_id = store.start_upload(KEY)
    parts = sent(store, upload_id)
    (file,) = (root / ".tmp/uploads" / upload_id).glob("part-00002-*")
    file.write_bytes(damage)
    with pytest.raises(InvalidInputError, match="part 2"):
        store.complete_upload(KEY, upload_id, parts)
    assert [part.number for part in store.list_parts(KEY, upload_id)] == [1, 3]
    store.upload_part(KEY, upload_id, 2, Body.of(b"\2" * 100))
    store.complete_upload(KEY, upload_id, store.list_parts(KEY, upload_id))
    assert store.read(KEY, limit_bytes=1000).data == CONTENT


def test_of_a_part_sent_twice_with_other_bytes_the_latest_counts(store: FileStore, root: Path) -> None:
    upload_id = store.start_upload(KEY)
    first = store.upload_part(KEY, upload_id, 1, Body.of(b"first"))
    for path in (root / ".tmp/uploads" / upload_id).glob("part-*"):
        os.utime(path, (1, 1))
    second = store.upload_part(KEY, upload_id, 1, Body.of(b"second"))
    assert store.list_parts(KEY, upload_id) == (second,)
    with pytest.raises(InvalidInputError):
        store.complete_upload(KEY, upload_id, (first,))
    store.complete_upload(KEY, upload_id, (second,))
    assert store.read(KEY, limit_bytes=1000).data == b"second"


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../..", "a/b", "nothing", "x" * 300])
def test_an_upload_id_is_no_path(store: FileStore, upload_id: str) -> None:
    store.create(KEY, Body.of(b""))
    store.abort_upload(KEY, upload_id)
    with pytest.raises(UploadGoneError):
        store.list_parts(KEY, upload_id)
    with pytest.raises(UploadGoneError):
        store.upload_part(KEY, upload_id, 1, Body.of(b""))
    store.head(KEY)


def test_an_upload_belongs_to_its_key(store: FileStore) -> None:
    upload_id = store.start_upload(KEY)
    with pytest.raises(UploadGoneError):
        store.upload_part("other", upload_id, 1, Body.of(b""))


def test_an_upload_whose_beginning_was_torn_is_nobody_s(store: FileStore, root: Path) -> None:
    (root / ".tmp/uploads/torn").mkdir()
    (root / ".tmp/uploads/half").mkdir()
    (root / ".tmp/uploads/half/upload.json").write_bytes(b'{"key":"a')
    assert store.list_uploads("") == ()


@pytest.fixture
def leftovers(store: FileStore, root: Path) -> list[Path]:
    upload_id = store.start_upload(KEY)
    store.upload_part(KEY, upload_id, 1, Body.of(b"part"))
    scratch = root / ".tmp"
    (scratch / "killed.new").write_bytes(b"half of an object")
    (scratch / "killed.trash").mkdir()
    (scratch / "killed.trash/part-00001-1-00000000").write_bytes(b"x")
    (scratch / "uploads/torn").mkdir()
    return [scratch / "killed.new", scratch / "killed.trash", scratch / "uploads/torn", scratch / "uploads" / upload_id]


def test_clean_removes_what_nobody_wrote_to_for_long(store: FileStore, leftovers: list[Path]) -> None:
    now = SystemClock().now()
    assert store.clean(now - timedelta(days=1)) == 0
    assert all(path.exists() for path in leftovers)
    assert store.clean(now + timedelta(days=1)) == 4
    assert not any(path.exists() for path in leftovers)
    store.create(KEY, Body.of(b"goes on"))


def test_clean_leaves_an_old_upload_to_which_somebody_still_sends(store: FileStore, root: Path) -> None:
    upload_id = store.start_upload(KEY)
    store.upload_part(KEY, upload_id, 1, Body.of(b"new"))
    folder = root / ".tmp/uploads" / upload_id
    for path in (folder, folder / "upload.json"):
        os.utime(path, (1, 1))
    assert store.clean(SystemClock().now() - timedelta(hours=1)) == 0


def test_an_object_truncated_under_a_reader_is_found(store: FileStore, root: Path) -> None:
    store.create(KEY, Body.of(bytes(5 << 20)))
    info = store.head(KEY)

    def shorten(chunk: memoryview) -> None:
        os.truncate(root / KEY, len(chunk))

    with pytest.raises(IntegrityError, match="became shorter"):
        store.fetch(KEY, offset=0, length=info.size_bytes, etag=info.etag, sink=shorten)


def test_an_object_that_was_touched_is_another_one_for_readers(store: FileStore, root: Path) -> None:
    store.create(KEY, Body.of(b"data"))
    info = store.head(KEY)
    os.utime(root / KEY, (1, 1))
    with pytest.raises(ConflictError):
        store.fetch(KEY, offset=0, length=4, etag=info.etag, sink=lambda _: None)


def test_only_a_slash_divides_keys(store: FileStore) -> None:
    with pytest.raises(InvalidInputError):
        store.list("", delimiter="-")


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "./", ".tmp/", ".tmp/uploads/", "../disk/archive/data/"])
def test_what_no_key_begins_with_is_empty(store: FileStore, prefix: str) -> None:
    store.create(KEY, Body.of(b""))
    store.start_upload("x")
    for delimiter in ("", "/"):
        page = store.list(prefix, delimiter=delimiter)
        assert not page.objects
        assert not page.prefixes


def test_its_limits_are_those_it_was_given(root: Path) -> None:
    store = FileStore(PosixFileSystem(), str(root), limits=StoreLimits(2, 3, 2))
    store.prepare()
    with pytest.raises(InvalidInputError):
        store.create(KEY, Body.of(b"1234"))
