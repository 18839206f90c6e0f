"""All that makes the index at once, killed at random: nothing lost, nothing twice, no half answers. A short race of each."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kill]


def race(scratch: Path, *arguments: object) -> dict[str, Any]:
    """The figures of a race in which nothing was wrong."""
    report = scratch / "report.json"
    words = ["--folder", scratch, "--report", report, *arguments]
    done = subprocess.run(
        # A process of its own: it forks, and this one has threads.
        [sys.executable, "-m", "ckpt_archive.testing.sync_race", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text())
    assert figures["wrong"] == []
    assert figures["checkpoints"] > 0
    assert figures["did"]["asked"] > 0
    assert sum(figures["kills"].values()) > 0
    assert list(scratch.iterdir()) == [report], "it leaves nothing behind"
    return figures


def test_in_a_folder(scratch: Path) -> None:
    # On a machine with much else to do a sync may take longer than it takes here in vain: its files must not be vacuumed.
    figures = race(scratch, "--store", "file", "--minutes", 0.2, "--margin", 60, "--strike-every", 0.7, "--seed", 3)
    assert figures["did"]["compacted"] > 0
    assert figures["did"]["append refused"] > 0


@pytest.mark.server
def test_on_a_server(scratch: Path) -> None:
    race(scratch, "--minutes", 0.35, "--margin", 60, "--strike-every", 1.5, "--seed", 3)
