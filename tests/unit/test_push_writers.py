"""Several writers of one checkpoint, each pushing its own folder: the last one commits, the others say who is awaited."""

import itertools
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.errors import ConflictError, InvalidInputError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.settings import Environment
from ckpt_archive.ship.push import PushReport, PushRequest, push
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import SMALL, archive_on, connected, keys, memory_store, read_tree, write_tree
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import local_machine


@pytest.fixture
def store() -> MemoryStore:
    return memory_store()


def share(tmp_path: Path, rank: int, **more: bytes) -> Path:
    return write_tree(
        tmp_path / f"rank-{rank}", {f"shard-{rank}.bin": b"%d" % rank * 1500, "common.json": b"{}"} | more
    )


def pushed(
    store: Store, folder: Path, rank: int, writers: int, *, launch_key: str = "", new_attempt: bool = False
) -> PushReport:
    request = PushRequest(
        str(folder), "run", 100, rank=rank, writers=writers, launch_key=launch_key, new_attempt=new_attempt
    )
    return push(local_machine(clock=ManualClock()), connected(store), request)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_any_order_the_last_one_commits(store: MemoryStore, tmp_path: Path, order: tuple[int, ...]) -> None:
    reports = [pushed(store, share(tmp_path, rank), rank, 3) for rank in order]
    assert [report.state for report in reports] == ["awaiting", "awaiting", "committed"]
    assert [set(report.awaiting) for report in reports] == [set(order[1:]), set(order[2:]), set()]
    assert {report.attempt for report in reports} == {0}
    back = read_tree(archive_on(store).restore("run", to=tmp_path / "back").path)
    assert back == {f"shard-{rank}.bin": b"%d" % rank * 1500 for rank in range(3)} | {"common.json": b"{}"}


def test_what_is_awaited_is_not_visible(store: MemoryStore, tmp_path: Path) -> None:
    pushed(store, share(tmp_path, 0), 0, 2)
    archive = archive_on(store)
    assert archive.runs() == []
    with pytest.raises(Exception, match="has no committed checkpoint") as caught:
        archive.restore("run", to=tmp_path / "back")
    assert caught.value.exit_code == 6  # type: ignore[attr-defined]


