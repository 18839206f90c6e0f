"""The commit, under every question one can ask of it: one manifest, never of what is absent, never a false conflict."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.committing import (
    AlreadyCommitted,
    Awaiting,
    Committed,
    Outcome,
    all_unfinished,
    finish_commits,
    try_commit,
    unfinished,
)
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import (
    AlreadyExistsError,
    CkptArchiveError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.checkpoints import (
    ARCHIVE_ID,
    INLINE,
    Files,
    archive_files,
    contribute_files,
    contribution_of,
)
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request

PLACE = Place("run", 2, 100)
MANIFEST = layout.manifest("run", 2, 100)
SHARES: tuple[Files, Files] = ({"a": b"aaaa", "shared": b"s"}, {"b": b"bb", "shared": b"s"})


class Killed(BaseException):
    """The process died."""


def at(number: int, do: Callable[[], object]) -> Callable[[Request], None]:
    def hook(request: Request) -> None:
        if request.number == number:
            do()

    return hook


def die() -> None:
    raise Killed


def put(store: Store, rank: int, place: Place = PLACE, writers: int = 2, launch_key: str = "launch-1") -> bytes:
    return contribute_files(
        store, place, SHARES[rank % 2], rank=rank, contribution=contribution_of(writers, launch_key)
    ).data


def commit(store: Store, place: Place = PLACE, writers: int = 2, own: Mapping[int, bytes] | None = None) -> Outcome:
    return try_commit(store, INLINE, place, archive_id=ARCHIVE_ID, writers=writers, own=own or {})


def assert_whole(store: Store, place: Place = PLACE) -> Manifest:
    """What invariant 1 demands of a committed checkpoint."""
    manifest = load_manifest(store, place).manifest
    for entry in manifest.receipts:
        data = store.read(layout.receipt(place.run, place.attempt, place.step, entry.rank), limit_bytes=10_000).data
        assert sha256_hex(data) == entry.sha256
        for item in Receipt.decode(data, "it").share.objects:
            key = layout.data_object(place.run, place.attempt, place.step, entry.rank, item.sha256)
            assert store.head(key).size_bytes == item.size_bytes
    return manifest


def both() -> MemoryStore:
    store = MemoryStore()
    put(store, 0)
    put(store, 1)
    return store


def test_who_sees_all_receipts_commits() -> None:
    store = MemoryStore()
    first = put(store, 0)
    assert commit(store, own={0: first}) == Awaiting((1,))
    second = put(store, 1)
    outcome = commit(store, own={1: second})
    assert isinstance(outcome, Committed)
    loaded = load_manifest(store, PLACE)
    assert (loaded.manifest, loaded.sha256) == (outcome.manifest, outcome.sha256)
    assert assert_whole(store).size_bytes == 7


def test_committing_again_changes_nothing() -> None:
    store = both()
    first, second = commit(store), commit(store)
    assert isinstance(first, Committed)
    assert second == AlreadyCommitted(first.manifest, first.sha256)


def test_what_a_commit_costs() -> None:
    store = MemoryStore()
    for rank in range(8):
        contribute_files(store, PLACE, {f"rank-{rank}": b"x"}, rank=rank, contribution=contribution_of(8))
    third = store.read(layout.receipt("run", 2, 100, 3), limit_bytes=10_000).data
    counting = CountingStore(store)
    commit(counting, writers=8, own={3: third})
    assert counting.requests == {"list": 2, "read": 7, "create": 2}


def test_a_writer_that_is_not_the_last_pays_one_request() -> None:
    store = MemoryStore()
    counting = CountingStore(store)
    data = put(store, 0)
    commit(counting, own={0: data})
    assert counting.requests == {"list": 1}


def test_the_marker_is_there_before_the_manifest() -> None:
    store = both()
    hooked = HookedStore(store)
    commit(hooked)
    created = [request.key for request in hooked.requests if request.verb == "create"]
    assert len(created) == 2
    assert created[0].startswith("log/pending/")
    assert created[1] == MANIFEST


def test_manifest_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    store = both()

    def after(request: Request) -> None:
        if (request.verb, request.key) == ("create", MANIFEST):
            raise AlreadyExistsError("the retried create met its own effect")

    outcome = commit(HookedStore(store, after=after))
    assert isinstance(outcome, AlreadyCommitted)
    assert outcome.manifest == assert_whole(store)


def test_manifest_landed_and_answer_was_lost_for_good() -> None:
    store = both()

    def after(request: Request) -> None:
        if (request.verb, request.key) == ("create", MANIFEST):
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        commit(HookedStore(store, after=after))
    assert isinstance(commit(store), AlreadyCommitted)


def test_marker_landed_and_answer_was_lost_and_the_try_was_repeated() -> None:
    store = both()

    def after(request: Request) -> None:
        if request.verb == "create" and request.key.startswith("log/"):
            raise AlreadyExistsError("the retried create met its own effect")

    assert isinstance(commit(HookedStore(store, after=after)), Committed)


def test_two_committers_at_once_whenever_the_other_one_comes_in() -> None:
    steps = HookedStore(both())
    commit(steps)
    for number in range(len(steps.requests)):
        store = both()
        others: list[Outcome] = []
        ours = commit(HookedStore(store, before=at(number, lambda: others.append(commit(store)))))  # noqa: B023
        assert isinstance(others[0], Committed)
        assert isinstance(ours, AlreadyCommitted)
        assert ours.sha256 == others[0].sha256
        assert_whole(store)


def test_both_last_writers_at_once_whenever_the_other_one_comes_in() -> None:
    """Each contributes and commits; at every request of one, the other one runs from beginning to end."""

    def run(store: Store, rank: int) -> Outcome:
        return commit(store, own={rank: put(store, rank)})

    steps = HookedStore(MemoryStore())
    run(steps, 0)
    for number in range(len(steps.requests)):
        store = MemoryStore()
        outcomes: list[Outcome] = []
        outcomes.append(run(HookedStore(store, before=at(number, lambda: outcomes.append(run(store, 1)))), 0))  # noqa: B023
        assert any(isinstance(outcome, (Committed, AlreadyCommitted)) for outcome in outcomes)
        assert_whole(store)


def test_died_before_or_right_after_any_request_and_somebody_finished_it() -> None:
    steps = HookedStore(both())
    commit(steps)
    for number in range(len(steps.requests)):
        for moment in ("before", "after"):
            store = both()
            with pytest.raises(Killed):
                commit(HookedStore(store, **{moment: at(number, die)}))
            finished = finish_commits(store, INLINE, ARCHIVE_ID, "run", 2)
            landed = (moment, number) == ("after", len(steps.requests) - 1)
            assert len(finished) == (0 if landed else 1)
            assert_whole(store)
            assert unfinished(store, "run", 2) == []


def test_died_right_after_its_receipt_and_the_next_scan_finishes() -> None:
    store = both()
    assert unfinished(store, "run", 2) == [PLACE]
    [(place, outcome)] = finish_commits(store, INLINE, ARCHIVE_ID, "run", 2)
    assert place == PLACE
    assert isinstance(outcome, Committed)


def test_a_later_release_that_adds_members_never_conflicts() -> None:
    store = both()
    other = both()
    commit(other)
    newer = replace(load_manifest(other, PLACE).manifest, unknown={"codec": "x"}).encode()
    store.create(MANIFEST, Body.of(newer))
    outcome = commit(store)
    assert isinstance(outcome, AlreadyCommitted)
    assert outcome.sha256 == sha256_hex(newer)
    assert outcome.manifest.unknown == {"codec": "x"}


def test_other_content_that_was_committed_first_stays_and_is_a_conflict() -> None:
    other = MemoryStore()
    archive_files(other, PLACE, {"x": b"1"}, {"y": b"2"})
    store = both()
    store.create(MANIFEST, Body.of(other.read(MANIFEST, limit_bytes=10_000).data))
    with pytest.raises(ConflictError, match="receipt of rank 0 had the SHA-256"):
        commit(store)
    assert store.read(MANIFEST, limit_bytes=10_000).data == other.read(MANIFEST, limit_bytes=10_000).data


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"metrics": {"loss": 0.5}}, "what it says about them is not"),
        ({"writers": 3}, "it had 3 writers and has 2"),
    ],
)
def test_a_standing_manifest_that_was_not_made_of_these_receipts_is_a_conflict(
    change: dict[str, object], problem: str
) -> None:
    other = both()
    commit(other)
    forged = replace(load_manifest(other, PLACE).manifest, **change)  # type: ignore[arg-type]
    if "writers" in change:
        forged = replace(forged, receipts=(*forged.receipts, replace(forged.receipts[1], rank=2)))
    store = both()
    store.create(MANIFEST, Body.of(forged.encode()))
    with pytest.raises(ConflictError, match=problem):
        commit(store)


def test_a_straggler_whose_peers_data_expired_does_not_commit() -> None:
    store = MemoryStore()
    put(store, 0)
    for info in list_all(store, layout.share_folder("run", 2, 100, 0)):
        store.delete(info.key)
    put(store, 1)
    with pytest.raises(IntegrityError, match=r"rank 0 contributed to run step 100 .* is not in the store"):
        commit(store)
    with pytest.raises(NotFoundError):
        load_manifest(store, PLACE)
    put(store, 0)
    assert isinstance(commit(store), Committed)
    assert_whole(store)


def test_an_object_of_another_size_does_not_commit() -> None:
    store = both()
    info = list_all(store, layout.share_folder("run", 2, 100, 1))[0]
    store.delete(info.key)
    store.create(info.key, Body.of(b"x"))
    with pytest.raises(IntegrityError, match="has 1 bytes there"):
        commit(store)


def test_stray_objects_under_the_step_do_no_harm() -> None:
    store = both()
    store.create(layout.data_folder("run", 2, 100) + "left-behind", Body.of(b"x"))
    assert isinstance(commit(store), Committed)


def test_two_launches_with_one_key_and_other_writers_are_a_named_conflict() -> None:
    """Elastic training went from 8 to 6 writers, and an old one of the 8 lives on."""
    store = MemoryStore()
    put(store, 7, writers=8)
    put(store, 0, writers=6)
    with pytest.raises(ConflictError, match="number of writers is 6 for rank 0 and 8 for rank 7"):
        commit(store, writers=6)


def test_a_lone_stranger_is_a_named_conflict() -> None:
    store = MemoryStore()
    put(store, 7, writers=8)
    with pytest.raises(ConflictError, match="has 6 writers, and rank 7 contributed to it as one of 8"):
        commit(store, writers=6)


def test_launches_with_unequal_keys_are_never_merged() -> None:
    store = MemoryStore()
    put(store, 0)
    put(store, 1, launch_key="launch-2")
    with pytest.raises(ConflictError, match="the launch key is 'launch-1' for rank 0 and 'launch-2' for rank 1"):
        commit(store)


def test_receipts_of_another_archive_are_a_conflict() -> None:
    store = both()
    with pytest.raises(ConflictError, match="in the archive 0123"):
        try_commit(store, INLINE, PLACE, archive_id="another", writers=2, own={})


def test_a_receipt_that_stands_under_another_key_does_not_commit() -> None:
    store = MemoryStore()
    data = put(store, 0)
    store.create(layout.receipt("run", 2, 100, 1), Body.of(data))
    with pytest.raises(IntegrityError, match="rank 0"):
        commit(store)


def test_own_bytes_that_are_not_the_stored_ones_are_read_again() -> None:
    store = both()
    outcome = commit(store, own={0: b"something shorter"})
    assert isinstance(outcome, Committed)
    assert_whole(store)


def test_many_writers_are_read_side_by_side() -> None:
    store = MemoryStore()
    for rank in range(40):
        contribute_files(store, PLACE, {f"rank-{rank}": b"x"}, rank=rank, contribution=contribution_of(40))
    outcome = try_commit(store, ThreadExecutor(), PLACE, archive_id=ARCHIVE_ID, writers=40, own={})
    assert isinstance(outcome, Committed)
    assert [entry.rank for entry in assert_whole(store).receipts] == list(range(40))


def test_unfinished_are_those_above_the_newest_committed_step() -> None:
    store = MemoryStore()
    for step in (100, 200, 300, 400):
        place = Place("run", 2, step)
        put(store, 0, place)
        if step != 300:
            put(store, 1, place)
    commit(store, Place("run", 2, 200))
    put(store, 0, Place("run", 3, 900))
    assert unfinished(store, "run", 2) == [Place("run", 2, 300), Place("run", 2, 400)]
    assert all_unfinished(store, "run", 2) == [Place("run", 2, step) for step in (100, 300, 400)]
    outcomes = finish_commits(store, INLINE, ARCHIVE_ID, "run", 2)
    assert [(place.step, type(outcome)) for place, outcome in outcomes] == [(300, Awaiting), (400, Committed)]


def test_finding_what_is_unfinished_costs_the_same_after_3_and_300_checkpoints() -> None:
    costs = []
    for count in (3, 300):
        store = MemoryStore()
        for step in range(count):
            archive_files(store, Place("run", 2, step), {"a": b"x"})
        counting = CountingStore(store)
        assert unfinished(counting, "run", 2) == []
        costs.append(dict(counting.requests))
    assert costs == [{"list": 2}, {"list": 2}]


def test_one_that_can_not_be_committed_does_not_stop_the_others() -> None:
    store = MemoryStore()
    broken, fine, newer = (Place("run", 2, step) for step in (100, 200, 300))
    put(store, 0, broken)
    put(store, 1, broken, launch_key="launch-2")
    put(store, 0, fine)
    put(store, 1, fine)
    data = put(store, 0, newer, writers=1)
    key = layout.receipt("run", 2, 300, 0)
    store.delete(key)
    store.create(key, Body.of(data.replace(b'"version":1', b'"version":2')))
    outcomes = dict(finish_commits(store, INLINE, ARCHIVE_ID, "run", 2))
    assert isinstance(outcomes[broken], ConflictError)
    assert isinstance(outcomes[fine], Committed)
    assert isinstance(outcomes[newer], CkptArchiveError)


def test_a_store_that_does_not_answer_stops_finishing() -> None:
    store = both()

    def before(request: Request) -> None:
        if request.verb == "create":
            raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        finish_commits(HookedStore(store, before=before), INLINE, ARCHIVE_ID, "run", 2)
