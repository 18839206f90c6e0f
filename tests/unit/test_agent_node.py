"""What a pass of the uploader does: ships, waits, digests, finds what changed or rotted, tells what stands in its way."""

import errno
import itertools
import os
from contextlib import suppress
from pathlib import Path

import pytest

from ckpt_archive.agent.node import Agent, Pass
from ckpt_archive.commit import layout
from ckpt_archive.commit.decision import GAP, PROMOTE, Decision, decide, read_decision
from ckpt_archive.errors import UnavailableError
from ckpt_archive.local.launches import begin_launch
from ckpt_archive.local.ring import SealedShare
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.restore.archived import restore_archived
from ckpt_archive.restore.selection import Selection
from ckpt_archive.testing.archives import keys, read_tree
from ckpt_archive.testing.checkpoints import rewritten
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.site import URL, Node, Site, kill, save

RULE = Every(1, save_every_steps=10)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def node(site: Site) -> Node:
    return site.node()


def rewrite(share: SealedShare, data: bytes, *, unnoticed: bool) -> None:
    """Somebody writes into a sealed file; or a bit rots, which leaves the file's time as it was."""
    path = Path(share.files_path, share.seal.files[0].path)
    times = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    if unnoticed:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def gap(share: SealedShare) -> str:
    found = share.gap()
    return "" if found is None else found.reason


def archived(done: Pass) -> list[tuple[int, int, int]]:
    return [(item.attempt, item.step, item.rank) for item in done.archived]


# --- one writer ------------------------------------------------------------------------------------------------------------


def test_nothing_to_do(node: Node) -> None:
    done = node.ship()
    assert (done.archived, done.pending, done.untold, done.troubles, done.live) == ([], [], 0, [], False)


def test_what_is_promoted_is_archived_and_what_is_not_is_digested(site: Site, tmp_path: Path, node: Node) -> None:
    run = node.run(promote=Every(2), labels={"project": "x"})
    for step in (10, 20, 30):
        save(run, step, metrics={"loss": step / 10})
    done = node.ship()
    assert archived(done) == [(0, 20, 0)]
    assert done.live
    assert (done.pending, done.troubles) == ([], [])
    assert all(share.digests() is not None for share in node.shares())
    assert [share.is_archived for share in node.shares()] == [False, True, False]
    place = Place("run-a", 0, 20)
    to = str(tmp_path / "back")
    restored = restore_archived(node.machine, node.connect(URL), place, lambda _: to, Selection())
    assert read_tree(restored.path) == {"model.bin": b"step 20"}


