"""The verbs of a node: status, agent, drain, on a staging folder that a trainer filled."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import Archive, Every
from ckpt_archive.cli import main

STEPS = (1, 2, 3)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An archive, named by the environment."""
    url = f"file://{tmp_path}/archive"
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)
    assert main.run(["-q", "init"]) == 0
    return url


@pytest.fixture
def staging(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A staging folder with three promoted checkpoints."""
    folder = tmp_path / "staging"
    monkeypatch.setenv("CKPT_ARCHIVE_STAGING", str(folder))
    _stage(url, folder)
    return folder


def _stage(url: str, folder: Path) -> None:
    run = Archive.open(url).run("r", staging=folder, promote=Every(1), agent="external")
    for step in STEPS:
        with run.checkpoint(step=step) as checkpoint:
            (checkpoint.path / "weights.bin").write_bytes(b"%d" % step * 1000)
        assert checkpoint.staged
    run.finish()


def _agent(staging: Path, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ckpt_archive", "agent", "--staging", str(staging), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def _states(capsys: pytest.CaptureFixture[str]) -> list[tuple[int, str]]:
    capsys.readouterr()
    assert main.run(["status", "--json"]) == 0
    return [(row["step"], row["state"]) for row in _rows(capsys)]


def test_drain_archives_what_is_promoted(
    staging: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_URL")
    assert _states(capsys) == [(step, "promoted") for step in STEPS]
    assert main.run(["drain", "--staging", str(staging), "--timeout", "1m"]) == 0
    assert {state for _, state in _states(capsys)} == {"archived"}


def test_drain_exits_7_and_lists_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _stage("memory://nothing", tmp_path / "staging")
    assert main.run(["drain", "--staging", str(tmp_path / "staging"), "--timeout", "0s", "--json"]) == 7
    assert [row["step"] for row in _rows(capsys)] == list(STEPS)


def test_the_agent_says_what_it_archived(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _agent(staging, "--json") as agent:
        while {state for _, state in _states(capsys)} != {"archived"}:
            assert agent.poll() is None
        agent.send_signal(signal.SIGTERM)
        out, err = agent.communicate()
        archived = json.loads(out)
    assert err == ""
    assert [(item["run"], item["attempt"], item["step"]) for item in archived] == [("r", 0, step) for step in STEPS]
    assert all(item["bytes_sent"] > 0 for item in archived)


def test_the_agent_ends_in_good_order_on_sigterm(staging: Path) -> None:
    with _agent(staging) as agent:
        assert agent.stdout is not None
        for step in STEPS:
            assert f"archived r step {step} " in agent.stdout.readline()
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 0


def test_the_agent_says_that_it_waits_and_for_what(tmp_path: Path) -> None:
    """A sidecar begins before there is anything."""
    with _agent(tmp_path / "not-yet") as agent:
        assert agent.stderr is not None
        line = agent.stderr.readline()
        agent.send_signal(signal.SIGINT)
        assert agent.communicate()[1] == ""
    assert line == f"agent of {tmp_path}/not-yet, process {agent.pid}: waiting for checkpoints\n"
    assert agent.returncode == 0


@pytest.mark.parametrize("verb", ["status", "drain"])
def test_a_staging_folder_that_is_not_there_is_6(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    assert main.run([verb, "--staging", str(missing)]) == 6
    assert capsys.readouterr().err == f"error: there is no staging folder {missing}\n       Check --staging.\n"
    monkeypatch.setenv("CKPT_ARCHIVE_STAGING", str(missing))
    assert main.run([verb]) == 6
    assert "Check CKPT_ARCHIVE_STAGING." in capsys.readouterr().err
    assert not missing.exists()


def test_a_second_agent_is_a_conflict(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _agent(staging) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        assert main.run(["agent", "--until-idle"]) == 5
        agent.send_signal(signal.SIGTERM)
    said = capsys.readouterr().err
    assert "another agent" in said
    assert "waiting for" not in said


def test_restore_uses_the_ring_where_it_can(staging: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what is not archived, and with no archive in reach."""
    capsys.readouterr()
    assert main.run(["restore", "r", "--to", str(tmp_path / "a"), "--staging", str(staging), "--json"]) == 0
    (restored,) = _rows(capsys)
    assert (restored["step"], restored["source"]) == (3, "ring")
    assert (tmp_path / "a" / "weights.bin").read_bytes() == b"3" * 1000
    assert main.run(["restore", "r", "2", "--to", str(tmp_path / "b"), "--staging", str(staging), "--json"]) == 0
    assert (tmp_path / "b" / "weights.bin").read_bytes() == b"2" * 1000
    assert main.run(["restore", "r", "2", "--to", str(tmp_path / "c")]) == 6


def test_restore_asks_the_archive_for_what_the_ring_does_not_hold(
    staging: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["drain", "--staging", str(staging)]) == 0
    empty = tmp_path / "another-node"
    empty.mkdir()
    capsys.readouterr()
    assert main.run(["restore", "r", "--to", str(tmp_path / "a"), "--staging", str(empty), "--json"]) == 0
    (restored,) = _rows(capsys)
    assert (restored["step"], restored["source"]) == (3, "archive")


def test_status_needs_a_staging_folder(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_STAGING", raising=False)
    assert main.run(["status"]) == 2
    assert "--staging" in capsys.readouterr().err


def test_a_second_signal_ends_the_agent_at_once(tmp_path: Path) -> None:
    """Whose pass waits for an archive that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.settimeout(60)
        _stage("s3://bucket", tmp_path / "staging")
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{hanging.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
        }
        with _agent(tmp_path / "staging", environment=environment) as agent:
            connection, _ = hanging.accept()
            with connection:
                assert connection.recv(1)  # the request is under way
                agent.send_signal(signal.SIGINT)
                while agent.poll() is None:  # two that are sent at once may arrive as one
                    agent.send_signal(signal.SIGINT)
                    with suppress(subprocess.TimeoutExpired):
                        agent.wait(0.05)
            err = agent.communicate()[1]
    assert agent.returncode == 130
    assert "interrupted: run the same command again, it goes on where it was" in err
