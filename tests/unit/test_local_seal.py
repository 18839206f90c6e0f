"""Sealing on a real folder: what is accepted, what is refused, and what a second save of a step does."""

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import CapacityError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.local.ring import scan
from ckpt_archive.local.seal import Draft, Verdict, open_draft
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.tidy import clean
from ckpt_archive.testing.staged import RULE, content, contribution, fill, local_machine, overwrite, prepared_run, save


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    return prepared_run(local_machine(), str(tmp_path / "staging"))


def leftovers(run: RunStaging) -> list[str]:
    return os.listdir(run.tmp)


def test_a_save_lands_whole_and_leaves_nothing_behind(run: RunStaging) -> None:
    outcome = save(run, 100, {"model.bin": b"weights", "optimizer/state.bin": b"", ".metadata": b"x"})

    assert outcome.verdict is Verdict.STAGED
    (share,) = scan(run)
    assert share == outcome.share
    assert (share.launch, share.step, share.rank, share.generation, share.seal.saves) == (0, 100, 0, 0, 100)
    assert share.folder.endswith("/ring/00000000/000000000100/rank-000000")
    assert content(share) == {".metadata": b"x", "model.bin": b"weights", "optimizer/state.bin": b""}
    assert share.seal.contribution.metrics == {"loss": 1.5}
    assert leftovers(run) == []


def test_every_name_is_synced_before_the_save_is_acknowledged(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recording(PosixFileSystem):
        def sync_file(self, path: str) -> None:
            calls.append(f"file {Path(path).name}")
            super().sync_file(path)

        def sync_directory(self, path: str) -> None:
            calls.append(f"names {Path(path).name}")
            super().sync_directory(path)

        def rename(self, old: str, new: str) -> None:
            calls.append("rename")
            super().rename(old, new)

    run = prepared_run(local_machine(Recording()), str(tmp_path))
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"a/b/deep.bin": b"1", "top.bin": b"2"})
    name = Path(draft.files_path).parent.name
    calls.clear()
    draft.seal(0, 7, 0, contribution(run), 1)

    middle = calls.index("rename")
    assert sorted(calls[:2]) == ["file deep.bin", "file top.bin"]
    assert [call for call in calls[2:middle] if "ring" not in call and "0000" not in call] == [
        "names b",
        "names a",
        "names files",
        f"names {name}",
    ]
    assert calls[middle + 1 :] == ["names 000000000007", "names 00000000", "names ring", "names tmp"]


@pytest.mark.parametrize("name", ["back\\slash", "new\nline", "e\u0301.bin", "x" * 256])
def test_names_that_could_not_be_restored_are_refused_by_name(run: RunStaging, name: str) -> None:
    draft = open_draft(run)
    try:
        fill(draft, run.machine.fs, {name: b"1"})
    except OSError as error:
        assert error.errno == errno.ENAMETOOLONG  # noqa: PT017 - then the disk itself refuses it
        draft.discard()
        return
    with pytest.raises(InvalidInputError, match="is not allowed"):
        draft.seal(0, 1, 0, contribution(run), 1)
    assert scan(run) == []
    assert leftovers(run) == []


def test_a_name_that_is_no_text_is_refused(run: RunStaging) -> None:
    draft = open_draft(run)
    with open(os.path.join(os.fsencode(draft.files_path), b"\xff\xfe"), "wb"):
        pass
    with pytest.raises(InvalidInputError, match="not valid UTF-8"):
        draft.seal(0, 1, 0, contribution(run), 1)


@pytest.mark.parametrize("kind", ["symlink", "folder-symlink", "fifo"])
def test_only_regular_files_are_sealed(run: RunStaging, tmp_path: Path, kind: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    draft = open_draft(run)
    place = Path(draft.files_path) / "odd"
    if kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / ("outside/secret" if kind == "symlink" else "outside"))
    with pytest.raises(InvalidInputError, match="'odd' is not a regular file"):
        draft.seal(0, 1, 0, contribution(run), 1)
    assert (tmp_path / "outside/secret").read_text() == "secret"
    assert leftovers(run) == []


