"""The simulated disk and store keep the same promises as the real ones when nothing goes wrong."""

import pytest

from ckpt_archive.disk.protocol import FileSystem
from ckpt_archive.executor import Executor
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.conformance import StoreConformance
from ckpt_archive.testing.disk_conformance import DiskConformance
from ckpt_archive.testing.simulation.clock import SimClock
from ckpt_archive.testing.simulation.disk import SimDisk
from ckpt_archive.testing.simulation.executor import SimExecutor
from ckpt_archive.testing.simulation.store import SimStore
from ckpt_archive.testing.simulation.world import World


class TestDisk(DiskConformance):
    @pytest.fixture
    def fs(self) -> FileSystem:
        world = World(1)
        return SimDisk(world, SimClock(world))

    @pytest.fixture
    def root(self, fs: FileSystem) -> str:
        fs.make_directory("/mnt")
        fs.make_directory("/mnt/root")
        return "/mnt/root"


class TestStore(StoreConformance):
    @pytest.fixture
    def world(self) -> World:
        return World(1)

    @pytest.fixture
    def store(self, world: World) -> Store:
        return SimStore(world)

    @pytest.fixture
    def executor(self, world: World) -> Executor:
        return SimExecutor(world)
