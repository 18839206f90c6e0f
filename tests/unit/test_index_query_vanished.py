"""Files that are replaced and removed between a look at a table and the reading of it: the question is asked again."""

from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.query import sandbox
from ckpt_archive.index.tables import DataFile

BATCHES = 3


def test_a_folder_whose_files_are_gone_when_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.create(f"file://{tmp_path}/archive")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.bin").write_bytes(b"weights")
    for step in range(BATCHES):
        archive.push(tmp_path / "checkpoint", "run-a", step)
        assert archive.sync().errors == ()
    lock, times = sandbox.lock, []

    def lock_and_wait(*arguments: Any) -> None:
        lock(*arguments)
        times.append(1)
        if len(times) == 1:
            for opened in compose.open_tables(archive.connection).values():
                compact(archive.connection.store, compose.system_machine(), opened, many=2)
            for path in (tmp_path / "archive" / "index" / "checkpoints").rglob("*.parquet"):
                if path.name not in {Path(file.path).name for file in live(archive)}:
                    path.unlink()

    monkeypatch.setattr(sandbox, "lock", lock_and_wait)
    assert archive.query("SELECT count(DISTINCT manifest_sha256) FROM checkpoints").rows == ((BATCHES,),)
    assert len(times) == 2


def live(archive: Archive) -> list[DataFile]:
    return compose.open_tables(archive.connection)["checkpoints"].files()