def test_an_empty_save_is_refused_from_the_only_writer_and_accepted_from_one_of_many(run: RunStaging) -> None:
    with pytest.raises(InvalidInputError, match="has no file"):
        save(run, 1, {})
    assert save(run, 1, {}, writers=2, rank=1).verdict is Verdict.STAGED
    assert [share.size_bytes for share in scan(run)] == [0]


def test_empty_folders_are_no_part_of_a_checkpoint(run: RunStaging) -> None:
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"a": b"1"})
    (Path(draft.files_path) / "empty/inner").mkdir(parents=True)
    assert [file.path for file in draft.seal(0, 1, 0, contribution(run), 1).share.seal.files] == ["a"]


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": object()}])
def test_what_could_not_be_read_back_is_not_sealed(run: RunStaging, metrics: dict[str, object]) -> None:
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"a": b"1"})
    said = contribution(run)
    said = type(said)(said.launch_key, 1, said.staged_at, metrics=metrics)
    with pytest.raises(InvalidInputError, match="can not be recorded"):
        draft.seal(0, 1, 0, said, 1)
    assert leftovers(run) == []


@pytest.mark.parametrize(("rank", "writers", "saves"), [(1, 1, 1), (0, 1, 0)])
def test_impossible_numbers_are_refused(run: RunStaging, rank: int, writers: int, saves: int) -> None:
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"a": b"1"})
    with pytest.raises(InvalidInputError, match="possible"):
        draft.seal(0, 1, rank, contribution(run, writers=writers), saves)


def test_the_same_content_again_is_nothing_to_do_and_carries_a_promotion_over(run: RunStaging) -> None:
    first = save(run, 5, {"a": b"1", "b": b"2"})
    again = save(run, 5, {"a": b"1", "b": b"2"}, promotion=RULE)
    assert again.verdict is Verdict.DUPLICATE_SAME
    assert again.share == first.share
    (share,) = scan(run)
    assert share.is_promoted
    assert share.promotion() == RULE
    assert share.contribution().promotion == RULE
    assert leftovers(run) == []


@pytest.mark.parametrize("second", [{"a": b"2"}, {"a": b"11"}, {"b": b"1"}, {"a": b"1", "b": b""}])
def test_other_content_replaces_a_first_that_is_not_bound(run: RunStaging, second: dict[str, bytes]) -> None:
    first = save(run, 5, {"a": b"1"})
    outcome = save(run, 5, second)
    assert outcome.verdict is Verdict.REPLACED
    (share,) = scan(run)
    assert share.generation == 1
    assert content(share) == second
    assert not Path(first.share.folder).exists()
    assert save(run, 5, {"c": b"3"}).share.generation == 2


@pytest.mark.parametrize("how", ["rule", "promoted later", "gap", "receipt"])
def test_other_content_gives_way_to_a_first_that_is_bound(run: RunStaging, how: str) -> None:
    first = save(run, 5, {"a": b"1"}, promotion=RULE if how in ("rule", "gap") else None).share
    if how == "promoted later":
        first.promote({"rule": "milestone"})
    elif how == "gap":
        first.mark_gap("overload")
    elif how == "receipt":
        first.write_receipt(b"{}")
    outcome = save(run, 5, {"a": b"2"})
    assert outcome.verdict is Verdict.DUPLICATE_KEPT_FIRST
    assert [content(share) for share in scan(run)] == [{"a": b"1"}]
    assert leftovers(run) == []


def test_a_first_that_was_changed_after_its_seal_is_no_witness(run: RunStaging) -> None:
    first = save(run, 5, {"a": b"1"}).share
    overwrite(run, f"{first.files_path}/a", b"1")
    assert save(run, 5, {"a": b"1"}).verdict is Verdict.REPLACED


def test_the_same_step_in_another_launch_or_of_another_rank_is_another_share(run: RunStaging) -> None:
    save(run, 5, writers=2, rank=0)
    assert save(run, 5, writers=2, rank=1).verdict is Verdict.STAGED
    assert save(run, 5, launch=1).verdict is Verdict.STAGED
    assert [(share.launch, share.rank) for share in scan(run)] == [(0, 0), (0, 1), (1, 0)]


