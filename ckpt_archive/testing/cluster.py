"""A real cluster on this machine: SeaweedFS as 3 masters, 3 volume servers, a filer and an S3 gateway, each to be killed.

Every block is on two of the volume servers. Loopback only, every port explicit; no node outlives who started it.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.devserver import DEFAULT_BUCKET, REGION, loopback, program
from ckpt_archive.devserver.home import Home
from ckpt_archive.devserver.program import Program
from ckpt_archive.devserver.server import volumes_of_nodes
from ckpt_archive.errors import UnavailableError

_READY_SECONDS = 90.0
_POLL_SECONDS = 0.05
_VOLUME_SIZE_MB = 128

SIZES: Mapping[str, int] = MappingProxyType({"master": 3, "volume": 3, "filer": 1, "s3": 1})
"""How many nodes there are of each role, in the order in which they are started."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """One process of the cluster: "master", "volume", "filer" or "s3", and which of them, from 0."""

    role: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.role}{self.index}"


NODES = tuple(Node(role, index) for role, size in SIZES.items() for index in range(size))


class DevCluster:
    """A cluster that runs as long as this object does.

    Args:
        folder: Holds everything: data, credentials, a log for each node.
        bucket: Exists when the cluster is ready.
        clock: Paces the waiting.

    Raises:
        ConflictError: If a server uses the folder already.
        InvalidInputError: If SeaweedFS is not installed.
        UnavailableError: If it does not start; quotes the end of a log.
    """

    def __init__(self, folder: str, *, bucket: str = DEFAULT_BUCKET, clock: Clock | None = None) -> None:
        self.bucket = bucket
        self._clock = clock or SystemClock()
        self._home = Home(folder, self._clock)
        self._weed = program.find_weed()
        self._programs: dict[Node, Program] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self._home.hold()
            self._keys = self._home.keys()
            with contextlib.ExitStack() as held:
                self._ports = {node: (loopback.reserve(held), loopback.reserve(held)) for node in NODES}
            for node in NODES:
                self._start(node)
            for node in NODES:
                self.wait_for(node)
            self._make_bucket()
            undo.pop_all()

    @property
    def endpoint_url(self) -> str:
        """Where S3 is spoken."""
        return self._http(Node("s3"))

    @property
    def url(self) -> str:
        """The URL of the bucket."""
        return f"s3://{self.bucket}"

    def environment(self) -> dict[str, str]:
        """The variables with which the AWS SDKs and `ckpt-archive` find the gateway."""
        return self._keys.environment(self.endpoint_url, self.url)

    def log_path(self, node: Node) -> str:
        """What a node says; begun anew when it is started again."""
        return os.path.join(self._home.path, f"{node}.log")

    def is_running(self, node: Node) -> bool:
        """Whether its process lives."""
        return node in self._programs and self._programs[node].is_running

    def pid(self, node: Node) -> int:
        """Its process id."""
        return self._programs[node].pid

    def kill(self, role: str, index: int = 0) -> bool:
        """End a node with SIGKILL, and wait until it is gone; whether it lived."""
        ending = self._programs.pop(Node(role, index), None)
        return ending is not None and ending.end(signal.SIGKILL)

    def freeze(self, role: str, index: int = 0) -> None:
        """Stop a node where it stands: its connections stay, and nobody answers."""
        self._programs[Node(role, index)].send(signal.SIGSTOP)

    def thaw(self, role: str, index: int = 0) -> None:
        """Let it go on after `freeze`."""
        self._programs[Node(role, index)].send(signal.SIGCONT)

    def restart(self, role: str, index: int = 0, *, wait: bool = True) -> None:
        """Start again what was killed, with the same ports and the same data.

        Raises:
            UnavailableError: If it is waited for and does not become ready.
        """
        node = Node(role, index)
        if not self.is_running(node):
            self._start(node)
        if wait:
            self.wait_for(node)

    def leader(self) -> Node | None:
        """The master that leads; None while they elect one."""
        named = set()
        for index in range(SIZES["master"]):
            answer = loopback.get(f"{self._http(Node('master', index))}/cluster/status", timeout_seconds=1.0)
            if answer is not None and json.loads(answer).get("IsLeader"):
                named.add(index)
        return Node("master", named.pop()) if len(named) == 1 else None

    def wait_for(self, node: Node) -> None:
        """Until a node does its work.

        Raises:
            UnavailableError: If it does not, or ends; quotes the end of its log.
        """
        deadline = self._clock.monotonic() + _READY_SECONDS
        while not self._is_ready(node):
            if not self.is_running(node) or self._clock.monotonic() > deadline:
                raise UnavailableError(
                    f"{node} of the cluster in {self._home.path} did not start: {program.last_words(self.log_path(node))}",
                    hint=f"Its log is {self.log_path(node)}.",
                )
            self._clock.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End all nodes at once; repeating it is fine."""
        # The gateway first, so that none of them writes down what its end looks like from there.
        for node in reversed(NODES):
            self.kill(node.role, node.index)
        self._home.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _http(self, node: Node) -> str:
        return f"http://{loopback.HOST}:{self._ports[node][0]}"

    def _is_ready(self, node: Node) -> bool:
        match node.role:
            case "master":
                return self.leader() is not None
            case "volume":
                return self._is_announced(node)
            case "filer":
                return loopback.get(f"{self._http(node)}/") is not None
            case _:
                return loopback.get(f"{self._http(node)}/healthz") is not None

    def _is_announced(self, node: Node) -> bool:
        """With all the volumes it holds: until then it answers, and what it holds is not found."""
        if loopback.get(f"{self._http(node)}/status") is None:
            return False  # the masters may know it from before
        leader = self.leader()
        answer = None if leader is None else loopback.get(f"{self._http(leader)}/dir/status")
        if answer is None:
            return False
        held = sum(name.endswith(".dat") for name in os.listdir(self.data_path(node)))
        known = volumes_of_nodes(answer)
        return known.get(f"{loopback.HOST}:{self._ports[node][0]}", -1) >= held

    def data_path(self, node: Node) -> str:
        """What it stores."""
        return os.path.join(self._home.path, str(node))

    def _start(self, node: Node) -> None:
        os.makedirs(self.data_path(node), mode=0o700, exist_ok=True)
        words = [self._weed, node.role, *self._arguments(node)]
        self._programs[node] = Program(words, self._home.path, self.log_path(node), self._ports[node], self._home.lock)

    def _address(self, node: Node) -> str:
        http, grpc = self._ports[node]
        return f"{loopback.HOST}:{http}.{grpc}"

    def _arguments(self, node: Node) -> list[str]:
        http, grpc = self._ports[node]
        masters = ",".join(self._address(Node("master", index)) for index in range(SIZES["master"]))
        common = [f"-ip.bind={loopback.HOST}", f"-port={http}", f"-port.grpc={grpc}"]
        own_ip = f"-ip={loopback.HOST}"
        data = self.data_path(node)
        match node.role:
            case "master":
                return [
                    *common,
                    own_ip,
                    f"-mdir={data}",
                    f"-peers={masters}",
                    "-defaultReplication=001",
                    f"-volumeSizeLimitMB={_VOLUME_SIZE_MB}",
                    # By default 10 s: this long nobody could store anything after the leader was killed.
                    "-electionTimeout=2s",
                    "-telemetry=false",
                ]
            case "volume":
                return [
                    *common, own_ip, f"-dir={data}", "-max=60", f"-master={masters}", "-dataCenter=dc1", "-rack=r1"
                ]  # fmt: skip
            case "filer":
                return [
                    *common, own_ip, f"-defaultStoreDir={data}", f"-master={masters}", "-defaultReplicaPlacement=001"
                ]  # fmt: skip
            case _:
                return [
                    *common,
                    f"-filer={self._address(Node('filer'))}",
                    "-port.iceberg=0",
                    "-port.lance=0",
                    f"-config={self._home.keys_path}",
                    "-iam=false",
                    "-autoCreateBucket=false",
                ]

    def _make_bucket(self) -> None:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self._keys.access_key,
            aws_secret_access_key=self._keys.secret_key,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        # Only with the first object volumes are made, on two servers each.
        steps: list[Callable[[], object]] = [
            lambda: client.create_bucket(Bucket=self.bucket),
            lambda: client.put_object(Bucket=self.bucket, Key=".ready", Body=b"ready"),
            lambda: client.delete_object(Bucket=self.bucket, Key=".ready"),
        ]
        deadline = self._clock.monotonic() + _READY_SECONDS
        while steps:
            try:
                steps[0]()
            except client.exceptions.BucketAlreadyOwnedByYou:
                pass  # the answer to an earlier try was lost
            except (BotoCoreError, ClientError) as error:
                if self._clock.monotonic() > deadline:
                    raise UnavailableError(f"the cluster takes no bucket: {error}", hint="See its logs.") from error
                self._clock.sleep(_POLL_SECONDS)
                continue
            steps.pop(0)
        client.close()
