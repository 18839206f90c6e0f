"""The cluster on this machine: it serves with a node away, listens on loopback alone, and never stays behind."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import REGION
from ckpt_archive.errors import ConflictError
from ckpt_archive.store.body import Body
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.cluster import NODES, DevCluster, Node

pytestmark = [pytest.mark.server, pytest.mark.kill]

PARENT = """
import sys
from ckpt_archive.testing.cluster import NODES, DevCluster
cluster = DevCluster(sys.argv[1])
print(*(cluster.pid(node) for node in NODES), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster(str(tmp_path_factory.mktemp("cluster") / "here")) as cluster:
        yield cluster


@pytest.fixture
def store(cluster: DevCluster) -> Iterator[S3Store]:
    known = cluster.environment()
    connection = Connection(cluster.endpoint_url, known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], REGION)
    store = S3Store(cluster.bucket, "prefix", connection=connection)
    yield store
    store.close()


def has_ended(pid: int) -> bool:
    try:
        # Also ended: not yet reaped by whoever inherited it.
        return bool(re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    except FileNotFoundError:
        return True


def test_it_serves_with_a_volume_server_away_and_finds_what_it_had(cluster: DevCluster, store: S3Store) -> None:
    store.create("before", Body.of(b"before"))
    for index in range(3):
        assert cluster.kill("volume", index)
        assert not cluster.is_running(Node("volume", index))
        assert not cluster.kill("volume", index), "it is gone already"
        assert store.read("before", limit_bytes=10).data == b"before"
        cluster.restart("volume", index)
    for role in ("s3", "filer"):
        assert cluster.kill(role)
        cluster.restart(role)
        assert store.read("before", limit_bytes=10).data == b"before"
    store.create("after", Body.of(b"after"))
    assert store.read("after", limit_bytes=10).data == b"after"


def test_it_listens_on_loopback_alone(cluster: DevCluster) -> None:
    for node in NODES:
        held = set()
        for descriptor in Path(f"/proc/{cluster.pid(node)}/fd").iterdir():
            link = os.readlink(descriptor)
            if link.startswith("socket:["):
                held.add(link.removeprefix("socket:[").rstrip("]"))
        listening = [
            line.split()[1]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{cluster.pid(node)}/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[9] in held
        ]
        assert listening, node
        assert {address.partition(":")[0] for address in listening} == {"0100007F"}, node


def test_its_folder_is_its_own(cluster: DevCluster) -> None:
    folder = os.path.dirname(cluster.log_path(NODES[0]))
    with pytest.raises(ConflictError, match="already uses"):
        DevCluster(folder)


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == len(NODES)
        parent.kill()
        parent.wait()
    clock = SystemClock()
    latest = clock.monotonic() + 20
    while not all(map(has_ended, pids)) and clock.monotonic() < latest:
        clock.sleep(0.05)
    assert all(map(has_ended, pids))
