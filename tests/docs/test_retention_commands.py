"""Every line of shell of the page on retention does what it says, on an archive in a folder."""

import re
import shlex
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "retention.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("ckpt-archive ")]
STEPS = (100, 300, 900, 1500, 1600, 1700, 1800)
POLICY = '[classes.recent]\nkeep_for = "14d"\n[classes.release]\nkeep_for = "10y"\nmilestone = "v*"\n'


def test_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    archive = Archive.create(f"file://{tmp_path}/archive")
    folder = tmp_path / "out" / "checkpoint-1500"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    for run, steps in (("llama-7b", [step for step in STEPS if step != 1500]), ("llama-7b-test", [1])):
        for step in steps:
            archive.push(folder, run, step)
    (tmp_path / "retention.toml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CKPT_ARCHIVE_URL", archive.url)
    assert main.run(["retention", "apply", "--yes"]) == 0
    push = [line for line in COMMANDS if " push " in line]
    for command in (*push, *(line for line in COMMANDS if line not in push)):
        words = shlex.split(command)[1:]
        asks = words[0] == "drop" and "--yes" not in words
        if words[0] == "thaw" and "--rank" in words:
            # The page's checkpoint has many writers, this one has one.
            words[words.index("--rank") + 1] = "0"
        code = main.run([*words, "--yes"] if asks else words)
        assert code == 0, (command, capsys.readouterr().err)
