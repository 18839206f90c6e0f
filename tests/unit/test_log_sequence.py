"""Where the log ends, what it holds, and how a batch is added: requests counted, damage named."""

from dataclasses import replace

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.errors import IntegrityError, UnavailableError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.log.batch import Batch, Entry
from ckpt_archive.log.sequence import Sealed, add_batch, newest_number, read_batch, read_batches
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import content, flip, memory_store, put
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, NOON
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request


def batch_after(before: Sealed | None, *names: str) -> Batch:
    return Batch(
        archive_id=ARCHIVE_ID,
        number=1 if before is None else before.number + 1,
        previous="" if before is None else before.sha256,
        first_entry=0 if before is None else before.batch.end_entry,
        sealed_at=NOON,
        sealed_by="node",
        watermark=NOON,
        entries=tuple(Entry.of_record("commit", "", name.encode(), NOON, name) for name in names),
    )


def grown(store: Store, batches: int) -> Sealed | None:
    newest = None
    for number in range(batches):
        is_ours, newest = add_batch(store, batch_after(newest, f"record-{number}"))
        assert is_ours
    return newest


def placeholders(store: Store, batches: int) -> None:
    for number in range(1, batches + 1):
        store.create(layout.sequence_batch(number), Body.of(b""))


# --- where it ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [0, 1, 2, 3, 7, 8, 100, 1_500])
@pytest.mark.parametrize("hint", [0, 1, 2, 99, 1_499, 1_500, 10**9])
def test_the_newest_number_is_found_whatever_the_hint(batches: int, hint: int) -> None:
    store = memory_store()
    placeholders(store, batches)
    assert newest_number(store, hint) == batches


def test_with_a_hint_it_costs_one_listing() -> None:
    store = CountingStore(memory_store())
    placeholders(store, 1_500)
    for hint in (501, 1_000, 1_499, 1_500):
        store.reset()
        assert newest_number(store, hint) == 1_500
        assert dict(store.requests) == {"list": 1}


def test_without_a_hint_it_costs_about_two_requests_for_each_doubling() -> None:
    store = CountingStore(memory_store())
    assert newest_number(store) == 0
    assert dict(store.requests) == {"head": 1}
    placeholders(store, 10_000)
    store.reset()
    assert newest_number(store) == 10_000
    assert set(store.requests) == {"head"}
    assert store.requests["head"] <= 28


def test_a_hint_that_is_far_behind_costs_less_than_listing_what_came_since() -> None:
    store = CountingStore(memory_store())
    placeholders(store, 10_000)
    store.reset()
    assert newest_number(store, 1) == 10_000
    assert store.requests["list"] == 1
    assert store.requests["head"] <= 28


def test_what_else_lies_there_is_passed_over() -> None:
    store = memory_store()
    placeholders(store, 3)
    store.create("log/seq/00000000000000000002.bak", Body.of(b""))
    store.create("log/seq/notes", Body.of(b""))
    assert newest_number(store, 1) == newest_number(store) == 3


# --- what it holds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [INLINE, ThreadExecutor()], ids=["inline", "threads"])
@pytest.mark.parametrize(("first", "last"), [(1, 100), (1, 1), (40, 75), (100, 100), (1, 0)])
def test_batches_are_read_in_order_each_once(executor: ThreadExecutor, first: int, last: int) -> None:
    store = CountingStore(memory_store())
    grown(store, 100)
    store.reset()
    assert [sealed.number for sealed in read_batches(store, executor, ARCHIVE_ID, first, last)] == [
        *range(first, last + 1)
    ]
    assert store.requests["read"] == last - first + 1


def test_few_are_read_ahead_of_whoever_takes_them() -> None:
    store = CountingStore(memory_store())
    grown(store, 1_000)
    store.reset()
    batches = read_batches(store, INLINE, ARCHIVE_ID, 1, 1_000)
    next(batches)
    assert store.requests["read"] <= 16


def test_a_damaged_batch_is_named() -> None:
    store = memory_store()
    grown(store, 5)
    flip(store, layout.sequence_batch(3), 77)
    with pytest.raises(IntegrityError, match="batch 3 of the log is damaged") as caught:
        list(read_batches(store, INLINE, ARCHIVE_ID, 1, 5))
    assert "copy of the bucket" in caught.value.hint


def test_a_missing_batch_is_named() -> None:
    store = memory_store()
    grown(store, 5)
    store.delete(layout.sequence_batch(3))
    with pytest.raises(IntegrityError, match="batch 3 of the log, log/seq/00000000000000000003, is missing"):
        list(read_batches(store, INLINE, ARCHIVE_ID, 1, 5))


def test_a_batch_under_another_number_or_of_another_archive_is_refused() -> None:
    store = memory_store()
    grown(store, 3)
    put(store, layout.sequence_batch(3), content(store, layout.sequence_batch(2)))
    with pytest.raises(IntegrityError, match="holds batch 2"):
        read_batch(store, ARCHIVE_ID, 3)
    with pytest.raises(IntegrityError, match=f"is of the archive {ARCHIVE_ID}"):
        read_batch(store, "f" * 32, 1)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"previous": "0" * 64}, "names 0000"),
        ({"first_entry": 7}, "begins at entry 7, but 2 stand before it"),
        ({"sealed_at": NOON.replace(year=2020)}, "was sealed before the one before it"),
    ],
)
def test_a_batch_that_does_not_follow_is_refused(changed: dict[str, object], told: str) -> None:
    store = memory_store()
    second = grown(store, 2)
    put(store, layout.sequence_batch(3), replace(batch_after(second), **changed).encode())  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=f"batch 3 of the log {told}"):
        list(read_batches(store, INLINE, ARCHIVE_ID, 2, 3))


# --- adding ----------------------------------------------------------------------------------------------------------------


def test_of_two_who_add_at_once_one_is_told_of_the_other() -> None:
    store = memory_store()
    first = grown(store, 1)
    assert add_batch(store, batch_after(first, "one"))[0]
    is_ours, standing = add_batch(store, batch_after(first, "two"))
    assert not is_ours
    assert standing.batch == batch_after(first, "one")
    assert add_batch(store, batch_after(standing, "two"))[0]


def test_a_batch_whose_answer_was_lost_is_ours_when_it_is_added_again() -> None:
    store = memory_store()

    def lost(request: Request) -> None:
        raise UnavailableError("the answer was lost")

    with pytest.raises(UnavailableError):
        add_batch(HookedStore(store, after=lost), batch_after(None, "one"))
    is_ours, standing = add_batch(store, batch_after(None, "one"))
    assert is_ours
    assert standing.batch == batch_after(None, "one")


def test_where_the_store_compares_nothing_a_batch_is_read_back() -> None:
    store = memory_store()

    def changes(request: Request) -> None:
        if request.verb == "create":
            flip(store, request.key, 100)

    with pytest.raises(IntegrityError, match="has other bytes than were sent"):
        add_batch(HookedStore(store, after=changes), batch_after(None, "one"), read_back=True)
