"""Launches on a real folder: ordinals, joining, who lives, and what is decided once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.local.launches import (
    LiveLaunch,
    LocalAttempt,
    Resume,
    begin_launch,
    find_launch,
    forget_attempt,
    has_ended,
    load_launches,
    peek_launches,
    read_attempt,
    read_resume,
    record_attempt,
    record_resume,
)
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.place import Place
from ckpt_archive.testing.checkpoints import rewritten
from ckpt_archive.testing.staged import local_machine, prepared_run, save

URL = "s3://bucket/prefix"


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    return prepared_run(local_machine(), str(tmp_path / "staging"))


def begin(run: RunStaging, key: str, *, writers: int = 1, url: str = URL, count: int = 5) -> LiveLaunch:
    return begin_launch(run, launch_key=key, archive_url=url, writers=writers, every={"count": count})


def test_launches_are_counted_and_told_as_they_were_begun(run: RunStaging) -> None:
    live = begin_launch(
        run,
        launch_key="a",
        archive_url=URL,
        writers=2,
        keep_local=4,
        labels={"project": "x"},
        sources=[{"name": "corpus"}],
        every={"count": 5, "save_every_steps": 100},
        quota_bytes=1 << 40,
        policy="f" * 64,
    )
    assert live.ordinal == 0
    assert begin(run, "b").ordinal == 1
    first, second = load_launches(run)
    assert first == live.launch
    assert (first.labels, first.sources, first.quota_bytes) == ({"project": "x"}, ({"name": "corpus"},), 1 << 40)
    assert (second.launch_key, second.quota_bytes) == ("b", None)
    assert find_launch(run, "a") == first
    assert find_launch(run, "c") is None


def test_a_rank_joins_the_launch_of_its_key_and_the_launch_lives_as_long_as_one_of_them(run: RunStaging) -> None:
    one = begin(run, "a", writers=2)
    other = begin(run, "b")
    two = begin(run, "a", writers=2)
    assert (one.ordinal, other.ordinal, two.ordinal) == (0, 1, 0)
    assert two.launch == one.launch
    one.release()
    assert not has_ended(run, 0)
    two.release()
    two.release()
    assert has_ended(run, 0)
    assert not has_ended(run, 1)
    with begin(run, "a", writers=2) as again:
        assert again.ordinal == 0
        assert not has_ended(run, 0)
    assert has_ended(run, 0)


def test_ranks_that_begin_at_once_agree(run: RunStaging) -> None:
    keys = ["a", "b"] * 8
    with ThreadPoolExecutor(8) as pool:
        live = list(pool.map(lambda key: begin(run, key, writers=8), keys))
    ordinals = {key: {launch.ordinal for launch, other in zip(live, keys, strict=True) if other == key} for key in "ab"}
    assert sorted(map(sorted, ordinals.values())) == [[0], [1]]
    assert len(load_launches(run)) == 2


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"writers": 3}, "writers 2, now with 3"), ({"url": "s3://other"}, "archive"), ({"count": 6}, "promotion rule")],
)
def test_a_key_that_was_used_with_other_values_is_a_conflict(
    run: RunStaging, changed: dict[str, int], word: str
) -> None:
    begin(run, "a", writers=2).release()
    with pytest.raises(ConflictError, match=word):
        begin(run, "a", **{"writers": 2, **changed})  # type: ignore[arg-type]
    assert has_ended(run, 0)


def test_one_writer_may_change_its_promotion_rule(run: RunStaging) -> None:
    begin(run, "a").release()
    assert begin(run, "a", count=7).launch.every == {"count": 5}


@pytest.mark.parametrize(
    "changed",
    [{"launch_key": ""}, {"writers": 0}, {"keep_local": 0}, {"labels": {"x": object()}}, {"sources": [float("nan")]}],
)
def test_values_that_can_not_be_recorded_are_refused(run: RunStaging, changed: dict[str, object]) -> None:
    values: dict[str, object] = {"launch_key": "a", "archive_url": URL, "writers": 1, **changed}
    with pytest.raises(InvalidInputError):
        begin_launch(run, **values)  # type: ignore[arg-type]
    assert load_launches(run) == []
    assert begin(run, "a").ordinal == 0


def test_the_resume_point_is_decided_once_and_followed(run: RunStaging) -> None:
    begin(run, "a")
    assert read_resume(run, 0) is None
    decided = record_resume(run, 0, Place("run-a", 3, 100), explicit=True, source="archive")
    assert decided == Resume(Place("run-a", 3, 100), True, "archive", None)
    assert record_resume(run, 0, None, explicit=False, source="") == decided
    assert read_resume(run, 0) == decided

    begin(run, "b")
    fresh = record_resume(run, 1, None, explicit=False, source="ring", from_ring=(0, 7))
    assert read_resume(run, 1) == fresh == Resume(None, False, "ring", (0, 7))


def test_a_damaged_resume_point_is_an_error_and_not_decided_anew(run: RunStaging) -> None:
    begin(run, "a")
    record_resume(run, 0, None, explicit=False, source="")
    Path(run.launches, "00000000.resume.json").write_bytes(b"")
    with pytest.raises(IntegrityError):
        read_resume(run, 0)
    with pytest.raises(IntegrityError):
        record_resume(run, 0, Place("run-a", 3, 100), explicit=True, source="archive")


def test_the_attempt_is_recorded_once_and_can_be_forgotten_with_its_archive(run: RunStaging) -> None:
    begin(run, "a")
    assert read_attempt(run, 0) is None
    known = record_attempt(run, 0, "archive-1", 12, late=True)
    assert known == LocalAttempt("archive-1", 12, True)
    assert record_attempt(run, 0, "archive-1", 13, late=False) == known
    forget_attempt(run, 0, "the archive was made anew")
    assert read_attempt(run, 0) is None
    assert record_attempt(run, 0, "archive-2", 0, late=False).archive_id == "archive-2"
    assert [item.reason for item in quarantined(run)] == ["the archive was made anew"]


@pytest.mark.parametrize("garbage", [b"", b"{", b"\0" * 300, b'{"format":"ckpt-archive/local-attempt","version":1}'])
def test_a_damaged_attempt_is_unknown_and_recorded_anew(run: RunStaging, garbage: bytes) -> None:
    begin(run, "a")
    Path(run.launches, "00000000.attempt.json").write_bytes(garbage)
    assert read_attempt(run, 0) is None
    assert record_attempt(run, 0, "archive-1", 3, late=False) == read_attempt(run, 0)
    assert len(list(quarantined(run))) == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"\0" * 300, b'{"format":"ckpt-archive/local-launch","version":1}', None]
)
def test_a_damaged_record_is_set_aside_and_its_ordinal_never_used_again(run: RunStaging, garbage: bytes | None) -> None:
    begin(run, "a")
    begin(run, "b")
    save(run, 5, launch=1)
    path = Path(run.launches, "00000001.json")
    if garbage is None:
        path.unlink()
        path.symlink_to("00000000.json")
    else:
        path.write_bytes(garbage)
    assert [launch.launch_key for launch in peek_launches(run)] == ["a"]
    assert list(quarantined(run)) == []
    assert [launch.launch_key for launch in load_launches(run)] == ["a"]
    assert [item.path for item in quarantined(run)] == ["launches/00000001.json"]
    assert begin(run, "c").ordinal == 2


def test_the_record_of_a_newer_release_is_left_alone_and_its_ordinal_is_taken(run: RunStaging) -> None:
    begin(run, "a")
    path = Path(run.launches, "00000000.json")
    path.write_bytes(rewritten(path.read_bytes(), b'"version":1', b'"version":2'))
    assert load_launches(run) == []
    assert begin(run, "a").ordinal == 1
    assert path.exists()


def test_foreign_names_and_leftovers_among_launches_are_passed_over(run: RunStaging) -> None:
    for name in (".new-0-00000000.json", "1.json", "notes.txt", "00000003.json.bak"):
        Path(run.launches, name).write_text("x")
    assert begin(run, "a").ordinal == 0
    assert len(os.listdir(run.launches)) == 6


def test_unknown_members_of_a_record_survive(run: RunStaging) -> None:
    launch = begin(run, "a").launch
    data = rewritten(launch.encode(), b'"writers":1', b'"writers":1,"zone":"x"')
    again = type(launch).decode(data, "record")
    assert again.unknown == {"zone": "x"}
    assert again.encode() == data
