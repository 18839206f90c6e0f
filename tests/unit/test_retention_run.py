"""Removing what has ended without an engine: only what was announced, nothing that is held, and killed at every request."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckpt_archive.cli.main import run as run_cli
from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fate import read_fate
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.launch_record import Fallback, Launch
from ckpt_archive.disk.posix import PosixFile, PosixFileSystem
from ckpt_archive.errors import ColdError, InvalidInputError
from ckpt_archive.log.sync import seal
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.cooling import cool, find_coolings, second_root
from ckpt_archive.retention.engineless.execute import MARGIN, Ending, Removed, check_margin, find_endings, remove
from ckpt_archive.retention.engineless.sweeping import find_litter, sweep
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.policy.values import Policy, RetentionClass, Transition
from ckpt_archive.store.body import Body
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.archives import SMALL, connected, memory_store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock, archive_files
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

DAILY = RetentionClass("daily", 10)
POLICY = Policy(classes=(DAILY, RetentionClass("trash", 7)), default="daily", keep_newest=2, sha256="0" * 64)
STEPS = (100, 200, 300, 400, 500, 600)
DAY = timedelta(days=1)
END = datetime(2026, 3, 12, tzinfo=UTC)  # midnight after ten days


class Site:
    """An archive whose clock can be moved, with six checkpoints of which the first four end after ten days."""

    def __init__(self, store: Store, clock: ManualClock, bucket: MemoryBucket | None = None) -> None:
        self.store = store
        self.clock = clock
        self.connection = connected(store, bucket=bucket)
        if bucket is None:
            self.connection.bucket = None
        self.machine = local_machine(clock=clock)
        launch(store, "run", 0)
        for step in STEPS:
            archive_files(
                store, Place("run", 0, step), {"a": bytes([step % 251]) * 400, "b": b"b" * 20}, settings=SMALL
            )
        for step in STEPS[:4]:
            self.announce(step)

    def announce(self, step: int, tag: str = DAILY.tag, end: datetime | None = END, generation: int = 0) -> None:
        fating.announce(self.store, ARCHIVE_ID, Place("run", 0, step), generation, end, tag, self.told())

    def told(self) -> Told:
        return Told("ada", "node", "a test", self.clock.now())

    def voice(self, store: Store | None = None) -> Voice:
        connection = self.connection if store is None else replace(self.connection, store=store)
        return Voice(self.machine, connection, "ada", POLICY.sha256)

    def to(self, moment: datetime) -> None:
        self.clock.sleep((moment - self.clock.now()).total_seconds())

    def find(self, margin: timedelta = MARGIN, policy: Policy = POLICY) -> list[Ending]:
        return sorted(find_endings(self.machine, self.connection, policy, margin), key=lambda ending: ending.place)

    def run(self, margin: timedelta = MARGIN, policy: Policy = POLICY, store: Store | None = None) -> Removed:
        voice = self.voice(store)
        endings = tuple(find_endings(self.machine, voice.connection, policy, margin))
        return remove(voice, policy, margin, endings)

    def left(self) -> list[int]:
        return sorted({int(info.key.split("/")[3]) for info in list_all(self.store, "data/")})

    def ended(self) -> list[int]:
        return [step for step in STEPS if read_fate(self.store, Place("run", 0, step))[0].has_ended]

    def events(self) -> list[Event]:
        infos = list_all(self.store, layout.EVENTS)
        return [read_event(self.store.read(info.key, limit_bytes=1 << 20).data, info.key) for info in infos]


def launch(store: Store, run: str, attempt: int, back_to: Place | None = None) -> None:
    """A launch, or a roll-back to a checkpoint."""
    record = Launch(
        archive_id=ARCHIVE_ID,
        run=run,
        attempt=attempt,
        launch_key=f"launch-{attempt}",
        writers=1,
        started_at=NOON,
        resume_from=back_to,
        explicit=back_to is not None,
        falls_back_to=None if back_to is None else Fallback(back_to.attempt, back_to.step),
        late=False,
        branch=0 if back_to is None else attempt,
    )
    store.create(layout.attempt_record(run, attempt), Body.of(record.encode()))


def new_site() -> Site:
    store = memory_store()
    assert isinstance(store.clock, ManualClock)
    return Site(store, store.clock)


@pytest.fixture
def site() -> Site:
    return new_site()


# --- what is removed ------------------------------------------------------------------------------------------------------


def test_nothing_before_the_end_and_its_margin(site: Site) -> None:
    for moment in (END - DAY, END, END + DAY - timedelta(seconds=1)):
        site.to(moment)
        assert site.find() == []
        assert site.run() == Removed()
    assert site.left() == list(STEPS)


def test_what_has_ended_is_removed_and_said_to_be(site: Site) -> None:
    site.to(END + DAY)
    found = site.find()
    assert [(ending.place.step, ending.objection, len(ending.objects)) for ending in found] == [
        (step, "", 2) for step in STEPS[:4]
    ]
    assert found[0].reason == "its end on 2026-03-12 was announced with daily.10d"
    assert site.left() == list(STEPS), "looking changes nothing"
    done = site.run()
    assert (done.checkpoints, done.objects, done.size_bytes, done.kept) == (4, 8, 4 * 420, [])
    assert site.left() == [500, 600]
    assert site.ended() == list(STEPS[:4])
    (event,) = site.events()
    assert (event.kind, event.outcome, event.until_at, event.size_bytes) == ("ended", "daily", END, 4 * 420)
    assert {place.step for place in event.places} == set(STEPS[:4])
    assert event.actor == "ada"
    assert site.run() == Removed()
    assert len(site.events()) == 1


def test_only_data_is_removed(site: Site) -> None:
    before = {info.key for info in list_all(site.store, "") if not info.key.startswith("data/")}
    site.to(END + DAY)
    site.run()
    assert before <= {info.key for info in list_all(site.store, "")}


def test_a_margin_of_our_own(site: Site) -> None:
    site.to(END)
    assert len(site.find(timedelta())) == 4
    site.to(END + 2 * DAY)
    assert site.find(3 * DAY) == []
    with pytest.raises(InvalidInputError):
        check_margin(timedelta(seconds=-1))
    assert check_margin(MARGIN) == MARGIN


def test_data_that_is_gone_already_is_said_to_be(site: Site) -> None:
    """Somebody was killed before he could say so, or an engine was there after all."""
    site.to(END + DAY)
    for info in list_all(site.store, layout.data_folder("run", 0, 100)):
        site.store.delete(info.key)
    assert site.run().checkpoints == 4
    assert site.ended() == list(STEPS[:4])


# --- what is kept ---------------------------------------------------------------------------------------------------------


def objection(site: Site, step: int, policy: Policy = POLICY) -> str:
    return next(ending.objection for ending in site.find(policy=policy) if ending.place.step == step)


def kept(site: Site, step: int, policy: Policy = POLICY) -> None:
    site.run(policy=policy)
    assert step in site.left()
    assert step not in site.ended()


def test_what_is_held_is_kept(site: Site) -> None:
    fating.hold(site.store, ARCHIVE_ID, Place("run", 0, 200), "A-1", 1, site.told())
    site.to(END + DAY)
    assert objection(site, 200) == "it is held for A-1"
    kept(site, 200)
    assert site.left() == [200, 500, 600]
    fating.release(site.store, ARCHIVE_ID, Place("run", 0, 200), "A-1", 2, site.told())
    site.run()
    assert site.left() == [500, 600]


def test_what_is_held_with_its_run_is_kept(site: Site) -> None:
    fating.hold(site.store, ARCHIVE_ID, "run", "A-1", 1, site.told())
    site.to(END + DAY)
    assert [ending.objection for ending in site.find()] == ["it is held for A-1"] * 4
    site.run()
    assert site.left() == list(STEPS)


def test_what_was_taken_back_is_kept(site: Site) -> None:
    fating.revoke(site.store, ARCHIVE_ID, Place("run", 0, 200), 0, site.told())
    site.to(END + DAY)
    site.run()
    assert site.left() == [200, 500, 600]


def test_what_a_launch_would_go_on_from_is_kept(site: Site) -> None:
    """A roll-back to a checkpoint whose end was announced long ago."""
    launch(site.store, "run", 1, back_to=Place("run", 0, 300))
    site.to(END + DAY)
    assert objection(site, 300) == "it is what a launch of its run would go on from"
    site.run()
    assert site.left() == [300, 500, 600]


def test_the_newest_that_are_left_are_kept(site: Site) -> None:
    policy = replace(POLICY, keep_newest=4)
    site.to(END + DAY)
    assert objection(site, 300, policy) == objection(site, 400, policy)
    assert objection(site, 300, policy) == "it is one of the 4 newest of its run that are left"
    site.run(policy=policy)
    assert site.left() == [300, 400, 500, 600]


def test_what_somebody_dropped_goes_although_it_is_the_newest(site: Site) -> None:
    place = Place("run", 0, 600)
    fating.assign(site.store, ARCHIVE_ID, place, 1, "trash", site.told())
    site.announce(600, "trash.7d")
    site.to(END + DAY)
    site.run()
    assert site.left() == [500]


def test_what_an_engine_would_not_delete_yet_is_kept(site: Site) -> None:
    """An object that is younger than the others, tags that disagree, a tag that nobody knows."""
    site.to(NOON + 5 * DAY)
    site.store.create(f"{layout.share_folder('run', 0, 100, 0)}{'a' * 64}", Body.of(b"late"))
    site.announce(200, "milestone.forever", None)
    site.announce(300, "daily.10d.SOMEWHERE-2d")
    site.announce(400, "weekly.70d")
    site.to(END + DAY)
    assert objection(site, 100) == "an object of it is so young that daily.10d keeps it until 2026-03-17"
    assert objection(site, 200) == "it was announced with milestone.forever, which ends nothing, too"
    assert objection(site, 300) == "this release does not know what its tag 'daily.10d.SOMEWHERE-2d' means"
    assert "daily.10d and weekly.70d keeps it until 2026-05-11" in objection(site, 400)
    site.run()
    assert site.left() == list(STEPS)
    site.to(NOON + 17 * DAY)
    site.run()
    assert site.left() == [200, 300, 400, 500, 600]


def test_a_hold_that_comes_between_looking_and_removing_wins(site: Site) -> None:
    site.to(END + DAY)
    endings = tuple(site.find())
    fating.hold(site.store, ARCHIVE_ID, Place("run", 0, 200), "A-1", 1, site.told())
    done = remove(site.voice(), POLICY, MARGIN, endings)
    assert [ending.place.step for ending in done.kept] == [200]
    assert site.left() == [200, 500, 600]


def test_what_is_locked_in_the_bucket_is_kept() -> None:
    store = memory_store()
    bucket = MemoryBucket(store, object_lock=True, versioned=True)
    assert isinstance(store.clock, ManualClock)
    site = Site(store, store.clock, bucket)
    first, second = (list_all(store, layout.data_folder("run", 0, step))[-1].key for step in (100, 200))
    bucket.write_legal_hold(first, on=True)
    bucket.write_retention(second, "COMPLIANCE", END + 30 * DAY)
    site.to(END + DAY)
    assert objection(site, 100) == "an object of it is held in the bucket"
    assert objection(site, 200) == "an object of it is locked until 2026-04-11"
    site.run()
    assert site.left() == [100, 200, 500, 600]
    site.to(END + 31 * DAY)
    site.run()
    assert site.left() == [100, 500, 600]


def test_a_run_whose_records_contradict_each_other_is_left_alone(site: Site) -> None:
    key = layout.attempt_record("run", 0)
    site.store.delete(key)
    site.to(END + DAY)
    site.run()
    assert site.left() == list(STEPS)


# --- killed anywhere ------------------------------------------------------------------------------------------------------


class DiedError(BaseException):
    """The process was killed here."""


def outcome(site: Site) -> tuple[list[str], list[int], set[int]]:
    """What counts: events may be told twice."""
    objects = [info.key for info in list_all(site.store, "") if not info.key.startswith("log/")]
    return objects, site.ended(), {place.step for event in site.events() for place in event.places}


@pytest.mark.parametrize("landed", [False, True], ids=["not done", "done, not answered"])
def test_killed_at_any_request_and_run_again(landed: bool) -> None:
    smooth = new_site()
    smooth.to(END + DAY)
    smooth.run()
    for dies_at in range(1000):
        site = new_site()
        site.to(END + DAY)

        def die(request: Request, dies_at: int = dies_at) -> None:
            if request.number == dies_at:
                raise DiedError

        store = HookedStore(site.store, after=die) if landed else HookedStore(site.store, before=die)
        with suppress(DiedError):
            site.run(store=store)
        site.run()
        assert outcome(site) == outcome(smooth)
        if dies_at >= len(store.requests):
            assert dies_at > 50
            return
    pytest.fail("it never came to its end")


# --- old markers and uploads ----------------------------------------------------------------------------------------------


def swept(site: Site, abort_days: int = 7) -> list[str]:
    now = site.clock.now()
    litter = tuple(find_litter(site.connection, now, abort_days))
    assert sweep(site.machine, site.connection, litter, now, abort_days) == len(litter)
    assert not tuple(find_litter(site.connection, now, abort_days))
    return sorted(item.kind for item in litter)


def log(site: Site) -> None:
    seal(site.store, site.machine.executor, ARCHIVE_ID, "node")


def test_markers_that_the_log_has_go_after_ninety_days(site: Site) -> None:
    site.to(END + DAY)
    site.run()
    archive_files(site.store, Place("run", 0, 700), {"a": b"a" * 400}, settings=SMALL)
    site.to(NOON + 200 * DAY)
    pending = len(list_all(site.store, layout.PENDING))
    assert pending == 8
    assert swept(site) == [], "nobody has ever sealed a log"
    log(site)
    lost = layout.pending_marker("event", "f" * 32, NOON + 99 * DAY)
    assert swept(site) == ["marker"] * pending
    archive_files(site.store, Place("run", 0, 800), {"a": b"a" * 400}, settings=SMALL)
    site.clock.sleep(3600)
    log(site)
    site.to(NOON + 289 * DAY)
    assert swept(site) == []
    site.store.create(lost, Body.of(b"written late, and seen by nobody"))
    site.to(NOON + 291 * DAY)
    assert swept(site) == ["marker"]
    site.to(NOON + 400 * DAY)
    assert swept(site) == [], "what nobody has looked at stays"


def test_uploads_that_nobody_goes_on_with_go(site: Site) -> None:
    for key in ("data/run/x", "index/y"):
        upload_id = site.store.start_upload(key)
        site.store.upload_part(key, upload_id, 1, Body.of(b"part"))
    site.to(NOON + 6 * DAY)
    assert swept(site) == []
    site.to(NOON + 8 * DAY)
    site.store.start_upload("data/run/young")
    assert swept(site) == ["upload", "upload"]
    assert [upload.key for upload in site.store.list_uploads("")] == ["data/run/young"]


def test_a_key_that_is_no_markers_is_left_alone(site: Site) -> None:
    log(site)
    site.store.create(f"{layout.PENDING}2020/01/01/00/odd", Body.of(b""))
    site.to(NOON + 400 * DAY)
    log(site)
    swept(site)
    assert [info.key for info in list_all(site.store, layout.PENDING)] == [f"{layout.PENDING}2020/01/01/00/odd"]


# --- the second root ------------------------------------------------------------------------------------------------------

MOVED = RetentionClass("daily", 30, transitions=(Transition(3, "COLD"),))


def folder_site(tmp_path: Path) -> tuple[Site, FileStore]:
    """All on one folder whose clock can be moved; its files are as old as that clock says."""
    clock = ManualClock()
    store = FileStore(Dated(clock), str(tmp_path / "archive"), clock=clock)
    store.prepare()
    (tmp_path / "tape").mkdir()
    return Site(store, clock), store


class Dated(PosixFileSystem):
    """New files have the time of a clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock

    def create(self, path: str) -> PosixFile:
        file = super().create(path)
        return DatedFile(os.dup(file.fileno()), self.clock)


