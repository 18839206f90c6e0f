"""The uploader as the real process that a trainer starts: it comes by itself, outlives the trainer, and goes when done."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive

_PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>

TRAINER = """
import json, os, signal, sys
from ckpt_archive import Archive, Every

url, staging, steps, kill_after = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
run = Archive.open(url).run("run-a", staging=staging, promote=Every(1))
restored = run.resume()
for step in steps:
    with run.checkpoint(step=step) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(os.urandom(200_000))
    assert checkpoint.staged
    if step == kill_after:
        run.flush(timeout_seconds=60)
        os.kill(json.load(open(f"{staging}/agent.status.json"))["pid"], signal.SIGKILL)
if kill_after >= 0:
    run.flush(timeout_seconds=60)
print(json.dumps(None if restored is None else restored.step))
"""


class Trainer:
    """Trains in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.staging = folder / "ssd"
        self.archive = Archive.create(f"file://{folder}/archive")

    def train(self, *steps: int, kill_after: int = -1) -> int | None:
        """The step it resumed from."""
        arguments = [self.archive.url, str(self.staging), json.dumps(steps), str(kill_after)]
        ended = subprocess.run(
            [sys.executable, "-c", TRAINER, *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        found: int | None = json.loads(ended.stdout)
        return found

    def the_uploader_leaves(self) -> int:
        """Wait for the orphan that a trainer has left; its exit code."""
        while True:
            pid, status = os.wait()
            if pid == self.status()["pid"]:
                return os.waitstatus_to_exitcode(status)

    def status(self) -> Any:
        """What it has said last."""
        return json.loads((self.staging / "agent.status.json").read_text())

    def committed(self) -> list[int]:
        return sorted(info.step for info in self.archive.checkpoints("run-a"))


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    # Orphans become children of this process, which can wait for them then.
    prctl = ctypes.CDLL(None).prctl
    assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield Trainer(tmp_path)
    assert prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.mark.kill
def test_it_comes_by_itself_outlives_the_trainer_and_goes(trainer: Trainer) -> None:
    assert trainer.train(10, 20) is None
    assert trainer.the_uploader_leaves() == 0
    assert trainer.committed() == [10, 20]
    assert "Traceback" not in (trainer.staging / "agent.log").read_text()
    assert trainer.train() == 20


@pytest.mark.kill
def test_killed_it_is_started_again(trainer: Trainer) -> None:
    trainer.train(10, 20, 30, kill_after=20)
    assert trainer.committed() == [10, 20, 30]
    assert trainer.the_uploader_leaves() == 0
    status = trainer.status()
    assert (status["pending"], status["troubles"]) == (0, [])
