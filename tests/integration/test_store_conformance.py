"""Every store against the one suite: those in memory and in a folder, and real S3 servers on loopback."""

from pathlib import Path

import pytest

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.conformance import KNOWN_DEVIATIONS, StoreConformance


@pytest.fixture
def memory_store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def file_store(tmp_path: Path) -> FileStore:
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"))
    store.prepare()
    return store


SERVERS = {"memory": "memory_store", "file": "file_store", "seaweedfs": "seaweed_store", "moto": "moto_store"}


@pytest.mark.parametrize("server", SERVERS, scope="class")
class TestStores(StoreConformance):
    @pytest.fixture
    def store(self, server: str, request: pytest.FixtureRequest) -> Store:
        found: Store = request.getfixturevalue(SERVERS[server])
        return found


def test_every_known_deviation_is_of_a_check_and_a_server_that_exist() -> None:
    for server, check in KNOWN_DEVIATIONS:
        assert server in SERVERS
        assert hasattr(StoreConformance, check)
