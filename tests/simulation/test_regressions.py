"""What the lives have found in the product, each told again on purpose: one sentence, one short life."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk.protocol import FileSystem
from ckpt_archive.errors import CapacityError, CkptArchiveError, IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import LiveLaunch, begin_launch, find_launch, has_ended, load_launches
from ckpt_archive.local.ring import scan
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.trash import empty_trash
from ckpt_archive.patience import Patience
from ckpt_archive.promotion import Every
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.faults import Crash, Fault, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.search import every_crash_point
from ckpt_archive.testing.simulation.shelf import STAGING, loose
from ckpt_archive.testing.simulation.stage import Stage
from ckpt_archive.testing.simulation.team import Meeting
from ckpt_archive.testing.simulation.world import World


class Site(Stage):
    """A site of one node; these tests judge for themselves."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 1, None)

    def stored(self, key: str, data: bytes) -> None:
        """Nobody looks."""

    def after_io(self, kind: str, detail: str) -> None:
        """Nobody looks."""


Act = Callable[[Site, Node], None]


def play(*acts: Act, seed: int = 0, options: Options = Options()) -> Site:  # noqa: B008 - frozen
    """A site on which these things are done, one after the other, each by a process of its own."""
    with World(seed, options, trace=True) as world:
        site = Site(world)
        for act in acts:
            site.spawn("act", site.nodes[0], partial(act, site, site.nodes[0]))
            world.run()
    return site


def run_of(site: Site, node: Node, **said: object) -> Run:
    """A run as a trainer opens it."""
    return site.archive(node).run(
        "r", staging=STAGING, promote=Every(1), agent="external", on_error="raise", **said  # type: ignore[arg-type]
    )  # fmt: skip


def staging_of(node: Node) -> RunStaging:
    return Staging(node.machine(), STAGING).run("r")


def save(node: Node, run: Run, step: int, data: bytes = b"x" * 150) -> None:
    with run.checkpoint(step=step) as checkpoint, node.disk.create(f"{checkpoint.path}/model.bin") as file:
        file.write_at(data, 0)
    assert checkpoint.staged


def pass_of_agent(site: Site, node: Node) -> None:
    site.agent(node).step()


def launches_of(site: Site) -> list[Launch]:
    return [
        Launch.decode(site.store.bucket.get(key).data, key)
        for key in reversed(site.store.bucket.keys("runs/r/attempts"))
    ]


# --- an agent among broken things ------------------------------------------------------------------------------------------


def looks_fine(site: Site, node: Node) -> None:
    assert site.agent(node).step().troubles == []


def test_a_run_whose_preparing_broke_off_does_not_trouble_the_agent() -> None:
    def life(world: World) -> None:
        site = Site(world)
        (node,) = site.nodes
        site.spawn("trainer", node, staging_of(node).prepare)
        world.run()
        world.calm()
        site.spawn("agent", node, lambda: looks_fine(site, node))
        world.run()

    for what in Crash:
        every_crash_point(life, 1, Options(), what)


@pytest.mark.parametrize("kind", ["disk.lock", "disk.make_directory", "disk.sync_directory"])
def test_an_agent_that_can_not_begin_says_why(kind: str) -> None:
    def act(site: Site, node: Node) -> None:
        site.world.inject(kind, Fault.TOO_MANY_FILES if kind == "disk.lock" else Fault.WRITE_ERROR)
        site.run_agent(node, 0.0)

    ((_, error),) = play(act).errors
    assert error == "UnavailableError"


@pytest.mark.parametrize("kind", ["disk.stat", "disk.open", "disk.read", "disk.list"])
def test_a_disk_that_does_not_answer_ends_no_agent(kind: str) -> None:
    """Whatever it was just doing: hashing, sending, or looking whether a file is still the one that was sealed."""

    def saves(site: Site, node: Node) -> None:
        save(node, run_of(site, node), 1)

    for skip in range(0, 120, 3):

        def works(site: Site, node: Node, skip: int = skip) -> None:
            site.world.inject(kind, Fault.READ_ERROR, skip=skip)
            agent = site.agent(node)
            for _ in range(3):
                try:
                    agent.step()
                except UnavailableError:
                    site.world.note(None, "the staging directory itself could not be read")
                node.clock.sleep(60.0)

        assert len(play(saves, works).store.bucket.keys("manifests/")) == 1


