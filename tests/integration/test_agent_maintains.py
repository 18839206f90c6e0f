"""The agent maintains an archive in a process of its own, which weighs nothing in the agent and may be ended."""

from pathlib import Path

from ckpt_archive import Archive
from ckpt_archive.agent.apart import maintain_apart


def archive_at(folder: Path) -> Archive:
    (folder / "source").mkdir()
    (folder / "source" / "weights").write_bytes(b"w" * 1000)
    (folder / "archive").mkdir()
    archive = Archive.create(f"file://{folder}/archive")
    archive.push(folder / "source", "run", 1)
    return archive


def test_it_brings_what_was_committed_into_the_index(tmp_path: Path) -> None:
    archive = archive_at(tmp_path)
    assert maintain_apart(archive.url, 60, lambda: False) == ()
    assert [row["step"] for row in archive.query("SELECT step FROM checkpoints")] == [1]


def test_it_ends_when_there_is_something_to_upload(tmp_path: Path) -> None:
    archive = archive_at(tmp_path)
    assert maintain_apart(archive.url, 60, lambda: True) == ()
    assert maintain_apart(archive.url, 60, lambda: False) == ()
    assert [row["step"] for row in archive.query("SELECT step FROM checkpoints")] == [1]


def test_what_stops_it_is_told(tmp_path: Path) -> None:
    (error,) = maintain_apart(f"file://{tmp_path}/nothing", 60, lambda: False)
    assert "nothing" in error.message
    assert error.hint
