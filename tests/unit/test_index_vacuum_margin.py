"""A file that a table has just stopped to name is still being read by somebody, however old it is."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.index import tables
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.schema import SYNC_LOG
from ckpt_archive.index.vacuum import vacuum
from ckpt_archive.store.object_store import location

MARGIN = timedelta(hours=2)
BATCHES = 4


def grow_old(folder: Path, by: timedelta) -> None:
    """All that is there now was created so much earlier."""
    for path in folder.rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - by.total_seconds()
            os.utime(path, (then, then))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive whose index is some hours old."""
    archive = Archive.create(f"file://{tmp_path}/archive")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.bin").write_bytes(b"weights")
    for step in range(BATCHES):
        archive.push(tmp_path / "checkpoint", "run-a", step)
        assert archive.sync().errors == ()
    grow_old(tmp_path / "archive" / "index", timedelta(hours=5))
    return archive


def test_the_margin_counts_from_when_a_file_was_replaced(archive: Archive, tmp_path: Path) -> None:
    store, machine = archive.connection.store, compose.system_machine()
    opened = tables.open_table(location(archive.url), SYNC_LOG)
    assert compact(store, machine, opened, many=2).removed == BATCHES
    assert vacuum(store, opened, MARGIN).files == 0
    grow_old(tmp_path / "archive" / "index", timedelta(hours=1))
    assert vacuum(store, opened, MARGIN).files == 0
    grow_old(tmp_path / "archive" / "index", timedelta(hours=2))
    assert vacuum(store, opened, MARGIN).files == BATCHES


def test_what_no_commit_ever_named_goes_by_its_own_age(archive: Archive, tmp_path: Path) -> None:
    store = archive.connection.store
    orphan = tmp_path / "archive" / "index" / "sync_log" / f"{'0' * 32}.parquet"
    orphan.write_bytes(b"left by somebody who was killed")
    opened = tables.open_table(location(archive.url), SYNC_LOG)
    assert vacuum(store, opened, MARGIN).files == 0
    grow_old(tmp_path / "archive" / "index", timedelta(hours=3))
    assert vacuum(store, opened, MARGIN).files == 1
    assert not orphan.exists()
