"""A ring under pressure: what goes, what stays, in which order promotions are given up, and that the archive hears of it."""

from pathlib import Path

import pytest

from ckpt_archive.commit.decision import read_decisions
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.promotion import Every
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.site import Node, Site, kill, save

SIZE = 100_000
FILES = {"model.bin": bytes(SIZE)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def backlog(site: Site, node: Node, count: int, *, keep_local: int = 1, quota_bytes: int | None = None) -> None:
    """So many promoted checkpoints while the archive is away."""
    run = node.run(promote=Every(1), keep_local=keep_local, quota_bytes=quota_bytes)
    for step in range(1, count + 1):
        assert save(run, step, FILES).staged
    site.down = True


def room_for(checkpoints: float) -> int:
    return RESERVED_BYTES + int(checkpoints * SIZE)


def given_up(node: Node) -> list[int]:
    return [share.step for share in node.shares() if share.has_gap]


def test_without_pressure_nothing_promoted_goes(site: Site, node: Node) -> None:
    backlog(site, node, 8)
    node.ship()
    assert [step for _, step in node.ring()] == [1, 2, 3, 4, 5, 6, 7, 8]


def full_until(node: Node, gone: int, all_of: int) -> None:
    """The disk has room again when so many checkpoints have gone."""

    def free_bytes() -> int:
        left = len(list(Path(node.of().ring).glob("*/*/rank-*")))
        return room_for(2 if left <= all_of - gone else 0.5)

    node.fs.free_bytes = free_bytes


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (1, [2, 3, 4, 5, 6, 7, 8]),
        (3, [2, 4, 6, 7, 8]),
        (4, [2, 4, 6, 8]),
        (6, [4, 8]),
        (7, [8]),
    ],
)
def test_odd_ones_go_first_and_the_newest_stays(site: Site, node: Node, gone: int, left: list[int]) -> None:
    backlog(site, node, 8)
    full_until(node, gone, 8)
    node.ship()
    assert [step for _, step in node.ring()] == left


def test_each_is_told_to_the_archive_although_it_was_away_and_the_share_is_gone(site: Site, node: Node) -> None:
    backlog(site, node, 4)
    full_until(node, 2, 4)
    agent = node.agent()
    assert agent.step().untold == 2
    assert [step for _, step in node.ring()] == [2, 4]
    site.down = False
    site.clock.sleep(60)
    done = agent.step()
    assert done.untold == 0
    decisions = read_decisions(site.store, "run-a", 0)
    assert {step: decision.action.value for step, decision in decisions.items()} == {1: "gap", 3: "gap"}
    assert all("nearly full" in decision.reason for decision in decisions.values())
    assert [step for _, step in site.committed()] == [4, 2]


def test_all_nodes_give_up_the_same(site: Site) -> None:
    left = []
    for rank in (0, 1):
        node = site.node(f"node-{rank}")
        run = node.run(writers=2, rank=rank, launch_key="k", promote=Every(1, save_every_steps=1), keep_local=2)
        for step in range(1, 9):
            assert save(run, step, FILES).staged
        site.down = True
        full_until(node, 3, 8)
        node.ship()
        left.append([step for _, step in node.ring()])
        site.down = False
        kill(run)
    assert left[0] == left[1] == [2, 4, 6, 7, 8]


def test_nothing_is_given_up_that_would_not_make_room(site: Site, node: Node) -> None:
    """The newest ones stay in the ring anyway: giving them up would only lose them."""
    backlog(site, node, 3, keep_local=3)
    node.fs.free_bytes = 0
    node.ship()
    assert given_up(node) == []
    assert [step for _, step in node.ring()] == [1, 2, 3]


def test_a_checkpoint_of_all_writers_of_the_node_must_fit(site: Site, node: Node) -> None:
    runs = [
        node.run(writers=2, rank=rank, launch_key="k", promote=Every(1, save_every_steps=1), keep_local=2)
        for rank in (0, 1)
    ]
    for step in range(1, 6):
        for run in runs:
            save(run, step, FILES)
    site.down = True
    node.fs.free_bytes = room_for(1.5)
    node.ship()
    assert len(node.ring()) < 10, "one writer's share would fit, but not both"


