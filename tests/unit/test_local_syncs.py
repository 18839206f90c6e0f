"""What others made is synced before anybody relies on it; and saves are counted on, whatever has gone since."""

from pathlib import Path

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.local.launches import begin_launch
from ckpt_archive.local.ring import evict
from ckpt_archive.local.scanning import saves_count
from ckpt_archive.local.seal import Verdict
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.local.tidy import clean
from ckpt_archive.testing.staged import local_machine, prepared_run, save


class Noting(PosixFileSystem):
    """Notes which names were made durable, and what was renamed."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []

    def sync_directory(self, path: str) -> None:
        self.done.append(("sync", path))
        super().sync_directory(path)

    def rename(self, old: str, new: str) -> None:
        self.done.append(("rename", old))
        super().rename(old, new)


def staging(fs: Noting, root: Path) -> RunStaging:
    return prepared_run(local_machine(fs), str(root))


def test_who_joins_a_launch_makes_its_record_durable_first(tmp_path: Path) -> None:
    fs = Noting()
    run = staging(fs, tmp_path)
    with begin_launch(run, launch_key="key", archive_url="", writers=2):
        fs.done.clear()
        with begin_launch(run, launch_key="key", archive_url="", writers=2):
            assert ("sync", run.launches) in fs.done


def test_what_was_replaced_goes_only_when_the_one_that_replaced_it_is_durable(tmp_path: Path) -> None:
    fs = Noting()
    run = staging(fs, tmp_path)
    first = save(run, 5, {"model.bin": b"first"}).share
    with run.reading():
        second = save(run, 5, {"model.bin": b"other"}, saves=6).share
    assert first.folder != second.folder
    fs.done.clear()
    clean(run)
    step_folder = run.step_folder(0, 5)
    assert fs.done.index(("sync", step_folder)) < fs.done.index(("rename", first.folder))


def test_saves_are_counted_on_after_some_were_evicted(tmp_path: Path) -> None:
    run = staging(Noting(), tmp_path)
    for step in (1, 2, 3):
        save(run, step)
    assert evict(run, 1) == [(0, 1), (0, 2)]
    assert saves_count(run, 0) == 3


def test_what_is_older_goes_only_when_the_newer_one_is_durable(tmp_path: Path) -> None:
    fs = Noting()
    run = staging(fs, tmp_path)
    older = save(run, 1).share
    save(run, 2)
    fs.done.clear()
    assert evict(run, 1) == [(0, 1)]
    assert fs.done.index(("sync", run.step_folder(0, 2))) < fs.done.index(("rename", older.folder))


def test_a_repeated_save_makes_the_name_of_the_first_one_durable(tmp_path: Path) -> None:
    fs = Noting()
    run = staging(fs, tmp_path)
    save(run, 1)
    fs.done.clear()
    assert save(run, 1, saves=2).verdict is Verdict.DUPLICATE_SAME
    assert {run.step_folder(0, 1), run.launch_folder(0), run.ring} <= {path for what, path in fs.done if what == "sync"}
