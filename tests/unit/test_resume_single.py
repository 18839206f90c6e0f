"""A single writer comes back: after nothing, a crash, a roll-back, a loss; here or elsewhere; with the archive or not."""

import errno
import inspect
import logging
import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ckpt_archive.commit import fating, latest, layout
from ckpt_archive.commit.decision import read_decisions
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.latest import standing
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import EndedError, IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import begin_launch, load_launches, read_attempt, read_resume, record_resume
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.retention.policy.values import midnight_after
from ckpt_archive.ship.numbering import number_launch
from ckpt_archive.testing.archives import content, keys, put, read_tree
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.site import URL, Node, Site, kill, save

RUN = "run-a"
OTHER = "memory://other"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def launch(node: Node, *steps: int, promote: int = 2, keep_local: int = 3, ship: bool = True) -> None:
    """A whole launch: it resumes, saves these steps, is archived perhaps, and dies."""
    run = node.run(promote=Every(promote), keep_local=keep_local)
    run.resume()
    for step in steps:
        assert save(run, step).staged
    if ship:
        node.ship()
    kill(run)


def resumed(node: Node, **how: bool) -> tuple[int, int | None, str] | None:
    """(step, attempt, source) of what a new process goes on from; it dies."""
    run = node.run()
    restored = run.resume(**how)  # type: ignore[arg-type]
    kill(run)
    return None if restored is None else said(restored)


def said(restored: Restored) -> tuple[int, int | None, str]:
    assert read_tree(restored.path) == {"model.bin": b"step %d" % restored.step}
    return restored.step, restored.attempt, restored.source


def flip_in_ring(node: Node, step: int) -> None:
    """A bit rots, and nothing of the file's name, size or time tells."""
    share = next(share for share in reversed(node.shares()) if share.step == step)
    path = Path(share.files_path, "model.bin")
    times = path.stat()
    with path.open("r+b") as file:
        file.write(b"S")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def wipe(node: Node) -> None:
    shutil.rmtree(node.staging.root)


# --- the archive answers ---------------------------------------------------------------------------------------------------


def test_a_first_launch_begins_from_nothing_and_is_recorded(site: Site, node: Node) -> None:
    assert resumed(node) is None
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert (newest.attempt, newest.resume_from, newest.explicit) == (0, None, False)


def test_no_archive_at_all_is_said(site: Site, node: Node) -> None:
    site.store.delete("archive.json")
    with pytest.raises(NotFoundError, match="there is no archive at"):
        node.run().resume()


def test_after_a_crash_the_newest_of_the_ring_is_served_in_place(node: Node) -> None:
    launch(node, 10, 20, 30)
    run = node.run()
    restored = run.resume()
    assert restored is not None
    assert said(restored) == (30, 0, "ring")
    assert restored.verified
    assert str(restored.path).startswith(node.of().ring)
    resume = read_resume(node.of(), 1)
    assert resume is not None
    assert (resume.resume_from, resume.from_ring) == (Place("run-a", 0, 30), (0, 30))


def test_into_a_folder_of_ones_own(tmp_path: Path, node: Node) -> None:
    launch(node, 10)
    restored = node.run().resume(to=tmp_path / "mine")
    assert restored is not None
    assert restored.path == tmp_path / "mine" / "run-a-0-10"
    said(restored)


def test_what_was_sealed_just_before_the_crash_has_no_digests_and_says_so(node: Node) -> None:
    launch(node, 10, ship=False)
    restored = node.run().resume()
    assert restored is not None
    assert said(restored) == (10, 0, "ring")
    assert not restored.verified


def test_what_was_changed_before_it_had_digests_is_found(node: Node) -> None:
    launch(node, 10, 20, ship=False)
    Path(node.shares()[-1].files_path, "model.bin").write_bytes(b"STEP 20")
    with pytest.raises(IntegrityError, match="was changed after it was sealed"):
        node.run().resume()
    assert resumed(node, fallback=True) == (10, 0, "ring")