class DatedFile(PosixFile):
    def __init__(self, descriptor: int, clock: ManualClock) -> None:
        super().__init__(descriptor)
        self._clock = clock

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        super().write_at(data, offset)
        self.set_modified(int(self._clock.now().timestamp()) * 10**9)


def storage_classes(site: Site) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for info in list_all(site.store, "data/"):
        found.setdefault(int(info.key.split("/")[3]), set()).add(info.storage_class)
    return found


def test_old_data_moves_below_the_second_root_as_its_tag_says(tmp_path: Path) -> None:
    site, store = folder_site(tmp_path)
    for step in (500, 600):
        site.announce(step, MOVED.tag, NOON.replace(hour=0) + 31 * DAY)
    site.announce(600, "other.1y", None)
    files = store.cold

    def find() -> list[int]:
        now = site.clock.now()
        return [item.place.step for item in find_coolings(site.machine, site.connection, files, now)]

    site.to(NOON + 3 * DAY)
    assert find() == [], "days are rounded up to midnight"
    site.to(NOON + 3.5 * DAY)
    assert find() == [500], "600 has two tags that disagree, the others one that moves nothing"
    files.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    now = site.clock.now()
    found = tuple(find_coolings(site.machine, site.connection, files, now))
    done = cool(site.machine, site.connection, files, found, now)
    assert (done.objects, done.size_bytes, done.problems) == (2, 420, [])
    assert storage_classes(site) == {**{step: {""} for step in STEPS}, 500: {"COLD"}}
    assert find() == []
    key = list_all(site.store, layout.data_folder("run", 0, 500))[0].key
    files.request_thaw(key, days=2, tier="")
    assert find() == [], "it is thawed"
    site.clock.sleep(2 * 86_400)
    assert find() == [500]
    site.to(END + DAY)
    assert site.run().checkpoints == 4
    site.to(NOON + 40 * DAY)
    site.run()
    site.announce(500, MOVED.tag)
    assert find() == [], "its end has come"


