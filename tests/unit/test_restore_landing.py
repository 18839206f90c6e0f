"""A tree gets its final name whole or not at all; what stood there before is reused, replaced if empty, or left alone."""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import FileStat, LockMode
from ckpt_archive.errors import CapacityError, ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.restore.landing import difference, land
from ckpt_archive.share import FileEntry
from ckpt_archive.testing.archives import read_tree, write_tree

FS = PosixFileSystem()
FILES = {"model.bin": b"weights" * 100, "sub/deep/x": b"{}", "empty": b""}
TOKEN = "0123456789abcdef0000"
PARTIAL = ".ck.partial-0123456789abcdef"


def entries(files: dict[str, bytes]) -> list[FileEntry]:
    return [FileEntry(path, len(data), sha256_hex(data), None, 0, ()) for path, data in files.items()]


def fill(files: dict[str, bytes]) -> Callable[[str], None]:
    def work(partial: str) -> None:
        write_tree(Path(partial), files)

    return work


def never(_: str) -> None:
    raise AssertionError("nothing is to be done")


def swap_for_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def landed(path: Path, files: dict[str, bytes] = FILES, fs: PosixFileSystem = FS) -> bool:
    """Whether the tree was there before."""
    found = land(fs, str(path), entries(files), TOKEN, fill(files))
    assert found.path == str(path)
    assert read_tree(path) == files
    return found.reused


def test_a_missing_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert not landed(tmp_path / "a" / "b" / "ck")
    assert os.listdir(tmp_path / "a" / "b") == ["ck"]


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "ck").mkdir()
    assert not landed(tmp_path / "ck")


def test_the_final_name_is_durable_when_it_is_told(tmp_path: Path) -> None:
    done: list[tuple[str, str]] = []

    class Noting(PosixFileSystem):
        def rename(self, old: str, new: str) -> None:
            super().rename(old, new)
            done.append(("rename", new))

        def sync_directory(self, path: str) -> None:
            super().sync_directory(path)
            done.append(("sync", path))

    path = tmp_path / "ck"
    assert not landed(path, fs=Noting())
    assert ("sync", str(tmp_path)) in done[done.index(("rename", str(path))) :]


def test_the_same_tree_is_reused_and_not_touched(tmp_path: Path) -> None:
    landed(tmp_path / "ck")
    before = (tmp_path / "ck" / "model.bin").stat()
    assert land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, never).reused
    assert (tmp_path / "ck" / "model.bin").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda ck: (ck / "more").write_bytes(b""), "it has 'more'"),
        (lambda ck: (ck / "more").mkdir(), "it has 'more'"),
        (lambda ck: (ck / "empty").unlink(), "'empty' is missing"),
        (lambda ck: (ck / "model.bin").write_bytes(b"WEIGHTS" * 100), "'model.bin' has other bytes"),
        (lambda ck: (ck / "model.bin").write_bytes(b"short"), "'model.bin' has another size"),
        (lambda ck: ((ck / "empty").unlink(), (ck / "empty").symlink_to("/dev/null")), "it has 'empty'"),
        (lambda ck: swap_for_fifo(ck / "empty"), "it has 'empty'"),
        (lambda ck: ((ck / "empty").unlink(), (ck / "empty").mkdir()), "it has 'empty'"),
    ],
)
def test_anything_else_is_left_alone(tmp_path: Path, spoil: Callable[[Path], object], problem: str) -> None:
    landed(tmp_path / "ck")
    spoil(tmp_path / "ck")
    before = sorted(os.listdir(tmp_path / "ck"))
    with pytest.raises(InvalidInputError, match=problem) as caught:
        land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, never)
    assert "nothing in this one was touched" in caught.value.hint
    assert sorted(os.listdir(tmp_path / "ck")) == before
    assert os.listdir(tmp_path) == ["ck"]


def test_a_tree_with_a_folder_swapped_for_a_link_is_another_tree(tmp_path: Path) -> None:
    landed(tmp_path / "ck")
    (tmp_path / "ck" / "sub").rename(tmp_path / "elsewhere")
    (tmp_path / "ck" / "sub").symlink_to(tmp_path / "elsewhere")
    assert difference(FS, str(tmp_path / "ck"), entries(FILES)) == "it has 'sub'"


def test_a_file_or_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name, kind in (("file", "file"), ("link", "symlink"), ("dangling", "symlink")):
        with pytest.raises(InvalidInputError, match=f"is a {kind}, not a folder"):
            land(FS, str(tmp_path / name), entries(FILES), TOKEN, never)
    with pytest.raises(InvalidInputError):
        land(FS, str(tmp_path / "file" / "ck"), entries(FILES), TOKEN, never)


def test_a_parent_may_be_a_link(tmp_path: Path) -> None:
    """As /scratch is on many clusters."""
    (tmp_path / "real").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "real")
    assert not landed(tmp_path / "scratch" / "ck")
    assert landed(tmp_path / "scratch" / "ck")


class _Mounted(PosixFileSystem):
    def is_mount_point(self, path: str) -> bool:
        return path.endswith("/ck")


