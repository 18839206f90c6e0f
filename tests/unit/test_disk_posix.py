import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from ckpt_archive.disk import linux
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import FileSystem, LockMode
from ckpt_archive.testing.disk_conformance import DiskConformance, NamesConformance, content, get, put, refused


@pytest.fixture
def fs() -> FileSystem:
    return PosixFileSystem()


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path)


class TestConformance(DiskConformance):
    pass


class TestWhereTheKernelCanNotRenameWithoutReplacing(NamesConformance):
    @pytest.fixture
    def fs(self) -> FileSystem:
        return _ClaimingFileSystem()


class _ClaimingFileSystem(PosixFileSystem):
    def rename(self, old: str, new: str) -> None:
        linux.rename_by_claim(old, new)


# Links, and what else is not a regular file


def test_a_link_as_last_component_is_not_followed(fs: FileSystem, root: str) -> None:
    put(fs, f"{root}/secret", b"secret")
    os.mkdir(f"{root}/inside")
    os.symlink("../secret", f"{root}/inside/link")
    for verb in (fs.open, fs.sync_file):
        with refused(errno.ELOOP):
            verb(f"{root}/inside/link")
    for beneath in (fs.open_beneath, fs.reopen_beneath):
        with refused(errno.ELOOP):
            beneath(f"{root}/inside", "link")
    assert get(fs, f"{root}/secret") == b"secret"


def test_a_dangling_link_does_not_say_where_a_file_is_created(fs: FileSystem, root: str) -> None:
    os.mkdir(f"{root}/inside")
    os.symlink("../outside", f"{root}/inside/link")
    with pytest.raises(FileExistsError):
        fs.create(f"{root}/inside/link")
    with pytest.raises(FileExistsError):
        fs.create_beneath(f"{root}/inside", "link")
    assert os.listdir(root) == ["inside"]


@pytest.mark.parametrize("target", ["../../outside", ".", "sibling"])
def test_a_link_as_folder_is_not_followed_even_to_the_inside(fs: FileSystem, root: str, target: str) -> None:
    for name in ("outside", "inside/folder/sibling"):
        put(fs, _made(f"{root}/{name}") + "/file", b"secret")
    os.symlink(target, f"{root}/inside/folder/link")
    for verb in (fs.open_beneath, fs.reopen_beneath, fs.create_beneath):
        for name in ("folder/link/file", "folder/link/new", "folder/link/new/file"):
            with refused(errno.ELOOP):
                verb(f"{root}/inside", name)
    assert os.listdir(f"{root}/outside") == ["file"]
    assert os.listdir(f"{root}/inside/folder/sibling") == ["file"]


def test_the_root_itself_may_be_a_link(fs: FileSystem, root: str) -> None:
    os.mkdir(f"{root}/folder")
    os.symlink("folder", f"{root}/link")
    fs.create_beneath(f"{root}/link", "inner/file").close()
    assert os.listdir(f"{root}/folder/inner") == ["file"]


def test_links_are_seen_as_links_and_removed_as_links(fs: FileSystem, root: str) -> None:
    put(fs, f"{root}/file", b"data")
    os.symlink("file", f"{root}/link")
    assert fs.stat(f"{root}/link").kind.value == "symlink"
    assert [entry.kind.value for entry in fs.list(root)] == ["file", "symlink"]
    fs.rename(f"{root}/link", f"{root}/moved")
    fs.remove(f"{root}/moved")
    assert get(fs, f"{root}/file") == b"data"