def test_what_has_ended_is_removed_from_both_roots(tmp_path: Path) -> None:
    site, store = folder_site(tmp_path)
    store.cold.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    for info in list_all(store, layout.data_folder("run", 0, 100)):
        store.cold.cool(info.key)
    site.to(END + DAY)
    done = site.run()
    assert (done.checkpoints, done.size_bytes) == (4, 4 * 420)
    assert site.left() == [500, 600]
    assert [path.name for path in (tmp_path / "tape").rglob("*") if path.is_file()] == [".cold-of.json"]


def test_damage_is_told_and_the_rest_is_moved(tmp_path: Path) -> None:
    site, store = folder_site(tmp_path)
    site.announce(500, MOVED.tag, END + 20 * DAY)
    store.cold.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    first, _ = list_all(store, layout.data_folder("run", 0, 500))
    damaged = tmp_path / "archive" / first.key
    at = damaged.stat().st_mtime_ns
    damaged.write_bytes(b"x" * first.size_bytes)
    os.utime(damaged, ns=(at, at))
    site.to(NOON + 5 * DAY)
    now = site.clock.now()
    found = tuple(find_coolings(site.machine, site.connection, store.cold, now))
    done = cool(site.machine, site.connection, store.cold, found, now)
    assert done.objects == 1
    assert len(done.problems) == 1
    assert first.key in done.problems[0]


