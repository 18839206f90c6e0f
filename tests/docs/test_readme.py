"""Every command of the README is run, as a person would run it: in a terminal, in order, and its output compared."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@dataclass(frozen=True)
class Command:
    line: str
    output: list[str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[Command]:
    found: list[Command] = []
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], []))
            else:
                found[-1].output.append(line)
    return found


def test_every_command_of_the_readme_does_what_it_shows(tmp_path: Path) -> None:
    (script,) = blocks("python")
    (tmp_path / "train.py").write_text(script)
    shell = Shell(tmp_path)
    for command in commands():
        shown = shell.run(command.line)
        assert [general(line, tmp_path) for line in shown] == [general(line, tmp_path) for line in command.output], (
            shown
        )


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert named >= {"demo", "test", "setup"}
    assert named <= targets


def test_ci_calls_the_readmes_own_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


class Shell:
    """One terminal, 80 columns wide: what is exported and where one stands is kept between commands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = "set -e"
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }

    def run(self, line: str) -> list[str]:
        text = terminal_output(["sh", "-c", f"{self._before}\n{line}"], self._folder, self._environment)
        if line.startswith("export "):
            self._before += f"\n{line}"
        return [shown.rstrip() for shown in text.splitlines() if shown.strip()]  # a bar that came and went leaves one


def terminal_output(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(arguments, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    pieces = []
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", b"".join(pieces).decode())
    assert process.wait() == 0, text
    return text


def general(line: str, folder: Path) -> str:
    """What may differ between two runs is taken out: times, durations, where the folder lies."""
    line = line.rstrip().replace(f"{folder}/", "/home/you/")
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line)
    line = re.sub(r"\b[0-9a-f]{32}\b", "ID", line)
    line = re.sub(r"[0-9.]+ GiB free; (an|no) agent is running", "FREE; AGENT", line)
    return re.sub(r"in \d+\.\d s", "in SECONDS", line)
