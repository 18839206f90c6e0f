"""How much memory the command line needs for a checkpoint much larger than that."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.testing.lab import Lab, check_same_tree
from ckpt_archive.testing.usage import Used, run_measured

pytestmark = [pytest.mark.server]

SIZE_BYTES = 256 << 20
LIMIT_BYTES = 120 * 10**6

Run = Callable[..., Used]


@pytest.fixture
def run(lab: Lab, scratch: Path) -> Run:
    """Runs a verb of the command line in a process of its own."""

    def measured(*arguments: object) -> Used:
        command = [sys.executable, "-m", "ckpt_archive", *map(str, arguments), "--json"]
        used = run_measured(command, str(scratch / "out.json"), {"PATH": os.defpath, **lab.environment})
        assert used.code == 0, used.errors
        return used

    return measured


def test_peak_memory_is_that_of_the_program_that_was_run(scratch: Path) -> None:
    """And not that of this process, which is larger than the one measured first."""
    peaks = []
    for size_bytes in (0, 200 * 10**6):
        command = [sys.executable, "-I", "-c", f"print(len(b'x' * {size_bytes}))"]
        used = run_measured(command, str(scratch / "out"), {"PATH": os.defpath})
        assert (used.code, used.out) == (0, f"{size_bytes}\n")
        peaks.append(used.peak_bytes)
    assert peaks[0] < 30 * 10**6
    assert 200 * 10**6 < peaks[1] < 230 * 10**6


def test_push_and_restore_hold_little_of_a_large_checkpoint_in_memory(run: Run, scratch: Path) -> None:
    folder = scratch / "checkpoint"
    folder.mkdir()
    block = os.urandom(8 << 20)
    with (folder / "model.bin").open("wb") as file:
        for number in range(SIZE_BYTES // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    pushed = run("push", folder, "--run", "llama", "--step", 100)
    (report,) = json.loads(pushed.out)
    assert (report["state"], report["bytes_sent"]) == ("committed", SIZE_BYTES)
    assert pushed.peak_bytes < LIMIT_BYTES

    restored = run("restore", "llama", "--to", scratch / "back")
    (report,) = json.loads(restored.out)
    assert (report["verified"], report["bytes_fetched"]) == (True, SIZE_BYTES)
    assert restored.peak_bytes < LIMIT_BYTES
    check_same_tree(scratch / "back", folder)