def test_ends_wait_for_a_second_root_that_is_not_mounted(tmp_path: Path) -> None:
    site, store = folder_site(tmp_path)
    store.cold.attach(str(tmp_path / "tape"), ARCHIVE_ID)
    (tmp_path / "tape").rename(tmp_path / "away")
    site.to(END + DAY)
    with pytest.raises(ColdError, match="Mount it"):
        site.run()
    assert site.left() == list(STEPS)
    (tmp_path / "away").rename(tmp_path / "tape")
    site.run()
    assert site.left() == [500, 600]


@pytest.mark.parametrize("url", ["", "s3://bucket", "file:///", "file://host/x", "/mnt/tape"])
def test_a_second_root_is_a_folder(url: str) -> None:
    with pytest.raises(InvalidInputError, match="names no folder"):
        second_root(url)
    assert second_root("file:///mnt/my%20tape") == "/mnt/my tape"


# --- the command ----------------------------------------------------------------------------------------------------------

TOML = """
version = 1
default = "daily"
keep_newest = 2
cold = "file://{tape}"

[classes.daily]
keep_for = "10d"

[classes.weekly]
every = 3
keep_for = "100d"
transitions = [{{ after = "5d", to = "COLD" }}]
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An archive of files that are twenty days old."""
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"))
    store.prepare()
    connected(store)
    now = store.list("", limit=1).store_time
    launch(store, "run", 0)
    told = Told("ada", "node", "a test", now)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for step in STEPS:
        archive_files(store, Place("run", 0, step), {"a": bytes([step % 251]) * 400}, settings=SMALL)
    for info in list_all(store, "data/"):
        at = int((now - 20 * DAY).timestamp()) * 10**9
        os.utime(tmp_path / "archive" / info.key, ns=(at, at))
    for step in STEPS[:3]:
        fating.announce(store, ARCHIVE_ID, Place("run", 0, step), 0, midnight - 2 * DAY, "daily.10d", told)
    fating.hold(store, ARCHIVE_ID, Place("run", 0, 300), "A-1", 1, told)
    tag = "weekly.100d.COLD-5d"
    fating.announce(store, ARCHIVE_ID, Place("run", 0, 400), 0, midnight + 80 * DAY, tag, told)
    (tmp_path / "tape").mkdir()
    (tmp_path / "retention.toml").write_text(TOML.format(tape=tmp_path / "tape"))
    return f"file://{tmp_path}/archive"


