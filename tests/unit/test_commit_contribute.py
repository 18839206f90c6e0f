"""A share reaches the archive: objects first, then one receipt, whatever happens in between."""

from collections.abc import Callable

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import contributed_ranks, read_receipt
from ckpt_archive.errors import AlreadyExistsError, ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.checkpoints import (
    ARCHIVE_ID,
    INLINE,
    BytesFile,
    Files,
    contribute_files,
    contribution_of,
    share_of,
)
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.transfer.settings import TransferSettings

PLACE = Place("run", 2, 100)
KEY = layout.receipt("run", 2, 100, 0)
FILES: Files = {"model": b"m" * 50, "config.json": b"{}", "empty": b""}


def test_the_receipt_names_objects_that_are_in_the_store() -> None:
    store = MemoryStore()
    done = contribute_files(store, PLACE, FILES)
    assert not done.existed
    assert store.read(KEY, limit_bytes=10_000).data == done.data
    assert Receipt.decode(done.data, KEY) == done.receipt
    folder = layout.share_folder("run", 2, 100, 0)
    assert {info.key for info in list_all(store, folder)} == {
        folder + item.sha256 for item in done.receipt.share.objects
    }


def test_what_a_contribution_costs() -> None:
    store = CountingStore(MemoryStore())
    contribute_files(store, PLACE, FILES)
    assert store.requests == {"list": 1, "create": 2}


def test_nothing_is_known_before_anything_was_contributed() -> None:
    store = CountingStore(MemoryStore())
    assert contributed_ranks(store, PLACE) == {}
    assert store.requests == {"list": 1}


def test_what_was_contributed_is_found_among_what_is_none_of_ours() -> None:
    store = MemoryStore()
    done = contribute_files(store, PLACE, FILES)
    folder = layout.receipts_folder("run", 2, 100)
    for stray in ("000000.json.bak", "1.json", "000001.json/x", "000001.JSON"):
        store.create(folder + stray, Body.of(b"x"))
    assert contributed_ranks(store, PLACE) == {0: len(done.data)}
    assert read_receipt(store, PLACE, 0) == (done.receipt, done.data)


def test_contributing_again_sends_nothing_and_keeps_the_first_receipt() -> None:
    store = MemoryStore()
    first = contribute_files(store, PLACE, FILES)
    again = contribute_files(store, PLACE, FILES, contribution=contribution_of(seconds=99, metrics={"loss": 1.0}))
    assert (again.existed, again.data) == (True, first.data)
    assert again.upload.parts_sent == 0


def test_the_same_files_in_other_objects_keep_the_first_receipt() -> None:
    """Another release, or another setting, packs differently: the first receipt's objects are there."""
    store = MemoryStore()
    first = contribute_files(store, PLACE, FILES)
    again = contribute_files(store, PLACE, FILES, settings=TransferSettings(pack_below_bytes=0))
    assert again.data == first.data
    assert len(again.receipt.share.objects) == 1


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({**FILES, "model": b"other"}, "'model' has other bytes now"),
        ({**FILES, "more": b"1"}, "'more' is new"),
        ({"model": b"m" * 50, "empty": b""}, "'config.json' is missing now"),
    ],
)
def test_other_files_under_the_same_step_are_a_conflict_and_the_first_stay(files: Files, problem: str) -> None:
    store = MemoryStore()
    first = contribute_files(store, PLACE, FILES)
    with pytest.raises(ConflictError, match=problem):
        contribute_files(store, PLACE, files)
    assert store.read(KEY, limit_bytes=10_000).data == first.data


def test_a_receipt_of_another_launch_is_a_conflict_that_names_both() -> None:
    store = MemoryStore()
    contribute_files(store, PLACE, FILES)
    with pytest.raises(ConflictError, match="launch key was 'launch-1' and is 'launch-2'"):
        contribute_files(store, PLACE, FILES, contribution=contribution_of(launch_key="launch-2"))
    with pytest.raises(ConflictError, match="number of writers was 1 and is 6"):
        contribute_files(store, PLACE, FILES, contribution=contribution_of(6))


