"""What a failing life is made into: as little as it needs, told so that it can be told again."""

import pytest

from ckpt_archive.testing.simulation import faults
from ckpt_archive.testing.simulation.faults import CrashPoint, Fault, Options
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.search import run_life
from ckpt_archive.testing.simulation.shrink import NothingBrokenError, shrink, spelled
from ckpt_archive.testing.simulation.world import World

STORMY = Options(
    switch_chance=0.1, kill_chance=0.0, disk_fault_chance=0.3, clock_jump_chance=0.05, clock_skew_seconds=60.0
)


def writes(node: Node) -> None:
    for number in range(20):
        try:
            with node.disk.create(f"/{number}") as file:
                file.write_at(b"x", 0)
                file.sync()
        except OSError:
            continue


def life(world: World) -> None:
    """Broken as soon as two files were refused for want of room."""
    node = Node(world, "node")
    node.spawn("writer", lambda: writes(node))
    world.run()
    refused = sum(count for (_, fault), count in world.faults_seen.items() if fault is Fault.NO_ROOM)
    assert refused < 2, f"{refused} files were refused"


def test_only_what_a_violation_needs_is_left() -> None:
    seed = next(seed for seed in range(100) if _is_broken(seed, STORMY))
    options = shrink(life, seed, STORMY)
    assert options.faults == {Fault.NO_ROOM}
    assert options.clock_jump_chance == options.clock_skew_seconds == 0.0
    assert (options.most_troubles or 0) - len(options.spared_troubles) == 2
    assert _is_broken(seed, options)


def test_what_is_spelled_makes_the_same_options_again() -> None:
    for options in (
        Options(),
        STORMY,
        Options(faults=frozenset(), crashes=(CrashPoint(3),), most_troubles=7, spared_troubles=frozenset({2, 1})),
        Options.drawn(3),
    ):
        assert eval(spelled(options), dict(vars(faults))) == options


def test_a_life_that_breaks_nothing_is_not_made_simpler() -> None:
    with pytest.raises(NothingBrokenError):
        shrink(life, 0, Options())


def _is_broken(seed: int, options: Options) -> bool:
    try:
        run_life(life, seed, options)
    except AssertionError:
        return True
    return False