def test_a_second_pass_asks_the_archive_nothing(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    agent = node.agent()
    agent.step()
    site.counting[URL].reset()
    assert agent.step().archived == []
    assert site.counting[URL].total == 0


def test_a_launch_that_only_resumed_is_recorded(site: Site, node: Node) -> None:
    save(first := node.run(promote=Every(1)), 10)
    node.ship()
    kill(first)
    site.down = True
    second = node.run()
    assert second.resume() is not None
    kill(second)
    site.down = False
    agent = node.agent()
    agent.step()
    assert len(keys(site.store, "runs/run-a/attempts/")) == 2
    site.counting[URL].reset()
    agent.step()
    assert site.counting[URL].total == 0


def test_a_launch_that_did_nothing_is_not_worth_a_request(site: Site, node: Node) -> None:
    node.of().prepare()
    begin_launch(node.of(), launch_key="k", archive_url=URL, writers=1).release()
    site.counting[URL].reset()
    node.ship()
    assert site.counting[URL].total == 0


def test_several_runs(site: Site, node: Node) -> None:
    for name in ("run-a", "run-b"):
        save(node.run(name, promote=Every(1)), 10)
    assert len(node.ship().archived) == 2
    assert site.committed("run-a") == site.committed("run-b") == [(0, 10)]


def test_a_run_that_can_not_be_read_does_not_stop_the_others(site: Site, node: Node) -> None:
    for name in ("run-a", "run-b", "run-c"):
        save(node.run(name, promote=Every(1)), 10)

    def broken(verb: str, path: str) -> None:
        if verb == "list" and path == node.of("run-b").ring:
            raise OSError(errno.EIO, "Input/output error", path)

    node.fs.before = broken
    done = node.ship()
    assert len(done.archived) == 2
    assert any("Input/output error" in trouble for trouble in done.troubles)


def test_a_damaged_record_of_one_launch_does_not_stop_the_others(site: Site, node: Node) -> None:
    for _ in range(2):
        run = node.run(promote=Every(1))
        run.resume()
        kill(run)
    save(node.run("run-b", promote=Every(1)), 10)
    Path(node.of().launch_file(0, ".resume.json")).write_text("rotten")
    Path(node.of().launch_file(0, ".attempt.json")).unlink()
    agent = node.agent()
    assert archived(agent.step()) == [(0, 10, 0)]
    assert any("resume.json" in trouble for trouble in agent.step().troubles)


# --- the archive does not answer -------------------------------------------------------------------------------------------


def test_while_the_archive_is_away_nothing_is_lost_and_the_reason_is_told_all_the_time(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1), keep_local=1)
    for step in (10, 20, 30):
        save(run, step)
    site.down = True
    agent = node.agent(recheck_seconds=30.0)
    for _ in range(5):
        done = agent.step()
        assert len(done.pending) == 3
        assert done.troubles == ["the store is down. Wait."]
        site.clock.sleep(1)
    site.down = False
    assert agent.step().archived == [], "it is not asked again every second"
    site.clock.sleep(30)
    done = agent.step()
    assert len(done.archived) == 3
    assert (done.pending, done.troubles) == ([], [])
    assert node.ring() == [(0, 30)]