def test_a_folder_swapped_for_a_link_while_we_work_leads_nowhere(fs: FileSystem, root: str) -> None:
    put(fs, _made(f"{root}/outside") + "/file", b"secret")
    put(fs, _made(f"{root}/inside/folder") + "/file", b"public")
    os.symlink("../outside", f"{root}/inside/trap")
    outcomes: Counter[int | None] = Counter()
    with _swapping(f"{root}/inside/folder", f"{root}/inside/trap"):
        while outcomes[0] < 200 or outcomes[errno.ELOOP] < 200:
            try:
                with fs.create_beneath(f"{root}/inside", f"folder/{outcomes.total()}"):
                    pass
                with fs.reopen_beneath(f"{root}/inside", "folder/file") as file:
                    assert content(file) == b"public"
                with fs.open_beneath(f"{root}/inside", "folder/file") as reader:
                    assert content(reader) == b"public"
                outcomes[0] += 1
            except OSError as error:
                outcomes[error.errno] += 1
    assert set(outcomes) == {0, errno.ELOOP}
    assert os.listdir(f"{root}/outside") == ["file"]


@contextmanager
def _swapping(one: str, other: str) -> Iterator[None]:
    """Let another thread exchange two names all the time."""
    exchange = partial(ctypes.CDLL(None).renameat2, -100, one.encode(), -100, other.encode(), ctypes.c_uint(2))
    if exchange() != 0:
        pytest.skip("two names can not be exchanged here")
    end = threading.Event()

    def swap() -> None:
        while not end.is_set():
            exchange()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFCHR, os.makedev(1, 3))])
def test_what_is_not_a_regular_file_is_refused_at_once(fs: FileSystem, root: str, make: Callable[[str], None]) -> None:
    try:
        make(f"{root}/special")
    except PermissionError:
        pytest.skip("only root may make devices")
    assert fs.stat(f"{root}/special").kind.value == "other"
    assert [entry.kind.value for entry in fs.list(root)] == ["other"]
    with refused(errno.EINVAL):
        fs.open(f"{root}/special")
    for beneath in (fs.open_beneath, fs.reopen_beneath):
        with refused(errno.EINVAL):
            beneath(root, "special")
    with refused(errno.EINVAL):
        fs.try_lock(f"{root}/special", LockMode.SHARED)


