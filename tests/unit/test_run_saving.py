"""What a training loop sees of saving: whose error is whose, and that ours never reaches it unasked."""

import errno
import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.errors import CapacityError, ConflictError, InvalidInputError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.local.gaps import load_missed
from ckpt_archive.local.launches import load_launches
from ckpt_archive.promotion import Every
from ckpt_archive.run import Run
from ckpt_archive.settings import Environment
from ckpt_archive.testing.site import Node, Site, kill, save, write


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def gaps(node: Node, run: str = "run-a") -> list[tuple[int, int, str]]:
    return [(missed.step, missed.rank, missed.reason) for missed in load_missed(node.of(run))]


def drafts(node: Node) -> list[str]:
    return [entry.name for entry in node.fs.list(node.of().tmp)]


def full_disk(verb: str, part: str) -> Callable[[str, str], None]:
    def before(asked: str, path: str) -> None:
        if asked == verb and part in path:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    return before


# --- it works --------------------------------------------------------------------------------------------------------------


def test_what_was_written_is_sealed(node: Node) -> None:
    run = node.run()
    with run.checkpoint(7, metrics={"loss": 2.5}) as checkpoint:
        assert checkpoint.step == 7
        assert not checkpoint.staged
        write(checkpoint, {"model.bin": b"m", "deep/er/state.json": b"{}"})
    assert checkpoint.staged
    assert not checkpoint.duplicate
    (share,) = node.shares()
    assert (share.step, share.rank, share.seal.contribution.metrics) == (7, 0, {"loss": 2.5})
    assert [file.path for file in share.seal.files] == ["deep/er/state.json", "model.bin"]
    assert drafts(node) == []


def test_labels_and_sources_stand_in_the_seal(node: Node) -> None:
    run = node.run(labels={"project": "x"}, sources=["s3://data/a", {"uri": "s3://data/b", "split": "train"}])
    save(run, 1, lineage={"code": "abc"})
    said = node.shares()[0].seal.contribution
    assert said.labels == {"project": "x"}
    assert said.lineage == {
        "code": "abc",
        "sources": [{"uri": "s3://data/a"}, {"uri": "s3://data/b", "split": "train"}],
    }


def test_one_writer_counts_its_saves_also_over_launches(node: Node) -> None:
    for step in (1, 2, 3, 4):
        run = node.run(promote=Every(2))
        save(run, step)
        kill(run)
    assert [share.step for share in node.shares() if share.is_promoted] == [2, 4]


def test_two_runs_in_one_staging_directory(node: Node) -> None:
    first, second = node.run("run-a"), node.run("run-b")
    assert save(first, 1).staged
    assert save(second, 1).staged
    assert node.ring("run-a") == node.ring("run-b") == [(0, 1)]


def test_the_uploader_is_started_when_something_is_staged(node: Node) -> None:
    run = node.run()
    assert node.agents_started == []
    save(run, 1)
    assert node.agents_started == [node.staging.root]
    save(node.run(agent="external"), 2)
    assert len(node.agents_started) == 1


def test_no_request_is_made_while_saving(site: Site, node: Node) -> None:
    site.down = True
    run = node.run()
    for step in range(5):
        assert save(run, step).staged
    run.finish()


# --- the user's own errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(errno.ENOSPC, "mine"), KeyboardInterrupt()])
def test_an_error_of_the_block_is_the_users(node: Node, error: BaseException) -> None:
    run = node.run()
    checkpoint = run.checkpoint(1)

    def block() -> None:
        with checkpoint:
            write(checkpoint, {"half.bin": b"h"})
            raise error

    with pytest.raises(type(error)) as caught:
        block()
    assert caught.value is error
    assert not checkpoint.staged
    assert node.ring() == []
    assert drafts(node) == []
    assert save(run, 2).staged


