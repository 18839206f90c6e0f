"""The demo is the story that the README tells: every claim in it must hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kill, pytest.mark.server]


def test_every_claim_of_the_demo_holds(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_archive", "demo", "--folder", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(done.stdout)
    assert len(checks) >= 7
    assert all(check["holds"] for check in checks)
    assert (folder / "restored" / "weights.npz").is_file()