def test_a_socket_is_refused(fs: FileSystem, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # the name of a socket has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    with refused(errno.ENXIO):
        fs.open(f"{root}/socket")


def test_an_error_beneath_names_the_whole_path(fs: FileSystem, root: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.open_beneath(root, "folder/file")
    assert caught.value.filename == f"{root}/folder/file"


def test_failed_opens_leave_no_descriptor_behind(fs: FileSystem, root: str) -> None:
    os.mkdir(f"{root}/folder")
    os.mkfifo(f"{root}/fifo")
    os.symlink("folder", f"{root}/link")
    put(fs, f"{root}/file", b"")
    before = os.listdir("/proc/self/fd")
    with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
        assert fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE) is None
    for name in ("folder", "fifo", "link", "link/file", "file/file", "missing", "missing/file", "../file"):
        for beneath in (fs.open_beneath, fs.reopen_beneath):
            with pytest.raises(OSError, match=r"."):
                beneath(root, name)
        with pytest.raises(OSError, match=r"."):
            fs.try_lock(f"{root}/{name}/below" if name.startswith("missing") else f"{root}/folder", LockMode.SHARED)
    assert os.listdir("/proc/self/fd") == before


# Files


def test_a_new_file_has_what_the_umask_leaves_and_is_not_for_our_children(fs: PosixFileSystem, root: str) -> None:
    before = os.umask(0o027)
    try:
        with fs.create(f"{root}/one") as one, fs.create_beneath(root, "folder/two") as two:
            assert [stat.S_IMODE(os.fstat(file.fileno()).st_mode) for file in (one, two)] == [0o640, 0o640]
            assert not os.get_inheritable(one.fileno())
            assert not os.get_inheritable(two.fileno())
    finally:
        os.umask(before)


def test_the_kernel_can_send_a_file_from_its_descriptor(fs: PosixFileSystem, root: str) -> None:
    put(fs, f"{root}/file", b"0123456789")
    one, other = socket.socketpair()
    with one, other, fs.open(f"{root}/file") as file:
        assert os.sendfile(one.fileno(), file.fileno(), 3, 4) == 4
        assert other.recv(100) == b"3456"


def test_reserve_allocates_blocks(fs: FileSystem, root: str) -> None:
    with fs.create(f"{root}/file") as file:
        file.reserve(1 << 20)
    assert os.stat(f"{root}/file").st_blocks * 512 >= 1 << 20


def test_where_blocks_can_not_be_allocated_the_room_is_looked_up(fs: PosixFileSystem, root: str) -> None:
    with fs.create(f"{root}/file") as file:
        file.write_at(b"head", 0)
        linux.extend(file.fileno(), 10_000)
        linux.extend(file.fileno(), 5_000)
        assert content(file) == b"head".ljust(10_000, b"\0")
        with refused(errno.ENOSPC):
            linux.extend(file.fileno(), fs.space(root).total_bytes + (1 << 30))
        assert file.stat().size_bytes == 10_000


FULL_DISK = """
import errno, sys
from ckpt_archive.disk import durable
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.testing.disk_conformance import get, refused

fs, root = PosixFileSystem(), sys.argv[1]
assert fs.mount_kind(root) == "tmpfs"
assert fs.is_mount_point(root)
assert fs.space(root).total_bytes == 1 << 20
durable.write_once(fs, f"{root}/good", b"good", nonce="n")
with fs.create(f"{root}/file") as file:
    with refused(errno.ENOSPC):
        file.reserve(2 << 20)
    with refused(errno.ENOSPC):
        file.write_at(bytes(2 << 20), 0)
    assert fs.space(root).free_bytes == 0
    with refused(errno.ENOSPC):
        durable.write_once(fs, f"{root}/more", bytes(8192), nonce="n")
fs.remove(f"{root}/file")
assert fs.space(root).free_bytes > 0
assert [entry.name for entry in fs.list(root)] == ["good"]
assert get(fs, f"{root}/good") == b"good"
"""


def test_a_full_disk_is_an_error_and_harms_nothing_else(root: str) -> None:
    unshare = shutil.which("unshare")
    mount = ["-rm", "sh", "-c", 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"', "sh", root]
    if unshare is None or subprocess.run([unshare, *mount, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a file system of our own can not be mounted here")
    subprocess.run([unshare, *mount, sys.executable, "-c", FULL_DISK, root], check=True)


def test_file_systems_are_told_apart(fs: FileSystem) -> None:
    assert fs.mount_kind("/proc") == "unknown"
    assert fs.is_mount_point("/proc")
    assert not fs.is_mount_point("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        fs.mount_kind("/proc/none")


# Many at once


@pytest.mark.parametrize("rename", [linux.rename_without_replacing, linux.rename_by_claim])
@pytest.mark.parametrize("make", [os.mkdir, lambda path: Path(path).touch()])
def test_of_many_who_take_one_name_at_once_one_gets_it(
    root: str, make: Callable[[str], None], rename: Callable[[str, str], None]
) -> None:
    writers = 8
    with ThreadPoolExecutor(writers) as pool:
        for turn in range(50):
            for writer in range(writers):
                make(f"{root}/{turn}-{writer}")
            inodes = {os.stat(f"{root}/{turn}-{writer}").st_ino: writer for writer in range(writers)}
            barrier = threading.Barrier(writers)
            outcomes = pool.map(lambda writer: _wins(barrier, rename, f"{root}/{turn}-{writer}", f"{root}/{turn}"),  # noqa: B023
                                range(writers))  # fmt: skip
            winners = [writer for writer, won in enumerate(outcomes) if won]
            assert winners == [inodes[os.stat(f"{root}/{turn}").st_ino]]
            assert len([name for name in os.listdir(root) if name.startswith(f"{turn}-")]) == writers - 1


def _wins(barrier: threading.Barrier, rename: Callable[[str, str], None], old: str, new: str) -> bool:
    barrier.wait()
    try:
        rename(old, new)
    except FileExistsError:
        return False
    return True


def test_a_lock_stands_between_threads(fs: FileSystem, root: str) -> None:
    put(fs, f"{root}/count", b"0")

    def count() -> None:
        for _ in range(50):
            with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
                number = int(Path(f"{root}/count").read_text())
                Path(f"{root}/count").write_text(str(number + 1))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(count) for _ in range(8)]:
            future.result()
    assert Path(f"{root}/count").read_text() == "400"


def test_who_waits_for_a_lock_comes_after_who_holds_it(fs: FileSystem, root: str) -> None:
    order = []
    started = threading.Event()

    def follow() -> None:
        started.set()
        with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
            order.append("second")

    with fs.lock(f"{root}/lock", LockMode.SHARED):
        thread = threading.Thread(target=follow)
        thread.start()
        started.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_file_that_is_removed_while_it_is_locked_lets_nobody_else_in(fs: FileSystem, root: str) -> None:
    inside = []

    def enter() -> None:
        for _ in range(200):
            with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
                inside.append(threading.get_ident())
                assert inside == [threading.get_ident()]
                inside.clear()
                # From here on the next one may come in, by a new file.
                fs.remove(f"{root}/lock")

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(enter) for _ in range(8)]:
            future.result()


def test_a_lock_is_not_taken_through_a_link(fs: FileSystem, root: str) -> None:
    os.symlink("elsewhere", f"{root}/lock")
    with refused(errno.ELOOP):
        fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE)
    assert os.listdir(root) == ["lock"]


def test_a_lock_that_was_left_is_free_although_somebody_shares_its_descriptor(fs: FileSystem, root: str) -> None:
    with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
        # As in a child of another thread that is between fork and exec.
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        (locked,) = (link for link in links if os.path.exists(link) and os.path.samefile(link, f"{root}/lock"))
        shared = os.dup(int(os.path.basename(locked)))
    try:
        held = fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE)
        assert held is not None
        with held:
            pass
    finally:
        os.close(shared)


# Other processes


@contextmanager
def _process(script: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """A Python that has said "ready" and reads its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


HOLD = """
import sys
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode

with PosixFileSystem().lock(sys.argv[1], LockMode(sys.argv[2])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.kill
def test_a_lock_stands_between_processes_and_ends_with_its_holder(fs: FileSystem, root: str) -> None:
    with _process(HOLD, f"{root}/lock", "exclusive") as holder:
        assert fs.try_lock(f"{root}/lock", LockMode.SHARED) is None
        holder.kill()
        # Waits until the kernel has taken it from the dead.
        with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
            pass


def test_a_shared_lock_is_shared_between_processes(fs: FileSystem, root: str) -> None:
    with _process(HOLD, f"{root}/lock", "shared"):
        held = fs.try_lock(f"{root}/lock", LockMode.SHARED)
        assert held is not None
        with held:
            assert fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE) is None


FORK = """
import os, sys
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode

with PosixFileSystem().lock(sys.argv[1], LockMode.EXCLUSIVE):
    if os.fork():
        os._exit(0)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_forked_child_does_not_hold_the_lock_of_its_dead_parent(fs: FileSystem, root: str) -> None:
    with _process(FORK, f"{root}/lock"), fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
        pass


FORKED_AND_LEFT = """
import os, sys
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode

with PosixFileSystem().lock(sys.argv[1], LockMode.EXCLUSIVE):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print("ready", flush=True)
        sys.stdin.read()
"""


def test_a_forked_child_that_leaves_the_context_does_not_free_the_lock_of_its_parent(fs: FileSystem, root: str) -> None:
    with _process(FORKED_AND_LEFT, f"{root}/lock"):
        assert fs.try_lock(f"{root}/lock", LockMode.SHARED) is None


def _made(path: str) -> str:
    os.makedirs(path)
    return path
