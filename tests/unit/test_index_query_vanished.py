"""Files that are replaced and removed between a look at a table and the reading of it: the question is asked again."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.query import views
from ckpt_archive.index.vacuum import vacuum

BATCHES = 3


def test_a_folder_whose_files_are_gone_when_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.create(f"file://{tmp_path}/archive")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.bin").write_bytes(b"weights")
    for step in range(BATCHES):
        archive.push(tmp_path / "checkpoint", "run-a", step)
        assert archive.sync().errors == ()
    look, times = views.files_in, []

    def look_and_wait(*arguments: Any) -> Any:
        found = look(*arguments)
        if not times:
            for opened in compose.open_tables(archive.connection).values():
                compact(archive.connection.store, compose.system_machine(), opened, many=2)
            for opened in compose.open_tables(archive.connection).values():
                vacuum(archive.connection.store, opened, timedelta(seconds=-1))
        times.append(1)
        return found

    monkeypatch.setattr(views, "files_in", look_and_wait)
    assert archive.query("SELECT count(*) FROM checkpoints").rows == ((BATCHES,),)
    assert len(times) == 2