def test_on_another_node_the_archive_serves(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    assert resumed(site.node("node-b")) == (20, 0, "archive")


def test_a_copy_that_rotted_where_it_was_resumed_from_is_brought_again(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    other = site.node("node-b")
    run = other.run()
    first = run.resume()
    kill(run)
    assert first is not None
    Path(first.path, "model.bin").write_bytes(b"STEP 20")
    assert resumed(other) == (20, 0, "archive")


def test_what_a_killed_resume_of_another_step_left_goes(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    other = site.node("node-b")
    folder = Path(other.staging.run(RUN).folder, "resumed")
    for name in (f".{RUN}-0-10.partial-{'0' * 16}", f"{RUN}-0-10", ".mine"):
        Path(folder, name).mkdir(parents=True)
    Path(folder, f".{RUN}-0-10.lock").touch()
    assert resumed(other) == (20, 0, "archive")
    assert sorted(path.name for path in folder.iterdir()) == [".mine", f"{RUN}-0-20"]


def test_what_another_rank_works_at_stays(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    other = site.node("node-b")
    folder = Path(other.staging.run(RUN).folder, "resumed")
    partial = folder / f".{RUN}-0-10.partial-{'0' * 16}"
    partial.mkdir(parents=True)
    with PosixFileSystem().lock(str(folder / f".{RUN}-0-10.lock"), LockMode.EXCLUSIVE):
        assert resumed(other) == (20, 0, "archive")
    assert partial.exists()


def test_after_other_nodes_went_further_the_ring_is_old(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    launch(site.node("node-b"), 30, 40)
    assert resumed(node) == (40, 1, "archive")


def test_a_launch_that_died_before_its_first_save_changes_nothing(node: Node) -> None:
    launch(node, 10, 20, 30)
    for _ in range(3):
        assert resumed(node) == (30, 0, "ring")


def test_a_launch_that_overlaps_with_its_successor_loses_nothing(node: Node) -> None:
    first = node.run(promote=Every(2))
    first.resume()
    save(first, 10)
    second = node.run()
    assert second.resume() is not None
    save(first, 20)
    save(first, 30)
    kill(first)
    kill(second)
    node.ship()
    assert resumed(node) == (30, 0, "ring")


def test_resuming_again_in_one_launch_gives_the_same(node: Node) -> None:
    launch(node, 10)
    run = node.run()
    before = run.resume()
    assert before is not None
    again = run.resume()
    assert again is not None
    assert again.path == before.path


def test_resuming_after_own_saves_goes_on_from_them(node: Node) -> None:
    launch(node, 10)
    run = node.run()
    run.resume()
    save(run, 20)
    again = run.resume()
    assert again is not None
    assert (again.step, again.source) == (20, "ring")


def test_a_key_that_is_used_again_does_not_lead_back_to_the_beginning(node: Node) -> None:
    for steps in ((10, 20), (30,)):
        run = node.run(launch_key="the job")
        run.resume()
        for step in steps:
            save(run, step)
        kill(run)
    restored = node.run(launch_key="the job").resume()
    assert restored is not None
    assert (restored.step, restored.source) == (30, "ring")


# --- roll-back -------------------------------------------------------------------------------------------------------------


def test_a_roll_back_holds_also_before_its_first_save(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    run = node.run()
    run.resume()
    restored = run.rollback(20)
    assert said(restored) == (20, 0, "ring" if (0, 20) in node.ring() else "archive")
    kill(run)
    assert resumed(node) is not None
    for where in (node, site.node("node-b"), node):
        found = resumed(where)
        assert found is not None
        assert found[:2] == (20, 0)


def test_after_a_roll_back_its_own_smaller_steps_are_the_newest(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    run = node.run(promote=Every(1))
    run.rollback(20)
    save(run, 25)
    node.ship()
    kill(run)
    assert resumed(node) == (25, 1, "ring")
    assert resumed(site.node("node-b")) == (25, 1, "archive")


def test_a_roll_back_to_a_step_that_is_in_the_ring_alone(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    run = node.run()
    assert run.rollback(30).source == "ring"
    kill(run)
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert (newest.explicit, newest.resume_from) == (True, Place("run-a", 0, 30))
    assert resumed(node) == (30, 0, "ring")


def test_a_roll_back_needs_the_archive_and_begins_nothing_without(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    run = node.run()
    run.resume()
    save(run, 30)
    site.down = True
    with pytest.raises(UnavailableError):
        run.rollback(20)
    site.down = False
    # The launch goes on as if nothing had been said.
    assert save(run, 40).staged
    assert node.ring()[-1] == (1, 40)


def test_several_writers_do_not_go_back_one_by_one(node: Node) -> None:
    run = node.run(writers=2, rank=0, launch_key="k", promote=Every(1))
    save(run, 10)
    with pytest.raises(InvalidInputError, match="one by one"):
        run.rollback(10)
    assert save(run, 20).staged


def test_looking_at_an_old_step_is_no_roll_back(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    looker = node.run()
    assert said(looker.restore(20))[0] == 20
    kill(looker)
    assert resumed(node) == (30, 0, "ring")
    assert len(keys(site.store, "runs/run-a/attempts/")) == 2


def test_going_on_from_a_restored_step_is_one(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    run = node.run(promote=Every(100))
    run.restore(20)
    save(run, 25)
    node.ship()
    kill(run)
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert (newest.explicit, newest.resume_from) == (True, Place("run-a", 0, 20))
    assert resumed(node) == (25, 1, "ring")
    # Nothing of the branch is archived, and what came after step 20 does not answer any more.
    assert resumed(site.node("node-b")) == (20, 0, "archive")


def test_a_restored_step_does_not_change_what_was_resumed(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    run = node.run()
    run.resume()
    run.restore(20)
    save(run, 40)
    node.ship()
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert (newest.explicit, newest.resume_from) == (False, Place("run-a", 0, 30))


def test_two_restores_beside_each_other(node: Node) -> None:
    launch(node, 10, 20, 30, 40, promote=1, keep_local=1)
    run = node.run()
    one, other = run.restore(10), run.restore(20)
    assert (said(one)[0], said(other)[0]) == (10, 20)


# --- damage ----------------------------------------------------------------------------------------------------------------


def test_a_damaged_newest_with_a_copy_in_the_archive(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    launch(node, 10, 20)
    flip_in_ring(node, 20)
    assert resumed(node) == (20, 0, "archive")
    assert "step 20 in the ring is damaged" in caplog.text


def test_a_damaged_newest_without_a_copy(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    flip_in_ring(node, 30)
    with pytest.raises(IntegrityError, match="CRC32C"):
        node.run().resume()
    newest = standing(site.store, "run-a").newest
    assert newest is not None
    assert newest.attempt == 0, "a launch that could not begin is not recorded"
    assert resumed(node, fallback=True) == (20, 0, "ring")


def test_everything_in_the_ring_damaged(node: Node) -> None:
    launch(node, 10, 20, 30)
    for step in (10, 20, 30):
        flip_in_ring(node, step)
    assert resumed(node, fallback=True) == (20, 0, "archive")


def test_a_damaged_newest_offline(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    flip_in_ring(node, 20)
    site.down = True
    with pytest.raises(IntegrityError):
        node.run().resume()
    assert resumed(node, fallback=True) == (10, 0, "ring")


def test_what_a_power_loss_tore_is_set_aside_and_not_used(node: Node) -> None:
    launch(node, 10, 20, 30)
    Path(node.shares()[-1].files_path, "model.bin").write_bytes(b"")
    assert resumed(node) == (20, 0, "ring")
    (found,) = quarantined(node.of())
    assert "000000000030" in found.path


def test_a_damaged_copy_in_the_archive(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    key = next(key for key in keys(site.store, "data/run-a/00000000/000000000040/"))
    put(site.store, key, content(site.store, key)[:-1] + b"!")
    other = site.node("node-b")
    with pytest.raises(IntegrityError):
        other.run().resume()
    assert resumed(other, fallback=True) == (20, 0, "archive")


def end(site: Site, step: int, *, gone: int | None) -> None:
    """Its end was announced, and has come; so many of its objects are gone, or all of them."""
    place = Place(RUN, 0, step)
    told = Told("policy", "node", "no other class chooses it", site.clock.now())
    day = midnight_after(site.clock.now() - timedelta(days=2))
    fating.announce(site.store, site.ids[URL], place, 0, day, "daily.365d", told)
    for key in keys(site.store, layout.data_folder(RUN, 0, step))[:gone]:
        site.store.delete(key)


def test_whoever_resumes_asks_for_no_end_unless_something_is_missing(site: Site, node: Node) -> None:
    """What answers "latest" does not end, and a thousand ranks resume at once: what is whole is enough."""
    launch(node, 10, 20, 30, 40)
    end(site, 40, gone=0)
    asked: list[str] = []

    def noted(request: Request) -> None:
        asked.append(request.key)

    site.before = noted
    assert resumed(site.node("node-b")) == (40, 0, "archive")
    assert not [key for key in asked if "/retention/" in key]


def test_what_has_ended_is_not_resumed_from_and_not_taken_for_a_new_run(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    end(site, 40, gone=None)
    other = site.node("node-b")
    with pytest.raises(EndedError, match=r"run-a step 40 \(attempt 0\) ended on"):
        other.run().resume()
    assert resumed(other, fallback=True) == (20, 0, "archive")


def test_a_fallback_passes_over_what_has_ended_although_it_is_whole(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40, 50, 60)
    key = next(key for key in keys(site.store, "data/run-a/00000000/000000000060/"))
    put(site.store, key, content(site.store, key)[:-1] + b"!")
    end(site, 40, gone=0)
    assert resumed(site.node("node-b"), fallback=True) == (20, 0, "archive")


def test_nobody_goes_back_to_what_has_ended(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, 40)
    end(site, 20, gone=0)
    with pytest.raises(EndedError, match="step 20"):
        site.node("node-b").run().rollback(20)
    with pytest.raises(EndedError, match="step 20"):
        site.node("node-b").run().restore(20)


def test_a_decided_step_that_rots_later_is_fetched(node: Node) -> None:
    launch(node, 10, 20)
    run = node.run()
    run.resume()
    flip_in_ring(node, 20)
    again = run.resume()
    assert again is not None
    assert said(again) == (20, 0, "archive")


def test_a_decided_step_that_is_nowhere_any_more_is_not_a_fresh_start(site: Site, node: Node) -> None:
    launch(node, 10, ship=False)
    site.down = True
    run = node.run()
    assert run.resume() is not None
    flip_in_ring(node, 10)
    wiped = node.shares()[0]
    Path(wiped.files_path, "model.bin").unlink()
    with pytest.raises(UnavailableError):
        run.resume()
    site.down = False
    with pytest.raises((IntegrityError, NotFoundError)):
        run.resume()


# --- the archive does not answer -------------------------------------------------------------------------------------------


def test_the_ring_alone_is_enough(site: Site, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    launch(node, 10, 20, 30)
    site.down = True
    assert resumed(node) == (30, 0, "ring")
    assert "does not answer" in caplog.text
    site.down = False
    node.ship()
    attempt = read_attempt(node.of(), 1)
    assert attempt is not None
    assert (attempt.attempt, attempt.late) == (1, False)


def test_an_empty_ring_can_not_tell(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    wipe(node)
    site.down = True
    with pytest.raises(UnavailableError, match="no checkpoint on this node tells"):
        node.run().resume()
    site.down = False
    assert resumed(node) == (20, 0, "archive")


def test_refused_credentials_can_not_tell_either(site: Site, node: Node) -> None:
    site.denied = True
    with pytest.raises(UnavailableError):
        node.run().resume()


def test_a_branch_that_begins_elsewhere_can_not_be_told_from_here(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    launch(site.node("node-b"), 30, 40)
    assert resumed(node) == (40, 1, "archive")
    site.down = True
    with pytest.raises(UnavailableError, match="step 40"):
        node.run().resume()


def test_offline_again_and_again(site: Site, node: Node) -> None:
    site.down = True
    first = node.run(promote=Every(1))
    save(first, 10)
    kill(first)
    for step in (20, 30, 40):
        run = node.run(promote=Every(1))
        restored = run.resume()
        assert restored is not None
        assert said(restored) == (step - 10, None, "ring")
        save(run, step)
        kill(run)
    site.down = False
    node.ship()
    assert site.committed() == [(3, 40), (2, 30), (1, 20), (0, 10)]
    assert resumed(node) == (40, 3, "ring")


def test_offline_after_a_roll_back_that_saved_nothing(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, keep_local=5)
    run = node.run(keep_local=5)
    run.rollback(20)
    kill(run)
    site.down = True
    assert resumed(node) == (20, 0, "ring")
    assert resumed(node) == (20, 0, "ring")


def test_hundreds_of_launches_without_the_archive_are_numbered_in_the_end(site: Site, node: Node) -> None:
    first = node.run(promote=Every(1))
    save(first, 10)
    kill(first)
    for ordinal in range(1, 150):
        # Each went on from the one before, as if that had saved something.
        with begin_launch(node.of(), launch_key=f"key-{ordinal}", archive_url=URL, writers=1):
            record_resume(node.of(), ordinal, None, False, "ring", (ordinal - 1, 10))
    newest = load_launches(node.of())[-1]
    connection = node.connect(URL)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 120)
    try:
        assert number_launch(connection, node.of(), newest) == 149
    finally:
        sys.setrecursionlimit(before)
    assert resumed(node) == (10, 0, "ring")


def test_a_late_launch_never_answers(site: Site, node: Node) -> None:
    site.down = True
    cut_off = node.run(promote=Every(1))
    save(cut_off, 10)
    site.clock.sleep(60)
    site.down = False
    launch(site.node("node-b"), 5, promote=1)
    kill(cut_off)
    site.clock.sleep(60)
    node.ship()
    assert site.committed() == [(1, 10), (0, 5)]
    attempt = read_attempt(node.of(), 0)
    assert attempt is not None
    assert attempt.late
    assert resumed(node) == (5, 0, "archive")


def test_what_was_saved_while_the_archive_was_away_is_what_is_resumed_when_it_answers_again(
    site: Site, node: Node
) -> None:
    """No agent has told the archive of that launch yet."""
    launch(node, 10, promote=1)
    site.down = True
    launch(node, 20, promote=1, ship=False)
    site.down = False
    assert resumed(node) == (20, 1, "ring")


# --- several archives ------------------------------------------------------------------------------------------------------


def test_an_archive_that_was_made_anew_is_new(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    site.make_archive("memory://main")
    assert resumed(node) == (30, 0, "ring")
    node.ship()
    assert site.committed() == [(0, 20)]


def test_an_archive_made_anew_after_a_roll_back(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30, keep_local=5)
    run = node.run(keep_local=5, promote=Every(1))
    run.rollback(20)
    save(run, 25)
    kill(run)
    site.make_archive("memory://main")
    assert resumed(node) == (25, 1, "ring")
    node.ship()
    assert site.committed() == [(1, 25), (0, 20)]


def test_a_run_that_moves_to_another_archive_goes_on_from_the_ring(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    site.make_archive(OTHER)
    for _ in range(2):
        run = node.run(url=OTHER, promote=Every(1))
        restored = run.resume()
        assert restored is not None
        assert said(restored) == (30, 0, "ring")
        kill(run)
    run = node.run(url=OTHER, promote=Every(1))
    run.resume()
    save(run, 40)
    agent = node.agent()
    for _ in range(3):
        assert agent.step().troubles == []
    assert site.committed(url=OTHER) == [(2, 40)]
    assert site.committed() == [(0, 20)]
    assert list(quarantined(node.of())) == [], "what each archive calls its launches is not forgotten by turns"


def test_a_step_of_another_archive_is_not_where_one_can_go_back_to(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    site.make_archive(OTHER)
    run = node.run(url=OTHER)
    run.resume()
    with pytest.raises(InvalidInputError, match="of another archive"):
        run.rollback(30)


def test_the_archive_knows_more_than_a_ring_of_another_archive(site: Site, node: Node) -> None:
    launch(node, 10, 20, 30)
    site.make_archive(OTHER)
    other = site.node("node-b")
    run = other.run(url=OTHER, promote=Every(1))
    run.resume()
    save(run, 500)
    other.ship()
    kill(run)
    restored = node.run(url=OTHER).resume()
    assert restored is not None
    assert said(restored) == (500, 0, "archive")


# --- restore by name -------------------------------------------------------------------------------------------------------


def test_restore_latest_is_what_resume_answers(node: Node) -> None:
    launch(node, 10, 20, 30)
    assert said(node.run().restore("latest")) == (30, 0, "ring")
    assert said(node.run().restore("latest-archived")) == (20, 0, "archive")
    with pytest.raises(InvalidInputError, match="is not allowed"):
        node.run().restore("newest")


def test_restore_latest_of_nothing(node: Node) -> None:
    with pytest.raises(NotFoundError, match="has no checkpoint yet"):
        node.run().restore("latest")


def test_restore_of_a_pattern_that_matches_nothing(node: Node) -> None:
    launch(node, 10)
    with pytest.raises(NotFoundError, match="matches"):
        node.run().resume(include="*.safetensors")


def test_old_resumed_folders_are_removed_and_nothing_else(site: Site, node: Node) -> None:
    launch(node, 10, 20)
    other = site.node("node-b")
    run = other.run()
    first = run.resume()
    assert first is not None
    kill(run)
    launch(node, 30, 40)
    run = other.run()
    second = run.resume()
    assert second is not None
    assert not Path(first.path).exists()
    said(second)
    looked_at = run.restore(20)
    said(second)
    said(looked_at)


def test_a_word_in_the_log_about_where_it_goes_on(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ckpt_archive")
    launch(node, 10)
    resumed(node)
    assert "run run-a goes on from nothing" in caplog.text
    assert "run run-a goes on from step 10 (ring" in caplog.text


def test_a_choice_that_could_not_be_written_down_at_first_is_still_what_the_archive_is_told(node: Node) -> None:
    """The first save failed with it; a gap is known, and the uploader must not speak for a launch that may still decide."""
    launch(node, 10, 20, 30, 40)
    run = node.run(promote=Every(1))
    assert run.restore(20).step == 20

    def full(verb: str, path: str) -> None:
        if verb == "create" and "resume.json" in path:
            raise OSError(errno.EMFILE, "Too many open files", path)

    node.fs.before = full
    assert not save(run, 50).staged
    node.ship()
    assert (
        node.archive().connection.store.list(layout.attempts_folder("run-a")).objects[0].key.endswith("99999999.json")
    )
    node.fs.before = lambda verb, path: None
    assert save(run, 60).staged
    node.ship()
    newest = read_attempt_record(node, 1)
    assert (newest.resume_from, newest.explicit) == (Place("run-a", 0, 20), True)
    kill(run)
    assert resumed(node) == (60, 1, "ring")


def test_a_launch_that_ended_without_a_save_tells_its_gaps(node: Node) -> None:
    run = node.run(promote=Every(1))
    node.fs.free_bytes = 1000
    assert not save(run, 10).staged
    node.ship()
    assert read_decisions(node.site.store, "run-a", 0) == {}
    kill(run)
    node.ship()
    assert list(read_decisions(node.site.store, "run-a", 0)) == [10]


def read_attempt_record(node: Node, attempt: int) -> Launch:
    return latest.read_attempt(node.site.store, "run-a", layout.attempt_record("run-a", attempt)).launch
