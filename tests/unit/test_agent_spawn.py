"""Starting the uploader: once, again after it has died, and never a word of an error into the training."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_archive.agent.spawn import Spawner
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.staged import local_machine


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def machine(clock: ManualClock) -> Machine:
    return local_machine(clock=clock)


class Starts:
    """Starts a small process instead of an uploader."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, staging: str) -> "subprocess.Popen[bytes]":
        del staging
        process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({self.code})"])
        self.processes.append(process)
        return process


@pytest.mark.parametrize(("code", "told"), [(0, False), (5, False), (2, True), (1, True)])
def test_one_that_ended_is_started_again_after_a_while(
    tmp_path: Path,
    clock: ManualClock,
    machine: Machine,
    caplog: pytest.LogCaptureFixture,
    code: int,
    told: bool,
) -> None:
    caplog.set_level(logging.WARNING)
    starts = Starts(code)
    spawner = Spawner(machine, starts)
    for _ in range(3):
        spawner.start(str(tmp_path))
        starts.processes[0].wait()
    assert len(starts.processes) == 1
    clock.sleep(60)
    spawner.start(str(tmp_path))
    starts.processes[-1].wait()
    assert len(starts.processes) == 2
    assert (f"ended with exit code {code}" in caplog.text) == told


def test_none_is_started_where_one_works(tmp_path: Path, machine: Machine) -> None:
    starts = Starts(0)
    held = machine.fs.try_lock(Staging(machine, str(tmp_path)).agent_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held:
        Spawner(machine, starts).start(str(tmp_path))
    assert starts.processes == []


def test_what_can_not_be_started_is_a_warning(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    Spawner(machine).start(str(tmp_path / "missing"))
    assert "could not be started" in caplog.text
    assert "ckpt-archive agent --staging" in caplog.text
