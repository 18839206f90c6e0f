"""One process of SeaweedFS that is a whole S3 server."""

import contextlib
import json
import os
import shlex
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.devserver import loopback, program
from ckpt_archive.devserver.home import Home
from ckpt_archive.devserver.program import Program
from ckpt_archive.errors import InvalidInputError, UnavailableError

DEFAULT_BUCKET = "ckpt-archive"

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05
_STARTS = 3

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

_ASKED = ("master", "filer")


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
        self._clock = clock or SystemClock()
        self._home = Home(folder, self._clock)
        self._weed = program.find_weed()
        self._program: Program | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._home.hold()
            os.makedirs(self._data_path, mode=0o700, exist_ok=True)
            self._keys = self._home.keys()
            self.access_key, self.secret_key = self._keys.access_key, self._keys.secret_key
            self._ports = self._choose_ports(port)
            self._start_somehow(port)
            self._home.remember_ports(self._ports)
            undo.pop_all()

    @property
    def endpoint_url(self) -> str:
        """Where S3 is spoken."""
        return f"http://{loopback.HOST}:{self._ports['s3.port']}"

    @property
    def url(self) -> str:
        """The URL of the bucket."""
        return f"s3://{self.bucket}"

    @property
    def folder(self) -> str:
        """Where everything is."""
        return self._home.path

    @property
    def pid(self) -> int:
        """The server's process id; 0 if it was stopped or killed."""
        return 0 if self._program is None else self._program.pid

    @property
    def log_path(self) -> str:
        """The server's log."""
        return os.path.join(self._home.path, "log")

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._program is not None and self._program.is_running

    def environment(self) -> dict[str, str]:
        """The variables with which the AWS SDKs, the `aws` command and `ckpt-archive` find this server."""
        return self._keys.environment(self.endpoint_url, self.url)

    def export_lines(self) -> str:
        """`environment` as lines for a POSIX shell."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items())

    def last_words(self) -> str:
        """The line of its log that says most about its end."""
        return program.last_words(self.log_path)

    def shell(self, *commands: str) -> str:
        """What SeaweedFS's own shell answers to commands: its lifecycle engine, vacuum and the like are run from there.

        Raises:
            UnavailableError: If the shell does not end in good order.
        """
        ports = self._ports
        flags = [f"-{name}={loopback.HOST}:{ports[f'{name}.port']}.{ports[f'{name}.port.grpc']}" for name in _ASKED]
        return program.shell(self._weed, flags, self._home.path, commands)

    @property
    def s3_grpc_address(self) -> str:
        """Where its S3 server is told what to do by its own kind."""
        return f"{loopback.HOST}:{self._ports['s3.port.grpc']}"

    def stop(self) -> None:
        """End the server in good order; repeating it is fine."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would; what it acknowledged is there when it is started again."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it where it stands: its connections stay, and nobody answers."""
        if self._program is not None:
            self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        if self._program is not None:
            self._program.send(signal.SIGCONT)

    def restart(self, *, wait: bool = True) -> None:
        """Start again what was stopped or killed, on the same ports.

        Args:
            wait: Until it is ready; also if it was started without that before.
        """
        if not self.is_running:
            self._start()
        if wait:
            self._wait_until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

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
        self._home.hold()
        words = [self._weed, *self._arguments()]
        self._program = Program(words, self._home.path, self.log_path, self._ports.values(), self._home.lock)

    @property
    def _data_path(self) -> str:
        return os.path.join(self._home.path, "data")

    def _arguments(self) -> list[str]:
        return [
            "mini",
            f"-dir={self._data_path}",
            f"-ip={loopback.HOST}",
            f"-ip.bind={loopback.HOST}",
            *(f"-{flag}={port}" for flag, port in self._ports.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.iam=false",
            f"-s3.config={self._home.keys_path}",
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
        filer = f"http://{loopback.HOST}:{self._ports['filer.port']}"
        checks: list[Callable[[], bool]] = [
            # S3 answers before the filer has made the bucket, so ask for the bucket.
            lambda: loopback.get(f"{filer}/buckets/{self.bucket}/") is not None,
            lambda: loopback.get(f"{self.endpoint_url}/healthz") is not None,
            self._volumes_are_known,
        ]
        while checks:
            if checks[0]():
                checks.pop(0)
            elif not self.is_running or self._clock.monotonic() > deadline:
                raise UnavailableError(
                    f"the dev server in {self._home.path} did not start: {self.last_words()}",
                    hint=f"Its log is {self.log_path}.",
                )
            else:
                self._clock.sleep(_POLL_SECONDS)

    def _volumes_are_known(self) -> bool:
        """Started again, it answers up to 5 s before it can read what it holds: until its volumes have been announced."""
        answer = loopback.get(f"http://{loopback.HOST}:{self._ports['master.port']}/dir/status")
        if answer is None:
            return False
        held = sum(name.endswith(".dat") for name in os.listdir(self._data_path))
        nodes = volumes_of_nodes(answer)
        return bool(nodes) and sum(nodes.values()) >= held

    def _end(self, number: signal.Signals) -> None:
        ending, self._program = self._program, None
        if ending is not None:
            ending.end(number)
        self._home.release()

    def _choose_ports(self, s3_port: int) -> dict[str, int]:
        if s3_port and not loopback.is_free(s3_port):
            raise InvalidInputError(f"port {s3_port} is in use", hint="Choose another port, or 0 for any free one.")
        ports = self._home.remembered_ports()
        if ports and s3_port in (0, ports["s3.port"]) and all(map(loopback.is_free, ports.values())):
            return ports
        return _free_ports(s3_port)


def volumes_of_nodes(answer: bytes) -> dict[str, int]:
    """How many volumes each volume server has announced, from a master's answer to ``/dir/status``."""
    status: dict[str, Any] = json.loads(answer)
    centers = status["Topology"]["DataCenters"] or []
    nodes = [node for center in centers for rack in center["Racks"] for node in rack["DataNodes"]]
    return {node["Url"]: node["Volumes"] for node in nodes}


def _free_ports(s3_port: int) -> dict[str, int]:
    """A free port for every flag, all different."""
    with contextlib.ExitStack() as stack:
        ports = {flag: loopback.reserve(stack) for flag in _PORT_FLAGS}
        ports["admin.port"] = loopback.reserve(stack, also_free=_GRPC_OFFSET)
        ports["admin.port.grpc"] = ports["admin.port"] + _GRPC_OFFSET
    return ports | {"s3.port": s3_port or ports["s3.port"]}