def test_receipt_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    store = MemoryStore()

    def after(request: Request) -> None:
        if (request.verb, request.key) == ("create", KEY):
            raise AlreadyExistsError("the retried create met its own effect")

    done = contribute_files(HookedStore(store, after=after), PLACE, FILES)
    assert done.existed
    assert store.read(KEY, limit_bytes=10_000).data == done.data


def test_receipt_landed_and_answer_was_lost_for_good() -> None:
    store = MemoryStore()

    def after(request: Request) -> None:
        if (request.verb, request.key) == ("create", KEY):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        contribute_files(HookedStore(store, after=after), PLACE, FILES)
    assert contribute_files(store, PLACE, FILES, contribution=contribution_of(seconds=60)).existed


def test_two_agents_of_one_writer_at_once_end_with_one_receipt() -> None:
    store = MemoryStore()
    seen: list[bytes] = []

    def before(request: Request) -> None:
        if (request.verb, request.key) == ("create", KEY):
            seen.append(contribute_files(store, PLACE, FILES, contribution=contribution_of(seconds=1)).data)

    done = contribute_files(HookedStore(store, before=before), PLACE, FILES)
    assert (done.existed, done.data) == (True, seen[0])


def test_died_anywhere_and_began_again() -> None:
    total = len(recorded(MemoryStore()).requests)
    for number in range(total):
        for moment in ("before", "after"):
            store = MemoryStore()
            with pytest.raises(Killed):
                contribute_files(HookedStore(store, **{moment: kill_at(number)}), PLACE, FILES)
            done = contribute_files(store, PLACE, FILES)
            assert store.read(KEY, limit_bytes=10_000).data == done.data


class Killed(BaseException):
    """The process died."""


def kill_at(number: int) -> Callable[[Request], None]:
    def hook(request: Request) -> None:
        if request.number == number:
            raise Killed

    return hook


def recorded(store: MemoryStore) -> HookedStore:
    hooked = HookedStore(store)
    contribute_files(hooked, PLACE, FILES)
    return hooked


def test_files_that_changed_after_the_last_byte_leave_no_receipt() -> None:
    store = MemoryStore()

    def changed() -> None:
        raise IntegrityError("model was changed")

    with pytest.raises(IntegrityError, match="was changed"):
        contribute(
            store,
            INLINE,
            place=PLACE,
            rank=0,
            archive_id=ARCHIVE_ID,
            contribution=contribution_of(),
            share=share_of(FILES),
            open_file=lambda path: BytesFile(FILES[path]),
            still_same=changed,
            settings=TransferSettings(),
            checksums_enforced=True,
        )
    assert list_all(store, layout.data_folder("run", 2, 100))
    assert contributed_ranks(store, PLACE) == {}


def test_a_receipt_that_nobody_could_read_is_refused_before_a_byte_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_archive.commit.writeonce.MAX_RECORD_BYTES", 500)
    store = CountingStore(MemoryStore())
    with pytest.raises(InvalidInputError, match="more than the 500"):
        contribute_files(store, PLACE, FILES)
    assert store.total == 0


def test_a_rank_beyond_the_writers_is_refused_before_a_byte_is_sent() -> None:
    store = CountingStore(MemoryStore())
    with pytest.raises(IntegrityError, match="rank 3 of 2 writers"):
        contribute_files(store, PLACE, FILES, rank=3, contribution=contribution_of(2))
    assert store.total == 0


def test_a_receipt_under_another_key_is_refused() -> None:
    store = MemoryStore()
    done = contribute_files(store, PLACE, FILES)
    other = Place("run", 2, 101)
    store.create(layout.receipt("run", 2, 101, 0), Body.of(done.data))
    with pytest.raises(IntegrityError, match="holds the receipt of run step 100"):
        read_receipt(store, other, 0)