# --- launches --------------------------------------------------------------------------------------------------------------


def begin(run: RunStaging, key: str, writers: int = 2) -> object:
    return begin_launch(run, launch_key=key, archive_url="", writers=writers)


def test_a_rank_that_can_not_read_the_record_just_now_does_not_begin_a_second_launch() -> None:
    def act(site: Site, node: Node) -> None:
        run = staging_of(node)
        run.prepare()
        held = begin(run, "key")
        site.world.inject("disk.read", Fault.READ_ERROR)
        with pytest.raises(UnavailableError):
            begin(run, "key")
        assert held is not None
        assert len(load_launches(run)) == 1

    play(act)


def test_a_record_that_can_not_be_read_back_just_now_is_still_ours() -> None:
    def act(site: Site, node: Node) -> None:
        run = staging_of(node)
        run.prepare()
        site.world.inject("disk.read", Fault.READ_ERROR)
        held = begin(run, "key")
        names = [entry.name for entry in node.disk.list(run.launches)]
        assert names == ["00000000.json", "00000000.lock"]
        assert held is not None

    play(act)


def test_whoever_joins_a_launch_makes_its_record_durable() -> None:
    def first(site: Site, node: Node) -> None:
        run = staging_of(node)
        run.prepare()
        site.world.inject("disk.sync_directory", Fault.WRITE_ERROR)
        with pytest.raises(CkptArchiveError):
            begin(run, "key")

    def second(site: Site, node: Node) -> None:
        begin(staging_of(node), "key")

    for seed in range(20):
        site = play(first, second, seed=seed)
        site.nodes[0].disk.power_loss(site.world.chance)
        assert find_launch(staging_of(site.nodes[0]), "key") is not None


def test_the_ordinal_of_a_launch_whose_record_was_set_aside_is_not_given_again() -> None:
    def act(_: Site, node: Node) -> None:
        run = staging_of(node)
        run.prepare()
        zombie = begin(run, "zombie")
        node.disk.find(run.launch_file(0, ".json")).flip(7)
        assert load_launches(run) == []
        begin(run, "next")
        assert [launch.ordinal for launch in load_launches(run)] == [1]
        assert not has_ended(run, 0)
        assert zombie is not None

    play(act)


class Interrupted:
    """A disk before whose n-th call something else happens."""

    def __init__(self, inner: FileSystem, calls: int, act: Callable[[], None]) -> None:
        self._inner = inner
        self._calls = calls
        self._act = act

    def __getattr__(self, name: str) -> object:
        self._calls -= 1
        if self._calls == 0:
            self._act()
        return getattr(self._inner, name)


@pytest.mark.parametrize("lives", [True, False], ids=["the other one lives", "the other one has ended"])
def test_an_ordinal_is_not_taken_under_which_another_launch_has_worked_since_it_was_found_free(lives: bool) -> None:
    """Its record, by which one would see that, rotted at once and was set aside; all else there would be of two launches."""

    def act(_: Site, node: Node, calls: int) -> None:
        others: list[LiveLaunch] = []

        def another() -> None:
            run = staging_of(node)
            other = begin_launch(run, launch_key="other", archive_url="", writers=2)
            others.append(other)
            if not lives:
                other.release()
            node.disk.find(run.launch_file(other.ordinal, ".json")).flip(7)
            load_launches(run)

        staging_of(node).prepare()
        fs = cast("FileSystem", Interrupted(node.disk, calls, another))
        run = Staging(replace(node.machine(), fs=fs), STAGING).run("r")
        mine = begin_launch(run, launch_key="mine", archive_url="", writers=2)
        assert [other.ordinal for other in others] != [mine.ordinal]

    for calls in range(1, 20):
        play(partial(act, calls=calls))