def test_a_mount_point_is_refused_with_a_folder_to_use_instead(tmp_path: Path) -> None:
    (tmp_path / "ck").mkdir()
    with pytest.raises(InvalidInputError, match="mount point") as caught:
        land(_Mounted(), str(tmp_path / "ck"), entries(FILES), TOKEN, never)
    assert f"{tmp_path}/ck/restored" in caught.value.hint


@pytest.mark.parametrize("path", ["/", "/tmp/..", "/tmp/."])
def test_what_has_no_name_of_its_own_can_not_be_replaced(path: str) -> None:
    with pytest.raises(InvalidInputError):
        land(FS, path, entries(FILES), TOKEN, never)


def test_work_that_fails_leaves_the_final_name_alone(tmp_path: Path) -> None:
    def work(partial: str) -> None:
        write_tree(Path(partial), {"model.bin": b"half"})
        raise IntegrityError("wrong bytes")

    with pytest.raises(IntegrityError):
        land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, work)
    assert os.listdir(tmp_path) == [PARTIAL]

    def go_on(partial: str) -> None:
        assert read_tree(partial) == {"model.bin": b"half"}
        write_tree(Path(partial), FILES)

    land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, go_on)
    assert os.listdir(tmp_path) == ["ck"]


def test_what_is_left_of_other_trees_under_this_name_is_removed(tmp_path: Path) -> None:
    stale = write_tree(tmp_path / ".ck.partial-ffffffffffffffff", FILES)
    kept = [
        write_tree(tmp_path / name, FILES)
        for name in (
            ".other.partial-ffffffffffffffff",
            ".ck.partial-ffff",
            ".ck.partial-FFFFFFFFFFFFFFFF",
            ".ck.partial-x.partial-ffffffffffffffff",
            "ck.partial-ffffffffffffffff",
        )
    ]
    link = tmp_path / ".ck.partial-eeeeeeeeeeeeeeee"
    link.symlink_to(kept[0])
    landed(tmp_path / "ck")
    assert not stale.exists()
    assert all(read_tree(folder) == FILES for folder in kept)
    assert link.is_symlink()


def test_a_link_planted_where_the_work_is_done_is_refused(tmp_path: Path) -> None:
    victim = write_tree(tmp_path / "victim", {"precious": b"1"})
    (tmp_path / PARTIAL).symlink_to(victim)
    with pytest.raises(ConflictError, match="not a folder of this user"):
        land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, never)
    assert read_tree(victim) == {"precious": b"1"}


class _Foreign(PosixFileSystem):
    def stat(self, path: str) -> FileStat:
        return replace(super().stat(path), foreign=".partial-" in path)


def test_another_users_folder_where_the_work_is_done_is_refused(tmp_path: Path) -> None:
    """In /tmp anybody may make it, under a name that anybody can compute."""
    other = write_tree(tmp_path / PARTIAL, FILES)
    stale = write_tree(tmp_path / ".ck.partial-ffffffffffffffff", FILES)
    with pytest.raises(ConflictError, match="not a folder of this user"):
        land(_Foreign(), str(tmp_path / "ck"), entries(FILES), TOKEN, never)
    assert read_tree(other) == FILES
    assert read_tree(stale) == FILES


def test_a_file_put_into_the_empty_folder_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "ck").mkdir()

    def work(partial: str) -> None:
        write_tree(Path(partial), FILES)
        (tmp_path / "ck" / "mine").write_bytes(b"mine")

    with pytest.raises(InvalidInputError, match="not empty"):
        land(FS, str(tmp_path / "ck"), entries(FILES), TOKEN, work)
    assert read_tree(tmp_path / "ck") == {"mine": b"mine"}


def test_many_at_once_do_the_work_once(tmp_path: Path) -> None:
    path = tmp_path / "ck"
    done: list[int] = []
    found: list[bool] = []
    begin = threading.Barrier(8)

    def one(number: int) -> None:
        def work(partial: str) -> None:
            done.append(number)
            write_tree(Path(partial), FILES)

        begin.wait()
        found.append(land(FS, str(path), entries(FILES), TOKEN, work).reused)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), sorted(found)) == (1, [False] + [True] * 7)
    assert os.listdir(tmp_path) == ["ck"]


def test_a_tree_that_is_there_is_looked_at_without_the_lock(tmp_path: Path) -> None:
    """Eight ranks that come back to it read it side by side."""
    landed(tmp_path / "ck")
    with FS.lock(str(tmp_path / ".ck.lock"), LockMode.EXCLUSIVE):
        assert landed(tmp_path / "ck")


class _Full(PosixFileSystem):
    def rename(self, old: str, new: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(CapacityError, match="No space left"):
        land(_Full(), str(tmp_path / "ck"), entries(FILES), TOKEN, fill(FILES))
    landed(tmp_path / "ck")


class _Shielded(PosixFileSystem):
    """A folder above may be passed through but not listed, as /home often is."""

    def sync_directory(self, path: str) -> None:
        if path.endswith("/home"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        super().sync_directory(path)


def test_a_folder_above_that_may_not_be_listed_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "home" / "me").mkdir(parents=True)
    assert not landed(tmp_path / "home" / "me" / "ck", fs=_Shielded())
