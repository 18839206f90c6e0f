"""Four processes bring one index up to its log and merge its files, and are killed at random, beside sealing and reading."""

import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import DevServer
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.index.check import check
from ckpt_archive.index.schema import CHECKPOINTS
from ckpt_archive.index.sync import open_projector, project_all
from ckpt_archive.index.tables import open_table
from ckpt_archive.place import Place
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.object_store import Location, location
from ckpt_archive.store.open import open_store
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID
from ckpt_archive.testing.logged import LoggedArchive, small_archive, table_rows
from ckpt_archive.testing.staged import local_machine

pytestmark = pytest.mark.kill

_PROCESSES = 4
_ROUNDS = int(os.environ.get("CKPT_ARCHIVE_INDEX_KILLS", "24"))


@pytest.fixture(params=["file", pytest.param("seaweed", marks=pytest.mark.server)])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """URL and environment."""
    if request.param == "file":
        FileStore(PosixFileSystem(), str(tmp_path / "archive")).prepare()
        yield f"file://{tmp_path}/archive", {}
        return
    with tempfile.TemporaryDirectory() as folder:
        server = DevServer(folder)
        try:
            yield f"{server.url}/killed", server.environment()
        finally:
            server.kill()


def start(url: str, environment: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ckpt_archive.testing.indexers", url, "5"]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)


def end(process: "subprocess.Popen[str]") -> None:
    # Whatever the others do, none of them ends by itself.
    assert process.poll() is None
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def read_consistently(store: Store, place: Location) -> int:
    """What a reader sees now has each checkpoint once, and every one up to the last batch in the table."""
    opened = open_table(place, CHECKPOINTS)
    rows = table_rows(store, opened)
    counts = Counter((row["run"], row["attempt"], row["step"]) for row in rows)
    assert set(counts.values()) <= {1}
    steps = {row["step"] for row in rows if row["run"] == "run"}
    assert steps == set(range(4, opened.number + 1)), opened.number
    return opened.number


@pytest.mark.timeout(900)
def test_four_processes_killed_at_random(
    archive: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, environment = archive
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chance = random.Random(17)
    store = open_store(url, fs=PosixFileSystem(), clock=SystemClock())
    made: LoggedArchive = small_archive(store)
    place = location(url)
    open_projector(store, local_machine(), ARCHIVE_ID, place)
    running = [start(url, environment) for _ in range(_PROCESSES)]
    seen = []
    try:
        for _ in range(_ROUNDS):
            for _ in range(3):
                made.checkpoint(Place("run", 0, len(made.sealed) + 1))
                made.seal()
            victim = chance.randrange(_PROCESSES)
            # Anywhere: between starting up and the second pass.
            for _ in range(chance.randrange(3)):
                output = running[victim].stdout
                assert output is not None
                output.readline()
            end(running[victim])
            running[victim] = start(url, environment)
            seen.append(read_consistently(store, place))
    finally:
        for process in running:
            end(process)
    projector = open_projector(store, local_machine(clock=SystemClock()), ARCHIVE_ID, place)
    assert project_all(projector).number == len(made.sealed)
    found = check(store, local_machine(), ARCHIVE_ID, projector.tables, sample=None)
    assert found.differences == ()
    assert seen == sorted(seen)
    read_consistently(store, place)
    merges = {name: opened.compactions for name, opened in projector.tables.items()}
    with capsys.disabled():
        sys.stdout.write(f"\n{_ROUNDS} kills, {found.number} batches, merges {merges['checkpoints']}, seen {seen}")
