"""Seal, replace, evict and launch, broken off at every I/O, with and without power loss; and random lives of a whole node.

What must be so is the same everywhere: what was acknowledged is there, whole, or was let go by the rules; and nothing that
is found is anything else than what some writer sealed.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from ckpt_archive.contribution import Contribution
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.launches import begin_launch, has_ended, load_launches
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.ring import SealedShare, evict, scan, still_same
from ckpt_archive.local.seal import Verdict, open_draft
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.tidy import clean
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.simulation.faults import Crash, Fault, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.search import every_crash_point, search
from ckpt_archive.testing.simulation.world import World
from ckpt_archive.testing.staged import content, fill

Key = tuple[int, int, int]  # launch, step, rank
Files = dict[str, bytes]
KEEP = 2
RULE: dict[str, Json] = {"rule": "every", "count": 1, "ordinal": 1}
BOTH = pytest.mark.parametrize("what", list(Crash))


@dataclass
class Diary:
    """What the writers were told, and what they tried since."""

    acknowledged: dict[Key, Files] = field(default_factory=dict)
    tried: dict[Key, list[Files]] = field(default_factory=dict)
    promoted: set[Key] = field(default_factory=set)
    released: set[Key] = field(default_factory=set)
    saves: dict[Key, int] = field(default_factory=dict)
    complete: set[tuple[int, int]] = field(default_factory=set)

    def save(
        self, run: RunStaging, launch: int, step: int, files: Files, saves: int, *, rank: int = 0, writers: int = 1,
        promoted: bool = False,
    ) -> Verdict:  # fmt: skip
        """Write and seal, and note what came of it."""
        key = (launch, step, rank)
        self.tried.setdefault(key, []).append(files)
        draft = open_draft(run)
        try:
            fill(draft, run.machine.fs, files)
        except OSError:
            # An error of the user's own: the draft goes, the error is his.
            draft.discard()
            raise
        said = Contribution("key", writers, run.machine.clock.now(), promotion=RULE if promoted else {})
        outcome = draft.seal(launch, step, rank, said, saves)
        if outcome.verdict is not Verdict.DUPLICATE_KEPT_FIRST:
            self.acknowledged[key] = files
            self.tried[key] = []
            self.saves[key] = saves
            self._note_complete(*key)
            if promoted:
                self.promoted.add(key)
        return outcome.verdict

    def check_newest_complete(self, found: Mapping[Key, SealedShare]) -> None:
        """The newest checkpoint that both ranks were told is sealed is there, or a newer one that both have."""
        told = max(((launch, self.saves[launch, step, 0]) for launch, step in self.complete), default=None)
        both = [share for (launch, step, rank), share in found.items() if rank == 0 and (launch, step, 1) in found]
        assert told is None or max((share.launch, share.seal.saves) for share in both) >= told

    def _note_complete(self, launch: int, step: int, rank: int) -> None:
        """Ranks that are further apart than the ring is long share no checkpoint: nobody waits for a straggler for ever."""
        other = (launch, step, 1 - rank)
        if other in self.acknowledged:
            ahead = max(self.saves[key] for key in self.acknowledged if (key[0], key[2]) == (launch, 1 - rank))
            if ahead - self.saves[other] < KEEP:
                self.complete.add((launch, step))

    def check(self, run: RunStaging) -> dict[Key, SealedShare]:
        """Nothing found is anything but what was sealed, and every acknowledged promotion is there until it is let go."""
        found = {(share.launch, share.step, share.rank): share for share in scan(run)}
        for key, share in found.items():
            still_same(share)
            known = [self.acknowledged[key]] if key in self.acknowledged else []
            assert content(share) in known + self.tried.get(key, []), f"{key} holds what nobody sealed"
        for key in self.promoted - self.released:
            assert key in found, f"{key} was promoted and is lost"
            assert found[key].is_pinned
        return found


def staging_of(node: Node) -> Staging:
    return Staging(node.machine(), "/nvme/ckpt")


def recover(world: World, node: Node, act: Callable[[RunStaging], None]) -> None:
    """What the next process finds, alone and undisturbed."""
    world.calm()
    for process in world.processes:
        if process.alive:
            world.kill(process)
    node.spawn("recovery", lambda: act(staging_of(node).run("r")))
    world.run()


def check_tidy(run: RunStaging) -> None:
    fs = run.machine.fs
    clean(run)
    again = clean(run)
    assert (again.drafts, again.replaced, again.quarantined) == (0, 0, 0)
    assert fs.list(run.tmp) == []
    assert fs.list(run.trash) == []


@BOTH
def test_a_save_is_there_whole_or_was_never_acknowledged(what: Crash) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()

    def life(world: World) -> None:
        node, diary = Node(world, "n"), Diary()

        def trainer() -> None:
            run = staging_of(node).run("r")
            run.prepare()
            with begin_launch(run, launch_key="key", archive_url="", writers=1) as live:
                diary.save(run, live.ordinal, 1, {"a": b"1" * 40}, 1)
                diary.save(run, live.ordinal, 2, {"b": b"2" * 40, "sub/c": b"", "sub/d": b"x"}, 2, promoted=True)

        def recovery(run: RunStaging) -> None:
            run.prepare()
            found = diary.check(run)
            assert set(diary.acknowledged) <= set(found)
            assert list(quarantined(run)) == []
            check_tidy(run)
            assert set(diary.check(run)) == set(found)
            seen[len(diary.acknowledged) == 2, len(found) == 2] += 1
            # And the next launch begins behind all that is there.
            with begin_launch(run, launch_key="next", archive_url="", writers=1) as live:
                assert all(live.ordinal > share.launch for share in found.values())
                diary.save(run, live.ordinal, 1, {"a": b"again"}, 3)
            assert set(diary.check(run)) == {*found, (live.ordinal, 1, 0)}

        node.spawn("trainer", trainer)
        world.run()
        recover(world, node, recovery)

    for seed in range(3):
        every_crash_point(life, seed, Options(), what)
    # Never acknowledged and not there, acknowledged and there, and the narrow case between: there, but nobody was told.
    assert {(False, False), (True, True), (False, True)} == set(seen)


@BOTH
def test_a_replaced_save_is_the_old_or_the_new_one_at_every_moment(what: Crash) -> None:
    def life(world: World) -> None:
        node, diary = Node(world, "n"), Diary()
        run = staging_of(node).run("r")
        run.prepare()

        def trainer() -> None:
            diary.save(run, 0, 5, {"a": b"old"}, 1)
            assert diary.save(run, 0, 5, {"a": b"new"}, 2) is Verdict.REPLACED
            assert diary.save(run, 0, 5, {"a": b"new"}, 2, promoted=True) is Verdict.DUPLICATE_SAME
            assert diary.save(run, 0, 5, {"a": b"third"}, 3) is Verdict.DUPLICATE_KEPT_FIRST

        def recovery(run: RunStaging) -> None:
            assert set(diary.acknowledged) <= set(diary.check(run))
            check_tidy(run)
            found = diary.check(run)
            assert set(diary.acknowledged) <= set(found)
            assert list(quarantined(run)) == []

        node.spawn("trainer", trainer)
        world.run()
        recover(world, node, recovery)

    for seed in range(3):
        every_crash_point(life, seed, Options(), what)


@BOTH
def test_eviction_broken_off_anywhere_keeps_the_newest_and_all_that_waits(what: Crash) -> None:
    def life(world: World) -> None:
        node, diary = Node(world, "n"), Diary()
        run = staging_of(node).run("r")
        run.prepare()
        for step in range(1, 6):
            diary.save(run, 0, step, {"a": b"%d" % step, "b": b"x"}, step, promoted=step in (1, 2, 3))
        archived, given_up, _, _, _ = scan(run)
        archived.mark_archived("archive", 0, "a" * 64)
        given_up.mark_gap("overload")
        diary.released |= {(0, 1, 0), (0, 2, 0)}

        def agent() -> None:
            evict(run, 1)
            clean(run)

        def recovery(run: RunStaging) -> None:
            found = diary.check(run)
            assert {(0, 3, 0), (0, 5, 0)} <= set(found)
            # What was let go may be half gone, and then it is neither used nor called for.
            assert {key for key, share in found.items() if share.is_pinned} == {(0, 3, 0)}
            evict(run, 1)
            check_tidy(run)
            assert set(diary.check(run)) == {(0, 3, 0), (0, 5, 0)}

        node.spawn("agent", agent)
        world.run()
        recover(world, node, recovery)

    for seed in range(3):
        every_crash_point(life, seed, Options(), what)


@BOTH
def test_a_launch_that_was_begun_is_known_and_one_that_was_not_leaves_no_trace_that_matters(what: Crash) -> None:
    def life(world: World) -> None:
        node = Node(world, "n")
        run = staging_of(node).run("r")
        run.prepare()
        begun: list[tuple[str, int]] = []

        def rank(key: str) -> None:
            with begin_launch(run, launch_key=key, archive_url="", writers=2) as live:
                begun.append((key, live.ordinal))
                assert not has_ended(run, live.ordinal)

        def recovery(run: RunStaging) -> None:
            launches = load_launches(run)
            assert [launch.ordinal for launch in launches] == list(range(len(launches)))
            keys = [launch.launch_key for launch in launches]
            assert len(keys) == len(set(keys)), "ranks of one launch took two ordinals"
            assert set(begun) <= {(launch.launch_key, launch.ordinal) for launch in launches}
            assert all(has_ended(run, launch.ordinal) for launch in launches)
            with begin_launch(run, launch_key="a", archive_url="", writers=2) as live:
                assert live.ordinal == dict(begun).get("a", live.ordinal)

        for number, key in enumerate(["a", "a", "b"]):
            node.spawn(f"rank-{number}", partial(rank, key))
        world.run()
        recover(world, node, recovery)

    for seed in range(3):
        every_crash_point(life, seed, Options(switch_chance=0.5), what)


class NodeLife:
    """Two ranks save, roll back and save again; an agent scans, evicts, archives, gives up, cleans; anything may break."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.node = Node(world, "n")
        self.diary = Diary()

    def live(self) -> None:
        for key, first_step in (("first", 10), ("second", 5)):
            for rank in (0, 1):
                self.node.spawn(f"{key}-{rank}", partial(self.rank, rank, key, first_step))
            self.node.spawn("agent", self.agent, daemon=True)
            self.world.run()
        recover(self.world, self.node, self.recovery)

    def rank(self, rank: int, key: str, first_step: int) -> None:
        run = staging_of(self.node).run("r")
        try:
            run.prepare()
            live = begin_launch(run, launch_key=key, archive_url="", writers=2)
        except CkptArchiveError:
            return
        saves = max((share.seal.saves for share in scan_or_nothing(run) if share.rank == rank), default=0)
        with live:
            for step in range(first_step, first_step + 4):
                saves += 1
                for _ in range(1 + (self.chance.random() < 0.3)):
                    self.save(run, live.ordinal, step, rank, saves)

    def save(self, run: RunStaging, launch: int, step: int, rank: int, saves: int) -> None:
        version, promoted = self.chance.randrange(2), self.chance.random() < 0.3
        files = {"model": b"%d-%d-%d" % (step, rank, version), "empty": b""}
        with suppress(CkptArchiveError, OSError):
            self.diary.save(run, launch, step, files, saves, rank=rank, writers=2, promoted=promoted)

    def agent(self) -> None:
        run = staging_of(self.node).run("r")
        for _ in range(6):
            with suppress(CkptArchiveError):
                clean(run)
                for share in scan(run):
                    self.let_go(share)
                evict(run, KEEP)

    def let_go(self, share: SealedShare) -> None:
        key = (share.launch, share.step, share.rank)
        roll = self.chance.random()
        if share.is_pinned and roll < 0.4:
            self.diary.released.add(key)
            if roll < 0.2:
                share.mark_archived("archive", 0, "a" * 64)
            else:
                share.mark_gap("overload")
        elif not share.is_promoted and roll < 0.1:
            share.promote({"rule": "milestone"})
            self.diary.promoted.add(key)

    def recovery(self, run: RunStaging) -> None:
        run.prepare()
        self.diary.check(run)
        check_tidy(run)
        evict(run, KEEP)
        found = self.diary.check(run)
        self.diary.check_newest_complete(found)
        with begin_launch(run, launch_key="after", archive_url="", writers=1) as live:
            assert self.diary.save(run, live.ordinal, 1, {"a": b"1"}, 1000) is Verdict.STAGED


def node_life(world: World) -> None:
    NodeLife(world).live()


def scan_or_nothing(run: RunStaging) -> list[SealedShare]:
    try:
        return scan(run)
    except CkptArchiveError:
        return []


# Bytes that rot or vanish on the SSD are lost, whoever finds it; what is asked here is that nobody of ours loses any.
LIVES = int(os.environ.get("SIMULATED_LIVES", "150"))
NEVER = frozenset({Fault.ROT, Fault.TRUNCATED})


def test_random_lives_of_a_node_lose_nothing_that_was_acknowledged() -> None:
    tally = search(node_life, range(LIVES), lambda seed: Options.drawn(seed, never=NEVER))
    assert tally.ios > 10_000


def test_random_lives_in_which_everything_goes_wrong_lose_nothing_either() -> None:
    def options(seed: int) -> Options:
        return replace(
            Options.drawn(seed, never=NEVER), kill_chance=0.005, power_loss_chance=0.002, disk_fault_chance=0.02,
            faults=frozenset(Fault) - NEVER,
        )  # fmt: skip

    search(node_life, range(1000, 1000 + LIVES), options)
