"""The end of a run, an uploader that is refused, and a quota that is too small."""

import logging
from pathlib import Path

import pytest

from ckpt_archive import Every
from ckpt_archive.errors import CapacityError, InvalidInputError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.local.status import ShareState, describe
from ckpt_archive.testing.site import Site, save


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_end_of_a_run_does_not_fail_because_the_store_is_away(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    node = site.node()
    run = node.run(promote=Every(1))
    save(run, 10)
    with caplog.at_level(logging.ERROR, logger="ckpt_archive"):
        assert run.finish(timeout_seconds=5) is False
    assert (
        "1 promoted checkpoints of run-a are not archived after 5 s: no uploader has said anything yet" in caplog.text
    )
    assert "ckpt-archive drain --staging" in caplog.text
    node.ship()
    assert node.run(promote=Every(1)).finish(timeout_seconds=5) is True


def test_who_asks_for_errors_gets_one_when_the_time_is_over_and_has_still_left(site: Site) -> None:
    run = site.node().run(promote=Every(1), on_error="raise")
    save(run, 10)
    with pytest.raises(CapacityError, match="not archived after 5 s"):
        run.finish(timeout_seconds=5)
    assert site.node().ship().live is False


def test_an_uploader_that_is_refused_makes_room_for_one_with_other_credentials(site: Site) -> None:
    node = site.node()
    run = node.run(promote=Every(1))
    save(run, 10)
    site.denied = True
    passes: list[bool] = []
    node.daemon(linger_seconds=3.0, poll_seconds=1.0).run(
        lambda: len(passes) > 50, until_idle=True, on_pass=lambda done: passes.append(done.denied)
    )
    assert passes
    assert len(passes) < 10
    assert all(passes)
    site.denied = False
    assert node.daemon().drain(10).done


def test_an_uploader_that_is_not_answered_stays(site: Site) -> None:
    node = site.node()
    save(node.run(promote=Every(1)), 10)
    site.down = True
    passes: list[bool] = []
    node.daemon(linger_seconds=3.0, poll_seconds=1.0).run(
        lambda: len(passes) > 50, until_idle=True, on_pass=lambda done: passes.append(done.denied)
    )
    assert len(passes) > 50


def test_a_quota_that_leaves_no_room_is_refused_at_once(site: Site) -> None:
    with pytest.raises(InvalidInputError, match=rf"quota_bytes = {RESERVED_BYTES} leaves no room"):
        site.node().run(quota_bytes=RESERVED_BYTES)


def test_what_is_archived_goes_before_a_save_fails(site: Site) -> None:
    node = site.node()
    # Room for two checkpoints and their records, although three may stay.
    run = node.run(keep_local=3, promote=Every(1), quota_bytes=RESERVED_BYTES + 320_000)
    for step in range(10, 80, 10):
        assert save(run, step, {"model.bin": bytes(100_000)}).staged, step
        node.ship()
    assert [step for _, step in site.committed()] == [70, 60, 50, 40, 30, 20, 10]
    assert len(node.ring()) < 3


def test_a_save_that_failed_is_shown_until_the_archive_knows(site: Site) -> None:
    node = site.node()
    run = node.run(promote=Every(1))
    assert save(run, 10).staged
    node.fs.free_bytes = 1000
    with run.checkpoint(20) as checkpoint:
        checkpoint.path.mkdir(parents=True)  # as libraries do that save; there is nothing to be filled
        pytest.fail("there is no room to write into")
    assert not checkpoint.staged
    node.fs.free_bytes = None
    (shown,) = describe(node.staging).runs
    assert [(share.step, share.state) for share in shown.shares] == [(10, ShareState.PROMOTED), (20, ShareState.GAP)]
    assert "not saved: " in shown.shares[1].detail
    node.ship()
    (shown,) = describe(node.staging).runs
    assert [(share.step, share.state) for share in shown.shares] == [(10, ShareState.ARCHIVED)]
