"""A real server, folders of a few parts, and processes to kill; and the table of what had to be sent again."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.testing.lab import Lab

RUNNER = Path(__file__).with_name("victim.py")

_ROW = "killed"
_COLUMNS = ("kill point", "bytes sent first", "resumed", "sent again", "bound")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A SeaweedFS of this process, with one bucket. Leave it running."""
    folder = tmp_path_factory.mktemp("seaweed")
    server = DevServer(str(folder))
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone after the test: what is killed leaves tens of MB."""
    yield tmp_path
    for entry in tmp_path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture
def make_lab(scratch: Path) -> Iterator[Callable[[DevServer], Lab]]:
    """Makes an empty archive on a server, and victims that know it."""
    labs: list[Lab] = []

    def make(server: DevServer) -> Lab:
        url = f"{server.url}/{os.urandom(8).hex()}"
        environment = {**server.environment(), "CKPT_ARCHIVE_URL": url}
        labs.append(Lab(url, str(RUNNER), str(scratch), environment, REGION))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(seaweed: DevServer, make_lab: Callable[[DevServer], Lab]) -> Lab:
    """An empty archive."""
    return make_lab(seaweed)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of one object of four parts (5 + 5 + 5 + 1 MiB) and one of many small files. Only read it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    (folder / "model.bin").write_bytes(os.urandom(16 << 20))
    (folder / "state").mkdir()
    for number in range(20):
        (folder / "state" / f"{number}.json").write_bytes(os.urandom(40_000 + number))
    (folder / "state" / "empty").touch()
    yield folder
    shutil.rmtree(folder)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What each kill cost."""
    rows = [
        tuple(str(cell) for cell in value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == _ROW and report.when == "call"
    ]
    if not rows:
        return
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    terminalreporter.section("killed, and continued by a new process")
    for row in (_COLUMNS, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        terminalreporter.write_line(" | ".join(cells))
