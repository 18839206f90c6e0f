"""What a training process says about the cost of its archive: once, from two saves, whatever the disk does."""

import logging
from pathlib import Path

import pytest

from ckpt_archive.promotion import Every
from ckpt_archive.retention.money import forecast, prices
from ckpt_archive.retention.money.simulate import Scenario, simulate
from ckpt_archive.retention.money.workload import Workload
from ckpt_archive.retention.policy.file import PRESETS, preset
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.testing.site import Node, Site, kill, save

GB, TB = 10**9, 10**12
LOGGER = "ckpt_archive.retention.money.forecast"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Site:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    caplog.set_level(logging.INFO, LOGGER)
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def test_once_per_launch_from_the_second_save(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    run = node.run(promote=Every(5))
    save(run, 1)
    assert said(caplog) == []
    for step in (2, 3, 4):
        site.clock.sleep(60)
        save(run, step)
    [line] = said(caplog)
    assert line.startswith("run run-a: ")
    assert " every 5 min to the archive" in line
    assert "the policy 'default', once it is applied" in line
    assert "as long as none is applied nothing ends" in line
    assert line.endswith("--every 300s")


def test_at_once_where_the_ring_holds_an_earlier_pair(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    first = node.run(promote=Every(1))
    save(first, 1)
    site.clock.sleep(120)
    save(first, 2)
    kill(first)
    site.clock.sleep(86_400)
    caplog.clear()
    save(node.run(promote=Every(1)), 3)
    [line] = said(caplog)
    assert " every 2 min to the archive" in line


def test_saves_of_a_test_are_no_cadence(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    run = node.run()
    for step in range(4):
        save(run, step)
    assert said(caplog) == []


def test_a_repeated_save_does_not_count(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    run = node.run(promote=Every(1))
    save(run, 1)
    site.clock.sleep(60)
    save(run, 1)  # the same step, the same bytes: the first one stands
    assert said(caplog) == []
    site.clock.sleep(60)
    save(run, 2)
    assert " every 2 min " in said(caplog)[0]


def test_the_first_of_many_writers_estimates_for_all(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    ranks = [node.run(writers=2, rank=rank, launch_key="k", promote=Every(1, save_every_steps=1)) for rank in (1, 0)]
    for step in (1, 2):
        for run in ranks:
            save(run, step)
        site.clock.sleep(60)
    [line] = said(caplog)
    assert line.startswith("run run-a (estimated from this one of 2 writers): ")


def test_the_policy_of_the_working_directory(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    Path("retention.toml").write_text('[classes.short]\nkeep_for = "1d"\n')
    run = node.run()
    save(run, 1)
    site.clock.sleep(60)
    save(run, 2)
    assert "the policy 'retention.toml'" in said(caplog)[0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("x = "), "retention.toml:1"),
        (lambda path: path.write_bytes(b"\xff"), "no UTF-8"),
        (lambda path: path.mkdir(), "can not be read"),
        (lambda path: path.symlink_to("/dev/zero"), "can not be read"),
    ],
)
def test_a_bad_policy_file_is_said_once_and_stops_nothing(
    make: object, says: str, site: Site, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    make(Path("retention.toml"))  # type: ignore[operator]
    run = node.run()
    save(run, 1)
    for step in (2, 3):
        site.clock.sleep(60)
        assert save(run, step).staged
    wrong, line = said(caplog)
    assert says in wrong
    assert "the policy 'default'" in line


def test_much_money_is_a_warning(
    site: Site, node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, level in ((1000.0, logging.INFO), (0.0, logging.WARNING)):
        monkeypatch.setattr(forecast, "_MUCH_USD", limit)
        caplog.clear()
        run = node.run(f"run-{level}")
        save(run, 1)
        site.clock.sleep(60)
        save(run, 2)
        assert [record.levelno for record in caplog.records if record.name == LOGGER] == [level]


def test_the_sentence() -> None:
    assert forecast.sentence(preset("default"), 14 * GB, 300, prices.shipped()) == (
        "14.0 GB every 5 min to the archive, 4.0 TB a day. Under the policy 'default', once it is applied, about 14.3 TB "
        "after 30 days (286 USD a month) and 19.0 TB after a year (380 USD a month); as long as none is applied nothing "
        "ends: 1.5 PB after a year (29,434 USD a month); at 20 USD per TB and month. More: ckpt-archive retention simulate "
        "--size 14.0GB --every 300s"
    )
    assert "nothing ends" not in forecast.sentence(Policy(classes=(), name="all"), 14 * GB, 300, prices.shipped())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("every_seconds", [60, 300, 3600])
def test_it_is_near_what_is_reckoned_exactly(name: str, every_seconds: int) -> None:
    policy = preset(name)
    workload = Workload(TB, every_seconds, 12, milestones_per_month=0)
    exact = simulate(Scenario(name, policy), workload, prices.shipped()).last.mean_checkpoints
    about = forecast.kept(policy, every_seconds, 350)
    assert about == pytest.approx(sum(exact.values()), rel=0.1)


@pytest.mark.parametrize(
    ("size", "text"), [(500, "0.5 KB"), (14 * GB, "14.0 GB"), (1.5 * TB, "1.5 TB"), (2e15, "2.0 PB"), (3e6, "3.0 MB")]
)
def test_sizes(size: float, text: str) -> None:
    assert forecast.size_text(size) == text
