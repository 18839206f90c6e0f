"""What no checkpoint has: found with margins, mended by plan alone, and nothing of anybody who is at work."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fating import Told
from ckpt_archive.digest import sha256_hex
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.mending import Mended, mend
from ckpt_archive.retention.engineless.orphans import MARGIN, Orphan, OrphanKind, data_place, find_orphans
from ckpt_archive.retention.money.prices import shipped
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.archives import SMALL, connected, memory_store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, ManualClock, archive_files, contribute_files, contribution_of
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine

FILES = {"a": b"a" * 400, "b": b"b" * 20}
DAY = timedelta(days=1)

WHOLE = Place("run", 0, 100)
LEFT = Place("run", 0, 200)
HALF = Place("run", 0, 300)
ALL = Place("run", 0, 400)
FOLDERS = {place: layout.data_folder(place.run, place.attempt, place.step) for place in (WHOLE, LEFT, HALF, ALL)}


class Yard:
    """An archive with a whole checkpoint, and all that may lie around."""

    def __init__(self) -> None:
        self.store = memory_store()
        clock = self.store.clock
        assert isinstance(clock, ManualClock)
        self.clock = clock
        self.machine = local_machine(clock=clock)
        self.connection = connected(self.store)
        archive_files(self.store, WHOLE, FILES, settings=SMALL)
        self.put(WHOLE, 0, b"stray")
        # Nobody came back.
        self.put(LEFT, 0, b"one of two")
        self.put(LEFT, 1, b"two of two")
        # One of two writers is done, the other one has left something.
        contribute_files(self.store, HALF, FILES, contribution=contribution_of(2), settings=SMALL)
        self.put(HALF, 1, b"of a writer who never came")
        # All are done, and nobody committed.
        for rank in (0, 1):
            said = contribution_of(2)
            contribute_files(self.store, ALL, FILES, rank=rank, contribution=said, settings=SMALL)
        self.put(ALL, 1, b"of an earlier try")
        self.upload(layout.data_object("run", 0, 500, 0, "e" * 64))

    def put(self, place: Place, rank: int, data: bytes) -> str:
        key = layout.data_object(place.run, place.attempt, place.step, rank, sha256_hex(data))
        self.store.create(key, Body.of(data))
        return key

    def upload(self, key: str) -> None:
        upload_id = self.store.start_upload(key)
        self.store.upload_part(key, upload_id, 1, Body.of(b"p" * 100))

    def pass_days(self, days: float) -> None:
        self.clock.sleep(days * 86_400)

    def find(self) -> tuple[Orphan, ...]:
        return find_orphans(self.connection, self.machine, self.clock.now())

    def voice(self, store: Store | None = None) -> Voice:
        return Voice(self.machine, replace(self.connection, store=store or self.store), "ada", "0" * 64)

    def mend(self, orphans: tuple[Orphan, ...] | None = None, store: Store | None = None) -> Mended:
        return mend(self.voice(store), self.find() if orphans is None else orphans, self.clock.now())

    def objects(self) -> dict[Place, int]:
        return {place: len(list_all(self.store, folder)) for place, folder in FOLDERS.items()}

    def told(self) -> Told:
        return Told("ada", "node", "a test", self.clock.now())

    def events(self) -> list[Event]:
        infos = list_all(self.store, layout.EVENTS)
        return [read_event(self.store.read(info.key, limit_bytes=1 << 20).data, info.key) for info in infos]


BEFORE = {WHOLE: 3, LEFT: 2, HALF: 3, ALL: 5}


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_young_things_are_no_orphans(yard: Yard) -> None:
    assert yard.find() == ()
    yard.pass_days(6.9)
    assert yard.find() == ()


def test_what_is_old_and_why(yard: Yard) -> None:
    yard.pass_days(8)
    found = [(item.kind.value, item.place, len(item.objects), item.size_bytes, item.is_mended) for item in yard.find()]
    assert found == [
        ("data", LEFT, 2, 20, True),
        ("data", HALF, 1, 26, True),
        ("upload", Place("run", 0, 500), 0, 100, True),
        ("receipts", HALF, 2, 420, False),
        ("receipts", ALL, 5, 857, False),
    ]
    reasons = {(item.kind.value, item.place): item.reason for item in yard.find()}
    assert reasons["data", LEFT] == "no receipt names it, and nobody has written there since 2026-03-01"
    assert reasons["receipts", HALF] == "1 of 2 writers never came"
    assert "`ckpt-archive maintain` does" in reasons["receipts", ALL]


def test_what_it_costs(yard: Yard) -> None:
    yard.pass_days(8)
    usd = [item.usd_a_month(shipped("hdd")) for item in yard.find()]
    assert usd == pytest.approx([size * 20 / 1e12 for size in (20, 26, 100, 420, 857)])


@pytest.mark.parametrize("touched", ["object", "upload", "receipt"])
def test_whoever_is_at_work_is_left_alone(yard: Yard, touched: str) -> None:
    yard.pass_days(8)
    planned = yard.find()
    if touched == "object":
        yard.put(LEFT, 1, b"a third one")
    elif touched == "upload":
        yard.upload(layout.data_object("run", 0, 200, 1, "f" * 64))
    else:
        contribute_files(yard.store, LEFT, FILES, contribution=contribution_of(2), settings=SMALL)
    assert LEFT not in {item.place for item in yard.find()}
    done = yard.mend(planned)
    assert [item.place for item in done.kept] == [LEFT]
    assert len(list_all(yard.store, FOLDERS[LEFT])) >= 2


def test_mended_by_plan_alone(yard: Yard) -> None:
    yard.pass_days(8)
    planned = tuple(item for item in yard.find() if item.place == LEFT)
    done = yard.mend(planned)
    assert (done.objects, done.uploads, done.size_bytes, done.kept) == (2, 0, 20, [])
    assert yard.objects() == {**BEFORE, LEFT: 0}
    assert len(yard.store.list_uploads("")) == 1
    done = yard.mend()
    assert (done.objects, done.uploads, done.size_bytes) == (1, 1, 126)
    assert yard.objects() == {**BEFORE, LEFT: 0, HALF: 2}
    assert yard.store.list_uploads("") == ()
    assert [item.kind for item in yard.find()] == [OrphanKind.RECEIPTS] * 2


def test_no_receipt_and_no_manifest_is_touched(yard: Yard) -> None:
    def records() -> list[str]:
        return [info.key for prefix in ("receipts/", "manifests/") for info in list_all(yard.store, prefix)]

    before = records()
    yard.pass_days(400)
    yard.mend()
    assert records() == before


def test_the_log_tells_what_was_removed(yard: Yard) -> None:
    yard.pass_days(8)
    yard.mend(tuple(item for item in yard.find() if item.place == LEFT))
    (event,) = yard.events()
    assert (event.kind, event.outcome, event.run, event.subject) == ("ended", "orphaned", "run", FOLDERS[LEFT])
    assert (event.places, event.size_bytes, event.details, event.actor) == ((), 20, {"objects": 2}, "ada")


def test_held_runs_are_left_alone(yard: Yard) -> None:
    yard.pass_days(8)
    planned = yard.find()
    fating.hold(yard.store, ARCHIVE_ID, "run", "A-1", 1, yard.told())
    assert yard.find() == ()
    done = yard.mend(planned)
    assert (done.objects, done.uploads, len(done.kept)) == (0, 0, 3)
    assert yard.objects() == BEFORE


def test_a_held_checkpoint_is_left_alone(yard: Yard) -> None:
    yard.pass_days(8)
    fating.hold(yard.store, ARCHIVE_ID, LEFT, "A-1", 1, yard.told())
    assert LEFT not in {item.place for item in yard.find()}


def test_a_receipt_that_can_not_be_read_keeps_all(yard: Yard) -> None:
    key = layout.receipt("run", 0, 300, 0)
    yard.store.delete(key)
    yard.store.create(key, Body.of(b"{}"))
    yard.pass_days(8)
    (found,) = [item for item in yard.find() if item.place == HALF]
    assert (found.kind, len(found.objects)) == (OrphanKind.RECEIPTS, 3)
    assert "can not be read" in found.reason


@pytest.mark.parametrize("appears", ["receipt", "manifest"])
def test_a_record_that_appears_between_two_objects_stops_it(yard: Yard, appears: str) -> None:
    yard.pass_days(8)

    def before(request: Request) -> None:
        if request.verb == "delete":
            place = LEFT
            key = (
                layout.receipt(place.run, place.attempt, place.step, 5)
                if appears == "receipt"
                else layout.manifest(place.run, place.attempt, place.step)
            )
            if not list_all(yard.store, key):
                yard.store.create(key, Body.of(b"{}"))

    planned = tuple(item for item in yard.find() if item.place == LEFT)
    done = yard.mend(planned, HookedStore(yard.store, before=before))
    assert (done.objects, len(done.kept)) == (1, 1)
    assert yard.objects()[LEFT] == 1


class DiedError(BaseException):
    """The process was killed here."""


def test_killed_at_any_request_and_run_again() -> None:
    smooth = Yard()
    smooth.pass_days(8)
    smooth.mend()
    for dies_at in range(1000):
        yard = Yard()
        yard.pass_days(8)

        def die(request: Request, dies_at: int = dies_at) -> None:
            if request.number == dies_at:
                raise DiedError

        store = HookedStore(yard.store, after=die)
        with suppress(DiedError):
            yard.mend(yard.find(), store)
        yard.mend()
        assert yard.objects() == smooth.objects()
        assert yard.store.list_uploads("") == ()
        assert {event.subject for event in yard.events()} == {event.subject for event in smooth.events()}
        if dies_at >= len(store.requests):
            assert dies_at > 20
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (layout.data_object("run", 1, 2, 3, "a" * 64), Place("run", 1, 2)),
        ("data/run/00000001/000000000002", None),
        ("data/run/1/2/000000/x", None),
        ("data/RUN/00000001/000000000002/000000/x", None),
        ("index/run/00000001/000000000002/000000/x", None),
        ("data", None),
    ],
)
def test_the_checkpoint_of_a_key(key: str, place: Place | None) -> None:
    assert data_place(key) == place


def test_the_margin_is_a_week() -> None:
    assert MARGIN == 7 * DAY
