"""The verbs as a script uses them, on an archive in a folder."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.cli import main

Cli = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as a trainer leaves it."""
    checkpoint = tmp_path / "checkpoint-100"
    _write(checkpoint, {"model/shard-0.bin": b"weights" * 5000, "optimizer.bin": b"moments" * 9000, "empty": b""})
    return checkpoint


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An archive, named by the environment as scripts do."""
    url = f"file://{tmp_path}/archive"
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)
    assert main.run(["-q", "init", url]) == 0
    return url


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a verb with ``--json`` and gives its document."""
    del url

    def run(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main.run([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        seen = capsys.readouterr()
        if code > 1:
            assert seen.out == ""
            document: list[dict[str, Any]] = [json.loads(seen.err)["error"]]
            return document
        assert seen.err == ""
        rows = json.loads(seen.out)
        assert isinstance(rows, list)
        return rows

    return run


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_push_ls_show_restore_verify(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (pushed,) = cli("push", folder, "--run", "r", "--step", 100, "--metric", "loss=2.5", "--label", "project=x")
    assert (pushed["state"], pushed["attempt"], pushed["awaiting"]) == ("committed", 0, [])
    (run,) = cli("ls")
    assert (run["run"], run["newest_step"]) == ("r", 100)
    (listed,) = cli("ls", "r")
    assert (listed["step"], listed["files"], listed["metrics"]) == (100, 3, {"loss": 2.5})
    (shown,) = cli("show", "r", 100)
    assert {item["path"]: item["sha256"] for item in shown["contents"]} == _digests(folder)
    (restored,) = cli("restore", "r", "--to", tmp_path / "back")
    assert (restored["step"], restored["source"], restored["verified"]) == (100, "archive", True)
    assert _digests(tmp_path / "back") == _digests(folder)
    assert cli("verify") == []
    assert cli("verify", "r", 100, "--deep") == []


def test_show_takes_latest_as_restore_does(cli: Cli, folder: Path) -> None:
    for step in (100, 200):
        cli("push", folder, "--run", "r", "--step", step)
    assert [shown["step"] for words in (["latest"], ["latest-archived"], []) for shown in cli("show", "r", *words)] == [
        200,
        200,
        200,
    ]
    cli("show", "r", "latest", "--attempt", 7, code=6)


def test_what_a_hint_says_can_be_done(cli: Cli, folder: Path, tmp_path: Path) -> None:
    cli("push", folder, "--run", "r", "--step", 100)
    asked: list[list[object]] = [["show", "r", 7], ["restore", "r", 7, "--to", tmp_path / "x"], ["verify", "r", 7]]
    for words in asked:
        (error,) = cli(*words, code=6)
        assert "`ckpt-archive ls r`" in error["hint"]
    cli("ls", "r")
    asked = [["show", "other", 7], ["show", "other"], ["ls", "other"], ["verify", "other", 7]]
    for words in asked:
        (error,) = cli(*words, code=6)
        assert "`ckpt-archive ls`" in error["hint"]
    cli("ls")
    (error,) = cli("restore", "r", 100, "--to", tmp_path / "x", "--include", "*.safetensors", code=6)
    assert error["hint"] == "It holds 'empty', 'model/shard-0.bin', 'optimizer.bin'."


def test_init_may_be_repeated(cli: Cli, url: str) -> None:
    (first,) = cli("init", url)
    (second,) = cli("init")
    assert first["id"] == second["id"]
    assert {item["name"] for item in first["capabilities"]}


def test_a_repeated_push_sends_nothing(cli: Cli, folder: Path) -> None:
    cli("push", folder, "--run", "r", "--step", 100)
    (again,) = cli("push", folder, "--run", "r", "--step", 100)
    assert (again["state"], again["bytes_sent"]) == ("already-committed", 0)


def test_other_content_under_the_same_step_is_5(cli: Cli, folder: Path) -> None:
    cli("push", folder, "--run", "r", "--step", 100)
    (folder / "optimizer.bin").write_bytes(b"other")
    (error,) = cli("push", folder, "--run", "r", "--step", 100, code=5)
    assert error["kind"] == "conflict"
    assert "optimizer.bin" in error["message"]
    assert "new attempt" in error["hint"]
    (pushed,) = cli("push", folder, "--run", "r", "--step", 100, "--new-attempt")
    assert (pushed["state"], pushed["attempt"]) == ("committed", 1)


def test_a_push_that_is_not_the_last_writer_says_who_is_awaited(
    cli: Cli, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["push", str(folder), "--run", "r", "--step", "1", "--writers", "3", "--rank", "1"]) == 0
    assert "awaiting ranks 0, 2" in capsys.readouterr().out
    (error,) = cli("ls", "r", code=6)
    assert error["kind"] == "not-found"
    cli("show", "r", 1, code=6)
    cli("restore", "r", 1, "--to", tmp_path / "back", code=6)
    for rank in (0, 2):
        _write(tmp_path / str(rank), {f"rank-{rank}": b"x"})
        (pushed,) = cli("push", tmp_path / str(rank), "--run", "r", "--step", 1, "--writers", 3, "--rank", rank)
    assert pushed["state"] == "committed"
    (listed,) = cli("ls", "r")
    assert listed["writers"] == 3


def test_restore_if_any(cli: Cli, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["restore", "r", "--to", str(tmp_path / "back"), "--if-any"]) == 0
    assert capsys.readouterr().out == ""
    assert cli("restore", "r", "--to", tmp_path / "back", "--if-any") == []
    assert not (tmp_path / "back").exists()
    cli("restore", "r", "--to", tmp_path / "back", code=6)
    cli("push", folder, "--run", "r", "--step", 100)
    cli("restore", "r", 7, "--to", tmp_path / "back", "--if-any", code=6)
    (restored,) = cli("restore", "r", "--to", tmp_path / "back", "--if-any")
    assert restored["step"] == 100


def test_a_damaged_object_is_found_and_never_restored(cli: Cli, folder: Path, tmp_path: Path) -> None:
    cli("push", folder, "--run", "r", "--step", 100)
    (data,) = (path for path in (tmp_path / "archive" / "data").rglob("*") if path.is_file())
    damaged = bytearray(data.read_bytes())
    damaged[70] ^= 1
    data.chmod(0o600)
    data.write_bytes(damaged)
    findings = cli("verify", "r", "--deep", code=1)
    assert {"run", "attempt", "step", "key", "path", "problem"} == set(findings[0])
    (error,) = cli("restore", "r", "--to", tmp_path / "back", code=4)
    assert error["kind"] == "integrity"
    assert not (tmp_path / "back").exists()


def test_sha256sum_checks_what_show_prints(
    cli: Cli, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("push", folder, "--run", "r", "--step", 100)
    cli("restore", "r", 100, "--to", tmp_path / "back")
    capsys.readouterr()
    assert main.run(["show", "r", "100", "--as", "sha256sum"]) == 0
    lines = capsys.readouterr().out
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet"], input=lines, text=True, cwd=tmp_path / "back", check=True
    )


def test_no_archive_is_6_and_says_init(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--archive", "memory://empty", "ls"]) == 6
    assert "ckpt-archive init" in capsys.readouterr().err


def test_doctor_finds_a_checkpoint_that_awaits_writers(cli: Cli, folder: Path) -> None:
    assert cli("doctor") == []
    cli("push", folder, "--run", "r", "--step", 1, "--writers", 2)
    (finding,) = cli("doctor", code=1)
    assert finding["severity"] == "warning"
    assert finding["command"]


def test_the_archive_may_be_named_before_or_after_the_verb(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_URL")
    assert main.run(["--archive", url, "-q", "push", str(folder), "--run", "r", "--step", "1"]) == 0
    assert main.run(["ls", "--archive", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["run"] == "r"