def test_a_launch_that_spoke_before_it_resumed_does_not_get_a_second_number() -> None:
    """The agent numbers a launch that has saved; if its only save is gone again, resuming must find that number."""

    def act(site: Site, node: Node) -> None:
        run = run_of(site, node, launch_key="mine")
        save(node, run, 1)
        pass_of_agent(site, node)
        other = site.connect(node, Patience.LONG).store
        request = LaunchRequest(site.archive(node).id, "r", "other", 1, node.clock.now())
        open_launch(other, request, lambda _: Resumption(None, explicit=False))
        (share,) = scan(staging_of(node))
        node.disk.rename(share.folder, f"{STAGING}/r/trash/{node.machine().nonce()}")
        run.restore("latest")

    assert [launch.launch_key for launch in launches_of(play(act))] == ["mine", "other"]


def test_a_launch_is_not_late_because_the_clock_of_its_node_is_slow() -> None:
    """Else what it has saved would never be resumed from, although nothing else has happened."""

    def first(site: Site, node: Node) -> None:
        run = run_of(site, node)
        run.resume()
        save(node, run, 1)

    def second(site: Site, node: Node) -> None:
        node.clock.skew_us = -3_600_000_000
        site.store.trouble(Fault.OUTAGE, 60.0)
        run = run_of(site, node)
        assert run.resume() is not None
        save(node, run, 2)
        node.clock.sleep(600.0)

    def third(site: Site, node: Node) -> None:
        restored = run_of(site, node).resume()
        assert restored is not None
        assert restored.step == 2

    assert [launch.late for launch in launches_of(play(first, second, third))] == [False, False, False]


def test_a_rank_that_comes_late_on_a_node_whose_clock_is_ahead_finds_the_number_of_its_launch() -> None:
    def act(site: Site, node: Node) -> None:
        store = site.connect(node, Patience.LONG).store

        def number(key: str) -> int:
            clock = node.clock
            request = LaunchRequest(site.archive(node).id, "r", key, 2, started_at=clock.now(), now=clock.now)
            return open_launch(store, request, lambda _: Resumption(None, explicit=False)).attempt

        assert [number("mine"), number("next")] == [0, 1]
        node.clock.sleep(2_200.0)
        node.clock.skew_us = 7_190_000_000
        assert number("mine") == 0

    play(act)


def test_a_rank_that_stands_still_while_it_asks_finds_the_number_of_its_launch() -> None:
    """How long ago it began is told by the time when the store answers, not by the time when the question was thought of."""

    def act(site: Site, node: Node) -> None:
        store, clock = site.connect(node, Patience.LONG).store, node.clock

        def number(key: str, pause_seconds: float = 0.0) -> int:
            request = LaunchRequest(site.archive(node).id, "r", key, 2, started_at=clock.now(), now=clock.now)
            clock.sleep(pause_seconds)
            return open_launch(store, request, lambda _: Resumption(None, explicit=False)).attempt

        assert [number("mine"), number("next")] == [0, 1]
        clock.sleep(5_400.0)
        clock.skew_us = 7_190_000_000
        assert number("mine", pause_seconds=3_600.0) == 0

    play(act)


def test_a_launch_is_not_late_because_of_one_before_it_that_died_before_it_knew_its_number() -> None:
    """By the clock of a node that is behind, the store recorded the earlier launch after the later one had begun."""

    def first(site: Site, node: Node) -> None:
        node.clock.skew_us = -3_600_000_000
        run = run_of(site, node, launch_key="first")
        site.world.inject("disk.create", Fault.NO_ROOM, skip=1, times=None)
        with suppress(CkptArchiveError):
            run.resume()

    def second(site: Site, node: Node) -> None:
        site.world.calm()
        save(node, run_of(site, node, launch_key="second"), 1)

    def third(site: Site, node: Node) -> None:
        restored = run_of(site, node, launch_key="third").resume()
        assert restored is not None
        assert restored.step == 1

    site = play(first, second, third)
    assert [launch.launch_key for launch in launches_of(site)] == ["first", "second", "third"]


# --- the trash -------------------------------------------------------------------------------------------------------------


