"""Staging as a whole: folders, cleaning, room, failed saves, and what `status` is told."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode, Space, join
from ckpt_archive.errors import CapacityError, InvalidInputError
from ckpt_archive.local.capacity import RESERVED_BYTES, check_room, used_bytes
from ckpt_archive.local.gaps import forget_missed, load_missed, record_missed
from ckpt_archive.local.launches import begin_launch, record_attempt
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.ring import scan
from ckpt_archive.local.seal import open_draft
from ckpt_archive.local.share_facts import PROMOTE, encode_promotion
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.status import ShareState, describe
from ckpt_archive.local.tidy import Cleaned, clean
from ckpt_archive.testing.staged import RULE, fill, local_machine, overwrite, prepared_run, save

SHA256 = "a" * 64


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    return prepared_run(local_machine(), str(tmp_path / "staging"))


# --- folders ---------------------------------------------------------------------------------------------------------------


def test_runs_are_the_folders_that_were_prepared(run: RunStaging) -> None:
    root = Path(run.staging.root)
    run.prepare()
    run.staging.run("other").prepare()
    for name in ("Not-A-Run", "empty-one", "lost+found"):
        (root / name).mkdir()
    (root / "file").write_text("")
    assert run.staging.runs() == ["other", "run-a"]


def test_there_are_no_runs_where_there_is_no_folder(tmp_path: Path) -> None:
    assert Staging(local_machine(), str(tmp_path / "no/such")).runs() == []


@pytest.mark.parametrize("root", ["staging", "", "./x"])
def test_a_relative_folder_is_refused(root: str) -> None:
    with pytest.raises(InvalidInputError, match="not absolute"):
        Staging(local_machine(), root)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "fuse", "fuse.sshfs", "cifs", "smb2", "9p", "ceph"])
def test_network_file_systems_are_refused_unless_allowed(tmp_path: Path, kind: str) -> None:
    class Mounted(PosixFileSystem):
        def mount_kind(self, path: str) -> str:
            super().mount_kind(path)
            return kind

    root = str(tmp_path / "not/there/yet")
    with pytest.raises(InvalidInputError, match=f"{kind}.*--allow-network-staging"):
        Staging(local_machine(Mounted()), root).run("r").prepare()
    assert not Path(root).exists()
    Staging(local_machine(Mounted()), root, allow_network=True).run("r").prepare()
    assert Staging(local_machine(Mounted()), root).runs() == ["r"]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "btrfs", "zfs", "unknown"])
def test_local_file_systems_are_accepted(tmp_path: Path, kind: str) -> None:
    class Mounted(PosixFileSystem):
        def mount_kind(self, path: str) -> str:
            return kind

    Staging(local_machine(Mounted()), str(tmp_path)).run("r").prepare()


def test_a_file_in_the_place_of_the_staging_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "staging").write_text("")
    with pytest.raises(InvalidInputError, match="Check the staging folder"):
        Staging(local_machine(), str(tmp_path / "staging")).run("r").prepare()


def test_a_staging_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "staging").symlink_to(tmp_path / "real")
    run = prepared_run(local_machine(), str(tmp_path / "staging"))
    save(run, 1)
    assert [share.step for share in scan(run)] == [1]


# --- cleaning --------------------------------------------------------------------------------------------------------------


def test_foreign_things_among_drafts_and_in_the_trash_are_set_aside(run: RunStaging) -> None:
    nonce = "0" * 32
    for folder in (run.tmp, run.trash):
        Path(folder, "precious").mkdir()
        Path(folder, "precious/file").write_text("mine")
        Path(folder, f"{nonce}.txt").write_text("mine")
    Path(run.trash, "1" * 32).write_text("a file of such a name was never thrown away")
    Path(run.tmp, f"{nonce}.lock").mkdir()
    assert clean(run).quarantined == 3
    assert sorted(item.path for item in quarantined(run)) == [
        f"tmp/{nonce}.lock",
        f"tmp/{nonce}.txt",
        "tmp/precious",
        f"trash/{nonce}.txt",
        "trash/" + "1" * 32,
        "trash/precious",
    ]
    assert clean(run) == Cleaned(0, 0, 0)
    assert (os.listdir(run.tmp), os.listdir(run.trash)) == ([], [])


def test_a_lock_without_a_draft_goes(run: RunStaging) -> None:
    Path(run.tmp, "0" * 32 + ".lock").write_text("")
    assert clean(run) == Cleaned(0, 0, 0)
    assert os.listdir(run.tmp) == []


def test_a_draft_that_died_before_it_had_a_lock_goes(run: RunStaging) -> None:
    Path(run.tmp, "0" * 32).mkdir()
    assert clean(run) == Cleaned(1, 0, 0)
    assert os.listdir(run.tmp) == []


def test_a_record_whose_writer_died_before_it_had_its_name_goes_when_its_launch_has_ended(run: RunStaging) -> None:
    left = [
        join(run.launches, f".new-{'0' * 32}-00000007.json"),
        join(run.launches, f".new-{'1' * 32}-00000007.resume.json"),
        join(run.gaps, f".new-{'2' * 32}-00000007-000000000003-000000.json"),
    ]
    foreign = join(run.launches, ".new-mine")
    for path in (*left, foreign):
        Path(path).write_text("{")
    held = run.machine.fs.try_lock(run.launch_file(7, ".lock"), LockMode.SHARED)
    assert held is not None
    with held:
        clean(run)
        assert all(Path(path).exists() for path in left), "its writer may still be at it"
    clean(run)
    assert not any(Path(path).exists() for path in left)
    assert Path(foreign).exists()


def test_what_is_promoted_is_not_removed_although_a_newer_save_of_its_step_stands(run: RunStaging) -> None:
    """Such a save is refused, unless the disk gave the first one back wrong just then."""
    first = save(run, 5, {"a": b"1"}).share
    with run.reading():
        save(run, 5, {"a": b"2"})
    overwrite(run, join(first.folder, PROMOTE), encode_promotion(RULE))
    assert clean(run).replaced == 0
    assert Path(first.folder).exists()


def test_the_trash_is_emptied_by_one_at_a_time(run: RunStaging) -> None:
    Path(run.trash, "0" * 32, "files").mkdir(parents=True)
    held = run.machine.fs.try_lock(run.trash_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held:
        clean(run)
        assert len(os.listdir(run.trash)) == 1
    clean(run)
    assert os.listdir(run.trash) == []


def test_what_can_not_be_set_aside_stays_and_is_not_trusted(tmp_path: Path) -> None:
    class Stubborn(PosixFileSystem):
        def rename(self, old: str, new: str) -> None:
            if "/quarantine/" in new:
                raise PermissionError(1, "Operation not permitted", old)
            super().rename(old, new)

    run = prepared_run(local_machine(Stubborn()), str(tmp_path))
    share = save(run, 1).share
    Path(share.folder, "seal.json").unlink()
    assert scan(run) == []
    assert clean(run).quarantined == 0
    assert Path(share.folder).exists()
    assert os.listdir(run.quarantine) == []


# --- room ------------------------------------------------------------------------------------------------------------------


class Small(PosixFileSystem):
    free_bytes = RESERVED_BYTES + 100

    def space(self, path: str) -> Space:
        return Space(self.free_bytes, 1 << 40)


def test_the_reserve_of_the_disk_is_kept(tmp_path: Path) -> None:
    run = prepared_run(local_machine(Small()), str(tmp_path))
    check_room(run.staging, 100)
    with pytest.raises(CapacityError, match="too few for 101 more") as caught:
        check_room(run.staging, 101)
    assert caught.value.exit_code == 7


def test_the_quota_counts_everything_that_lies_there(run: RunStaging) -> None:
    share = save(run, 1, {"a": bytes(1000)}).share
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"b": bytes(500)})
    used = used_bytes(run.staging)
    assert used == 1500 + Path(share.folder, "seal.json").stat().st_size
    quota = used + 200 + RESERVED_BYTES
    check_room(run.staging, 200, quota)
    with pytest.raises(CapacityError, match="quota"):
        check_room(run.staging, 201, quota)


def test_what_goes_away_while_it_is_counted_is_not_missed(tmp_path: Path) -> None:
    class Racing(PosixFileSystem):
        def list(self, path: str):  # type: ignore[no-untyped-def]
            found = super().list(path)
            if path.endswith("/files"):
                for entry in found:
                    os.unlink(os.path.join(path, entry.name))
            return found

    run = prepared_run(local_machine(), str(tmp_path))
    save(run, 1, {"a": bytes(1000)})
    assert used_bytes(Staging(local_machine(Racing()), str(tmp_path))) < 1000


# --- failed saves ----------------------------------------------------------------------------------------------------------


def test_failed_saves_are_told_until_they_are_forgotten(run: RunStaging) -> None:
    record_missed(run, 0, 200, 1, "No space left on device")
    record_missed(run, 0, 100, 0, "first reason")
    record_missed(run, 0, 100, 0, "second reason")
    Path(run.gaps, ".new-0-x.json").write_text("{")
    Path(run.gaps, "00000000-000000000300-000000.json").write_text("{")
    found = load_missed(run)
    assert [(missed.launch, missed.step, missed.rank, missed.reason) for missed in found] == [
        (0, 100, 0, "first reason"),
        (0, 200, 1, "No space left on device"),
    ]
    forget_missed(run, found[0])
    forget_missed(run, found[0])
    assert [missed.step for missed in load_missed(run)] == [200]
    record_missed(run, 0, 300, 0, "after damage")
    assert [missed.reason for missed in load_missed(run)] == ["No space left on device", "after damage"]


# --- status ----------------------------------------------------------------------------------------------------------------


class At:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def tree(root: str) -> list[tuple[str, int]]:
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sorted((path, os.lstat(path).st_mtime_ns) for path in paths)


def test_status_tells_every_state_and_changes_nothing(tmp_path: Path) -> None:
    clock = At()
    run = prepared_run(local_machine(clock=clock), str(tmp_path))
    live = begin_launch(run, launch_key="a", archive_url="s3://x/y", writers=1)
    begin_launch(run, launch_key="b", archive_url="s3://x/y", writers=1).release()
    record_attempt(run, 0, "archive-1", 41, late=False)
    archived, given_up, damaged_facts = (save(run, step, promotion=RULE).share for step in (1, 2, 3))
    archived.mark_archived("archive-1", 41, SHA256)
    given_up.mark_gap("overload")
    Path(damaged_facts.folder, "archived.json").write_text("{")
    clock.sleep(60)
    save(run, 4, {"a": bytes(10)}, promotion=RULE)
    save(run, 5)
    torn = save(run, 6).share
    Path(torn.folder, "seal.json").unlink()
    lost = save(run, 7).share
    Path(lost.files_path, "model.bin").unlink()
    scan(run)
    save(run, 8)
    Path(run.ring, "foreign").mkdir()
    Path(run.launches, "00000009.json").write_text("damaged")
    clock.sleep(60)
    before = tree(run.staging.root)

    status = describe(run.staging)
    assert tree(run.staging.root) == before
    (told,) = status.runs
    assert [(item.launch.launch_key, item.live, item.attempt) for item in told.launches] == [
        ("a", True, 41),
        ("b", False, None),
    ]
    assert [(share.step, share.state.value) for share in told.shares if share.step is not None] == [
        (1, "archived"), (2, "gap"), (3, "promoted"), (4, "promoted"), (5, "staged"), (8, "staged"),
    ]  # fmt: skip
    assert told.shares[1].detail == "overload"
    assert told.count(ShareState.QUARANTINED) == 3
    assert told.size_bytes == 10 + 5
    assert told.error == ""
    assert status.oldest_promotion_seconds == 120
    assert status.agent_live is False
    assert status.used_bytes > 0
    assert status.free_bytes > 0
    live.release()


def test_status_of_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="can not be read"):
        describe(Staging(local_machine(), str(tmp_path / "no")))
    status = describe(Staging(local_machine(), str(tmp_path)))
    assert status.runs == ()
    assert status.oldest_promotion_seconds is None


def test_status_tells_a_living_agent(run: RunStaging) -> None:
    with run.machine.fs.lock(run.staging.agent_lock, LockMode.EXCLUSIVE):
        assert describe(run.staging).agent_live is True


def test_one_run_that_can_not_be_read_does_not_hide_the_others(run: RunStaging) -> None:
    save(run, 1)
    other = run.staging.run("other")
    other.prepare()
    os.rmdir(other.ring)
    Path(other.ring).write_text("")
    by_name = {told.run: told for told in describe(run.staging).runs}
    assert by_name["other"].error
    assert [share.step for share in by_name["run-a"].shares] == [1]
