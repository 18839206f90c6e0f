"""The uploader as a process: one per staging directory, told to leave, handed over, drained, gone when nothing is left."""

import contextlib
import threading
from pathlib import Path

import pytest

from ckpt_archive import record
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import CapacityError, ConflictError
from ckpt_archive.local.agent_status import AgentStatus, read_status, write_status
from ckpt_archive.promotion import Every
from ckpt_archive.testing.site import Node, Site, kill, save


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def passes(count: int) -> "Stop":
    return Stop(count)


class Stop:
    """Says so after a number of passes."""

    def __init__(self, passes: int) -> None:
        self.left = passes

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


# --- one agent -------------------------------------------------------------------------------------------------------------


def test_it_works_until_told_to_stop(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    save(run, 10)
    seen: list[int] = []
    node.daemon().run(passes(3), on_pass=lambda done: seen.append(len(done.archived)))
    assert seen == [1, 0, 0]
    assert site.committed() == [(0, 10)]


def test_a_second_one_is_refused_and_names_the_first(node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    node.daemon().drain(60)
    held = node.fs.try_lock(node.staging.agent_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held, pytest.raises(ConflictError, match=r"another agent \(process 4711\) works in"):
        node.daemon().run(passes(1))
    node.daemon().run(passes(1))


def test_who_only_asks_for_a_moment_whether_one_works_here_is_no_other_agent(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    asking = contextlib.ExitStack()
    held = node.fs.try_lock(node.staging.agent_lock, LockMode.SHARED)
    assert held is not None
    asking.enter_context(held)
    site.clock.meanwhile = asking.close
    node.daemon().run(passes(1))
    assert site.committed() == [(0, 10)]


def test_a_staging_directory_that_does_not_exist_yet(node: Node) -> None:
    node.daemon().run(passes(1))
    assert Path(node.staging.agent_lock).exists()


def test_a_staging_directory_that_is_taken_away_belongs_to_the_next_agent(site: Site, node: Node) -> None:
    rounds: list[int] = []

    def taken_away() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            Path(node.staging.agent_lock).unlink()
            node.staging.machine.fs.create(node.staging.agent_lock).close()

    site.clock.meanwhile = taken_away
    node.daemon().run(passes(100))
    assert len(rounds) == 3


# --- leaving ---------------------------------------------------------------------------------------------------------------


def test_started_on_demand_it_stays_as_long_as_anybody_trains_or_something_is_left(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    save(run, 10)
    site.down = True
    rounds = 0

    def life() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 20:
            kill(run)
        if rounds == 40:
            site.down = False

    site.clock.meanwhile = life
    node.daemon(recheck_seconds=5.0, linger_seconds=10.0).run(passes(1000), until_idle=True)
    assert site.committed() == [(0, 10)]
    assert 40 < rounds < 150


def test_a_gap_that_the_archive_has_not_heard_of_keeps_it_here(site: Site, node: Node) -> None:
    run = node.run(writers=2, rank=0, launch_key="k", promote=Every(1))
    node.fs.free_bytes = 0
    save(run, 10)
    node.fs.free_bytes = None
    kill(run)
    site.down = True
    rounds: list[int] = []
    site.clock.meanwhile = lambda: rounds.append(1)
    node.daemon(linger_seconds=3.0).run(passes(60), until_idle=True)
    assert len(rounds) >= 60


def test_a_damaged_share_that_nobody_promoted_does_not_keep_it_here(site: Site, node: Node) -> None:
    run = node.run(promote=Every(100))
    save(run, 10)
    Path(node.shares()[0].files_path, "model.bin").write_bytes(b"STEP 10")
    kill(run)
    rounds: list[int] = []
    site.clock.meanwhile = lambda: rounds.append(1)
    node.daemon(linger_seconds=3.0).run(passes(60), until_idle=True)
    assert len(rounds) < 10
    status = read_status(node.staging)
    assert status is not None
    assert any("was changed" in trouble for trouble in status.troubles)


# --- handing over ----------------------------------------------------------------------------------------------------------


def test_a_newer_agent_takes_over_when_the_older_one_has_finished_its_pass(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    began, newer_ended = threading.Event(), threading.Event()
    old = node.daemon(protocol=1)
    seen: list[str] = []

    def old_life() -> None:
        old.run(lambda: False, on_pass=lambda _: began.set())
        seen.append("the old one left")

    thread = threading.Thread(target=old_life)
    thread.start()
    assert began.wait(20)
    node.daemon(protocol=2).run(passes(2), on_pass=lambda _: newer_ended.set())
    thread.join(20)
    assert seen == ["the old one left"]
    assert newer_ended.is_set()
    # Going back to the older release is possible: nothing tells it to leave any more.
    rounds: list[int] = []
    node.daemon(protocol=1).run(passes(2), on_pass=lambda _: rounds.append(1))
    assert rounds == [1, 1]


def test_an_older_agent_does_not_push_a_newer_one_out(node: Node) -> None:
    node.daemon(protocol=2).run(passes(1))
    held = node.fs.try_lock(node.staging.agent_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held, pytest.raises(ConflictError):
        node.daemon(protocol=1).run(passes(1))
    assert not Path(node.staging.root, "agent.handover.json").exists()


def handover(*, protocol: int, version: int) -> bytes:
    return record.with_checksum({"format": "ckpt-archive/agent-handover", "protocol": protocol, "version": version})


@pytest.mark.parametrize(
    ("content", "leaves"),
    [
        (b"rubbish", False),
        (b'{"format":"ckpt-archive/agent-handover","protocol":2,"version":1}\n', False),
        (handover(protocol=1, version=1), False),
        (handover(protocol=2, version=1), True),
        (handover(protocol=9, version=7), True),
    ],
)
def test_what_a_newer_agent_says(site: Site, node: Node, content: bytes, leaves: bool) -> None:
    rounds: list[int] = []

    def ask() -> None:
        Path(node.staging.root, "agent.handover.json").write_bytes(content)

    site.clock.meanwhile = ask
    node.daemon().run(passes(3), on_pass=lambda _: rounds.append(1))
    assert len(rounds) == (1 if leaves else 3)


# --- drain -----------------------------------------------------------------------------------------------------------------


def test_drain_does_the_work_where_no_agent_does(site: Site, node: Node) -> None:
    for step in (10, 20):
        save(node.run(promote=Every(1)), step)
    report = node.daemon().drain(60)
    assert (report.done, report.remaining, report.troubles) == (True, (), ())
    assert len(site.committed()) == 2


def test_drain_that_fails_says_what_is_left_and_why(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    site.denied = True
    report = node.daemon().drain(60)
    assert not report.done
    assert [share.step for share in report.remaining] == [10]
    assert report.troubles == ("the store refuses the key AKIA. Mend the credentials.",)


def test_drain_watches_the_agent_that_works_here(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    agent = node.agent()
    held = node.fs.try_lock(node.staging.agent_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held:
        site.clock.meanwhile = agent.step
        report = node.daemon().drain(60)
    assert report.done


def test_drain_repeats_what_a_busy_agent_said(node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    now = node.machine.clock.now()
    write_status(node.staging, AgentStatus(now, 1, 1, 1, now, ("the bucket is gone",), False))
    held = node.fs.try_lock(node.staging.agent_lock, LockMode.EXCLUSIVE)
    assert held is not None
    with held:
        report = node.daemon().drain(5)
    assert (report.done, report.troubles) == (False, ("the bucket is gone",))


def test_drain_waits_for_the_archive_to_hear_of_gaps(site: Site, node: Node) -> None:
    run = node.run(writers=2, rank=0, launch_key="k", promote=Every(1))
    node.fs.free_bytes = 0
    save(run, 10)
    node.fs.free_bytes = None
    site.down = True
    report = node.daemon().drain(5)
    assert not report.done
    assert report.remaining == ()
    assert any("1 checkpoints were given up here" in trouble for trouble in report.troubles)
    site.down = False
    assert node.daemon().drain(5).done


# --- status ----------------------------------------------------------------------------------------------------------------


def test_what_it_says_about_itself(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    site.denied = True
    node.daemon().run(passes(1))
    status = read_status(node.staging)
    assert status is not None
    assert (status.pid, status.protocol, status.pending, status.denied) == (4711, 1, 1, True)
    assert status.oldest_staged_at == node.shares()[0].seal.contribution.staged_at
    site.denied = False
    site.clock.sleep(60)
    node.daemon().run(passes(1))
    status = read_status(node.staging)
    assert status is not None
    assert (status.pending, status.denied, status.troubles, status.oldest_staged_at) == (0, False, (), None)


def test_a_disk_that_can_not_even_hold_the_status_is_no_reason_to_stop(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)

    def full(verb: str, path: str) -> None:
        if verb == "create" and "agent.status" in path:
            raise OSError(28, "No space left on device", path)

    node.fs.before = full
    node.daemon().run(passes(1))
    assert site.committed() == [(0, 10)]


def test_what_an_agent_left_that_died_while_it_said_something_goes(node: Node) -> None:
    root = Path(node.staging.root)
    root.mkdir(parents=True)
    half = root / f".new-{'0' * 32}-agent.status.json"
    foreign = root / ".new-mine"
    for path in (half, foreign):
        path.write_text("{")
    node.daemon().run(passes(1))
    assert not half.exists()
    assert foreign.exists()


def test_troubles_may_quote_names_that_are_no_text(node: Node) -> None:
    now = node.machine.clock.now()
    node.fs.make_directory(node.staging.root)
    write_status(node.staging, AgentStatus(now, 1, 1, 0, None, ("caf\udce9 can not be read",), False))
    status = read_status(node.staging)
    assert status is not None
    assert status.troubles == ("caf\\udce9 can not be read",)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format":"ckpt-archive/agent-status","version":1}', b"\xff"])
def test_a_status_that_can_not_be_read_is_none(node: Node, data: bytes) -> None:
    node.fs.make_directory(node.staging.root)
    Path(node.staging.root, "agent.status.json").write_bytes(data)
    assert read_status(node.staging) is None


# --- flush -----------------------------------------------------------------------------------------------------------------


def test_flush_waits_for_the_uploader(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    save(run, 10)
    site.clock.meanwhile = node.agent().step
    run.flush(timeout_seconds=30)
    assert site.committed() == [(0, 10)]
    run.finish(timeout_seconds=1)


def test_flush_that_takes_too_long_says_why_and_what_to_do(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1), on_error="raise")
    save(run, 10)
    site.denied = True
    agent = node.daemon()
    site.clock.meanwhile = agent._pass
    with pytest.raises(
        CapacityError, match=r"1 promoted checkpoints .* refuses the key.* ckpt-archive drain --staging"
    ):
        run.flush(timeout_seconds=5)
    assert len(node.agents_started) > 5, "an uploader that dies meanwhile is started again"


def test_flush_of_nothing(node: Node) -> None:
    node.run().flush(timeout_seconds=0)


def test_who_is_told_to_stop_begins_nothing_more(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    for step in (10, 20, 30):
        save(run, step)
    told = iter([False, True, True])
    node.daemon().run(passes(1), hurry=lambda: next(told, True))
    assert [step for _, step in site.committed()] == [10]
