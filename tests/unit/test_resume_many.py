"""Many writers come back together: all of them from the same step, or none."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.commit.latest import standing
from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.local.launches import load_launches, read_resume
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.settings import Environment
from ckpt_archive.testing.archives import read_tree
from ckpt_archive.testing.site import URL, Node, Site, kill, save

RULE = Every(2, save_every_steps=10)


class Gathering:
    """As ``torch.distributed.all_gather_object``: nobody goes on before all have given something."""

    def __init__(self, ranks: int) -> None:
        self._given: list[bytes] = [b""] * ranks
        self._barrier = threading.Barrier(ranks, timeout=20)
        self.rounds = 0

    def of(self, rank: int) -> Callable[[list[Any], Any], None]:
        def gather(results: list[Any], mine: Any) -> None:
            self._given[rank] = pickle.dumps(mine)
            self._barrier.wait()
            results[:] = [pickle.loads(data) for data in self._given]
            if self._barrier.wait() == 0:
                self.rounds += 1

        return gather


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def nodes(site: Site) -> list[Node]:
    """Two nodes with two ranks each."""
    return [site.node("node-a"), site.node("node-b")]


def told(rank: int, key: str | None, scheduler: str | None = None) -> dict[str, Any]:
    environment = Environment(launch_key=key, scheduler_key=scheduler, rank=rank, world_size=4)
    return {"writers": 4, "promote": RULE, "environment": environment, "agent": "external"}


def launch(nodes: list[Node], key: str, *steps: int, ship: bool = True, **missing: set[int]) -> None:
    """A launch of which every rank saves these steps, but for those that miss some (``rank_2={30}``)."""
    runs = [nodes[rank // 2].run(**told(rank, key)) for rank in range(4)]
    for step in steps:
        for rank, run in enumerate(runs):
            if step not in missing.get(f"rank_{rank}", ()):
                assert save(run, step, {f"shard-{rank}.bin": b"step %d of %d" % (step, rank)}).staged
    if ship:
        for _ in range(2):
            for node in nodes:
                node.ship()
    for run in runs:
        kill(run)


def together(
    nodes: list[Node], key: str | None = None, *, scheduler: str | None = None, **how: Any
) -> list[Restored | CkptArchiveError | None]:
    """What every rank of a new launch goes on from, or the error it gets."""
    gathering = Gathering(4)
    answers: list[Restored | CkptArchiveError | None] = [None] * 4

    def rank_of(rank: int) -> None:
        run = nodes[rank // 2].run(**told(rank, key, scheduler))
        try:
            answers[rank] = run.resume(agree=gathering.of(rank), **how)
        except CkptArchiveError as error:
            answers[rank] = error
        kill(run)

    threads = [threading.Thread(target=rank_of, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def one_by_one(nodes: list[Node], key: str, ranks: int = 4) -> list[Restored | None]:
    """The same without talking."""
    return [nodes[rank // 2].run(**told(rank, key)).resume() for rank in range(ranks)]


def steps(answers: list[Any]) -> list[tuple[int, str]]:
    for answer in answers:
        assert isinstance(answer, Restored), answer
        for path, data in read_tree(answer.path).items():
            assert data == b"step %d of %s" % (answer.step, path[6:7].encode())
    return [(answer.step, answer.source) for answer in answers]


def damage(node: Node, step: int, rank: int) -> None:
    """A bit rots unnoticed."""
    share = next(share for share in reversed(node.shares()) if (share.step, share.rank) == (step, rank))
    assert share.digests() is not None
    Path(share.files_path, f"shard-{rank}.bin").write_bytes(b"Step %d of %d" % (step, rank))


# --- with agree ------------------------------------------------------------------------------------------------------------


def test_a_first_launch(site: Site, nodes: list[Node]) -> None:
    assert together(nodes, "key-0") == [None] * 4
    for node in nodes:
        resume = read_resume(node.of(), 0)
        assert resume is not None
        assert (resume.resume_from, resume.from_ring) == (None, None)
    nodes[0].ship()
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert (newest.attempt, newest.resume_from, newest.writers) == (0, None, 4)


def test_the_newest_step_that_all_nodes_hold(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    assert steps(together(nodes, "key-1")) == [(30, "ring")] * 4
    nodes[1].ship()
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert newest.resume_from == Place("run-a", 0, 30)


def test_a_step_that_one_rank_missed_does_not_count(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30, rank_2={30})
    assert steps(together(nodes, "key-1")) == [(20, "ring")] * 4


def test_a_node_that_is_new_leaves_the_archive(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    changed = [nodes[0], site.node("node-c")]
    assert steps(together(changed, "key-1")) == [(20, "archive")] * 4


def test_after_other_nodes_went_further_the_rings_are_old(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    others = [site.node("node-c"), site.node("node-d")]
    assert steps(together(others, "key-1")) == [(20, "archive")] * 4
    launch(others, "key-2", 40)
    assert steps(together(nodes, "key-3")) == [(40, "archive")] * 4


def test_offline_with_something_in_common(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30, rank_0={30}, ship=False)
    site.down = True
    assert steps(together(nodes, "key-1")) == [(20, "ring")] * 4


def test_offline_with_nothing_in_common_all_hear_it(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    site.down = True
    answers = together([nodes[0], site.node("node-c")], "key-1")
    assert all(isinstance(answer, UnavailableError) for answer in answers)


def test_the_launches_of_a_plain_torchrun_are_told_apart(nodes: list[Node]) -> None:
    for expected in ([None] * 4, [(10, "ring")] * 4, [(20, "ring")] * 4):
        answers = together(nodes, None)
        assert (answers if expected[0] is None else steps(answers)) == expected
        step = 10 if expected[0] is None else int(str(expected[0][0])) + 10
        for rank in range(4):
            newest = load_launches(nodes[rank // 2].of())[-1]
            run = nodes[rank // 2].run(**told(rank, newest.launch_key))
            save(run, step, {f"shard-{rank}.bin": b"step %d of %d" % (step, rank)})
            kill(run)
    assert len({launch.launch_key for launch in load_launches(nodes[0].of())}) == 3


def test_what_the_scheduler_says_need_not_be_new(nodes: list[Node]) -> None:
    for _ in range(2):
        assert together(nodes, None, scheduler="torchelastic:job:0") == [None] * 4
    keys = [launch.launch_key for launch in load_launches(nodes[0].of())]
    assert len(set(keys)) == 2
    assert all(key.startswith("torchelastic:job:0/") for key in keys)
    assert keys == [launch.launch_key for launch in load_launches(nodes[1].of())]


def test_a_damaged_share_on_one_node_is_everybodys_affair(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    damage(nodes[1], 30, 3)
    answers = together(nodes, "key-1")
    assert all(isinstance(answer, IntegrityError) for answer in answers)
    assert all("shard-3.bin" in str(answer) for answer in answers)
    assert steps(together(nodes, "key-2", fallback=True)) == [(20, "ring")] * 4


def test_a_damaged_share_of_an_archived_step_is_fetched_by_all(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    damage(nodes[0], 20, 1)
    assert steps(together(nodes, "key-1")) == [(20, "archive")] * 4


def test_a_rank_that_can_not_even_look_does_not_leave_the_others_waiting(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10)

    def broken(verb: str, path: str) -> None:
        if verb == "list" and path == nodes[1].of().ring:
            raise OSError(5, "Input/output error", path)

    nodes[1].fs.before = broken
    answers = together(nodes, "key-1")
    assert all(isinstance(answer, UnavailableError) for answer in answers)


def test_a_launch_with_the_same_key_again_goes_on_from_its_own(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    assert steps(together(nodes, "key-0")) == [(30, "ring")] * 4


# --- without ---------------------------------------------------------------------------------------------------------------


def test_without_talking_the_newest_archived_step(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30)
    assert steps(one_by_one(nodes, "key-1")) == [(20, "archive")] * 4


def test_a_commit_in_between_mixes_nothing(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    launch(nodes, "key-1", 30, 40, ship=False)
    first = one_by_one(nodes, "key-2", ranks=2)
    for node in nodes:
        node.ship()
    assert (1, 40) in site.committed()
    rest = [nodes[1].run(**told(rank, "key-2")).resume() for rank in (2, 3)]
    assert steps([*first, *rest]) == [(20, "archive")] * 4


def test_without_talking_nobody_may_fall_back(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    with pytest.raises(InvalidInputError, match="can not each fall back"):
        nodes[0].run(**told(0, "key-1")).resume(fallback=True)


def test_without_talking_and_without_the_archive(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    site.down = True
    with pytest.raises(UnavailableError):
        one_by_one(nodes, "key-1")


def test_without_talking_and_with_a_key_of_old(nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    with pytest.raises(ConflictError, match="two launches would be mixed up"):
        one_by_one(nodes, "key-0")


def test_ranks_that_want_different_files_do_not_remove_each_others(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20)
    node = site.node("node-c")
    answers = [node.run(**told(rank, "key-1")).resume(include=f"shard-{rank}.bin") for rank in range(2)]
    for rank, answer in enumerate(answers):
        assert answer is not None
        assert list(read_tree(answer.path)) == [f"shard-{rank}.bin"]


def test_writers_of_which_nobody_says_which_they_are(nodes: list[Node]) -> None:
    with pytest.raises(InvalidInputError, match="nothing says which of 4 writers"):
        nodes[0].run(writers=4, promote=RULE, launch_key="k").resume()


def test_the_archive_at_a_glance(site: Site, nodes: list[Node]) -> None:
    launch(nodes, "key-0", 10, 20, 30, 40)
    assert site.committed(url=URL) == [(0, 40), (0, 20)]