def test_a_receipt_is_not_given_up_here(site: Site, node: Node) -> None:
    run = node.run(writers=2, rank=0, launch_key="k", promote=Every(1, save_every_steps=1), keep_local=2)
    for step in range(1, 5):
        save(run, step, FILES)
    node.ship()
    assert all(share.has_receipt for share in node.shares())
    node.fs.free_bytes = 0
    node.ship()
    assert given_up(node) == []


def test_what_is_being_sent_is_not_given_up(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1), keep_local=1)
    for step in range(1, 5):
        assert save(run, step, FILES).staged

    def meanwhile(request: Request) -> None:
        site.clock.sleep(1)
        if request.verb == "upload_part" and "/000000000001/" in request.key:
            node.fs.free_bytes = 0

    site.before = meanwhile
    done = node.ship()
    assert [step for _, step in site.committed()] == [4, 1], "the newest, and what was under way"
    assert done.untold == 2


def test_pressure_may_be_left_to_the_owner(site: Site, node: Node) -> None:
    backlog(site, node, 4)
    node.fs.free_bytes = 0
    node.ship(give_up_under_pressure=False)
    assert given_up(node) == []
    assert len(node.ring()) == 4


def test_a_quota_presses_like_a_full_disk(site: Site, node: Node) -> None:
    backlog(site, node, 6, quota_bytes=RESERVED_BYTES + 10 * SIZE)
    node.ship()
    assert len(node.ring()) == 6
    smaller = node.run(promote=Every(1), keep_local=1, quota_bytes=RESERVED_BYTES + 8 * SIZE)
    assert save(smaller, 7, FILES).staged
    node.ship()
    assert [step for _, step in node.ring()] == [2, 3, 4, 5, 6, 7]


def test_who_only_looks_does_not_say_how_much_is_kept(site: Site, node: Node) -> None:
    run = node.run(promote=Every(100), keep_local=5)
    for step in range(1, 6):
        save(run, step)
    looker = node.run(keep_local=1)
    assert looker.resume() is not None
    node.ship()
    assert len(node.ring()) == 5


def test_while_somebody_reads_from_the_ring_nothing_goes(site: Site, node: Node) -> None:
    run = node.run(promote=Every(100), keep_local=1)
    for step in range(1, 5):
        save(run, step)
    with node.of().reading():
        node.ship()
        assert len(node.ring()) == 4
    node.ship()
    assert node.ring() == [(0, 4)]


def test_a_resume_holds_what_it_reads_while_the_uploader_evicts(site: Site, node: Node) -> None:
    run = node.run(promote=Every(100), keep_local=1)
    for step in (1, 2):
        save(run, step, FILES)
    kill(run)
    node.agent().step()
    assert node.ring() == [(0, 2)]
    agent = node.agent()
    rings: list[list[tuple[int, int]]] = []

    def evict_meanwhile(verb: str, path: str) -> None:
        if verb == "open_beneath" and path.endswith("model.bin"):
            node.fs.before = lambda verb, path: None
            agent.step()
            rings.append(node.ring())

    second = node.run(promote=Every(100), keep_local=1)
    node.fs.before = evict_meanwhile
    restored = second.resume()
    assert restored is not None
    assert rings == [[(0, 2)]]
    # And what a launch goes on from stays until it has saved itself.
    agent.step()
    assert Path(restored.path, "model.bin").read_bytes() == FILES["model.bin"]
    save(second, 3, FILES)
    agent.step()
    assert node.ring() == [(1, 3)]


def test_a_disk_so_full_that_no_gap_can_be_recorded_gives_nothing_up(site: Site, node: Node) -> None:
    backlog(site, node, 4)
    node.fs.free_bytes = 0

    def no_room(verb: str, path: str) -> None:
        if verb == "create" and "/gaps/" in path:
            raise OSError(28, "No space left on device", path)

    node.fs.before = no_room
    done = node.ship()
    assert given_up(node) == []
    assert len(node.ring()) == 4
    assert any("can not be recorded" in trouble for trouble in done.troubles)


def test_an_archive_that_comes_back_gets_what_is_left(site: Site, node: Node) -> None:
    backlog(site, node, 8)
    full_until(node, 4, 8)
    agent = node.agent()
    agent.step()
    node.fs.free_bytes = None
    site.down = False
    site.clock.sleep(60)
    assert [item.step for item in agent.step().archived] == [2, 4, 6, 8]
