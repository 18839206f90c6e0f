"""What has ended is not listed, not restored and not missed; what ends soon is said to."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.audit import listing
from ckpt_archive.audit.doctor import examine
from ckpt_archive.commit import fate, fating, layout
from ckpt_archive.commit.endings import check_not_over
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import ColdError, EndedError, IntegrityError, NotFoundError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.testing.archives import SMALL, archive_on, connected, keys, read_tree
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"weights!" * 400, "config.json": b"{}"}
SHARD = {"shard.bin": b"shard" * 300}
TOLD = Told("ann", "node-1", "promotion 12, every 12", NOON)
DAY = datetime(2026, 3, 4, tzinfo=UTC)
OLD = Place("run", 0, 100)
NEW = Place("run", 0, 300)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    """A run of three checkpoints."""
    store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=clock)
    archive_on(store)
    open_launch(store, LaunchRequest(ARCHIVE_ID, "run", "launch-0", 1, NOON), lambda _: Resumption(None, False))
    for step in (100, 200, 300):
        archive_files(store, Place("run", 0, step), FILES, SHARD, settings=SMALL)
    return store


def announce(store: MemoryStore, place: Place = OLD, day: datetime = DAY) -> None:
    fating.announce(store, ARCHIVE_ID, place, 0, day, "daily.365d", TOLD)


def remove_data(store: MemoryStore, place: Place = OLD, count: int | None = None) -> None:
    for key in keys(store, layout.data_folder(place.run, place.attempt, place.step))[:count]:
        store.delete(key)


def to(clock: ManualClock, moment: datetime) -> None:
    clock.sleep((moment - clock.now()).total_seconds())


def steps(archive: Archive, *, ended: bool = False) -> list[tuple[int, str]]:
    infos = listing.checkpoints(local_machine(), archive.connection, "run", None, ended=ended)
    return [(info.step, info.state) for info in infos]


# --- listing -----------------------------------------------------------------------------------------------------------


def test_what_has_ended_is_not_listed_unless_all_are_asked_for(store: MemoryStore, clock: ManualClock) -> None:
    archive = archive_on(store)
    announce(store)
    assert steps(archive) == [(300, "kept"), (200, "kept"), (100, "ending")]
    to(clock, DAY - timedelta(hours=1, seconds=1))
    assert steps(archive)[-1] == (100, "ending")
    to(clock, DAY - timedelta(hours=1))
    # It may be half gone from now on, whatever is still there.
    assert steps(archive) == [(300, "kept"), (200, "kept")]
    assert [info.step for info in archive.checkpoints("run")] == [300, 200]
    assert steps(archive, ended=True) == [(300, "kept"), (200, "kept"), (100, "ended")]


def test_a_line_says_class_end_and_hold(store: MemoryStore) -> None:
    announce(store)
    fating.assign(store, ARCHIVE_ID, Place("run", 0, 200), 1, "milestone", TOLD)
    fating.hold(store, ARCHIVE_ID, NEW, "A", 1, TOLD)
    new, middle, old = archive_on(store).checkpoints("run")
    assert (old.retention_class, old.ends_at, old.held) == ("daily", DAY, False)
    assert (middle.retention_class, middle.ends_at, middle.held) == ("milestone", None, False)
    assert (new.retention_class, new.ends_at, new.held) == ("", None, True)
    shown = archive_on(store).show("run", 100).info
    assert shown == old
    fating.hold(store, ARCHIVE_ID, "run", "B", 1, TOLD)
    assert all(info.held for info in archive_on(store).checkpoints("run"))
    assert archive_on(store).show("run", 200).info.held


def test_what_has_ended_is_not_even_read(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)
    to(clock, DAY)
    counting = CountingStore(store)
    archive = archive_on(counting)
    counting.reset()
    archive.checkpoints("run")
    assert counting.requests == {"list": 2, "read": 2}


def test_a_run_that_has_ended_as_a_whole_is_no_run_that_never_was(store: MemoryStore, clock: ManualClock) -> None:
    for step in (100, 200, 300):
        announce(store, Place("run", 0, step))
    to(clock, DAY)
    with pytest.raises(EndedError, match="all 3 checkpoints of the run 'run' have ended") as caught:
        archive_on(store).checkpoints("run")
    assert "--all" in caught.value.hint
    assert len(steps(archive_on(store), ended=True)) == 3
    with pytest.raises(NotFoundError, match="no committed checkpoint"):
        archive_on(store).checkpoints("other")


# --- restore -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [0, 1, None])
def test_what_has_ended_is_not_restored_and_the_answer_says_why(
    store: MemoryStore, clock: ManualClock, tmp_path: Path, removed: int | None
) -> None:
    announce(store)
    to(clock, DAY)
    if removed != 0:
        remove_data(store, count=removed)
    with pytest.raises(EndedError) as caught:
        archive_on(store).restore("run", 100, to=tmp_path / "ck")
    assert caught.value.exit_code == 6
    assert "ended on 2026-03-04 by class daily (promotion 12, every 12)" in caught.value.message
    assert "step 200 (attempt 0)" in caught.value.hint
    assert "`ckpt-archive ls run`" in caught.value.hint
    assert not (tmp_path / "ck").exists()
    event = store.read(keys(store, layout.EVENTS)[-1], limit_bytes=1 << 20).data
    assert json.loads(event)["outcome"] == "failed"


def test_where_nothing_else_is_kept_that_is_said(store: MemoryStore, clock: ManualClock, tmp_path: Path) -> None:
    for step in (100, 200, 300):
        announce(store, Place("run", 0, step))
    store.create("manifests/run/note.txt", Body.of(b"?"))
    to(clock, DAY)
    with pytest.raises(EndedError) as caught:
        archive_on(store).restore("run", 100, to=tmp_path)
    assert "No other checkpoint of run is kept" in caught.value.hint


def test_a_statement_that_can_not_be_read_takes_only_the_reason(
    store: MemoryStore, clock: ManualClock, tmp_path: Path
) -> None:
    key = layout.checkpoint_statement("run", 0, 100, fate.end_name(0, DAY, "daily.365d"))
    store.create(key, Body.of(b"?"))
    to(clock, DAY)
    with pytest.raises(EndedError, match=r"ended on 2026-03-04 by class daily: its data"):
        archive_on(store).restore("run", 100, to=tmp_path)


def test_what_ends_within_a_week_is_restored_with_a_warning(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(store)
    announce(store, Place("run", 0, 200), DAY + timedelta(days=5))
    with caplog.at_level(logging.WARNING):
        archive_on(store).restore("run", 200, to=tmp_path)
        assert not caplog.records
        restored = archive_on(store).restore("run", 100, to=tmp_path)
    assert read_tree(restored.path) == FILES | SHARD
    (record,) = caplog.records
    assert "run step 100 (attempt 0) ends on 2026-03-04 by class daily" in record.getMessage()
    assert "`ckpt-archive retention hold run 100 --attempt 0 --case ID --reason TEXT`" in record.getMessage()


def test_an_end_that_was_taken_back_is_none(store: MemoryStore, clock: ManualClock, tmp_path: Path) -> None:
    announce(store)
    fating.revoke(store, ARCHIVE_ID, OLD, 0, TOLD)
    to(clock, DAY)
    assert archive_on(store).restore("run", 100, to=tmp_path).verified
    assert check_not_over(store, OLD) == ""


def test_a_fallback_passes_over_what_has_ended(
    store: MemoryStore, clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(store, Place("run", 0, 200))
    to(clock, DAY)
    remove_data(store, NEW, count=1)
    with caplog.at_level(logging.WARNING):
        restored = archive_on(store).restore("run", 300, to=tmp_path, fallback=True)
    assert restored.step == 100
    assert any("step 200 (attempt 0) is passed over" in record.getMessage() for record in caplog.records)
    assert archive_on(store).restore("run", 200, to=tmp_path, fallback=True).step == 100
    assert "restored run step 100 (attempt 0) instead of run step 200 (attempt 0), which has ended" in caplog.text


def test_data_that_is_missing_before_its_day_is_damage(store: MemoryStore, tmp_path: Path) -> None:
    announce(store)
    remove_data(store, count=1)
    with pytest.raises(IntegrityError, match="an object of it is missing"):
        archive_on(store).restore("run", 100, to=tmp_path)


def test_what_ends_while_it_is_restored_has_ended(store: MemoryStore, clock: ManualClock, tmp_path: Path) -> None:
    announce(store)

    def before(request: Request) -> None:
        if request.verb == "fetch":
            to(clock, DAY)
            remove_data(store)

    with pytest.raises(EndedError):
        archive_on(HookedStore(store, before=before)).restore("run", 100, to=tmp_path)


# --- cold ----------------------------------------------------------------------------------------------------------------


def test_a_cold_checkpoint_says_how_much_and_which_command(
    store: MemoryStore, clock: ManualClock, tmp_path: Path
) -> None:
    bucket = MemoryBucket(store)
    folder = keys(store, layout.data_folder("run", 0, 100))
    for key in folder[:2]:
        bucket.move(key, "DEEP_ARCHIVE")
    with pytest.raises(ColdError) as caught:
        archive_on(store).restore("run", 100, to=tmp_path)
    assert caught.value.message == f"2 of {len(folder)} objects of run step 100 (attempt 0) lie in DEEP_ARCHIVE"
    assert caught.value.hint.startswith(
        "`ckpt-archive thaw run 100 --attempt 0` asks for them; that takes up to 12 hours"
    )
    assert caught.value.exit_code == 3

    for key in folder[:2]:
        bucket.request_thaw(key, days=3, tier="Standard")
    with pytest.raises(ColdError, match="are being thawed") as caught:
        archive_on(store).restore("run", 100, to=tmp_path)
    assert "That takes up to 12 hours" in caught.value.hint
    clock.sleep(13 * 3600)
    assert archive_on(store).restore("run", 100, to=tmp_path).verified


def test_a_cold_share_names_its_rank_and_both_classes(store: MemoryStore, tmp_path: Path) -> None:
    bucket = MemoryBucket(store)
    shares = [keys(store, layout.share_folder("run", 0, 100, rank)) for rank in (0, 1)]
    for key in shares[1]:
        bucket.move(key, "GLACIER")
    assert archive_on(store).restore("run", 100, to=tmp_path, rank=0).verified
    with pytest.raises(ColdError) as caught:
        archive_on(store).restore("run", 100, to=tmp_path, rank=1)
    assert caught.value.message == "1 of 1 objects of run step 100 (attempt 0) lie in GLACIER"
    assert "`ckpt-archive thaw run 100 --attempt 0 --rank 1`" in caught.value.hint
    assert "3 to 5 hours" in caught.value.hint
    bucket.move(shares[0][0], "DEEP_ARCHIVE")
    with pytest.raises(ColdError, match="lie in DEEP_ARCHIVE and GLACIER"):
        archive_on(store).restore("run", 100, to=tmp_path)


def test_glacier_instant_retrieval_is_not_cold(store: MemoryStore, tmp_path: Path) -> None:
    bucket = MemoryBucket(store)
    for key in keys(store, layout.data_folder("run", 0, 100)):
        bucket.move(key, "GLACIER_IR")
    assert archive_on(store).restore("run", 100, to=tmp_path).verified


# --- verify --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
def test_what_has_ended_is_counted_and_no_finding(store: MemoryStore, clock: ManualClock, deep: bool) -> None:
    announce(store)
    to(clock, DAY)
    remove_data(store)
    for report in (archive_on(store).verify(deep=deep), archive_on(store).verify("run", deep=deep)):
        assert (report.checkpoints, report.ended, report.findings) == (2, 1, ())
    one = archive_on(store).verify("run", 100, deep=deep)
    assert (one.checkpoints, one.objects, one.ended, one.findings) == (0, 0, 1, ())


def test_the_records_of_what_has_ended_are_still_verified(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)
    to(clock, DAY)
    remove_data(store)
    store.delete(layout.receipt("run", 0, 100, 1))
    report = archive_on(store).verify("run")
    assert (report.ended, [item.key for item in report.findings]) == (1, [layout.receipt("run", 0, 100, 1)])


def test_what_is_missing_before_its_day_is_a_finding(store: MemoryStore) -> None:
    announce(store)
    remove_data(store, count=1)
    report = archive_on(store).verify("run")
    assert (report.checkpoints, report.ended, len(report.findings)) == (3, 0, 1)


def test_what_ends_during_a_long_verify_is_no_finding(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)

    def before(request: Request) -> None:
        if request.verb == "list" and request.key.startswith("data/"):
            to(clock, DAY) if clock.now() < DAY else None
            remove_data(store)

    report = archive_on(HookedStore(store, before=before)).verify("run")
    assert (report.checkpoints, report.ended, report.findings) == (2, 1, ())


def test_that_something_ended_is_not_told_as_verified(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)
    to(clock, DAY)
    archive_on(store).verify("run")
    event = json.loads(store.read(keys(store, layout.EVENTS)[-1], limit_bytes=1 << 20).data)
    assert [place["step"] for place in event["places"]] == [300, 200]


# --- doctor --------------------------------------------------------------------------------------------------------------


def told_by_doctor(store: MemoryStore, clock: ManualClock) -> dict[str, str]:
    found = examine(local_machine(clock=clock), connected(store))
    return {f"{item.severity}: {item.what}": item.detail for item in found}


def test_announced_ends_and_what_has_ended_are_in_order(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)
    assert told_by_doctor(store, clock) == {}
    to(clock, DAY)
    remove_data(store)
    fating.ended(store, ARCHIVE_ID, OLD, 0, TOLD)
    assert told_by_doctor(store, clock) == {}


def test_what_is_gone_before_its_day_is_an_error(store: MemoryStore, clock: ManualClock) -> None:
    announce(store)
    remove_data(store, count=2)
    found = told_by_doctor(store, clock)
    assert set(found) == {"error: gone before its day"}
    (detail,) = found.values()
    assert "run step 100 (attempt 0): it ends on 2026-03-04" in detail
    assert "is missing already, and 1 more" in detail


def test_strange_statements_are_named_and_holds_are_noted(store: MemoryStore, clock: ManualClock) -> None:
    fating.hold(store, ARCHIVE_ID, "run", "WHOLE", 1, TOLD)
    fating.hold(store, ARCHIVE_ID, OLD, "ABC.1", 1, TOLD)
    folder = layout.checkpoint_statements("run", 0, 100)
    for key in ("runs/run/retention/note.txt", f"{folder}0000-erased.json", "runs/run/retention/run/0000-revoked.json"):
        store.create(key, Body.of(b"?"))
    announce(store, Place("run", 0, 999))
    found = told_by_doctor(store, clock)
    assert "3 objects among the statements" in found["warning: strange statements"]
    assert "0000-erased.json" in found["warning: strange statements"]
    assert "run step 999" in found["warning: end of what is not there"]
    notes = [item.detail for item in examine(local_machine(clock=clock), connected(store)) if item.what == "held"]
    assert notes == [
        "run: 1 checkpoints held for the case ABC.1: steps 100 (attempt 0)",
        "run: the whole run held for the case WHOLE",
    ]
