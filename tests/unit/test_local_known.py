"""A process that looks again and again reads each record once, and is not fooled by that."""

from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.local.known import Known
from ckpt_archive.local.launches import begin_launch, load_launches
from ckpt_archive.local.ring import evict, scan
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.testing.simulation.faults import Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.world import World
from ckpt_archive.testing.staged import local_machine, overwrite, prepared_run, save


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    prepared = prepared_run(local_machine(), str(tmp_path / "ssd"))
    for step in (1, 2, 3):
        save(prepared, step)
    return Staging(prepared.machine, prepared.staging.root, known=Known()).run(prepared.name)


def test_a_sealed_share_is_read_once_and_looked_at_ever_after() -> None:
    with World(0, Options(), trace=True) as world:
        node = Node(world, "n")
        run = Staging(node.machine(), "/nvme/ckpt", known=Known()).run("r")

        def agent() -> None:
            run.prepare()
            with begin_launch(run, launch_key="key", archive_url="", writers=1):
                for step in (1, 2, 3):
                    save(run, step, {"model": b"1", "sub/opt": b"2"})
            scan(run)
            load_launches(run)
            assert world.trace is not None
            world.trace.clear()
            assert len(scan(run)) == 3
            assert len(load_launches(run)) == 1

        node.spawn("agent", agent)
        world.run()
        kinds = [step.kind for step in world.trace or () if not step.kind.startswith(" ")]
    # Four folders of the ring and that of the launches are listed; three seals and a launch record are looked at.
    assert sorted(kinds) == ["disk.list"] * (1 + 1 + 3 + 1) + ["disk.stat"] * (3 + 1)


def test_a_seal_that_was_exchanged_is_read_again(run: RunStaging) -> None:
    first, _, _ = scan(run)
    overwrite(run, f"{first.folder}/seal.json", b"{}")
    assert [share.step for share in scan(run)] == [2, 3]


def test_a_folder_that_was_wiped_and_filled_again_is_read_again(run: RunStaging) -> None:
    before = scan(run)
    whole = Path(run.ring)
    whole.rename(whole.with_name("old"))
    run.prepare()
    save(run, 1, {"other.bin": b"other"})
    assert scan(run)[0].seal != before[0].seal


def test_nothing_is_evicted_on_the_strength_of_a_share_that_lost_a_file_meanwhile(run: RunStaging) -> None:
    newest = scan(run)[-1]
    Path(newest.files_path, "model.bin").unlink()
    assert evict(run, 1) == [(0, 1)]
    assert [share.step for share in scan(run)] == [2]


def test_a_launch_record_that_was_exchanged_is_read_again(run: RunStaging) -> None:
    with begin_launch(run, launch_key="key", archive_url="", writers=1) as live:
        assert load_launches(run) == [live.launch]
        changed = replace(live.launch, keep_local=7)
        overwrite(run, run.launch_file(live.ordinal, ".json"), changed.encode())
    assert load_launches(run) == [changed]


def test_a_share_of_this_process_does_not_hide_what_another_one_saved(run: RunStaging) -> None:
    assert len(scan(run)) == 3
    other = prepared_run(local_machine(), run.staging.root, run.name)
    save(other, 4)
    save(other, 3, {"model.bin": b"again"}, saves=5)
    found = {share.step: share for share in scan(run)}
    assert sorted(found) == [1, 2, 3, 4]
    assert found[3].generation == 1
