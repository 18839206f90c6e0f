"""The simulated world itself: if it is wrong, nothing that was proved in it is."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import AlreadyExistsError, CkptArchiveError, UnavailableError
from ckpt_archive.store.body import Body
from ckpt_archive.testing.simulation.faults import Crash, CrashPoint, Fault, Options, When
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Host, Process, State, StuckError, Watcher
from ckpt_archive.testing.simulation.search import crash_points, every_crash_point, run_life, search
from ckpt_archive.testing.simulation.store import SimStore
from ckpt_archive.testing.simulation.world import World

CALM = Options()


def busy_life(world: World) -> None:
    """Two nodes whose processes write, upload in parallel, sleep and race, and start again when they are killed."""
    store = SimStore(world)
    nodes = [Node(world, f"node-{number}") for number in range(2)]

    def work(node: Node) -> None:
        machine = node.machine()
        for step in range(3):
            try:
                durable.make_directories(node.disk, f"/ckpt/{step}")
                durable.write_once(node.disk, f"/ckpt/{step}/seal", b"content " * 20, nonce=machine.nonce())
                data = durable.read_small(node.disk, f"/ckpt/{step}/seal")

                def send(number: int, step: int = step, data: bytes = data) -> int:
                    store.create(f"data/{node.name}/{step}/{number}", Body.of(data))
                    return number

                list(machine.executor.map_unordered(send, range(4), limit=2))
                store.create(f"race/{step}", Body.of(node.name.encode()))
            except (OSError, CkptArchiveError):
                machine.clock.sleep(5)
            machine.clock.sleep(30)

    class Supervisor(Watcher):
        restarts = 0

        def ended(self, process: Process) -> None:
            if process.state is State.KILLED and self.restarts < 5:
                self.restarts += 1
                node = next(node for node in nodes if node is process.node)
                node.spawn("worker", lambda: work(node))

    world.watch(Supervisor())
    for node in nodes:
        node.spawn("worker", partial(work, node))
    world.run()


# --- one seed is one life --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_tells_the_same_story_again(seed: int) -> None:
    options = Options.drawn(seed)
    first = run_life(busy_life, seed, options, trace=True)
    assert run_life(busy_life, seed, options, trace=True).story() == first.story()
    assert run_life(busy_life, seed, options).ios == first.ios


def test_another_seed_tells_another_story() -> None:
    assert len({run_life(busy_life, seed, CALM, trace=True).story() for seed in range(20)}) == 20


def test_a_story_does_not_depend_on_how_this_interpreter_hashes_text() -> None:
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); from test_sim_base import *; "
        "print(hashlib.sha256(''.join(run_life(busy_life, seed, Options.drawn(seed), trace=True).story() "
        "for seed in range(30)).encode()).hexdigest())"
    )
    folder = __file__.rpartition("/")[0]
    answers = {
        subprocess.run(
            [sys.executable, "-c", script, folder], env={"PYTHONHASHSEED": number}, capture_output=True, check=True
        ).stdout
        for number in ("1", "2")
    }
    assert len(answers) == 1


def test_over_many_seeds_everything_happens() -> None:
    tally = search(busy_life, range(300))
    kinds = {fault for _, fault in tally.faults}
    # Nothing in that life reads the store or uploads in parts.
    assert kinds == set(Fault) - {Fault.FLIP_READ, Fault.UPLOAD_GONE, Fault.REPLACED}


def test_a_failing_seed_is_told_with_its_options_and_its_last_steps() -> None:
    def life(world: World) -> None:
        store = SimStore(world)
        Node(world, "n").spawn("p", lambda: store.create("key", Body.of(b"x")) and store.head("missing"))
        world.run()

    with pytest.raises(CkptArchiveError, match="missing") as caught:
        search(life, [7], lambda _: Options(switch_chance=0.5))
    told = "\n".join(caught.value.__notes__)
    assert "seed 7" in told
    assert "switch_chance=0.5" in told
    assert "store.create" in told


def test_a_story_tells_what_happened_to_processes_too() -> None:
    options = Options(
        kill_chance=0.02, pause_chance=0.02, power_loss_chance=0.02, clock_jump_chance=0.02, clock_skew_seconds=60
    )
    told = "".join(run_life(busy_life, seed, options, trace=True).story() for seed in range(20))
    for event in ("  begins", "  killed", "  pauses", "  power loss", "  clock jumps", "  done"):
        assert event in told


def test_a_life_that_the_seed_does_not_determine_is_reported_as_that() -> None:
    calls: list[int] = []

    def life(world: World) -> None:
        calls.append(world.seed)
        assert len(calls) > 1

    with pytest.raises(AssertionError, match="not determined by its seed"):
        search(life, [1])


# --- crashes ---------------------------------------------------------------------------------------------------------------


def crashed(crash: CrashPoint) -> tuple[Node, SimStore, list[str]]:
    """A process of three creates that writes down what it gets to know."""
    world = World(1, Options(crashes=(crash,)))
    node, store = Node(world, "n"), SimStore(world)
    known: list[str] = []

    def work() -> None:
        try:
            for key in ("a", "b", "c"):
                store.create(key, Body.of(b"x"))
                known.append(key)
        finally:
            # A dead process does nothing on its way out.
            store.create("last words", Body.of(b"x"))

    process = node.spawn("p", work)
    world.run()
    assert process.state is State.KILLED
    return node, store, known


def test_killed_before_a_call_it_has_no_effect() -> None:
    _, store, known = crashed(CrashPoint(2))
    assert store.bucket.keys() == ["a"]
    assert known == ["a"]


def test_killed_after_a_call_it_has_an_effect_that_nobody_knows_of() -> None:
    _, store, known = crashed(CrashPoint(2, When.AFTER))
    assert store.bucket.keys() == ["a", "b"]
    assert known == ["a"]


def test_every_crash_point_is_visited_on_both_sides_once() -> None:
    seen: Counter[tuple[str, ...]] = Counter()

    def life(world: World) -> None:
        store = SimStore(world)
        Node(world, "n").spawn("p", lambda: [store.create(key, Body.of(b"")) for key in "abc"])
        world.run()
        seen[tuple(store.bucket.keys())] += 1

    tally = every_crash_point(life, 1, CALM)
    assert tally.lives == 1 + 6
    assert seen == {(): 1, ("a",): 2, ("a", "b"): 2, ("a", "b", "c"): 2}


def test_a_second_crash_comes_after_the_first() -> None:
    def life(world: World) -> None:
        store = SimStore(world)
        node = Node(world, "n")

        def work() -> None:
            for key in "ab":
                if key not in store.bucket.objects:
                    store.create(key, Body.of(b""))

        class Again(Watcher):
            def ended(self, process: Process) -> None:
                if process.state is State.KILLED:
                    node.spawn("again", work)

        world.watch(Again())
        node.spawn("first", work)
        world.run()
        assert store.bucket.keys() == ["a", "b"]
        assert len(world.processes) == len(world.options.crashes) + 1

    trace = run_life(life, 1, CALM, trace=True).trace or []
    for first in crash_points(trace):
        if not (first.io == 2 and first.when is When.AFTER):  # then nothing is left to be done twice
            every_crash_point(life, 1, replace(CALM, crashes=(first,)))


def test_a_power_loss_takes_all_processes_of_the_node_and_no_other() -> None:
    world = World(1, Options(crashes=(CrashPoint(3, what=Crash.NODE),)))
    node, other = Node(world, "n"), Node(world, "other")
    told: list[Host] = []

    class Told(Watcher):
        def power_lost(self, node: Host) -> None:
            assert not any(process.alive for process in world.processes if process.node is node)
            told.append(node)

    world.watch(Told())
    sleeper = node.spawn("sleeper", lambda: node.clock.sleep(1000))
    elsewhere = other.spawn("elsewhere", lambda: other.clock.sleep(1000))
    node.spawn("writer", lambda: [node.disk.create(f"/{number}") for number in range(5)])
    world.run()
    assert told == [node]
    assert sleeper.state is State.KILLED
    assert elsewhere.state is State.DONE


def test_a_paused_process_makes_its_call_when_it_wakes_up() -> None:
    """A zombie: its successor has long been at work."""
    world = World(1)
    node, store = Node(world, "n"), SimStore(world)
    answers: list[str] = []

    def work(name: str) -> None:
        node.clock.sleep(1)
        if name == "zombie":
            world.pause(zombie, 3600)
        try:
            store.create("lease", Body.of(name.encode()))
            answers.append(f"{name} won at {round(node.clock.monotonic())}")
        except AlreadyExistsError:
            answers.append(f"{name} lost at {round(node.clock.monotonic())}")

    class Replace(Watcher):
        def paused(self, process: Process, seconds: float) -> None:
            node.spawn("successor", lambda: work("successor"))

    world.watch(Replace())
    zombie = node.spawn("zombie", lambda: work("zombie"))
    world.run()
    assert answers == ["successor won at 2", "zombie lost at 3601"]


def test_a_lock_is_free_when_its_process_has_died() -> None:
    world = World(1, Options(crashes=(CrashPoint(4),)))
    node = Node(world, "n")
    order: list[str] = []

    def hold() -> None:
        with node.disk.lock("/lock", LockMode.EXCLUSIVE):
            order.append("held")
            node.clock.sleep(10)
            node.disk.stat("/")

    def wait() -> None:
        node.clock.sleep(1)
        assert node.disk.try_lock("/lock", LockMode.SHARED) is None
        with node.disk.lock("/lock", LockMode.SHARED):
            order.append(f"waited until {round(node.clock.monotonic())}")

    node.spawn("holder", hold)
    node.spawn("waiter", wait)
    world.run()
    assert order == ["held", "waited until 10"]


# --- processes -------------------------------------------------------------------------------------------------------------


def test_processes_that_wait_for_each_other_are_found() -> None:
    world = World(1)
    node = Node(world, "n")

    def work(first: str, second: str) -> None:
        with node.disk.lock(first, LockMode.EXCLUSIVE):
            node.clock.sleep(1)
            with node.disk.lock(second, LockMode.EXCLUSIVE):
                pass

    node.spawn("a", lambda: work("/x", "/y"))
    node.spawn("b", lambda: work("/y", "/x"))
    with world, pytest.raises(StuckError, match="a#1@n, b#2@n"):
        world.run()


def test_a_process_that_never_ends_is_found() -> None:
    def spin(node: Node) -> None:
        while True:
            node.disk.stat("/")

    with World(1, max_ios=1000) as world:
        node = Node(world, "n")
        node.spawn("spinning", lambda: spin(node))
        with pytest.raises(StuckError, match="spinning#1@n still goes on"):
            world.run()


def test_a_daemon_is_not_waited_for_and_goes_on_with_the_next_run() -> None:
    with World(1) as world:
        node = Node(world, "n")
        beats: list[float] = []

        def beat() -> None:
            while True:
                node.clock.sleep(10)
                beats.append(node.clock.monotonic())

        node.spawn("daemon", beat, daemon=True)
        for _ in range(2):
            node.spawn("p", lambda: node.clock.sleep(25))
            world.run()
        # Whether the beat at 50 s comes before the end at 50 s is chance.
        assert beats[:4] == [10, 20, 30, 40]


def test_what_a_process_raises_is_raised_by_run() -> None:
    with World(1) as world:
        node = Node(world, "n")
        process = node.spawn("p", lambda: node.disk.stat("/missing"))
        with pytest.raises(FileNotFoundError):
            world.run()
        assert process.state is State.FAILED


def test_a_process_can_wait_for_another_one() -> None:
    with World(1) as world:
        node = Node(world, "n")

        def work() -> object:
            child = node.spawn("child", lambda: node.clock.sleep(5))
            world.wait_for(child)
            return child.state

        parent = node.spawn("parent", work)
        world.run()
        assert parent.result is State.DONE


def test_what_a_watcher_asserts_stops_the_world_at_that_very_step() -> None:
    """No handler of the code under test gets hold of it."""
    with World(1) as world:
        node, store = Node(world, "n"), SimStore(world)

        class Oracle(Watcher):
            def stored(self, key: str, data: bytes) -> None:
                assert key != "bad", "a bad key is visible"

        def work() -> None:
            try:
                store.create("bad", Body.of(b""))
            finally:
                store.create("later", Body.of(b""))

        world.watch(Oracle())
        node.spawn("p", work)
        with pytest.raises(AssertionError, match="a bad key is visible"):
            world.run()
        assert store.bucket.keys() == ["bad"]


def test_a_watcher_sees_every_effect() -> None:
    with World(1) as world:
        node, store = Node(world, "n"), SimStore(world)
        seen: list[tuple[str, str]] = []

        class Oracle(Watcher):
            def after_io(self, kind: str, detail: str) -> None:
                seen.append((kind, detail))

        world.watch(Oracle())
        node.spawn("p", lambda: (node.disk.create("/a"), store.create("k", Body.of(b"")), node.disk.stat("/a")))
        world.run()
        assert seen == [("disk.create", "/a"), ("store.create", "k")]


def test_after_the_calm_nothing_goes_wrong_any_more() -> None:
    chances = Options(kill_chance=0.05, pause_chance=0.05, store_fault_chance=0.5, power_loss_chance=0.05)
    for seed in range(50):
        with World(seed, chances) as world:
            node, store = Node(world, "n"), SimStore(world)

            def try_it(store: SimStore = store) -> None:
                for number in range(20):
                    try:
                        store.create(f"noise/{number}", Body.of(b""))
                    except (UnavailableError, AlreadyExistsError):
                        continue

            def succeed(store: SimStore = store) -> None:
                for number in range(20):
                    store.create(f"calm/{number}", Body.of(b""))

            node.spawn("noisy", try_it)
            world.run()
            world.calm()
            node.spawn("calm", succeed)
            world.run()
            assert len(store.bucket.keys("calm/")) == 20


# --- the executor ----------------------------------------------------------------------------------------------------------


def mapped(seed: int, *, limit: int, fails: int | None = None) -> tuple[list[int], int, list[int], str]:
    """Ten calls: what came out, how many were under way at most, what was begun, and the error."""
    with World(seed, Options(switch_chance=0.6)) as world:
        node = Node(world, "n")
        results: list[int] = []
        begun: list[int] = []
        under_way = most = 0
        error = ""

        def call(number: int) -> int:
            nonlocal under_way, most
            begun.append(number)
            under_way += 1
            most = max(most, under_way)
            node.disk.make_directory(f"/{number}")
            node.disk.stat("/")
            under_way -= 1
            if number == fails:
                raise LookupError(number)
            return number

        def work() -> None:
            nonlocal error
            try:
                results.extend(node.machine().executor.map_unordered(call, range(10), limit=limit))
            except LookupError as caught:
                error = str(caught)
            assert under_way == 0, "calls under way were not waited for"

        node.spawn("p", work)
        world.run()
        return results, most, begun, error


def test_calls_run_at_once_in_an_order_of_the_seed() -> None:
    orders = set()
    for seed in range(20):
        results, most, begun, _ = mapped(seed, limit=4)
        assert sorted(results) == sorted(begun) == list(range(10))
        assert most <= 4
        orders.add(tuple(results))
    assert len(orders) > 10
    assert max(mapped(seed, limit=4)[1] for seed in range(20)) == 4
    assert mapped(1, limit=1)[0] == list(range(10))


def test_the_first_error_ends_the_calls() -> None:
    for seed in range(20):
        results, _, begun, error = mapped(seed, limit=3, fails=2)
        assert error == "2"
        assert 2 not in results
        assert len(begun) < 10


def test_a_kill_takes_all_calls_of_the_process() -> None:
    def life(world: World) -> None:
        node, store = Node(world, "n"), SimStore(world)

        def work() -> None:
            calls = node.machine().executor.map_unordered(
                lambda number: store.create(f"{number}", Body.of(b"")), range(6), limit=3
            )
            for info in calls:
                store.create(f"seen/{info.key}", Body.of(b""))

        process = node.spawn("p", work)
        world.run()
        if world.options.crashes:
            assert process.state is State.KILLED
            assert world.ios == world.options.crashes[0].io

    every_crash_point(life, 3, CALM)
