"""What a resume and a commit ask of the store: the same few requests for a run of any length and any history."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.store.body import Body
from ckpt_archive.testing.site import URL, Node, Site, kill, save

MANY = 3_000
LIMITS = {
    "resume from the archive": 16,
    "first commit": 10,
    "next commit": 8,
    "resume from the ring": 10,
    "commit of a launch that did not resume": 18,
}
"""Requests: of a checkpoint of one small file, sent whole."""


def checkpoints(site: Site, count: int) -> None:
    """A run of one launch with so many committed checkpoints; what a resume reads of them is real."""
    node = site.node("node-before")
    run = node.run(promote=Every(1))
    run.resume()
    for step in range(MANY, MANY + 3):
        save(run, step)
    node.ship()
    kill(run)
    for step in range(count - 3):
        site.store.create(layout.manifest("run-a", 0, step), Body.of(b"older"))
        site.store.create(layout.receipt("run-a", 0, step, 0), Body.of(b"older"))
        site.store.create(layout.data_object("run-a", 0, step, 0, f"{step:064x}"), Body.of(b"older"))


def launches(site: Site, count: int) -> None:
    """A run with three checkpoints, and so many launches after them that did not live to save anything."""
    checkpoints(site, 3)
    latest = Place("run-a", 0, MANY + 2)
    for number in range(count):
        site.clock.sleep(60)
        request = LaunchRequest(site.ids[URL], "run-a", f"empty-{number}", 1, site.clock.now(), maybe_recorded=False)
        open_launch(site.store, request, lambda _: Resumption(latest, explicit=False))
    site.clock.sleep(3 * 3600)


def asked(site: Site, action: Callable[[], object]) -> Counter[str]:
    site.counting[URL].reset()
    action()
    return Counter(site.counting[URL].requests)


def costs(site: Site) -> dict[str, Counter[str]]:
    """Requests by verb of what a node does whose ring is empty, and of what one does that has trained before."""
    found: dict[str, Counter[str]] = {}
    new: Node = site.node("node-new")
    run = new.run(promote=Every(1))
    restored = []
    found["resume from the archive"] = asked(site, lambda: restored.append(run.resume()))
    assert restored[0] is not None
    assert restored[0].step == MANY + 2
    save(run, MANY + 10)
    agent = new.agent()
    found["first commit"] = asked(site, agent.step)
    save(run, MANY + 20)
    found["next commit"] = asked(site, agent.step)
    kill(run)
    again = new.run(promote=Every(1))
    found["resume from the ring"] = asked(site, again.resume)
    kill(again)
    silent = new.run(promote=Every(1))
    save(silent, MANY + 30)
    found["commit of a launch that did not resume"] = asked(site, new.agent().step)
    assert [step for _, step in site.committed()][:3] == [MANY + 30, MANY + 20, MANY + 10]
    return found


@pytest.mark.parametrize("history", [checkpoints, launches])
def test_it_costs_the_same_after_three_and_after_thousands(
    tmp_path: Path, history: Callable[[Site, int], None]
) -> None:
    found = []
    for count in (3, MANY):
        site = Site(tmp_path / str(count))
        history(site, count)
        found.append(costs(site))
    assert found[0] == found[1]
    totals = {name: requests.total() for name, requests in found[1].items()}
    print(history.__name__, totals)  # noqa: T201 (the figures, for whoever runs this with -rP)
    assert all(totals[name] <= LIMITS[name] for name in LIMITS), totals


@pytest.mark.parametrize("history", [checkpoints, launches])
def test_many_writers_resume_at_the_same_cost(tmp_path: Path, history: Callable[[Site, int], None]) -> None:
    found = []
    for count in (3, MANY):
        site = Site(tmp_path / str(count))
        history(site, count)
        node = site.node("node-new")
        runs = [node.run(rank=rank, writers=2, launch_key="k", promote=Every(1)) for rank in (0, 1)]
        found.append([asked(site, run.resume) for run in runs])
    assert found[0] == found[1]
