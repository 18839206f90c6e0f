"""Quotas of runs and projects: which one counts, what is counted, and that what goes above is never given up silently."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import GAP, PROMOTE, Decision, decide, read_decision
from ckpt_archive.errors import DeniedError, UnavailableError
from ckpt_archive.promotion import Every
from ckpt_archive.retention.money.quotas import PROJECT, RUN, Standing, quota_of, stored_bytes, wanted
from ckpt_archive.retention.policy.file import load
from ckpt_archive.retention.policy.in_force import Applied, put_in_force, store_text
from ckpt_archive.retention.policy.values import Quota
from ckpt_archive.store.body import Body
from ckpt_archive.testing.checkpoints import NOON
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.site import URL, Node, Site, save

QUOTAS = (
    Quota(RUN, "llama-*", 100),
    Quota(PROJECT, "x", 50),
    Quota(RUN, "*", 10),
)
RULE = Every(1)


@pytest.fixture
def site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Site:
    caplog.set_level(logging.WARNING, "ckpt_archive.agent")
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def in_force(site: Site, quotas: str, number: int = 1) -> None:
    policy = load(f'[classes.recent]\nkeep_for = "7d"\n{quotas}', "retention.toml")
    store_text(site.store, policy)
    applied = Applied(site.ids[URL], number, policy.sha256, "retention.toml", "p" * 16, NOON)
    put_in_force(site.store, applied)


def train(node: Node, steps: Sequence[int], size: int = 1000, name: str = "run-a", **told: Any) -> None:
    """Save, and let the uploader run after each."""
    run = node.run(name, promote=RULE, **told)
    for step in steps:
        save(run, step, {"model.bin": bytes([step % 251]) * size})
    run.finish()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "quota" in record.getMessage()]


# --- which one counts ------------------------------------------------------------------------------------------------------


def test_the_first_pattern_that_matches_counts() -> None:
    assert quota_of(QUOTAS, RUN, "llama-7b") == QUOTAS[0]
    assert quota_of(QUOTAS, RUN, "other") == QUOTAS[2]
    assert quota_of(QUOTAS, PROJECT, "y") is None
    assert quota_of(QUOTAS, PROJECT, "") is None
    assert wanted(QUOTAS, "llama-7b", {"project": "x"}) == [(QUOTAS[0], "llama-7b"), (QUOTAS[1], "x")]
    assert wanted(QUOTAS, "other", {"project": 3}) == [(QUOTAS[2], "other")]


@pytest.mark.parametrize(
    ("stored", "adding", "near", "over"),
    [(0, 79, False, False), (40, 40, True, False), (0, 100, True, False), (1, 100, True, True)],
)
def test_standing(stored: int, adding: int, near: bool, over: bool) -> None:
    standing = Standing(QUOTAS[0], "llama-7b", stored, adding)
    assert (standing.is_near, standing.is_over) == (near, over)
    assert "run llama-7b has" in str(standing)


def test_what_is_counted(site: Site, node: Node) -> None:
    train(node, (1, 2), 1000, "run-a", labels={"project": "x"})
    train(node, (1,), 500, "run-b", labels={"project": "x"})
    train(node, (1,), 30, "run-c")
    node.ship()
    site.store.create(layout.data_object("run-a", 0, 9, 0, "0" * 64), Body.of(b"orphan"))
    assert stored_bytes(site.store, RUN, "run-a") == 2006
    assert stored_bytes(site.store, RUN, "run") == 0
    assert stored_bytes(site.store, PROJECT, "x") == 2506
    assert stored_bytes(site.store, PROJECT, "y") == 0


# --- the agent -------------------------------------------------------------------------------------------------------------


def test_without_a_policy_one_listing_an_hour(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    agent = node.agent()
    asked: list[str] = []
    site.before = lambda request: asked.append(request.key) if request.key.startswith("policy/") else None
    for step in range(1, 7):
        train(node, (step,))
        agent.step()
        site.clock.sleep(1200)
    # At the beginning, and an hour later.
    assert asked == [layout.APPLIED] * 2
    assert len(site.committed()) == 6
    assert told(caplog) == []


def test_a_policy_without_quotas(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    in_force(site, "")
    train(node, (1, 2))
    node.ship()
    assert len(site.committed()) == 2
    assert told(caplog) == []


def test_what_goes_above_is_a_gap_that_says_why(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    in_force(site, '[quota.runs]\n"run-*" = "3KB"')
    train(node, (1, 2, 3, 4, 5))
    done = node.ship()
    assert site.committed() == [(0, 3), (0, 2), (0, 1)]
    assert done.pending == []
    for step in (4, 5):
        decision = read_decision(site.store, "run-a", 0, step)
        assert decision is not None
        assert decision.action is GAP
        assert decision.reason.startswith("rank 0: quota: run run-a has 3,000 bytes stored, 100 % of the 3,000 that")
        assert decision.decided_by == node.machine.node
    gaps = {share.step: share.gap() for share in node.shares()}
    assert all((gaps[step] is not None) == (step > 3) for step in gaps)
    warned, *given_up = told(caplog)
    assert "2,000 bytes stored, 67 %" in warned
    assert len(given_up) == 2
    assert all(line.startswith("gave up step ") for line in given_up)


def test_somebody_is_warned_once_before(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    in_force(site, '[quota.runs]\n"run-*" = "10KB"')
    train(node, range(1, 10))
    node.ship()
    assert len(site.committed()) == 9
    [line] = told(caplog)
    assert "7,000 bytes stored, 70 %" in line  # with the one that comes now it is 80


def test_it_looks_again_after_an_hour(site: Site, node: Node) -> None:
    in_force(site, '[quota.runs]\n"run-*" = "2KB"')
    agent = node.agent()
    train(node, (1, 2, 3))
    agent.step()
    assert len(site.committed()) == 2
    site.store.delete(next(info.key for info in site.store.list(layout.run_data("run-a")).objects))
    train(node, (4,))
    agent.step()
    assert len(site.committed()) == 2
    site.clock.sleep(3600)
    train(node, (5,))
    agent.step()
    assert len(site.committed()) == 3


def test_another_policy_is_seen_after_an_hour(site: Site, node: Node) -> None:
    agent = node.agent()
    train(node, (1,))
    agent.step()
    in_force(site, '[quota.runs]\n"*" = "1KB"')
    site.clock.sleep(3600)
    train(node, (2,))
    agent.step()
    assert site.committed() == [(0, 1)]


def test_a_project(site: Site, node: Node) -> None:
    in_force(site, '[quota.projects]\n"x" = "2500B"'.replace("2500B", "2.5KB"))
    train(node, (1, 2), 1000, "run-a", labels={"project": "x"})
    node.ship()
    train(node, (1,), 1000, "run-b", labels={"project": "x"})
    train(node, (1,), 1000, "run-c", labels={"project": "y"})
    node.ship()
    assert len(site.committed("run-a")) == 2
    assert site.committed("run-b") == []
    assert len(site.committed("run-c")) == 1


def test_many_writers_follow_the_first(site: Site) -> None:
    in_force(site, '[quota.runs]\n"*" = "3KB"')
    nodes = [site.node(name) for name in ("a", "b")]
    rule = Every(1, save_every_steps=1)
    runs = [node.run(promote=rule, writers=2, rank=rank, launch_key="k") for rank, node in enumerate(nodes)]
    for step in (1, 2):
        for run in runs:
            save(run, step, {f"{run._settings.rank}.bin": bytes([step]) * 1000})
    for _ in range(2):
        site.clock.sleep(120)
        for node in nodes:
            node.ship()
    # 2,000 bytes each: the second one does not fit.
    assert site.committed() == [(0, 1)]
    for node in nodes:
        assert [share.step for share in node.shares() if share.has_gap] == [2]
        assert not any(share.is_pinned for share in node.shares())


def test_what_somebody_asked_for_is_archived_all_the_same(
    site: Site, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    in_force(site, '[quota.runs]\n"*" = "1KB"')
    train(node, (1, 2))
    asked = Decision(site.ids[URL], "run-a", 0, 2, PROMOTE, "milestone:best", "ann", NOON)
    decide(site.store, asked)
    node.ship()
    assert site.committed() == [(0, 2), (0, 1)]
    assert any("archived all the same" in line for line in told(caplog))


def test_what_has_a_receipt_is_not_given_up(site: Site, node: Node) -> None:
    train(node, (1,))
    agent = node.agent()

    def fails(request: Request) -> None:
        if request.key.startswith("manifests/") and request.verb == "create":
            raise UnavailableError("the store is down", hint="Wait.")

    site.before = fails
    agent.step()
    assert node.shares()[0].has_receipt
    site.before = lambda request: None
    in_force(site, '[quota.runs]\n"*" = "1KB"')
    site.clock.sleep(3600)
    agent.step()
    assert site.committed() == [(0, 1)]


def test_a_receipt_that_this_node_does_not_know_of_is_not_given_up(site: Site, node: Node) -> None:
    in_force(site, '[quota.runs]\n"*" = "0.5KB"')
    train(node, (1,))
    site.store.create(layout.receipt("run-a", 0, 1, 0), Body.of(b"{}"))
    node.ship()
    assert read_decision(site.store, "run-a", 0, 1) is None


@pytest.mark.parametrize("key", ["policy/", "data/run-a/"])
def test_where_it_may_not_look_it_lets_through_and_says_so(
    key: str, site: Site, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    in_force(site, '[quota.runs]\n"*" = "1KB"')

    def denied(request: Request) -> None:
        if request.key == key or (key == "policy/" and request.key.startswith(key)):
            raise DeniedError("not allowed", hint="Ask.")

    site.before = denied
    train(node, (1, 2, 3))
    node.ship()
    assert len(site.committed()) == 3
    [line] = told(caplog)
    assert "nothing is given up for it: not allowed" in line


def test_a_policy_that_is_damaged(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    site.store.create(layout.policy_applied(1), Body.of(b"{}"))
    train(node, (1,))
    node.ship()
    assert site.committed() == [(0, 1)]
    assert "the policy in force can not be read" in told(caplog)[0]


def test_a_store_that_does_not_answer_stops_nothing_for_good(site: Site, node: Node) -> None:
    in_force(site, '[quota.runs]\n"*" = "2KB"')
    site.down = True
    train(node, (1,))
    agent = node.agent()
    assert agent.step().pending
    site.down = False
    site.clock.sleep(timedelta(minutes=10).total_seconds())
    agent.step()
    assert site.committed() == [(0, 1)]
