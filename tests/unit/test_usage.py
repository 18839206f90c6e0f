"""Who stores how much, and what it costs: by run, project, class, age and month; from manifests and from the index."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli.main import run as cli
from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.committing import try_commit
from ckpt_archive.commit.fate import Fate, read_fates
from ckpt_archive.commit.fating import Told
from ckpt_archive.errors import IntegrityError
from ckpt_archive.place import Place
from ckpt_archive.retention.money import prices
from ckpt_archive.retention.money.usage import BY, Usage, fates_of, read_written, storage_class_of, summarize
from ckpt_archive.retention.policy.file import load
from ckpt_archive.retention.policy.in_force import Applied, put_in_force, store_text
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import connected, write_tree
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, NOON, ManualClock, contribute_files, contribution_of
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.staged import local_machine

TB = 10**12
HDD = prices.shipped("hdd")
AWS = prices.shipped("aws")
TOLD = Told(actor="ann", node="n", reason="it is old", said_at=NOON, event_id="e" * 32, policy="")


class Filled:
    """An archive whose store's clock is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.connection = connected(self.store)
        self.machine = local_machine(clock=self.clock)

    def commit(self, place: Place, size: int, *, project: str = "", retention_class: str = "") -> Place:
        labels = {"project": project} if project else {}
        said = contribution_of(labels=labels, retention_class=retention_class)
        data = contribute_files(self.store, place, {"a": b"x" * size}, contribution=said).data
        try_commit(self.store, INLINE, place, archive_id=ARCHIVE_ID, writers=1, own={0: data})
        return place

    def later(self, days: float) -> None:
        self.clock.sleep(days * 86_400)

    def usage(self, by: str, book: prices.PriceBook = HDD) -> dict[str, Usage]:
        written = read_written(self.machine, self.connection)
        return {line.name: line for line in summarize(written, fates_of(self.connection), by, book)}


def day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def filled() -> Filled:
    site = Filled()
    site.commit(Place("a", 0, 1), 1000, project="x")
    site.later(40)
    site.commit(Place("a", 0, 2), 200, project="x", retention_class="daily")
    site.commit(Place("a", 1, 3), 30, project="x", retention_class="daily")
    site.commit(Place("b", 0, 1), 4)
    return site


def test_by_run_and_project(filled: Filled) -> None:
    runs = filled.usage("run")
    assert list(runs) == ["a", "b"]
    assert (runs["a"].checkpoints, runs["a"].written_bytes, runs["a"].kept_bytes) == (3, 1230, 1230)
    assert runs["a"].usd_a_month == pytest.approx(1230 / TB * 20)
    assert {name: line.written_bytes for name, line in filled.usage("project").items()} == {"x": 1230, "": 4}


def test_by_age_and_month(filled: Filled) -> None:
    ages = filled.usage("age")
    assert {name: line.written_bytes for name, line in ages.items()} == {"under a day": 234, "under a year": 1000}
    assert list(filled.usage("month")) == ["2026-03", "2026-04"]


def test_what_ends_and_has_ended(filled: Filled) -> None:
    store, now = filled.store, filled.clock.now()
    ending, ended, held = Place("a", 0, 1), Place("a", 0, 2), Place("a", 1, 3)
    fating.announce(store, ARCHIVE_ID, ending, 0, day(now) + timedelta(days=3), "old.10d", TOLD)
    fating.announce(store, ARCHIVE_ID, ended, 0, day(now) + timedelta(days=1), "daily.10d", TOLD)
    fating.hold(store, ARCHIVE_ID, held, "case", 1, TOLD)
    filled.later(1)
    line = filled.usage("run")["a"]
    assert (line.kept_bytes, line.ending_bytes, line.ended_bytes, line.held_bytes) == (30, 1000, 200, 30)
    assert (line.checkpoints, line.there, line.stored_bytes) == (3, 2, 1030)
    assert line.usd_a_month == pytest.approx(1030 / TB * 20)
    assert set(filled.usage("class")) == {"old", "daily", ""}


