"""Asking for cold data: what is said first, what is asked for, how it is followed; on memory and on a second root."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.audit.verify import verify
from ckpt_archive.cli.main import run as run_cli
from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fating import Told
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import ColdError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.restore.archived import restore_archived
from ckpt_archive.restore.selection import Selection
from ckpt_archive.retention import thawing
from ckpt_archive.retention.money.prices import shipped
from ckpt_archive.retention.thawing import Share, Thawer
from ckpt_archive.store.bucket import Warmth
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.archives import SMALL, archive_on, connected, memory_store, read_tree
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.staged import local_machine

PLACE = Place("run", 0, 100)
FILES = {"model/a.bin": b"a" * 1500, "model/b.bin": b"b" * 700, "small/x": b"x" * 10, "small/y": b"y" * 20}
OTHER = {"model/c.bin": b"c" * 900}


class Cold:
    """An archive on a store whose data has become cold."""

    def __init__(self, connection: Connection, clock: ManualClock, cool: Callable[[str], object]) -> None:
        self.connection = connection
        self.clock = clock
        self.machine: Machine = local_machine(clock=clock)
        self._cool = cool
        archive_files(connection.store, PLACE, FILES, OTHER, settings=SMALL)

    def cool(self) -> None:
        for info in list_all(self.connection.store, "data/"):
            self._cool(info.key)

    @property
    def thawer(self) -> Thawer:
        return thawing.thawer_of(self.connection)

    def look(self, *include: str, rank: int | None = None) -> Share:
        return thawing.look(self.machine, self.connection, self.thawer, PLACE, Selection(include, rank))

    def request(self, share: Share, days: int = 7, tier: str = "Standard") -> int:
        return thawing.request(self.machine, self.connection, self.thawer, share, days=days, tier=tier, actor="ada")

    def events(self) -> list[Event]:
        store = self.connection.store
        infos = list_all(store, layout.EVENTS)
        return [read_event(store.read(info.key, limit_bytes=1 << 20).data, info.key) for info in infos]

    def restore(self, folder: Path) -> Mapping[str, bytes]:
        restore_archived(self.machine, self.connection, PLACE, lambda _: str(folder), Selection())
        return read_tree(folder)


@pytest.fixture
def glacier() -> Cold:
    store = memory_store()
    assert isinstance(store, MemoryStore)
    bucket = MemoryBucket(store)
    clock = store.clock
    assert isinstance(clock, ManualClock)
    cold = Cold(connected(store, bucket=bucket), clock, lambda key: bucket.move(key, "GLACIER"))
    cold.cool()
    return cold


@pytest.fixture
def tape(tmp_path: Path) -> Cold:
    clock = ManualClock()
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"), clock=clock)
    store.prepare()
    (tmp_path / "tape").mkdir()
    cold = Cold(connected(store), clock, store.cold.cool)
    store.cold.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    cold.cool()
    return cold


# --- what is wanted -------------------------------------------------------------------------------------------------------


def test_a_cold_checkpoint_is_thawed_and_restored(glacier: Cold, tmp_path: Path) -> None:
    with pytest.raises(ColdError):
        glacier.restore(tmp_path / "first")
    share = glacier.look()
    assert (len(share.items), len(share.of(Warmth.COLD))) == (4, 4)
    assert glacier.request(share) == 4
    share = glacier.look()
    assert len(share.of(Warmth.THAWING)) == 4
    assert glacier.request(share) == 0, "what is thawing is not asked for again"
    share = thawing.follow(glacier.machine, glacier.thawer, share, wait=True)
    assert share.is_readable
    assert share.until_at is not None
    assert share.until_at >= NOON + timedelta(days=7)
    assert glacier.clock.now() - NOON < timedelta(hours=6), "GLACIER Standard takes five hours"
    assert glacier.restore(tmp_path / "second") == {**FILES, **OTHER}
    assert glacier.request(share) == 0


def test_events_tell_of_both(glacier: Cold) -> None:
    share = glacier.look("model/*", rank=0)
    glacier.request(share, days=3, tier="Bulk")
    share = thawing.follow(glacier.machine, glacier.thawer, share, wait=True)
    thawing.tell_thawed(glacier.machine, glacier.connection, share, actor="ada")
    requested, thawed = sorted(glacier.events(), key=lambda event: event.happened_at)
    assert (requested.kind, requested.places, requested.rank) == ("thaw-requested", (PLACE,), 0)
    assert (requested.actor, requested.subject, requested.outcome) == ("ada", "model/*", "Bulk")
    assert (requested.size_bytes, requested.details) == (2200, {"objects": 2, "days": 3})
    assert (thawed.kind, thawed.until_at, thawed.size_bytes) == ("thawed", share.until_at, 2200)


def test_only_the_share_of_a_rank_or_of_files(glacier: Cold) -> None:
    assert len(glacier.look(rank=1).items) == 1
    assert len(glacier.look("model/a.bin").items) == 1
    packed = glacier.look("small/x")
    assert [item.size_bytes for item in packed.items] == [30], "the object that holds both small files"
    with pytest.raises(NotFoundError, match="no file of"):
        glacier.look("nothing/*")
    with pytest.raises(InvalidInputError, match="no rank 5"):
        glacier.look(rank=5)
    assert glacier.request(glacier.look("model/a.bin")) == 1
    share = glacier.look()
    assert [len(share.of(warmth)) for warmth in (Warmth.COLD, Warmth.THAWING)] == [3, 1]


def test_what_is_warm_is_left_alone(glacier: Cold) -> None:
    share = glacier.look()
    warm = Share(PLACE, share.selection, ())
    assert warm.is_readable
    assert warm.until_at is None
    assert glacier.request(warm) == 0
    assert glacier.events() == []


def test_the_second_root_gives_it_back_at_once(tape: Cold, tmp_path: Path) -> None:
    assert tape.restore(tmp_path / "from-tape") == {**FILES, **OTHER}, "slow, but it can be read"
    share = tape.look(rank=0)
    assert len(share.of(Warmth.COLD)) == 3
    assert tape.request(share, days=2) == 3
    share = thawing.follow(tape.machine, tape.thawer, share, wait=False)
    assert share.until_at == NOON + timedelta(days=2)
    assert len(tape.look().of(Warmth.COLD)) == 1
    assert tape.restore(tmp_path / "back") == {**FILES, **OTHER}


def test_a_second_root_that_is_not_mounted_is_told_to_whoever_restores(tape: Cold, tmp_path: Path) -> None:
    (tmp_path / "tape").rename(tmp_path / "away")
    for action in (lambda: tape.restore(tmp_path / "out"), tape.look):
        with pytest.raises(ColdError) as caught:
            action()
        assert "Mount it" in caught.value.hint
    report = verify(tape.machine, tape.connection, [PLACE], deep=True)
    assert {"thaw it first" in finding.problem for finding in report.findings} == {True}


def test_what_is_cold_is_verified(tape: Cold, tmp_path: Path) -> None:
    assert verify(tape.machine, tape.connection, [PLACE], deep=False).findings == ()
    assert verify(tape.machine, tape.connection, [PLACE], deep=True).findings == ()
    key = tape.look().items[0].key
    (tmp_path / "tape" / key).write_bytes(b"damaged")
    assert {finding.key for finding in verify(tape.machine, tape.connection, [PLACE], deep=False).findings} == {key}


def test_what_has_ended_is_not_thawed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = FileStore(PosixFileSystem(), url.removeprefix("file://"))
    now = store.list("", limit=1).store_time.replace(hour=0, minute=0, second=0, microsecond=0)
    fating.announce(store, ARCHIVE_ID, PLACE, 0, now, "daily.1d", Told("ada", "node", "a test", now))
    code, _, err = said(capsys, "--archive", url, "thaw", "run", "100", "--yes")
    assert code == 6
    assert "by class daily" in err


def test_a_request_that_dies_anywhere_is_finished_by_the_next(glacier: Cold) -> None:
    class Died(BaseException):
        pass

    class Dying:
        def __init__(self, inner: Thawer, left: int) -> None:
            self.inner = inner
            self.left = left

        def temperature(self, key: str) -> object:
            return self.inner.temperature(key)

        def request_thaw(self, key: str, *, days: int, tier: str) -> None:
            self.inner.request_thaw(key, days=days, tier=tier)
            self.left -= 1
            if not self.left:
                raise Died

    for left in (1, 1, 2):
        with pytest.raises(Died):
            thawing.request(
                glacier.machine,
                glacier.connection,
                Dying(glacier.thawer, left),  # type: ignore[arg-type]
                glacier.look(),
                days=1,
                tier="Standard",
            )
    share = glacier.look()
    assert not share.of(Warmth.COLD)
    assert {event.kind for event in glacier.events()} == {"thaw-requested"}


# --- money and time -------------------------------------------------------------------------------------------------------


def test_what_it_costs_and_how_long_it_takes(glacier: Cold) -> None:
    cold = glacier.look().of(Warmth.COLD)
    book = shipped("aws")
    found = {tier: thawing.estimate(cold, book, tier) for tier in thawing.TIERS}
    size_bytes = sum(item.size_bytes for item in cold)
    standard = book.price("GLACIER").tier("Standard")
    assert found["Standard"].usd == pytest.approx(
        size_bytes / 1e9 * standard.usd_per_gb + 4 / 1000 * standard.usd_per_1000
    )
    assert found["Expedited"].usd > found["Standard"].usd >= found["Bulk"].usd
    assert found["Expedited"].hours < found["Standard"].hours < found["Bulk"].hours
    with pytest.raises(InvalidInputError, match="no price for the storage class GLACIER"):
        thawing.estimate(cold, shipped("hdd"), "Standard")
    assert thawing.estimate((), shipped("hdd"), "Bulk") == thawing.Estimate(0.0, 0.0)


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_days_that_can_not_be(glacier: Cold, days: int) -> None:
    with pytest.raises(InvalidInputError, match="days can not be asked for"):
        glacier.request(glacier.look(), days=days)


def test_waiting_stops_when_told(glacier: Cold) -> None:
    share = glacier.look()
    glacier.request(share)
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 100

    share = thawing.follow(glacier.machine, glacier.thawer, glacier.look(), wait=True, should_stop=soon)
    assert not share.is_readable
    assert glacier.clock.now() - NOON < timedelta(minutes=10)


def test_waiting_asks_little(glacier: Cold) -> None:
    asked = 0

    class Counting:
        def temperature(self, key: str) -> object:
            nonlocal asked
            asked += 1
            return glacier.thawer.temperature(key)

        def request_thaw(self, key: str, *, days: int, tier: str) -> None:
            raise AssertionError

    glacier.request(glacier.look(), tier="Bulk")
    thawing.follow(glacier.machine, Counting(), glacier.look(), wait=True)  # type: ignore[arg-type]
    assert asked < 4 * 60, "twelve hours, four an hour"


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "at once"),
        (1 / 12, "within 5 minutes"),
        (5, "within 5 hours"),
        (12, "within 12 hours"),
        (0.01, "within 1 minute"),
    ],
)
def test_a_time_for_people(hours: float, text: str) -> None:
    assert thawing.hours_text(hours) == text


def test_the_command_that_restores_what_was_thawed() -> None:
    share = Share(Place("llama-7b", 2, 100), Selection(("*.safe tensors", "it's"), 3), ())
    assert thawing.restore_command(share) == (
        "ckpt-archive restore llama-7b 100 --attempt 2 --to DIR --rank 3 --include '*.safe tensors' --include 'it'\\''s'"
    )


def test_a_store_without_cold_classes_says_so() -> None:
    connection = connected(memory_store())
    connection.bucket = None
    with pytest.raises(InvalidInputError, match="no cold storage classes"):
        thawing.thawer_of(connection)


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An archive in a folder with a second root, on which a checkpoint is cold."""
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"))
    store.prepare()
    archive_on(store)
    archive_files(store, PLACE, FILES, OTHER, settings=SMALL)
    (tmp_path / "tape").mkdir()
    store.cold.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    for info in list_all(store, "data/"):
        store.cold.cool(info.key)
    return f"file://{tmp_path}/archive"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_cli(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_says_what_it_costs_and_asks(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "--archive", url, "thaw", "run", "100", "--days", "3")
    assert (code, out) == (2, "")
    assert "4 of 4 objects are cold" in err
    assert "costs about 0.00 USD" in err
    assert "within 1 hour." in err
    assert "Say --yes" in err
    code, out, err = said(capsys, "--archive", url, "thaw", "run", "100", "--days", "3", "--yes")
    assert code == 0, err
    assert "ckpt-archive restore run 100 --attempt 0 --to DIR" in out
    assert "can be read until" in out
    code, out, err = said(capsys, "--archive", url, "thaw", "run", "100", "--json")
    (row,) = json.loads(out)
    assert (row["state"], row["thawed"], row["requested"], row["usd"]) == ("readable", 4, 0, None)


def test_the_command_refuses_what_is_not_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--archive", url, "thaw", "run", "7")[0] == 6
    assert said(capsys, "--archive", url, "thaw", "none", "7")[0] == 6
    assert said(capsys, "--archive", url, "thaw", "run", "100", "--tier", "Slow")[0] == 2
    assert said(capsys, "--archive", url, "thaw", "run", "100", "--rank", "9")[0] == 2
