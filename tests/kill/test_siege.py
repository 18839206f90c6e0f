"""Real processes and servers killed from outside at drawn moments: what was acknowledged is there. A short siege of each."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.server, pytest.mark.kill]


def besiege(scratch: Path, *arguments: object) -> dict[str, Any]:
    """The figures of a siege that found nothing."""
    report = scratch / "report.json"
    words = ["--folder", scratch, "--report", report, "--kills-per-site", 40, *arguments]
    done = subprocess.run(
        # A process of its own: it forks, and this one has threads.
        [sys.executable, "-m", "ckpt_archive.testing.siege", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text())
    assert (figures["lost"], figures["wrong"], figures["findings"]) == ([], [], [])
    assert figures["counts"]["acknowledged"] > 0
    assert figures["counts"]["promoted"] <= figures["counts"]["archived"] + figures["counts"]["gaps"]
    assert list(scratch.iterdir()) == [report], "it leaves nothing behind"
    return figures


def test_processes_and_the_server_are_killed(scratch: Path) -> None:
    figures = besiege(scratch, "--kills", 30, "--seed", 7)
    assert figures["killed"] >= 30
    assert {"trainer", "agent", "push"} <= figures["kills"].keys()
    assert figures["mid_upload"]


def test_nodes_of_a_cluster_are_killed(scratch: Path) -> None:
    """Among them a volume server that has just stored bytes of an upload under way."""
    figures = besiege(scratch, "--cluster", "--kills", 10, "--seed", 7)
    assert figures["killed"] >= 10
    assert figures["mid_upload"]["volume server that received"] >= 1