def test_an_error_of_the_block_is_told_to_those_who_wait_for_this_writer(node: Node) -> None:
    run = node.run(writers=2, rank=1, launch_key="k", promote=Every(1))
    with pytest.raises(ValueError, match="mine"), run.checkpoint(1):
        raise ValueError("mine")
    assert gaps(node) == [(1, 1, "the trainer failed to write it: ValueError")]


def test_nobody_waits_for_a_single_writer(node: Node) -> None:
    with pytest.raises(ValueError, match="mine"), node.run().checkpoint(1):
        raise ValueError("mine")
    assert gaps(node) == []


# --- our errors ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_at_the_beginning(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    run = node.run()
    assert save(run, 1).staged
    node.fs.free_bytes = RESERVED_BYTES
    with run.checkpoint(2) as checkpoint:
        assert not checkpoint.path.exists()
        # What any library does with a folder that is not there.
        (checkpoint.path / "model.bin").write_bytes(b"x")
    assert not checkpoint.staged
    assert not checkpoint.path.exists()
    assert [step for step, _, _ in gaps(node)] == [2]
    assert "step 2 was not saved" in caplog.text
    node.fs.free_bytes = None
    assert save(run, 3).staged


def test_an_interrupt_passes_also_where_there_was_no_folder(node: Node) -> None:
    node.fs.free_bytes = 0
    with pytest.raises(KeyboardInterrupt), node.run().checkpoint(1):
        raise KeyboardInterrupt


def test_a_full_disk_at_the_beginning_raises_if_the_user_wants_it(node: Node) -> None:
    node.fs.free_bytes = 0
    entered = False
    with pytest.raises(CapacityError, match="bytes free"), node.run(on_error="raise").checkpoint(1):
        entered = True
    assert not entered
    assert [step for step, _, _ in gaps(node)] == [1]


@pytest.mark.parametrize(
    ("verb", "part"),
    [("sync_file", "model.bin"), ("create", "seal.json"), ("rename", "/ring/"), ("make_directory", "/ring/")],
)
def test_a_full_disk_at_the_seal(node: Node, verb: str, part: str) -> None:
    run = node.run()
    save(run, 1)
    node.fs.before = full_disk(verb, part)
    assert not save(run, 2).staged
    node.fs.before = lambda verb, path: None
    assert node.ring() == [(0, 1)]
    assert drafts(node) == []
    assert [step for step, _, _ in gaps(node)] == [2]
    assert save(run, 3).staged


def test_a_disk_that_fails_before_the_seal_leaves_no_draft(node: Node) -> None:
    run = node.run()
    save(run, 1)
    with run.checkpoint(2) as checkpoint:
        write(checkpoint, {"model.bin": b"m"})

        def broken(verb: str, path: str) -> None:
            if verb == "list" and path == node.of().ring:
                raise OSError(errno.EIO, "Input/output error", path)

        node.fs.before = broken
    node.fs.before = lambda verb, path: None
    assert not checkpoint.staged
    assert drafts(node) == []


def test_a_failed_seal_raises_if_the_user_wants_it(node: Node) -> None:
    run = node.run(on_error="raise")
    node.fs.before = full_disk("sync_file", "model.bin")
    with pytest.raises(CapacityError, match="could not be sealed"):
        save(run, 1)


