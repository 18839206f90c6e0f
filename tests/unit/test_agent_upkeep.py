"""The agent maintains the archives of a small site: seldom, briefly, and never in the way of an upload."""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.agent.node import Agent
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.agent.upkeep import BUDGET_SECONDS, INTERVAL_SECONDS, LAST_BUDGET_SECONDS, Upkeep
from ckpt_archive.commit import layout
from ckpt_archive.errors import CkptArchiveError, DeniedError, UnavailableError
from ckpt_archive.maintain.maintaining import maintain
from ckpt_archive.promotion import Every
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.site import URL, Node, Site, kill, save


class Asked:
    """Notes when it was asked to maintain what."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.calls: list[tuple[float, str, float]] = []
        self.errors: list[CkptArchiveError] = []
        self.meanwhile: Callable[[Callable[[], bool]], None] = lambda should_stop: None

    def __call__(self, url: str, seconds: float, should_stop: Callable[[], bool]) -> list[CkptArchiveError]:
        self.calls.append((self.clock.monotonic(), url, seconds))
        self.meanwhile(should_stop)
        return self.errors

    @property
    def times(self) -> list[float]:
        return [time for time, _, _ in self.calls]


def never() -> bool:
    return False


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def asked(clock: ManualClock) -> Asked:
    return Asked(clock)


def an_hour(upkeep: Upkeep, clock: ManualClock, urls: list[str]) -> None:
    """Something is committed every ten seconds."""
    for _ in range(360):
        clock.sleep(10)
        upkeep.note(urls)
        upkeep.work(never)


def test_nothing_committed_is_nothing_to_do(clock: ManualClock, asked: Asked) -> None:
    an_hour(Upkeep(clock, "node", asked), clock, [])
    assert asked.calls == []


def test_each_archive_at_most_once_in_five_minutes(clock: ManualClock, asked: Asked) -> None:
    an_hour(Upkeep(clock, "node", asked), clock, ["file:///a", "file:///b"])
    for url in ("file:///a", "file:///b"):
        times = [time for time, of, _ in asked.calls if of == url]
        assert 11 <= len(times) <= 12
        assert min(after - before for before, after in itertools.pairwise(times)) >= INTERVAL_SECONDS
    assert {seconds for _, _, seconds in asked.calls} == {BUDGET_SECONDS}


def test_once_what_was_committed_is_maintained_there_is_nothing_to_do(clock: ManualClock, asked: Asked) -> None:
    upkeep = Upkeep(clock, "node", asked)
    upkeep.note(["file:///a"])
    an_hour(upkeep, clock, [])
    assert len(asked.calls) == 1


def test_nodes_that_commit_together_do_not_come_together(clock: ManualClock) -> None:
    first = []
    for number in range(1000):
        asked = Asked(clock)
        upkeep = Upkeep(clock, f"node-{number}", asked)
        began = clock.monotonic()
        upkeep.note(["file:///a"])
        while not asked.calls:
            clock.sleep(1)
            upkeep.work(never)
        first.append(asked.times[0] - began)
    tenths = [sum(tenth <= time / INTERVAL_SECONDS * 10 < tenth + 1 for time in first) for tenth in range(10)]
    assert min(tenths) > 50
    assert max(first) <= INTERVAL_SECONDS + 1


def test_an_error_is_said_once_and_tried_again(
    clock: ManualClock, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    upkeep = Upkeep(clock, "node", asked)
    upkeep.note(["file:///a"])
    asked.errors = [DeniedError("no right", hint="Ask.")]
    an_hour(upkeep, clock, [])
    assert len(asked.calls) >= 11
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no right" in caplog.text
    assert "--maintain external" in caplog.text
    asked.errors = []
    an_hour(upkeep, clock, [])
    calls = len(asked.calls)
    an_hour(upkeep, clock, [])
    assert len(asked.calls) == calls


def test_an_archive_that_can_not_be_connected_to_is_an_error_like_others(clock: ManualClock, asked: Asked) -> None:
    def down(should_stop: Callable[[], bool]) -> None:
        raise UnavailableError("down")

    asked.meanwhile = down
    upkeep = Upkeep(clock, "node", asked)
    upkeep.note(["file:///a"])
    upkeep.finish()
    assert len(asked.calls) == 1


# --- in an agent -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def daemon(node: Node, asked: Asked) -> Daemon:
    settings = AgentSettings(transfer=SMALL, linger_seconds=5.0)
    agent = Agent(node.machine, node.staging, node.connect, settings)
    return Daemon(node.machine, agent, settings, upkeep=Upkeep(node.machine.clock, node.machine.node, asked))


def passes(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is None


def test_an_agent_that_archives_maintains_the_archive(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    save(node.run(promote=Every(1)), 10)
    daemon(node, asked).run(passes(400))
    assert [url for _, url, _ in asked.calls] == [URL]


def test_while_something_is_pending_it_does_not(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    run = node.run(promote=Every(1))
    save(run, 10)
    agent = daemon(node, asked)
    agent.run(passes(1))
    site.down = True
    save(run, 20)
    agent.run(passes(600))
    assert asked.calls == []
    site.down = False
    agent.run(passes(60))
    assert len(asked.calls) == 1


def test_it_breaks_off_for_a_checkpoint_that_is_saved_meanwhile(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    run = node.run(promote=Every(1))
    save(run, 10)
    said: list[bool] = []

    def trains_on(should_stop: Callable[[], bool]) -> None:
        said.append(should_stop())
        save(run, 20)
        said.append(should_stop())

    asked.meanwhile = trains_on
    daemon(node, asked).run(passes(320))
    assert said == [False, True]


def test_it_breaks_off_when_it_is_told_to_stop(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    save(node.run(promote=Every(1)), 10)
    hurried: list[bool] = []
    asked.meanwhile = lambda should_stop: hurried.append(should_stop())
    stop = passes(400)
    daemon(node, asked).run(stop, hurry=lambda: site.clock.monotonic() > 1000)
    assert hurried == [False]


def test_an_agent_that_leaves_maintains_what_it_has_committed_since(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    run = node.run(promote=Every(1))
    save(run, 10)
    kill(run)
    daemon(node, asked).run(passes(100), until_idle=True)
    assert [(url, seconds) for _, url, seconds in asked.calls] == [(URL, LAST_BUDGET_SECONDS)]
    daemon(node, asked).run(passes(100), until_idle=True)
    assert len(asked.calls) == 1


def test_a_drain_maintains_at_its_end(site: Site, node: Node) -> None:
    asked = Asked(site.clock)
    save(node.run(promote=Every(1)), 10)
    assert daemon(node, asked).drain(60).done
    assert [(url, seconds) for _, url, seconds in asked.calls] == [(URL, LAST_BUDGET_SECONDS)]
    assert daemon(node, asked).drain(60).done
    assert len(asked.calls) == 1


def test_what_an_agent_archives_is_in_the_log_when_it_leaves(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    save(run, 10)
    kill(run)

    def really(url: str, seconds: float, should_stop: Callable[[], bool]) -> tuple[CkptArchiveError, ...]:
        connection = node.connect(url)
        return maintain(node.machine, connection, budget_seconds=seconds, should_stop=should_stop).errors

    settings = AgentSettings(transfer=SMALL, linger_seconds=5.0)
    agent = Agent(node.machine, node.staging, node.connect, settings)
    upkeep = Upkeep(site.clock, "node", really)
    Daemon(node.machine, agent, settings, upkeep=upkeep).run(passes(100), until_idle=True)
    assert site.committed() == [(0, 10)]
    assert len(list_all(site.store, layout.SEQUENCE)) == 1