def test_a_writer_may_have_nothing_to_contribute(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    pushed(store, share(tmp_path, 0), 0, 2)
    assert pushed(store, tmp_path / "nothing", 1, 2).state == "committed"
    restored = archive_on(store).restore("run", to=tmp_path / "back", rank=1)
    assert (restored.files, read_tree(restored.path)) == (0, {})


def test_the_same_path_with_other_bytes_is_a_conflict_that_names_both(store: MemoryStore, tmp_path: Path) -> None:
    pushed(store, share(tmp_path, 0), 0, 2)
    with pytest.raises(ConflictError, match=r"ranks 0 and 1 both wrote 'common\.json'"):
        pushed(store, share(tmp_path, 1, **{"common.json": b"[]"}), 1, 2)
    assert keys(store, "manifests/") == []


@pytest.mark.parametrize(("first", "second"), [((0, 2), (1, 3)), ((2, 3), (0, 2)), ((0, 1), (1, 2)), ((1, 2), (0, 1))])
def test_disagreement_about_the_writers_is_a_conflict_before_any_byte_is_sent(
    store: MemoryStore, tmp_path: Path, first: tuple[int, int], second: tuple[int, int]
) -> None:
    pushed(store, share(tmp_path, first[0]), *first)
    before = keys(store)
    counting = CountingStore(store)
    with pytest.raises(ConflictError, match="the number of writers is") as caught:
        pushed(counting, share(tmp_path, second[0]), *second)
    assert f"rank {first[0]}" in caught.value.message
    assert f"rank {second[0]}" in caught.value.message
    assert counting.requests["create"] == 1  # archive.json
    assert keys(store) == before


def test_the_same_rank_twice_with_other_content_is_a_conflict(store: MemoryStore, tmp_path: Path) -> None:
    pushed(store, share(tmp_path, 0), 0, 2)
    with pytest.raises(ConflictError, match="rank 0 has contributed something else"):
        pushed(store, share(tmp_path, 1), 0, 2)


def test_a_rank_pushed_again_after_the_commit_is_a_repetition(store: MemoryStore, tmp_path: Path) -> None:
    for rank in range(2):
        pushed(store, share(tmp_path, rank), rank, 2)
    assert pushed(store, share(tmp_path, 0), 0, 2).state == "already-committed"


def test_a_new_attempt_of_several_writers_is_one_attempt(store: MemoryStore, tmp_path: Path) -> None:
    for rank in range(2):
        pushed(store, share(tmp_path, rank), rank, 2)
    reports = [
        pushed(store, share(tmp_path, rank, more=b"x"), rank, 2, launch_key="second", new_attempt=True)
        for rank in range(2)
    ]
    assert [(report.attempt, report.state) for report in reports] == [(1, "awaiting"), (1, "committed")]
    with pytest.raises(InvalidInputError, match="CKPT_ARCHIVE_LAUNCH_KEY"):
        pushed(store, share(tmp_path, 0), 0, 2, new_attempt=True)


def test_a_launch_key_of_the_environment_begins_an_attempt_of_its_own(store: MemoryStore, tmp_path: Path) -> None:
    connection = connected(store)

    def push_as(key: str | None) -> PushReport:
        archive = Archive(
            store.url,
            local_machine(),
            lambda _: connection,
            lambda _: None,
            Environment(launch_key=key),
            SMALL,
        )
        return archive.push(share(tmp_path, 0), "run", 100)

    assert [push_as(key).attempt for key in (None, "a", "b", "a", None)] == [0, 1, 2, 1, 0]


def test_the_last_two_at_once(tmp_path: Path) -> None:
    """Before each request of one, the other runs to its end: exactly one manifest, and nobody waits for ever."""
    probe = HookedStore(memory_store())
    pushed(probe, share(tmp_path, 0), 0, 2)
    for number in range(len(probe.requests)):
        inner = memory_store()
        states = {}

        def race(request: Request, inner: MemoryStore = inner, number: int = number) -> None:
            if request.number == number:
                states[1] = pushed(inner, share(tmp_path, 1), 1, 2).state  # noqa: B023

        states[0] = pushed(HookedStore(inner, before=race), share(tmp_path, 0), 0, 2).state
        assert "awaiting" not in states.values() or "committed" in states.values()
        assert keys(inner, "manifests/") == [layout.manifest("run", 0, 100)]


def test_a_committer_that_died_is_replaced_by_whoever_comes_next(store: MemoryStore, tmp_path: Path) -> None:
    class Died(BaseException):
        pass

    def die(request: Request) -> None:
        if request.key.startswith("manifests/") and request.verb == "create":
            raise Died

    pushed(store, share(tmp_path, 0), 0, 2)
    with pytest.raises(Died):
        pushed(HookedStore(store, before=die), share(tmp_path, 1), 1, 2)
    assert keys(store, "manifests/") == []
    assert pushed(store, share(tmp_path, 0), 0, 2).state == "already-committed"
    assert archive_on(store).find("run").step == 100


def test_sixteen_writers_in_threads(store: MemoryStore, tmp_path: Path) -> None:
    folders = [share(tmp_path, rank) for rank in range(16)]

    def one(rank: int) -> PushReport:
        return pushed(store, folders[rank], rank, 16)

    reports = list(ThreadExecutor().map_unordered(one, range(16), limit=8))
    assert {report.attempt for report in reports} == {0}
    assert [report.state for report in reports].count("awaiting") < 16
    back = read_tree(archive_on(store).restore("run", to=tmp_path / "back").path)
    assert len(back) == 17