def test_what_was_given_up_and_thrown_away_does_not_come_back_as_if_it_was_not() -> None:
    """Somebody dies before the new name is durable, another one empties the trash, and a power loss takes that name back."""

    def gives_up(site: Site, node: Node) -> None:
        save(node, run_of(site, node), 1)
        (share,) = scan(staging_of(node))
        share.mark_gap("no room")
        node.disk.rename(share.folder, f"{STAGING}/r/trash/{node.machine().nonce()}")
        empty_trash(staging_of(node))

    def loses_power(site: Site, node: Node) -> None:
        node.lose_power(site.world.chance)
        assert all(share.has_gap for share in scan(staging_of(node)))

    for seed in range(200):
        play(gives_up, loses_power, seed=seed)


# --- resuming --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["disk.stat", "disk.open", "disk.read", "disk.list"])
def test_the_newest_share_is_not_passed_over_because_it_can_not_be_read_just_now(kind: str) -> None:
    def saves(site: Site, node: Node) -> None:
        run = run_of(site, node, keep_local=3)
        save(node, run, 1)
        save(node, run, 2)

    def resumes(site: Site, node: Node) -> None:
        site.store.trouble(Fault.OUTAGE, 600.0)
        run = run_of(site, node)
        try:
            restored = run.resume()
        except (UnavailableError, IntegrityError, NotFoundError):
            return
        assert restored is not None
        assert restored.step == 2

    for skip in range(40):

        def fails(site: Site, _: Node, skip: int = skip) -> None:
            site.world.inject(kind, Fault.READ_ERROR, skip=skip)

        play(saves, fails, resumes)


@pytest.mark.parametrize("kind", ["disk.stat", "disk.open", "disk.read", "disk.list"])
@pytest.mark.parametrize("again", [False, True], ids=["the same process", "another process of the launch"])
def test_a_save_is_newer_than_those_that_can_not_be_read_just_now(kind: str, again: bool) -> None:
    """The number of saves orders them: counted over what the disk gave back, the newest one would not be the last."""

    def act(site: Site, node: Node, skip: int) -> None:
        run = run_of(site, node, launch_key="mine", keep_local=5)
        for step in (1, 2):
            save(node, run, step)
        if again:
            run = run_of(site, node, launch_key="mine", keep_local=5)
        site.world.inject(kind, Fault.READ_ERROR, skip=skip)
        with suppress(CkptArchiveError, OSError):
            save(node, run, 3)
        with suppress(CkptArchiveError, OSError):
            save(node, run, 4)
        site.world.calm()
        steps = [share.step for share in scan(staging_of(node), strict=True)]
        assert steps == sorted(steps)

    for skip in range(0, 60, 2):
        play(partial(act, skip=skip))


@pytest.mark.parametrize("skip", range(4))
def test_a_step_that_was_restored_is_gone_on_from_although_it_could_not_be_written_down_at_first(skip: int) -> None:
    def first(site: Site, node: Node) -> None:
        run = run_of(site, node)
        for step in (1, 2):
            save(node, run, step)
        pass_of_agent(site, node)

    def second(site: Site, node: Node) -> None:
        run = run_of(site, node)
        run.restore(1)
        site.world.inject("disk.create", Fault.NO_ROOM, skip=skip)
        with pytest.raises((CkptArchiveError, OSError)):
            save(node, run, 2)
        save(node, run, 2)
        pass_of_agent(site, node)

    newest = launches_of(play(first, second))[-1]
    assert newest.explicit
    assert newest.resume_from is not None
    assert newest.resume_from.step == 1


@pytest.mark.parametrize("writers", [1, 2])
def test_fewer_writers_do_not_go_on_from_a_part_of_what_more_of_them_saved(writers: int) -> None:
    """On this node lie the shares of two of three: for the third the archive must be asked, which has none of them yet."""

    def three_save(site: Site, node: Node) -> None:
        for rank in (0, 1):
            run = run_of(site, node, launch_key="three", rank=rank, writers=3)
            for step in (1, 2, 3):
                save(node, run, step)

    def fewer_resume(site: Site, node: Node, rank: int, meeting: Meeting) -> None:
        agree = partial(meeting.gather, node, rank) if writers > 1 else None
        run = run_of(site, node, launch_key="fewer", rank=rank, writers=writers)
        assert run.resume(agree=agree) is None
        with pytest.raises(NotFoundError):
            run.restore(2)

    with World(0, Options()) as world:
        site = Site(world)
        (node,) = site.nodes
        site.spawn("three", node, partial(three_save, site, node))
        world.run()
        meeting = Meeting(writers)
        for rank in range(writers):
            site.spawn("fewer", node, partial(fewer_resume, site, node, rank, meeting))
        world.run()


