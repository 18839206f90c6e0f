"""The ring on a real folder: what is trusted, what is set aside, what is evicted; and the facts beside a share."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.clock import from_text
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.disk.protocol import Entry
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import begin_launch, record_attempt, record_resume
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.ring import SealedShare, evict, open_sealed, saves_count, scan, still_same
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.local.tidy import clean
from ckpt_archive.place import Place
from ckpt_archive.share import FileEntry, Share
from ckpt_archive.testing.checkpoints import rewritten
from ckpt_archive.testing.staged import RULE, content, local_machine, overwrite, prepared_run, save

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SHA256 = "a" * 64


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    return prepared_run(local_machine(), str(tmp_path / "staging"))


def steps(run: RunStaging) -> list[int]:
    return [share.step for share in scan(run)]


def reasons(run: RunStaging) -> list[str]:
    return [item.reason for item in quarantined(run)]


# --- what is trusted -------------------------------------------------------------------------------------------------------


def test_shares_come_in_the_order_of_launches_and_saves_not_of_steps(run: RunStaging) -> None:
    save(run, 1500, saves=1)
    save(run, 1400, saves=2)
    save(run, 1000, launch=1, saves=3)
    assert steps(run) == [1500, 1400, 1000]
    assert saves_count(run, 0) == 3
    assert saves_count(run, 1) == 0


def replace_by_link(path: Path, name: str) -> None:
    path.rename(path.with_name(name))
    path.symlink_to(name)


def take_away_files(seal: Path, weights: Path) -> None:
    weights.unlink()
    weights.parent.rmdir()


def put_folder_there(seal: Path, weights: Path) -> None:
    seal.unlink()
    seal.mkdir()


def edit(old: str, new: str) -> Callable[[Path, Path], object]:
    return lambda seal, weights: seal.write_text(seal.read_text().replace(old, new))


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "no seal": lambda seal, weights: seal.unlink(),
    "empty seal": lambda seal, weights: seal.write_bytes(b""),
    "zeros": lambda seal, weights: seal.write_bytes(bytes(seal.stat().st_size)),
    "half a seal": lambda seal, weights: seal.write_bytes(seal.read_bytes()[:-20]),
    "seal is a folder": put_folder_there,
    "seal is a link": lambda seal, weights: replace_by_link(seal, "elsewhere.json"),
    "seal of another step": edit('"step":5', '"step":6'),
    "rank beyond the writers": edit('"writers":1', '"writers":0'),
    "no inode": edit('"inode":"', '"inode":"0'),
    "file that could not be restored": edit('"model.bin"', '"../model.bin"'),
    "file lost": lambda seal, weights: weights.unlink(),
    "file shorter": lambda seal, weights: weights.write_bytes(b""),
    "file is a link": lambda seal, weights: replace_by_link(weights, "real"),
    "files lost": take_away_files,
    "files is a link": lambda seal, weights: replace_by_link(weights.parent, "real"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_torn_is_set_aside_with_the_reason_and_the_rest_stays(run: RunStaging, how: str) -> None:
    save(run, 4)
    torn = save(run, 5, promotion=RULE).share
    save(run, 6)
    DAMAGES[how](Path(torn.folder, "seal.json"), Path(torn.files_path, "model.bin"))
    left = sorted(os.listdir(torn.folder))

    assert steps(run) == [4, 6]
    (item,) = quarantined(run)
    assert item.path == "ring/00000000/000000000005/rank-000000"
    assert item.reason
    assert item.set_aside_at is not None
    assert sorted(os.listdir(Path(run.quarantine, item.name, "content"))) == left
    assert steps(run) == [4, 6]
    assert len(list(quarantined(run))) == 1


@pytest.mark.parametrize(
    "path",
    [
        "README", "1/", "00000000/readme/", "00000000/12", "00000000/000000000005/rank-5/",
        "00000000/000000000005/rank-000000", "00000000/000000000005/rank-000000.01/", "00000002",
        "\udcff\udcfe/", "00000000/" + "x" * 255,
    ],
)  # fmt: skip
def test_foreign_names_in_the_ring_are_set_aside_and_never_deleted(run: RunStaging, path: str) -> None:
    save(run, 4)
    place = Path(run.ring, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.endswith("/"):
        place.mkdir()
        (place / "precious").write_text("mine")
    else:
        place.write_text("mine")
    assert steps(run) == [4]
    (item,) = quarantined(run)
    found = Path(run.quarantine, item.name, "content")
    assert (found / "precious" if found.is_dir() else found).read_text() == "mine"


def test_further_files_beside_the_sealed_ones_do_no_harm(run: RunStaging) -> None:
    share = save(run, 4).share
    Path(share.files_path, "stray.lock").write_text("")
    Path(share.folder, ".new-0-digests.json").write_text("{")
    assert steps(run) == [4]


def test_the_seal_of_a_newer_release_is_neither_used_nor_moved(run: RunStaging) -> None:
    share = save(run, 4).share
    seal = Path(share.folder, "seal.json")
    seal.write_bytes(rewritten(seal.read_bytes(), b'"version":1', b'"version":2'))
    assert steps(run) == []
    assert seal.exists()
    assert reasons(run) == []
    with pytest.raises(InvalidInputError, match=r"[Uu]pgrade"):
        save(run, 4, {"other": b"content"})


def test_nothing_is_set_aside_while_somebody_reads_and_nothing_torn_is_trusted_meanwhile(run: RunStaging) -> None:
    share = save(run, 4).share
    Path(share.files_path, "model.bin").unlink()
    with run.reading():
        assert steps(run) == []
        assert Path(share.folder).exists()
    assert steps(run) == []
    assert not Path(share.folder).exists()


def test_a_share_that_goes_while_it_is_read_is_not_taken_for_torn(tmp_path: Path) -> None:
    class Racing(PosixFileSystem):
        victim = ""

        def open(self, path: str) -> PosixFile:
            if self.victim and path.startswith(self.victim):
                os.rename(self.victim, tmp_path / "run-a/trash" / ("0" * 32))
                self.victim = ""
            return super().open(path)

    fs = Racing()
    run = prepared_run(local_machine(fs), str(tmp_path))
    save(run, 4)
    fs.victim = save(run, 5).share.folder
    assert steps(run) == [4]
    assert reasons(run) == []


class Sick(PosixFileSystem):
    """Answers with an error wherever a path ends in a given text."""

    suffix = ""
    error = errno.EIO

    def _ask(self, path: str) -> None:
        if self.suffix and path.endswith(self.suffix):
            raise OSError(self.error, os.strerror(self.error), path)

    def open(self, path: str) -> PosixFile:
        self._ask(path)
        return super().open(path)

    def list(self, path: str) -> list[Entry]:
        self._ask(path)
        return super().list(path)


@pytest.mark.parametrize(
    "suffix", ["000000000005/rank-000000/seal.json", "000000000005", "000000000005/rank-000000/files"]
)
def test_what_the_disk_does_not_answer_for_is_passed_over_and_left_where_it_is(tmp_path: Path, suffix: str) -> None:
    fs = Sick()
    run = prepared_run(local_machine(fs), str(tmp_path))
    save(run, 4)
    save(run, 5)
    fs.suffix = suffix
    assert steps(run) == [4]
    assert clean(run).quarantined == 0
    assert evict(run, 1) == []
    fs.suffix = ""
    assert steps(run) == [4, 5]


def test_a_save_does_not_shadow_a_share_that_can_not_be_read_just_now(tmp_path: Path) -> None:
    fs = Sick()
    run = prepared_run(local_machine(fs), str(tmp_path))
    first = save(run, 5, promotion=RULE).share
    fs.suffix = "rank-000000/seal.json"
    with pytest.raises(UnavailableError, match="could not be sealed"):
        save(run, 5, {"other": b"content"})
    fs.suffix = ""
    assert scan(run) == [first]


def test_an_older_generation_is_not_used_while_the_newer_one_can_not_be_read(tmp_path: Path) -> None:
    fs = Sick()
    run = prepared_run(local_machine(fs), str(tmp_path))
    with run.reading():
        save(run, 5, {"a": b"old"})
        newer = save(run, 5, {"a": b"new"}).share
    fs.suffix = "rank-000000.1/seal.json"
    assert scan(run) == []
    fs.suffix = ""
    assert scan(run) == [newer]


@pytest.mark.parametrize("suffix", ["000000000005/rank-000000/seal.json", "000000000005", "00000000"])
def test_too_many_open_files_judge_nothing(tmp_path: Path, suffix: str) -> None:
    fs = Sick()
    run = prepared_run(local_machine(fs), str(tmp_path))
    save(run, 5)
    fs.suffix, fs.error = suffix, errno.EMFILE
    for question in (scan, clean, lambda run: evict(run, 1), lambda run: saves_count(run, 0)):
        with pytest.raises(UnavailableError, match="Too many open files"):
            question(run)
    fs.suffix = ""
    assert steps(run) == [5]


# --- facts -----------------------------------------------------------------------------------------------------------------


def empty_share(run: RunStaging) -> tuple[SealedShare, Share]:
    share = save(run, 5, {"a": b""}, promotion=RULE).share
    return share, Share((FileEntry("a", 0, EMPTY_SHA256, None, 0, ()),), ())


def test_facts_are_told_once_and_found_again(run: RunStaging) -> None:
    share, digests = empty_share(run)
    assert (share.digests(), share.receipt_bytes(), share.archived(), share.gap()) == (None, None, None, None)
    assert share.is_pinned
    assert share.write_digests(digests) == digests
    share.write_receipt(b'{"rank":0}')
    share.write_receipt(b'{"rank":0}')
    assert share.is_pinned
    share.mark_archived("archive-1", 7, SHA256)

    (again,) = scan(run)
    assert again.digests() == digests
    assert again.receipt_bytes() == b'{"rank":0}'
    archived = again.archived()
    assert archived is not None
    assert (archived.archive_id, archived.attempt, archived.manifest_sha256) == ("archive-1", 7, SHA256)
    assert again.is_archived
    assert not again.is_pinned


def test_the_first_digests_stand(run: RunStaging) -> None:
    share, digests = empty_share(run)
    share.write_digests(digests)
    other = Share((FileEntry("a", 0, "b" * 64, None, 0, ()),), ())
    assert share.write_digests(other) == digests


def test_digests_of_other_files_are_refused(run: RunStaging) -> None:
    share, _ = empty_share(run)
    with pytest.raises(IntegrityError, match="not about the files"):
        share.write_digests(Share((FileEntry("b", 0, EMPTY_SHA256, None, 0, ()),), ()))


def test_a_gap_is_refused_once_a_receipt_is_written_and_is_final_else(run: RunStaging) -> None:
    share, _ = empty_share(run)
    share.mark_gap("overload")
    share.mark_gap("another reason")
    gap = share.gap()
    assert gap is not None
    assert gap.reason == "overload"
    assert not share.is_pinned

    other = save(run, 6, promotion=RULE).share
    other.write_receipt(b"{}")
    with pytest.raises(ConflictError, match="its receipt is written"):
        other.mark_gap("overload")
    assert other in [share for share in scan(run) if share.is_pinned]
    other.follow_gap("given up by node-2")
    assert not other.is_pinned


def test_another_receipt_is_a_conflict_until_one_starts_over(run: RunStaging) -> None:
    share, _ = empty_share(run)
    share.write_receipt(b'{"archive":"1"}')
    share.mark_archived("1", 0, SHA256)
    with pytest.raises(ConflictError, match="another receipt"):
        share.write_receipt(b'{"archive":"2"}')
    share.start_over("the archive was made anew")
    assert share.is_pinned
    assert share.receipt_bytes() is None
    share.write_receipt(b'{"archive":"2"}')
    assert reasons(run) == ["the archive was made anew"] * 2


@pytest.mark.parametrize("garbage", [b"", b"{", b"\0" * 100, b"[]", b'{"format":"ckpt-archive/gap","version":1}'])
def test_damaged_facts_are_unknown_and_written_anew_but_a_gap_and_a_promotion_bind(
    run: RunStaging, garbage: bytes
) -> None:
    share, digests = empty_share(run)
    for name in ("digests.json", "archived.json", "receipt.json"):
        Path(share.folder, name).write_bytes(garbage)
    assert (share.digests(), share.archived()) == (None, None)
    assert share.is_pinned
    assert share.write_digests(digests) == digests
    share.mark_archived("archive-1", 0, SHA256)
    assert share.is_archived
    assert len(reasons(run)) == 2

    bound = save(run, 6).share
    Path(bound.folder, "promote.json").write_bytes(garbage)
    assert bound in [share for share in scan(run) if share.is_pinned]
    assert bound.promotion() == {"rule": "unknown"}
    Path(bound.folder, "gap.json").write_bytes(garbage)
    assert bound.gap() is not None
    bound.mark_gap("again")
    assert not bound.is_pinned
    assert steps(run) == [5, 6]


def test_facts_about_a_share_that_is_gone_say_so(run: RunStaging) -> None:
    share, digests = empty_share(run)
    os.rename(share.folder, os.path.join(run.trash, "1" * 32))
    for tell in (
        lambda: share.write_digests(digests),
        lambda: share.write_receipt(b"{}"),
        lambda: share.mark_archived("1", 0, SHA256),
        lambda: share.mark_gap("x"),
        lambda: share.promote({"rule": "x"}),
        lambda: open_sealed(share, "a"),
        lambda: still_same(share),
    ):
        with pytest.raises(NotFoundError, match="not here any more"):
            tell()


def test_a_replaced_share_can_not_be_promoted(run: RunStaging) -> None:
    with run.reading():
        first = save(run, 5, {"a": b"1"}).share
        second = save(run, 5, {"a": b"2"}).share
        with pytest.raises(NotFoundError, match="was replaced"):
            first.promote({"rule": "milestone"})
    second.promote({"rule": "milestone"})
    assert [share.is_pinned for share in scan(run)] == [True]


# --- sealed files ----------------------------------------------------------------------------------------------------------


def test_sealed_files_open_as_long_as_they_are_what_was_sealed(run: RunStaging) -> None:
    share = save(run, 5, {"a/b": b"hello"}).share
    still_same(share)
    with open_sealed(share, "a/b") as file:
        buffer = bytearray(5)
        assert file.read_into(memoryview(buffer), 0) == 5
    assert buffer == b"hello"
    with pytest.raises(NotFoundError, match="has no file"):
        open_sealed(share, "c")


@pytest.mark.parametrize("how", ["written", "exchanged", "removed", "linked", "folder linked"])
def test_a_file_changed_under_us_is_found(run: RunStaging, tmp_path: Path, how: str) -> None:
    share = save(run, 5, {"a/b": b"hello"}).share
    file = Path(share.files_path, "a/b")
    stat = file.stat()
    if how == "written":
        file.write_bytes(b"hellO")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    elif how == "exchanged":
        overwrite(run, str(file), b"hello")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif how == "removed":
        file.unlink()
    elif how == "linked":
        file.rename(tmp_path / "real")
        file.symlink_to(tmp_path / "real")
    else:
        file.parent.rename(tmp_path / "real")
        Path(share.files_path, "a").symlink_to(tmp_path / "real")
    with pytest.raises(IntegrityError, match="Nothing may write into a sealed checkpoint"):
        open_sealed(share, "a/b")
    with pytest.raises(IntegrityError):
        still_same(share)


# --- eviction --------------------------------------------------------------------------------------------------------------


def test_the_newest_stay_and_what_is_promoted_waits_for_the_archive(run: RunStaging) -> None:
    for step in range(1, 7):
        save(run, step, promotion=RULE if step in (1, 2) else None)
    assert evict(run, 3) == [(0, 3)]
    assert steps(run) == [1, 2, 4, 5, 6]
    one, two = scan(run)[:2]
    one.mark_archived("archive-1", 0, SHA256)
    two.mark_gap("overload")
    assert evict(run, 3) == [(0, 1), (0, 2)]
    assert steps(run) == [4, 5, 6]
    assert evict(run, 0) == [(0, 4), (0, 5)]
    assert sorted(os.listdir(run.ring)) == ["00000000"]
    assert os.listdir(os.path.join(run.ring, "00000000")) == ["000000000006"]
    assert os.listdir(run.trash) == []


def test_nothing_is_evicted_while_somebody_reads(run: RunStaging) -> None:
    for step in (1, 2):
        save(run, step)
    with run.reading():
        assert evict(run, 1) == []
        assert [content(share)["model.bin"] for share in scan(run)] == [b"1", b"2"]
    assert evict(run, 1) == [(0, 1)]


def test_what_is_promoted_between_the_choice_and_the_rename_stays(tmp_path: Path) -> None:
    class Racing(PosixFileSystem):
        late: SealedShare | None = None

        def sync_directory(self, path: str) -> None:
            # Eviction makes the newest names durable after it has chosen, before it renames.
            share, self.late = self.late, None
            if share is not None:
                share.promote({"rule": "milestone"})
            super().sync_directory(path)

    fs = Racing()
    run = prepared_run(local_machine(fs), str(tmp_path))
    first = save(run, 1).share
    save(run, 2)
    fs.late = first
    assert evict(run, 1) == []
    assert steps(run) == [1, 2]


def begin(run: RunStaging, key: str) -> int:
    with begin_launch(run, launch_key=key, archive_url="", writers=1) as live:
        return live.ordinal


@pytest.mark.parametrize("by_place", [True, False])
def test_the_checkpoint_that_a_launch_resumed_from_stays_until_it_has_its_own(run: RunStaging, by_place: bool) -> None:
    first = begin(run, "a")
    for step in (50, 100, 200):
        save(run, step, launch=first)
    second = begin(run, "b")
    if by_place:
        record_attempt(run, first, "archive-1", 12, late=False)
        record_resume(run, second, Place("run-a", 12, 50), explicit=True, source="ring")
    else:
        record_resume(run, second, None, explicit=True, source="ring", from_ring=(first, 50))
    # The second launch dies before its first save; the third has not yet decided where it goes on.
    third = begin(run, "c")
    assert evict(run, 1) == [(0, 100)]
    assert steps(run) == [50, 200]
    save(run, 51, launch=third, saves=201)
    assert evict(run, 1) == [(0, 50), (0, 200)]
    assert steps(run) == [51]


def test_an_unreadable_resume_record_keeps_everything_until_its_launch_has_saved(run: RunStaging) -> None:
    begin(run, "a")
    for step in (50, 100):
        save(run, step)
    second = begin(run, "b")
    record_resume(run, second, None, explicit=False, source="ring", from_ring=(0, 50))
    Path(run.launches, f"{second:08d}.resume.json").write_text("{")
    assert evict(run, 1) == []
    save(run, 51, launch=second, saves=101)
    assert evict(run, 1) == [(0, 50), (0, 100)]


def test_an_incomplete_checkpoint_evicts_nothing(run: RunStaging) -> None:
    for rank in (0, 1):
        save(run, 1, rank=rank, writers=2)
    save(run, 2, rank=0, writers=2)
    assert evict(run, 1) == []
    save(run, 2, rank=1, writers=2)
    assert evict(run, 1) == [(0, 1)]


def test_seals_are_plain_records_that_others_can_read(run: RunStaging) -> None:
    share = save(run, 5, {"a": b"12"}, promotion=RULE).share
    seal = json.loads(Path(share.folder, "seal.json").read_bytes())
    stat = Path(share.files_path, "a").stat()
    assert seal["format"] == "ckpt-archive/seal"
    assert seal["files"] == [{"path": "a", "size": 2, "mtime_ns": str(stat.st_mtime_ns), "inode": str(stat.st_ino)}]
    assert from_text(seal["staged_at"]) == share.seal.contribution.staged_at