def said(capsys: pytest.CaptureFixture[str], url: str, *arguments: str) -> tuple[int, list[dict[str, object]], str]:
    folder = url.removeprefix("file://").removesuffix("/archive")
    code = run_cli(["--archive", url, "--json", "retention", "run", "--policy", f"{folder}/retention.toml", *arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else [], err


def test_the_command_shows_first_and_then_does(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"))
    before = [info.key for info in list_all(store, "")]
    code, rows, _ = said(capsys, url)
    assert code == 0
    assert [(row["action"], row["step"], row["objects"], row["size_bytes"]) for row in rows] == [
        ("end", 100, 1, 400),
        ("end", 200, 1, 400),
        ("keep", 300, 1, 400),
        ("move", 400, 1, 400),
    ]
    assert rows[2]["reason"] == "it is held for A-1"
    assert [info.key for info in list_all(store, "")] == before, "nothing was done"
    assert not list((tmp_path / "tape").iterdir())
    code, rows, err = said(capsys, url, "--yes")
    assert code == 0, err
    assert [(row["action"], row["objects"], row["size_bytes"]) for row in rows] == [
        ("ended", 2, 800),
        ("kept", 1, 400),
        ("moved", 1, 400),
    ]
    left = {int(info.key.split("/")[3]): info.storage_class for info in list_all(store, "data/")}
    assert left == {300: "", 400: "COLD", 500: "", 600: ""}
    code, rows, _ = said(capsys, url, "--yes")
    assert [row["action"] for row in rows] == ["kept"]


def test_the_command_shows_every_object_if_asked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, _ = said(capsys, url, "-v")
    assert code == 0
    keys = [row["key"] for row in rows if row["reason"] == "an object of it"]
    assert [str(key).split("/")[3] for key in keys] == [f"{step:012d}" for step in STEPS[:4]]


def test_the_command_with_a_margin(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["action"] for row in said(capsys, url, "--margin", "9d")[1]] == ["move"]
    assert said(capsys, url, "--margin", "soon")[0] == 2


def test_the_command_mends_orphans(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FileStore(PosixFileSystem(), str(tmp_path / "archive"))
    key = layout.data_object("run", 0, 900, 0, "a" * 64)
    store.create(key, Body.of(b"left behind"))
    store.upload_part("data/run/x", store.start_upload("data/run/x"), 1, Body.of(b"part"))
    (tmp_path / "archive/.tmp/dead.new").write_bytes(b"temporary")
    for path in (tmp_path / "archive" / key, *(tmp_path / "archive/.tmp").rglob("*")):
        os.utime(path, (1, 1))
    assert {row["action"] for row in said(capsys, url)[1]} == {"abort", "end", "keep", "move"}
    code, rows, _ = said(capsys, url, "--orphans")
    assert code == 0
    found = {(row["action"], row["key"]) for row in rows if row["action"] in ("abort", "mend")}
    folder = layout.data_folder("run", 0, 900)
    assert found == {
        ("abort", "data/run/x"),
        ("abort", f"{tmp_path}/archive/.tmp/dead.new"),
        ("mend", folder),
        ("mend", "data/run/x"),
    }
    code, rows, err = said(capsys, url, "--orphans", "--yes")
    assert code == 0, err
    assert {"swept", "mended"} <= {row["action"] for row in rows}
    assert not list_all(store, folder)
    assert store.list_uploads("") == ()
    assert [path.name for path in (tmp_path / "archive/.tmp").iterdir()] == ["uploads"]
    assert {row["action"] for row in said(capsys, url, "--orphans")[1]} == {"keep"}


def test_the_policy_in_force_counts(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = str(tmp_path / "retention.toml")
    (tmp_path / "retention.toml").write_text("keep_newest = 6\n[classes.x]\nkeep_for = '14d'\n")
    assert run_cli(["--archive", url, "retention", "apply", "--policy", policy, "--yes"]) == 0
    (tmp_path / "retention.toml").unlink()
    capsys.readouterr()
    assert run_cli(["--archive", url, "--json", "retention", "run"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["action"] for row in rows] == ["keep"] * 3
    assert rows[0]["reason"] == "it is one of the 6 newest of its run that are left"