@pytest.mark.parametrize("kind", ["disk.stat", "disk.open", "disk.read", "disk.list"])
def test_nobody_is_told_that_all_is_archived_because_the_disk_does_not_show_what_is_not(kind: str) -> None:
    def act(site: Site, node: Node, skip: int) -> None:
        run = run_of(site, node)
        save(node, run, 1)
        site.world.inject(kind, Fault.READ_ERROR, skip=skip)
        with pytest.raises(CapacityError):
            run.flush(timeout_seconds=0.0)

    def drains(site: Site, node: Node, skip: int) -> None:
        save(node, run_of(site, node), 2)
        site.store.trouble(Fault.OUTAGE, 3600.0)
        site.world.inject(kind, Fault.READ_ERROR, skip=skip)
        assert not Daemon(node.machine(), site.agent(node), site.agent_settings).drain(0.0).done

    for skip in range(0, 60, 2):
        play(partial(act, skip=skip % 12))
        play(partial(drains, skip=skip))


# --- restores --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", range(4))
def test_a_restore_does_not_keep_a_file_whose_fsync_has_failed(skip: int) -> None:
    """The kernel shows the right bytes, and says yes to the next fsync; on the disk they are not."""

    def saves(site: Site, node: Node) -> None:
        run = run_of(site, node)
        with run.checkpoint(step=1) as checkpoint:
            for name, data in (("empty", b""), ("small", b"x" * 10), ("large", b"y" * 500)):
                with node.disk.create(f"{checkpoint.path}/{name}") as file:
                    file.write_at(data, 0)
        pass_of_agent(site, node)

    def restores(site: Site, node: Node, killed: bool) -> None:
        if killed:
            # What a killed restore left is synced by the next one, which fails in that.
            site.world.inject("disk.sync_directory", Fault.WRITE_ERROR, skip=3)
            with pytest.raises(UnavailableError):
                site.archive(node).restore("r", to="/home/restored")
        site.world.inject("disk.sync", Fault.SYNC_FAILED, skip=skip)
        with suppress(UnavailableError):
            site.archive(node).restore("r", to="/home/restored")
        path = str(site.archive(node).restore("r", to="/home/restored").path)
        assert loose(node.disk.find(path)) is None

    for killed in (False, True):
        play(saves, partial(restores, killed=killed))


@pytest.mark.parametrize("kind", ["disk.stat", "disk.open", "disk.read"])
def test_where_a_launch_went_on_from_is_not_forgotten_because_the_disk_does_not_show_it_just_now(kind: str) -> None:
    """What its record says stands for ever; it was resumed while the store was away, so the agent writes it."""

    def first(site: Site, node: Node) -> None:
        save(node, run_of(site, node, launch_key="first"), 1)
        pass_of_agent(site, node)

    def second(site: Site, node: Node) -> None:
        site.store.trouble(Fault.OUTAGE, 600.0)
        run = run_of(site, node, launch_key="second")
        restored = run.resume()
        assert restored is not None
        assert restored.step == 1
        save(node, run, 2)

    for skip in range(60):

        def fails(site: Site, node: Node, skip: int = skip) -> None:
            node.clock.sleep(1_000.0)
            site.world.inject(kind, Fault.READ_ERROR, skip=skip)
            for _ in range(3):
                with suppress(UnavailableError):
                    pass_of_agent(site, node)
                node.clock.sleep(60.0)

        site = play(first, second, fails)
        assert [launch.resume_from and launch.resume_from.step for launch in launches_of(site)] == [None, 1]