def test_a_disk_so_full_that_not_even_the_gap_fits(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    run = node.run()
    save(run, 1)

    def no_room(verb: str, path: str) -> None:
        if verb in ("create", "make_directory"):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    node.fs.before = no_room
    with run.checkpoint(2):
        pass
    assert "that step 2 was not saved can not be recorded" in caplog.text


def test_a_staging_directory_that_can_not_be_made(tmp_path: Path, site: Site) -> None:
    (tmp_path / "node-a").write_text("a file")
    run = site.node().run()
    with run.checkpoint(1) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(b"x")
    assert not checkpoint.staged
    with pytest.raises(InvalidInputError, match="can not be made"):
        save(site.node().run(on_error="raise"), 1)


@pytest.mark.parametrize("name", [b"caf\xe9.bin", b"a\\b", b"line\nbreak"])
def test_a_file_that_could_not_be_restored(node: Node, name: bytes) -> None:
    run = node.run()
    with run.checkpoint(1) as checkpoint:
        Path(os.fsdecode(bytes(checkpoint.path) + b"/" + name)).write_bytes(b"x")
    assert not checkpoint.staged
    assert "is not allowed" in gaps(node)[0][2]


def test_a_link_is_no_content(node: Node) -> None:
    run = node.run()
    with run.checkpoint(1) as checkpoint:
        (checkpoint.path / "link").symlink_to("/etc/passwd")
    assert not checkpoint.staged


def test_an_empty_checkpoint_of_one_writer_is_none(node: Node) -> None:
    assert not save(node.run(), 1, {}).staged
    assert save(node.run("run-b", writers=2, rank=1, launch_key="k", promote=Every(1)), 1, {}).staged


def test_facts_that_are_no_json(node: Node) -> None:
    run = node.run()
    assert not save(run, 1, lineage={"when": object()}).staged
    assert save(run, 1).staged


def test_a_first_save_is_not_begun_where_the_last_process_filled_the_disk(node: Node) -> None:
    big = {"model.bin": bytes(1 << 20)}
    first = node.run(keep_local=2)
    save(first, 1, big)
    kill(first)
    node.fs.free_bytes = RESERVED_BYTES + (1 << 19)
    assert not save(node.run(keep_local=2), 2, big).staged


def test_the_ring_gives_up_what_it_need_not_hold_before_a_save_fails(node: Node) -> None:
    run = node.run(keep_local=2, promote=Every(100), quota_bytes=RESERVED_BYTES + 4500)
    for step in range(1, 6):
        assert save(run, step, {"model.bin": bytes(1000)}).staged, step
    assert len(node.ring()) < 5


def test_where_a_launch_went_on_from_is_no_reason_not_to_save(node: Node) -> None:
    run = node.run()
    run.resume()
    Path(node.of().launch_file(0, ".resume.json")).write_text("rotten")
    assert save(run, 1).staged


# --- what is said about a checkpoint ---------------------------------------------------------------------------------------


class NotOneNumber:
    """As a tensor of several elements."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1), (True, True), (2.5, 2.5), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"),
        (np.float32(0.5), 0.5), (np.float64(math.nan), "nan"), (np.int64(3), 3.0), (np.array(1.5), 1.5), ("1.5", 1.5),
    ],
)  # fmt: skip
def test_metrics_as_trainers_have_them(node: Node, value: Any, expected: Any) -> None:
    run = node.run()
    assert save(run, 1, metrics={"loss": value}).staged
    share = node.shares()[0]
    assert share.seal.contribution.metrics == {"loss": expected}
    json.loads(Path(share.folder, "seal.json").read_text())


@pytest.mark.parametrize("value", [None, "n/a", [1, 2], 10**400, NotOneNumber(), np.array([1.0, 2.0])])
def test_a_metric_that_is_no_number_does_not_stop_training(
    node: Node, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    assert save(node.run(), 1, metrics={"loss": value, "lr": 0.1}).staged
    assert node.shares()[0].seal.contribution.metrics == {"lr": 0.1}
    assert "the metric 'loss' is not recorded" in caplog.text


def test_a_step_of_numpy(node: Node) -> None:
    assert save(node.run(), np.int64(7)).staged  # type: ignore[arg-type]
    assert node.ring() == [(0, 7)]


@pytest.mark.parametrize("step", [-1, 1.5, "7", None, 10**12])
def test_a_step_that_is_none(node: Node, step: Any) -> None:
    with pytest.raises(InvalidInputError, match="step"):
        node.run().checkpoint(step)


def test_writers_must_be_what_the_run_was_told(node: Node) -> None:
    run = node.run(writers=2, rank=0, launch_key="k", promote=Every(1))
    with pytest.raises(InvalidInputError, match="this checkpoint has 3 writers"):
        run.checkpoint(1, writers=3)
    with pytest.raises(InvalidInputError, match="rank 2 of 2 writers is not possible"):
        run.checkpoint(1, rank=2)


def test_a_writer_that_nobody_numbered_is_refused_and_not_taken_for_the_first(node: Node) -> None:
    with pytest.raises(InvalidInputError, match="nothing says which of 2 writers"):
        node.run(writers=2, launch_key="k", promote=Every(1)).checkpoint(1)


# --- the same step again ---------------------------------------------------------------------------------------------------


def test_the_same_content_again_is_staged(node: Node) -> None:
    run = node.run()
    save(run, 1)
    again = save(run, 1)
    assert again.staged
    assert again.duplicate


def test_other_content_than_what_is_bound_to_the_archive_is_dropped_and_said(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    run = node.run(promote=Every(1))
    save(run, 1)
    again = save(run, 1, {"model.bin": b"other"})
    assert not again.staged
    assert again.duplicate
    assert "is bound to the archive and stays" in caplog.text


# --- launches --------------------------------------------------------------------------------------------------------------


def test_every_process_of_a_single_writer_is_a_launch_also_within_one_job(node: Node) -> None:
    for step in (1, 2):
        run = node.run(environment=Environment(scheduler_key="slurm:4711:0"))
        save(run, step)
        kill(run)
    assert node.ring() == [(0, 1), (1, 2)]
    assert all(launch.launch_key.startswith("slurm:4711:0/") for launch in load_launches(node.of()))


def test_the_writers_of_a_launch_share_its_record(node: Node) -> None:
    environment = Environment(scheduler_key="slurm:4711:0")
    for rank in (0, 1):
        assert save(node.run(writers=2, rank=rank, environment=environment, promote=Every(1)), 1).staged
    assert [(share.launch, share.rank) for share in node.shares()] == [(0, 0), (0, 1)]


def test_a_second_process_of_a_writer_with_the_same_key_would_mix_two_launches(node: Node) -> None:
    told: dict[str, Any] = {"writers": 2, "rank": 0, "launch_key": "same", "promote": Every(1), "on_error": "raise"}
    first = node.run(**told)
    save(first, 1)
    save(first, 2)
    kill(first)
    with pytest.raises(ConflictError, match="has saved before with the launch key 'same'"):
        save(node.run(**told), 3)


def test_the_writers_of_a_launch_must_have_been_told_the_same(node: Node) -> None:
    save(node.run(writers=2, rank=0, launch_key="k", promote=Every(1)), 1)
    other = node.run(writers=2, rank=1, launch_key="k", promote=Every(2, save_every_steps=1), on_error="raise")
    with pytest.raises(ConflictError, match="was used with promotion rule"):
        save(other, 1)


# --- what the uploader has to say ------------------------------------------------------------------------------------------


def a_minute_passes(site: Site, daemon: Daemon) -> None:
    """The uploader makes a pass now and then."""
    for _ in range(2):
        daemon.drain(0)
        site.clock.sleep(30)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ckpt_archive.saving"]


def test_refused_credentials_are_told_once_and_again_when_it_gets_late(
    site: Site, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run = node.run(promote=Every(1))
    daemon = node.daemon()
    save(run, 0)
    site.denied = True
    for step in range(1, 20):
        a_minute_passes(site, daemon)
        save(run, step)
    told = warnings(caplog)
    assert len(told) == 2, told
    assert all("refuses the key" in text for text in told)
    site.denied = False
    a_minute_passes(site, daemon)
    save(run, 30)
    a_minute_passes(site, daemon)
    site.denied = True
    save(run, 31)
    a_minute_passes(site, daemon)
    save(run, 32)
    assert len(warnings(caplog)) == 3


def test_an_archive_that_is_away_for_a_minute_is_not_worth_a_word(
    site: Site, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    run: Run = node.run(promote=Every(1))
    site.down = True
    for step in range(5):
        save(run, step)
        a_minute_passes(site, node.daemon())
    assert warnings(caplog) == []