def test_a_replaced_share_stays_while_somebody_reads_and_goes_at_the_next_cleaning(run: RunStaging) -> None:
    first = save(run, 5, {"a": b"1"}).share
    with run.reading():
        assert save(run, 5, {"a": b"2"}).verdict is Verdict.REPLACED
        assert content(first) == {"a": b"1"}
        clean(run)
        assert Path(first.folder).exists()
    assert clean(run).replaced == 1
    assert not Path(first.folder).exists()
    assert [content(share) for share in scan(run)] == [{"a": b"2"}]


def test_something_torn_or_foreign_in_the_place_of_a_share_does_not_stop_a_save(run: RunStaging) -> None:
    torn = save(run, 5, {"a": b"1"}).share
    Path(torn.files_path, "a").unlink()
    Path(torn.folder).parent.joinpath("rank-000000.4").write_text("not a folder")
    outcome = save(run, 5, {"a": b"2"}, promotion=RULE)
    assert outcome.verdict is Verdict.STAGED
    assert outcome.share.generation == 5
    assert save(run, 5, {"a": b"2"}, promotion=RULE).verdict is Verdict.DUPLICATE_SAME
    assert [content(share) for share in scan(run)] == [{"a": b"2"}]


def test_a_torn_newer_generation_does_not_keep_an_older_one_from_being_promoted(run: RunStaging) -> None:
    with run.reading():
        first = save(run, 5, {"a": b"1"}).share
        second = save(run, 5, {"a": b"2"}).share
    Path(second.files_path, "a").unlink()
    outcome = save(run, 5, {"a": b"1"}, promotion=RULE)
    assert (outcome.verdict, outcome.share) == (Verdict.DUPLICATE_SAME, first)
    assert first.is_promoted


class Failing(PosixFileSystem):
    """Fails the n-th call of one verb, once."""

    def __init__(self, verb: str, number: int, error: int) -> None:
        self.verb, self.left, self.error = verb, number, error
        self.armed = False

    def fail(self, verb: str, path: str) -> None:
        if self.armed and verb == self.verb:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.error, os.strerror(self.error), path)

    def sync_file(self, path: str) -> None:
        self.fail("sync_file", path)
        super().sync_file(path)

    def sync_directory(self, path: str) -> None:
        self.fail("sync_directory", path)
        super().sync_directory(path)

    def rename(self, old: str, new: str) -> None:
        self.fail("rename", new)
        super().rename(old, new)

    def make_directory(self, path: str) -> None:
        self.fail("make_directory", path)
        super().make_directory(path)


@pytest.mark.parametrize("verb", ["sync_file", "sync_directory", "rename", "make_directory"])
@pytest.mark.parametrize("number", range(1, 13))
def test_a_failed_call_is_a_failed_save_that_leaves_no_trace(tmp_path: Path, verb: str, number: int) -> None:
    fs = Failing(verb, number, errno.EIO)
    run = prepared_run(local_machine(fs), str(tmp_path))
    save(run, 1, {"kept": b"1"})
    draft = open_draft(run)
    fill(draft, fs, {"a": b"1", "sub/b": b"2"})
    fs.armed = True
    try:
        draft.seal(0, 2, 0, contribution(run), 2)
    except UnavailableError:
        assert fs.left == 0
        assert [share.step for share in scan(run)] == [1]
        with pytest.raises(InvalidInputError, match="before"):
            draft.seal(0, 2, 0, contribution(run), 2)
    else:
        assert fs.left > 0
        assert [share.step for share in scan(run)] == [1, 2]
    fs.armed = False
    clean(run)
    assert leftovers(run) == []
    assert os.listdir(run.trash) == []
    # And the same save may be tried again with fresh bytes.
    save(run, 2, {"a": b"1", "sub/b": b"2"})
    assert [share.step for share in scan(run)] == [1, 2]


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    fs = Failing("make_directory", 1, errno.ENOSPC)
    run = prepared_run(local_machine(fs), str(tmp_path))
    draft = open_draft(run)
    fill(draft, fs, {"a": b"1"})
    fs.armed = True
    with pytest.raises(CapacityError, match=r"No space left.*Free space"):
        draft.seal(0, 2, 0, contribution(run), 2)