def test_refused_credentials_stay_told_until_they_are_mended(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    site.denied = True
    agent = node.agent(recheck_seconds=30.0)
    for _ in range(100):
        done = agent.step()
        assert done.denied
        assert len(done.troubles) == 1
        site.clock.sleep(1)
    site.denied = False
    site.clock.sleep(30)
    done = agent.step()
    assert (done.denied, done.troubles, len(done.archived)) == (False, [], 1)


def test_credentials_that_end_while_it_works(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    save(run, 10)
    agent = node.agent()
    agent.step()
    save(run, 20)
    site.denied = True
    agent.step()
    assert agent.step().denied


def test_an_archive_that_is_gone_is_said_and_not_asked_all_the_time(site: Site, node: Node) -> None:
    save(run := node.run(promote=Every(1)), 10)
    agent = node.agent(recheck_seconds=30.0)
    agent.step()
    for key in keys(site.store):
        site.store.delete(key)
    save(run, 20)
    site.clock.sleep(3600)
    done = agent.step()
    assert any("there is no archive at" in trouble for trouble in done.troubles)
    site.counting[URL].reset()
    for _ in range(20):
        site.clock.sleep(1)
        assert agent.step().troubles
    assert site.counting[URL].total == 0


def test_one_archive_that_is_away_does_not_stop_the_other(site: Site, node: Node) -> None:
    site.make_archive("memory://other")
    save(node.run("run-a", promote=Every(1)), 10)
    save(node.run("run-b", url="memory://other", promote=Every(1)), 10)
    del site.counting[URL]
    site.before = lambda _: None
    other = node.connect

    def connect(url: str) -> object:
        if url == URL:
            raise UnavailableError("away")
        return other(url)

    node.connect = connect  # type: ignore[method-assign,assignment]
    assert len(node.ship().archived) == 1
    assert site.committed("run-b", url="memory://other") == [(0, 10)]


# --- an archive that is another one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [True, False])
def test_an_archive_made_anew_gets_everything_that_is_still_here(site: Site, node: Node, restarted: bool) -> None:
    run = node.run(promote=Every(1), keep_local=3)
    agent = node.agent()
    for step in (10, 20, 30):
        save(run, step)
    agent.step()
    site.make_archive(URL)
    site.clock.sleep(3600)
    if restarted:
        agent = node.agent()
    save(run, 40)
    agent.step()
    assert [step for _, step in site.committed()][:3] == [40, 30, 20]
    ids = {found.archive_id for share in node.shares() if (found := share.archived()) is not None}
    assert ids == {site.ids[URL]}


def test_nothing_is_evicted_that_is_in_no_archive_that_exists(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1), keep_local=2)
    for step in (10, 20):
        save(run, step)
    node.ship()
    site.make_archive(URL)
    save(run, 30)
    site.before = lambda request: _die() if request.verb == "create" and request.key.startswith("data/") else None
    node.ship()
    assert node.ring() == [(0, 10), (0, 20), (0, 30)]


def _die() -> None:
    raise UnavailableError("gone")


# --- what changed, and what rotted -----------------------------------------------------------------------------------------


def test_a_file_that_was_changed_before_it_was_digested_is_not_archived_as_good(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    (share,) = node.shares()
    rewrite(share, b"STEP", unnoticed=False)
    done = node.ship()
    assert "was changed after it was sealed" in gap(share)
    assert done.pending == []
    assert any("was changed" in trouble for trouble in done.troubles)
    assert site.committed() == []
    assert keys(site.store, "data/") == []


def test_a_file_that_is_changed_during_its_upload_is_not_archived_as_good(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10, {"model.bin": bytes(5000)})
    (share,) = node.shares()

    def write_into_it(request: Request) -> None:
        if request.verb == "complete_upload":
            rewrite(share, b"x", unnoticed=False)

    site.before = write_into_it
    node.ship()
    assert "was changed after it was sealed" in gap(share)
    assert site.committed() == []
    assert keys(site.store, "receipts/") == []


def test_bits_that_rot_between_digest_and_upload_are_found_and_given_up(site: Site, node: Node) -> None:
    save(run := node.run(promote=Every(1)), 10)
    (share,) = node.shares()
    site.down = True
    agent = node.agent()
    agent.step()
    assert share.digests() is not None
    rewrite(share, b"S", unnoticed=True)
    site.down = False
    site.clock.sleep(60)
    agent.step()
    assert "CRC32C" in gap(share)
    assert site.committed() == []
    # The archive hears of it, and the next one is not held up.
    save(run, 20)
    agent.step()
    decision = read_decision(site.store, "run-a", 0, 10)
    assert decision is not None
    assert decision.action is GAP
    assert site.committed() == [(0, 20)]


def test_a_share_that_can_not_be_read_for_a_while_is_not_given_up(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)

    def broken(verb: str, path: str) -> None:
        if verb == "open_beneath":
            raise OSError(errno.EIO, "Input/output error", path)

    node.fs.before = broken
    agent = node.agent()
    done = agent.step()
    assert len(done.pending) == 1
    assert done.troubles
    node.fs.before = lambda verb, path: None
    site.clock.sleep(60)
    assert len(agent.step().archived) == 1


def test_a_changed_share_that_is_not_promoted_is_not_read_again_every_second(node: Node, site: Site) -> None:
    save(node.run(promote=Every(100)), 10)
    rewrite(node.shares()[0], b"S", unnoticed=False)
    agent = node.agent(recheck_seconds=30.0)
    assert agent.step().troubles
    reads: list[str] = []
    node.fs.before = lambda verb, path: reads.append(path) if verb == "open_beneath" else None
    for _ in range(20):
        site.clock.sleep(1)
        assert agent.step().troubles, "it stays told"
    assert reads == []


def test_an_object_that_somebody_removed_before_the_commit_is_sent_again(site: Site, node: Node) -> None:
    save(node.run(promote=Every(1)), 10)
    agent = node.agent()
    site.before = lambda request: _die() if request.verb == "create" and request.key.startswith("manifests/") else None
    agent.step()
    (key,) = keys(site.store, "data/")
    site.store.delete(key)
    site.before = lambda request: None
    site.clock.sleep(60)
    assert len(agent.step().archived) == 1
    assert site.committed() == [(0, 10)]


def test_other_content_in_the_archive_is_a_conflict_and_the_first_stays(site: Site, node: Node) -> None:
    save(run := node.run(promote=Every(1)), 10)
    node.ship()
    before = keys(site.store)
    (share,) = node.shares()
    for name in ("receipt.json", "archived.json", "digests.json"):
        Path(share.folder, name).unlink()
    path = Path(share.files_path, "model.bin")
    path.write_bytes(b"STEP 10")
    seal = Path(share.folder, "seal.json")
    found = path.stat()
    old = share.seal.files[0]
    seal.write_bytes(rewritten(seal.read_bytes(), b"%d" % old.mtime_ns, b"%d" % found.st_mtime_ns))
    done = node.ship()
    assert any("has contributed something else" in trouble for trouble in done.troubles)
    assert "has contributed something else" in gap(node.shares()[0])
    assert set(before) <= set(keys(site.store))
    save(run, 20)
    assert archived(node.ship())[-1] == (0, 20, 0)


# --- several writers -------------------------------------------------------------------------------------------------------


def pair(node: Node, step: int, ranks: tuple[int, ...] = (0, 1), key: str = "k", **told: object) -> None:
    for rank in ranks:
        run = node.run(writers=2, rank=rank, launch_key=key, promote=told.get("promote", RULE))
        run._saver._saved.add(rank)  # one process that goes on
        assert save(run, step, {f"{rank}.bin": b"%d" % rank}).staged
        kill(run)


def test_the_last_writer_commits_and_the_others_hear_of_it(site: Site) -> None:
    nodes = [site.node("node-a"), site.node("node-b")]
    agents = [node.agent(recheck_seconds=30.0) for node in nodes]
    pair(nodes[0], 10, (0,))
    first = agents[0].step()
    assert (first.archived, len(first.pending), first.troubles) == ([], 1, [])
    pair(nodes[1], 10, (1,))
    assert archived(agents[1].step()) == [(0, 10, 1)]
    assert agents[0].step().archived == [], "it is not asked again every second"
    site.clock.sleep(30)
    assert archived(agents[0].step()) == [(0, 10, 0)]
    assert site.committed() == [(0, 10)]


def test_a_step_that_another_writer_gave_up_is_given_up_here_too(site: Site) -> None:
    nodes = [site.node("node-a"), site.node("node-b")]
    pair(nodes[0], 10, (0,))
    run = nodes[1].run(writers=2, rank=1, launch_key="k", promote=RULE)
    nodes[1].fs.free_bytes = 0
    assert not save(run, 10).staged
    nodes[1].fs.free_bytes = None
    assert nodes[1].ship().untold == 0
    agent = nodes[0].agent()
    agent.step()
    (share,) = nodes[0].shares()
    assert "given up by node-b: rank 1" in gap(share)
    assert not share.is_pinned


def test_a_step_that_somebody_asked_for_is_promoted_everywhere(site: Site) -> None:
    nodes = [site.node("node-a"), site.node("node-b")]
    never = Every(100, save_every_steps=10)
    agents = [node.agent(recheck_seconds=30.0) for node in nodes]
    for rank, node in enumerate(nodes):
        pair(node, 30, (rank,), promote=never)
        agents[rank].step()
    decide(
        site.store,
        Decision(site.ids[URL], "run-a", 0, 30, PROMOTE, "milestone:best", "somebody", site.clock.now()),
    )
    for _ in range(3):
        site.clock.sleep(30)
        for agent in agents:
            agent.step()
    assert site.committed() == [(0, 30)]


def test_a_writer_that_never_came_is_not_awaited_for_ever(site: Site) -> None:
    nodes = [site.node("node-a"), site.node("node-b")]
    agents = [node.agent(recheck_seconds=30.0, abandon_seconds=3600.0) for node in nodes]
    pair(nodes[0], 10, (0,))  # rank 1 is killed while it saves
    agents[0].step()
    assert len(agents[0].step().pending) == 1
    for rank, node in enumerate(nodes):
        pair(node, 10, (rank,), key="k2")
    for _ in range(3):
        for agent in agents:
            agent.step()
        site.clock.sleep(30)
    assert [share.is_pinned for share in nodes[0].shares()] == [True, False], "it may still come"
    site.clock.sleep(3600)
    agents[0].step()
    (share, _) = nodes[0].shares()
    assert "the shares of the writers 1 never came" in gap(share)
    assert share.has_receipt
    decision = read_decision(site.store, "run-a", 0, 10)
    assert decision is not None
    assert decision.action is GAP


def test_while_nothing_newer_is_archived_everybody_is_awaited(site: Site, node: Node) -> None:
    pair(node, 10, (0,))
    agent = node.agent(abandon_seconds=3600.0)
    agent.step()
    site.clock.sleep(1_000_000)
    assert len(agent.step().pending) == 1


def test_a_gap_that_was_decided_otherwise_is_a_trouble_and_not_forgotten(site: Site, node: Node) -> None:
    pair(node, 20)
    agent = node.agent()
    agent.step()
    decide(site.store, Decision(site.ids[URL], "run-a", 0, 10, PROMOTE, "milestone", "somebody", site.clock.now()))
    run = node.run(writers=2, rank=1, launch_key="k", promote=RULE)
    run._saver._saved.add(1)
    node.fs.free_bytes = 0
    save(run, 10)
    node.fs.free_bytes = None
    done = agent.step()
    assert done.untold == 1
    assert any("somebody has decided to archive it" in trouble for trouble in done.troubles)


def test_a_gap_of_a_launch_that_saved_nothing_is_told_too(site: Site, node: Node) -> None:
    run = node.run(writers=2, rank=1, launch_key="k", promote=RULE)
    node.fs.free_bytes = 0
    save(run, 10)
    node.fs.free_bytes = None
    site.down = True
    agent = node.agent()
    assert agent.step().untold == 1
    site.down = False
    site.clock.sleep(60)
    assert agent.step().untold == 0
    assert read_decision(site.store, "run-a", 0, 10) is not None


def test_a_save_that_was_repeated_is_no_gap(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1))
    node.fs.free_bytes = 0
    assert not save(run, 10).staged
    node.fs.free_bytes = None
    assert save(run, 10).staged
    assert archived(node.ship()) == [(0, 10, 0)]
    assert read_decision(site.store, "run-a", 0, 10) is None


# --- deaths ----------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The uploader's process died."""


def test_killed_at_every_request_the_next_one_goes_on(tmp_path: Path) -> None:
    for number in itertools.count():
        site = Site(tmp_path / str(number))
        node = site.node()
        save(node.run(promote=Every(1)), 10, {"big.bin": bytes(range(250)) * 9, "a": b"a", "b": b"b"})
        count = itertools.count()

        def before(_: Request, at: int = number, count: "itertools.count[int]" = count) -> None:
            if next(count) == at:
                raise Killed

        site.before = before
        with suppress(Killed):
            node.ship()
        if next(count) <= number:
            break
        site.before = lambda _: None
        assert node.ship().pending == []
        assert site.committed() == [(0, 10)], number
        assert site.store.list_uploads("") == ()
    assert number > 10


def test_a_long_upload_does_not_let_the_rings_fill_the_disk(site: Site, node: Node) -> None:
    other = node.run("run-b", promote=Every(100), keep_local=1)
    mine = node.run(promote=Every(100), keep_local=1)
    for step in (10, 20, 30):
        save(other, step)
    save(big := node.run("run-a", promote=Every(1), keep_local=1), 40, {"model.bin": bytes(20_000)})
    kill(big)
    seen: list[list[tuple[int, int]]] = []

    def look(request: Request) -> None:
        site.clock.sleep(1)
        if request.verb == "complete_upload":
            seen.append(node.ring("run-b"))

    site.before = look
    node.ship()
    kill(mine)
    assert seen == [[(0, 30)]]


def test_what_the_pass_remembers_is_about_what_is_there(site: Site, node: Node) -> None:
    run = node.run(promote=Every(1), keep_local=1)
    agent: Agent = node.agent()
    for step in range(20):
        save(run, step)
        agent.step()
    assert len(agent._compared) <= 2
    assert len(agent._digested) <= 2
    assert layout.manifest("run-a", 0, 19) in keys(site.store)
