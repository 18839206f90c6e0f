"""An archive that was made anew where another one was: what is left of the old one's index answers nothing."""

import shutil
from pathlib import Path

import pytest

from ckpt_archive import Archive
from ckpt_archive.compose import location_of, system_machine
from ckpt_archive.errors import CkptArchiveError, IntegrityError
from ckpt_archive.index.rebuild import rebuild


def archive_at(folder: Path, run: str, steps: int) -> Archive:
    source = folder / run
    source.mkdir()
    (source / "weights").write_bytes(run.encode() * 1000)
    archive = Archive.create(f"file://{folder}/archive")
    for step in range(steps):
        archive.push(source, run, step)
    return archive


def runs(archive: Archive) -> list[str]:
    return [row["run"] for row in archive.query("SELECT run FROM checkpoints ORDER BY run")]


@pytest.mark.parametrize("steps", [1, 3])
def test_the_index_of_the_archive_before_is_refused_until_it_is_rebuilt(tmp_path: Path, steps: int) -> None:
    (tmp_path / "archive").mkdir()
    old = archive_at(tmp_path, "old", 2)
    for _ in range(2):
        assert old.sync().errors == ()
    assert runs(old) == ["old", "old"]
    for name in ("manifests", "receipts", "runs", "data", "log"):
        shutil.rmtree(tmp_path / "archive" / name)
    (tmp_path / "archive" / "archive.json").unlink()

    new = archive_at(tmp_path, "new", steps)
    (error,) = new.sync().errors
    with pytest.raises(IntegrityError, match="which was there before this one") as caught:
        new.query("SELECT run FROM checkpoints")
    for told in (error, caught.value):
        assert isinstance(told, CkptArchiveError)
        assert "ckpt-archive index rebuild" in told.hint

    connection = new.connection
    rebuilt = rebuild(connection.store, system_machine(), connection.archive_id, location_of(connection))
    assert "checkpoints" in rebuilt.renewed
    assert runs(new) == ["new"] * steps
    assert new.sync().errors == ()


def test_the_log_of_the_archive_before_is_told_to_be_its(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    old = archive_at(tmp_path, "old", 1)
    assert old.sync().errors == ()
    for name in ("manifests", "receipts", "runs", "data", "index"):
        shutil.rmtree(tmp_path / "archive" / name)
    (tmp_path / "archive" / "archive.json").unlink()
    new = archive_at(tmp_path, "new", 1)
    errors = new.sync().errors
    assert any(f"is of the archive {old.id}" in error.message and "log/" in error.hint for error in errors)