def test_a_draft_is_not_made_where_nothing_is_prepared(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        open_draft(Staging(local_machine(), str(tmp_path)).run("r"))


def test_a_live_draft_is_not_cleaned_and_a_dead_one_is(run: RunStaging) -> None:
    live = open_draft(run)
    fill(live, run.machine.fs, {"a": b"1"})
    assert clean(run).drafts == 0
    assert Path(live.files_path, "a").exists()

    dead = open_draft(run)
    fill(dead, run.machine.fs, {"a": b"1"})
    die(dead)
    assert clean(run).drafts == 1
    assert not Path(dead.files_path).exists()
    assert live.seal(0, 1, 0, contribution(run), 1).verdict is Verdict.STAGED
    assert leftovers(run) == []


def die(draft: Draft) -> None:
    """What the death of its process does to a draft: nobody holds its lock any more."""
    held = draft._held
    assert held is not None
    held.close()


def test_a_cleaner_between_the_steps_of_opening_a_draft_makes_it_begin_again(tmp_path: Path) -> None:
    cleaned: list[int] = []

    class Racing(PosixFileSystem):
        def make_directory(self, path: str) -> None:
            if path.endswith("/files") and not cleaned:
                # As if the cleaner had got the lock before us, between our opening and locking it.
                draft = os.path.dirname(path)
                held = self.try_lock(f"{draft}.lock", LockMode.SHARED)
                assert held is None
                os.rename(
                    draft, os.path.join(os.path.dirname(os.path.dirname(draft)), "trash", os.path.basename(draft))
                )
                cleaned.append(1)
            super().make_directory(path)

    run = prepared_run(local_machine(Racing()), str(tmp_path))
    draft = open_draft(run)
    assert cleaned == [1]
    fill(draft, run.machine.fs, {"a": b"1"})
    draft.seal(0, 1, 0, contribution(run), 1)
    clean(run)
    assert leftovers(run) == []


def test_discarding_twice_or_after_sealing_does_no_harm(run: RunStaging) -> None:
    draft = open_draft(run)
    draft.discard()
    draft.discard()
    sealed = open_draft(run)
    fill(sealed, run.machine.fs, {"a": b"1"})
    sealed.seal(0, 1, 0, contribution(run), 1)
    sealed.discard()
    assert len(scan(run)) == 1
    assert leftovers(run) == []


def test_a_step_folder_that_is_removed_at_the_last_moment_is_made_again(tmp_path: Path) -> None:
    removed: list[str] = []

    class Racing(PosixFileSystem):
        def rename(self, old: str, new: str) -> None:
            if "/ring/" in new and not removed:
                removed.append(new)
                os.rmdir(os.path.dirname(new))
                os.rmdir(os.path.dirname(os.path.dirname(new)))
            super().rename(old, new)

    run = prepared_run(local_machine(Racing()), str(tmp_path))
    assert save(run, 3).verdict is Verdict.STAGED
    assert removed
    assert [share.step for share in scan(run)] == [3]


@pytest.mark.parametrize("set_aside", [False, True], ids=["torn", "already set aside"])
def test_what_was_damaged_while_it_was_being_sealed_replaces_nothing(tmp_path: Path, set_aside: bool) -> None:
    """The disk loses the end of the newer one just then; whoever scans sets it aside before the older one goes."""

    class Losing(PosixFileSystem):
        def try_lock(self, path: str, mode: LockMode) -> AbstractContextManager[None] | None:
            for newer in tmp_path.rglob("rank-000000.1/files/model.bin") if path.endswith("ring.lock") else ():
                os.truncate(newer, 1)
                if set_aside:
                    newer.parent.parent.rename(tmp_path / "aside")
            return super().try_lock(path, mode)

    run = prepared_run(local_machine(Losing()), str(tmp_path / "ssd"))
    first = save(run, 5, {"model.bin": b"first"}).share
    with pytest.raises(
        IntegrityError, match="was damaged while it was being sealed; the earlier save of this step stays"
    ):
        save(run, 5, {"model.bin": b"other"}, saves=6)
    assert scan(run) == [first]
    assert content(first) == {"model.bin": b"first"}