# --- stores that do not look -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["receipts/", "manifests/"])
def test_a_record_that_comes_wrong_into_a_store_that_does_not_look_is_noticed(folder: str) -> None:
    class FlipsOne(Site):
        def stored(self, key: str, data: bytes) -> None:
            if key.startswith(folder):
                self.store.bucket.flip(key, 7)

    with World(0, Options(checksums_enforced=False)) as world:
        site = FlipsOne(world)
        (node,) = site.nodes

        def push() -> None:
            node.disk.make_directory("/pushed")
            with node.disk.create("/pushed/a") as file:
                file.write_at(b"a" * 10, 0)
            with pytest.raises(IntegrityError):
                site.archive(node).push("/pushed", "r", 1)

        site.spawn("push", node, push)
        world.run()


def pushed_as(site: Site, node: Node, folder: str) -> None:
    node.disk.make_directory(folder)
    with node.disk.create(f"{folder}/a") as file:
        file.write_at(b"a" * 100, 0)
    for _ in range(3):
        try:
            site.archive(node).push(folder, "r", 1)
        except IntegrityError as error:
            site.met("push", error)
        else:
            return


def objects_are_what_their_names_say(site: Site) -> bool:
    bucket = site.store.bucket
    return all(sha256_hex(bucket.get(key).data) == key.rpartition("/")[2] for key in bucket.keys("data/"))


@pytest.mark.parametrize("skip", range(6))
def test_whoever_completes_an_object_once_more_does_not_replace_what_another_has_proved(skip: int) -> None:
    """The store neither looks at what it is sent nor whether the object is there; the other one has already read it back."""
    options = Options(switch_chance=0.1, checksums_enforced=False, conditional_complete=False)
    with World(0, options, trace=True) as world:
        site = Site(world)
        (node,) = site.nodes
        for folder in ("/one", "/other"):
            site.spawn("push", node, partial(pushed_as, site, node, folder))
        world.inject("store.upload_part", Fault.FLIP_SENT, skip=skip)
        # One of the four parts comes late.
        world.inject("store.upload_part", Fault.THROTTLED, skip=3)
        world.run()
        assert len(site.store.bucket.keys("manifests/")) == 1
        assert objects_are_what_their_names_say(site)


def test_a_part_that_came_wrong_is_not_believed_by_whoever_goes_on() -> None:
    """Its sender died before he could compare it."""

    def life(world: World) -> None:
        site = Site(world)
        (node,) = site.nodes
        world.inject("store.upload_part", Fault.FLIP_SENT)
        for folder in ("/one", "/other"):
            site.spawn("push", node, partial(pushed_as, site, node, folder))
            world.run()
        assert len(site.store.bucket.keys("manifests/")) == 1
        assert objects_are_what_their_names_say(site)

    every_crash_point(life, 0, Options(checksums_enforced=False))


@pytest.mark.parametrize("skip", range(4))
def test_a_save_is_not_given_up_because_the_answer_to_the_store_s_probe_was_lost(skip: int) -> None:
    def act(site: Site, node: Node) -> None:
        save(node, run_of(site, node), 1)
        site.world.inject("store.create", Fault.ANSWER_LOST, skip=skip)
        for _ in range(3):
            pass_of_agent(site, node)
            node.clock.sleep(60.0)

    site = play(act, options=Options(checksums_enforced=False))
    assert len(site.store.bucket.keys("manifests/")) == 1
    assert site.store.bucket.keys("runs/r/decisions") == []


@pytest.mark.parametrize("skip", range(0, 24, 2))
def test_a_save_is_not_given_up_because_the_disk_did_not_give_it_back_when_the_store_had_refused_it(skip: int) -> None:
    """A bit flipped on the way: whether the file itself is damaged is asked then, and the disk does not say just now."""

    def act(site: Site, node: Node) -> None:
        save(node, run_of(site, node), 1)
        site.world.inject("store.upload_part", Fault.FLIP_SENT)
        for _ in range(3):
            pass_of_agent(site, node)
            node.clock.sleep(60.0)

    def disturbs(site: Site, node: Node) -> None:
        site.world.inject("disk.read", Fault.READ_ERROR, skip=skip)
        act(site, node)

    site = play(disturbs)
    assert site.store.bucket.keys("runs/r/decisions") == []
    assert len(site.store.bucket.keys("manifests/")) == 1
