"""The demo is the story that the README tells: every claim in it must hold, and nothing of it stays behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock

pytestmark = [pytest.mark.kill, pytest.mark.server]


def demo(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "ckpt_archive", "demo", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_claim_of_the_demo_holds(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder) as process:
        text = process.communicate()[0]
    assert process.returncode == 0, text
    assert len(re.findall(r"^  ok   ", text, re.MULTILINE)) >= 7
    assert "WRONG" not in text
    assert (folder / "restored" / "weights.npz").is_file()
    # What commands print is what a person sees on a terminal.
    assert re.search(r"^    run +attempt +step +committed_at +size_bytes +metrics", text, re.MULTILINE)
    assert re.search(r"^    run +launch +attempt +step +rank +state", text, re.MULTILINE)
    assert re.search(r"^    name +state +meaning", text, re.MULTILINE)
    assert not re.search(r"\t|\x1b|[0-9a-f]{64}", text)
    assert f"ckpt-archive dev-server --folder {folder}/server" in text
    assert living(folder) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    with demo(folder) as process:
        assert process.stdout is not None
        said = ""
        while not ("agent |" in said and "saved step" in said):
            line = process.stdout.readline()
            assert line, said
            said += line
        assert any("agent" in words for words in living(folder))
        process.send_signal(number)
        process.communicate()
    clock = SystemClock()
    latest = clock.monotonic() + 20
    while living(folder) and clock.monotonic() < latest:
        clock.sleep(0.01)
    assert living(folder) == []


def living(folder: Path) -> list[list[str]]:
    """Command lines of the processes that name the folder; those that have ended have none."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path("/proc", name, "cmdline").read_text(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(str(folder) in word for word in words):
                found.append(words)
    return found
