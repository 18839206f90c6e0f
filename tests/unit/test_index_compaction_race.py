"""Two compactions at once, at the very moment that matters: no row comes to stand in a table twice."""

from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.index import compaction, tables
from ckpt_archive.index.schema import SYNC_LOG
from ckpt_archive.store.object_store import location

BATCHES = 8


class Handle:
    """A table's handle; when it has committed for the first time, and has not looked again yet, somebody else comes."""

    def __init__(self, real: Any, meanwhile: Any) -> None:
        self._real = real
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_write_transaction(self, *arguments: Any, **named: Any) -> None:
        self._real.create_write_transaction(*arguments, **named)
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive whose index has many small files."""
    archive = Archive.create(f"file://{tmp_path}/archive")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.bin").write_bytes(b"weights")
    for step in range(BATCHES):
        archive.push(tmp_path / "checkpoint", "run-a", step)
        assert archive.sync().errors == ()
    return archive


def test_a_merge_of_files_that_somebody_else_has_merged_meanwhile_is_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LARGE_BYTES", 20_000)
    machine, store, place = compose.system_machine(), archive.connection.store, location(archive.url)
    ours = tables.open_table(place, SYNC_LOG)
    assert len(compaction.plan(SYNC_LOG, ours.files(), machine.clock.now(), 2)) > 1

    def somebody_else() -> None:
        compaction.compact(store, machine, tables.open_table(place, SYNC_LOG), many=2)

    ours._handle = Handle(ours._handle, somebody_else)  # type: ignore[assignment]
    compaction.compact(store, machine, ours, many=2)
    assert sum(file.rows for file in tables.open_table(place, SYNC_LOG).files()) == BATCHES
    assert archive.query("SELECT count(*), count(DISTINCT log_seq) FROM sync_log").rows == ((BATCHES, BATCHES),)