def test_the_tag_and_the_age_tell_the_storage_class() -> None:
    fate = Fate(tagged="daily.365d.GLACIER_IR-30d.DEEP_ARCHIVE-90d")
    for days, name in ((10, "STANDARD"), (29, "STANDARD"), (31, "GLACIER_IR"), (92, "DEEP_ARCHIVE")):
        assert storage_class_of(fate, NOON, NOON + timedelta(days=days), AWS) == name
    assert storage_class_of(fate, NOON, NOON + timedelta(days=31), HDD) == "STANDARD"
    assert storage_class_of(fate, None, NOON, AWS) == "STANDARD"
    assert storage_class_of(Fate(tagged="strange"), NOON, NOON + timedelta(days=31), AWS) == "STANDARD"
    assert storage_class_of(Fate(), NOON, NOON + timedelta(days=31), AWS) == "STANDARD"


def test_what_it_costs_to_ask(filled: Filled) -> None:
    counting = CountingStore(filled.store)
    connection = connected(counting)
    counting.requests.clear()
    assert len(summarize(read_written(filled.machine, connection), fates_of(connection), "run", HDD)) == 2
    # The runs; for each its manifests and its statements; and each manifest.
    assert counting.requests == {"list": 1 + 2 * 2, "read": 4}


def test_a_damaged_manifest_is_said_and_not_counted(filled: Filled) -> None:
    key = layout.manifest("a", 0, 1)
    filled.store.delete(key)
    filled.store.create(key, Body.of(b"{}"))
    problems: list[str] = []
    found = list(read_written(filled.machine, filled.connection, problems=problems))
    assert len(found) == 3
    assert len(problems) == 1
    assert "is not counted" in problems[0]
    with pytest.raises(IntegrityError):
        list(read_written(filled.machine, filled.connection))


def test_nothing() -> None:
    site = Filled()
    assert site.usage("run") == {}
    assert read_fates(site.store, "a").store_time


def document(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert cli([*words, "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("by", BY)
def test_the_verb(by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file://{tmp_path}/archive"
    folder = write_tree(tmp_path / "in", {"model.bin": b"x" * 1000})
    assert cli(["init", "--archive", url, "-q"]) == 0
    capsys.readouterr()
    assert document(capsys, "usage", "--archive", url, "--by", by) == []
    assert cli(["push", str(folder), "--run", "r", "--step", "1", "--archive", url, "-q"]) == 0
    capsys.readouterr()
    [row] = document(capsys, "usage", "--archive", url, "--by", by, "--from", "manifests")
    assert by in row
    assert (row["written_bytes"], row["kept_bytes"], row["ended_bytes"]) == (1000, 1000, 0)
    assert row["usd_a_month"] == pytest.approx(1000 / TB * 20)
    assert cli(["usage", "--archive", url, "--from", "index", "--json"]) == 6
    capsys.readouterr()
    assert cli(["index", "sync", "--archive", url, "-q"]) == 0
    capsys.readouterr()
    [again] = document(capsys, "usage", "--archive", url, "--by", by, "--from", "index")
    assert again == row


def test_the_quotas_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file://{tmp_path}/archive"
    write_tree(tmp_path / "in", {"model.bin": b"x" * 1000})
    assert cli(["init", "--archive", url, "-q"]) == 0
    assert cli(["push", f"{tmp_path}/in", "--run", "llama-7b", "--step", "1", "--archive", url, "-q"]) == 0
    capsys.readouterr()
    assert document(capsys, "usage", "--archive", url)[0]["quota_bytes"] is None
    policy = load('[classes.recent]\nkeep_for = "7d"\n[quota.runs]\n"llama-*" = "5TB"', "retention.toml")
    connection = Archive.open(url).connection
    store_text(connection.store, policy)
    put_in_force(connection.store, Applied(connection.archive_id, 1, policy.sha256, "retention.toml", "p" * 16, NOON))
    assert document(capsys, "usage", "--archive", url)[0]["quota_bytes"] == 5 * TB
    assert document(capsys, "usage", "--archive", url, "--by", "month")[0]["quota_bytes"] is None


def test_prices_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["usage", "--archive", f"file://{tmp_path}/no", "--prices", "gold"]) == 2
    assert "there is no price book 'gold'" in capsys.readouterr().err
