"""Eight real processes push their shares of one checkpoint at once: one commits it, whoever that is."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.devserver import DevServer
from ckpt_archive.testing.archives import read_tree, write_tree

WRITERS = 8


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive that other processes find too."""
    if request.param == "file":
        return Archive.create(f"file://{tmp_path}/archive")
    server = request.getfixturevalue("seaweed")
    assert isinstance(server, DevServer)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Archive.create(f"s3://{server.bucket}/many-writers-{os.urandom(4).hex()}")


def files_of(rank: int) -> dict[str, bytes]:
    return {f"shard-{rank}.bin": bytes([rank]) * 200_000, f"state/{rank}.json": b"%d" % rank, "config.json": b"{}"}


def start(
    archive: Archive, folder: Path, rank: int, step: int, environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    arguments = [
        "--run",
        "run",
        "--step",
        step,
        "--rank",
        rank,
        "--writers",
        WRITERS,
        "--archive",
        archive.url,
        "--json",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "ckpt_archive", "push", str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def results(processes: "list[subprocess.Popen[str]]") -> list[dict[str, Any]]:
    found = []
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        found += json.loads(out)
    return found


def test_eight_processes_make_one_checkpoint(archive: Archive, tmp_path: Path) -> None:
    folders = [write_tree(tmp_path / f"rank-{rank}", files_of(rank)) for rank in range(WRITERS)]
    reports = results([start(archive, folder, rank, 100, {}) for rank, folder in enumerate(folders)])
    states = [report["state"] for report in reports]
    assert {report["attempt"] for report in reports} == {0}
    assert set(states) <= {"awaiting", "committed", "already-committed"}
    assert "committed" in states or "already-committed" in states
    (info,) = archive.checkpoints("run")
    assert (info.step, info.writers, info.files) == (100, WRITERS, 2 * WRITERS + 1)
    expected = {path: data for rank in range(WRITERS) for path, data in files_of(rank).items()}
    assert read_tree(archive.restore("run", to=tmp_path / "back").path) == expected
    assert read_tree(archive.restore("run", to=tmp_path / "back", rank=5).path) == files_of(5)
    report = archive.verify(deep=True)
    assert (report.objects, report.findings) == (WRITERS, ())
    assert archive.doctor() == ()


def test_the_key_of_a_launch_keeps_two_of_them_apart(archive: Archive, tmp_path: Path) -> None:
    """Two launches of eight, mixed: two attempts, each whole."""
    processes = []
    for launch in ("first", "second"):
        for rank in range(WRITERS):
            folder = write_tree(tmp_path / launch / str(rank), {f"shard-{rank}": f"{launch} {rank}".encode()})
            processes.append(start(archive, folder, rank, 7, {"CKPT_ARCHIVE_LAUNCH_KEY": launch}))
    results(processes)
    found = set()
    for attempt in (0, 1):
        tree = read_tree(archive.restore("run", 7, attempt=attempt, to=tmp_path / "back").path)
        assert len(tree) == WRITERS
        found |= {data.split()[0] for data in tree.values()}
        assert len({data.split()[0] for data in tree.values()}) == 1
    assert found == {b"first", b"second"}


def test_a_writer_too_many_is_a_conflict_that_is_named(archive: Archive, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "rank-0", files_of(0))
    results([start(archive, folder, 0, 100, {})])
    other = start(archive, write_tree(tmp_path / "one", files_of(1)), 1, 100, {})
    results([other])
    process = subprocess.run(
        [sys.executable, "-m", "ckpt_archive", "push", str(folder), "--archive", archive.url]  # noqa: RUF005
        + ["--run", "run", "--step", "100", "--rank", "2", "--writers", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 5
    assert "the number of writers is 8 for rank 0 and 3 for rank 2" in " ".join(process.stderr.split())
