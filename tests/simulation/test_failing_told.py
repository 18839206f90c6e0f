"""What failing at every call has found in the product, each told again on purpose."""

from collections.abc import Callable

import pytest

from ckpt_archive.errors import CapacityError, UnavailableError
from ckpt_archive.local.staging import Staging
from ckpt_archive.promotion import Every
from ckpt_archive.restore.local_view import ring_points, shares_of
from ckpt_archive.testing.simulation.diary import Slot
from ckpt_archive.testing.simulation.faults import Fault, Options
from ckpt_archive.testing.simulation.scene import OUT, RUN, Scene
from ckpt_archive.testing.simulation.shelf import STAGING
from ckpt_archive.testing.simulation.world import World


def play(*acts: Callable[[Scene], object]) -> Scene:
    with World(1, Options(switch_chance=0.0), trace=True) as world:
        scene = Scene(world)
        for act in acts:
            scene.play("act", scene.home, lambda act=act: act(scene))  # type: ignore[misc]
    return scene


def saves(scene: Scene) -> None:
    run = scene.trainer(scene.home, "key", Every(1))
    assert scene.save(scene.home, run, Slot(RUN, "key", 1, 0))
    run.finish()


def archives(scene: Scene) -> None:
    scene.settle(scene.home)


def restore(scene: Scene) -> None:
    scene.archive(scene.home).restore(RUN, 1, to=OUT)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("disk.write", Fault.WRITE_ERROR),
        ("disk.create", Fault.TOO_MANY_FILES),
        ("disk.sync", Fault.SYNC_FAILED),
        ("disk.make_directory", Fault.WRITE_ERROR),
    ],
)
def test_a_disk_that_does_not_do_it_is_not_told_as_a_wrong_path(kind: str, fault: Fault) -> None:
    def act(scene: Scene) -> None:
        scene.world.inject(kind, fault, times=None)
        with pytest.raises(UnavailableError, match="can not be written"):
            restore(scene)

    play(saves, archives, act)


def test_a_full_disk_is_told_as_one() -> None:
    def act(scene: Scene) -> None:
        scene.world.inject("disk.write", Fault.NO_ROOM)
        with pytest.raises(CapacityError):
            restore(scene)

    play(saves, archives, act)


@pytest.mark.parametrize("fault", [Fault.READ_ERROR, Fault.TOO_MANY_FILES])
@pytest.mark.parametrize("kind", ["disk.open", "disk.list"])
def test_a_folder_that_can_not_be_read_just_now_was_not_changed(kind: str, fault: Fault) -> None:
    def act(scene: Scene) -> None:
        scene.lay_out(scene.home, 1)
        scene.world.inject(kind, fault)
        with pytest.raises(UnavailableError, match="can not be read"):
            scene.push(scene.home, 1, 0, 1)
        assert scene.push(scene.home, 1, 0, 1) == "committed"

    play(act)


def test_a_share_that_can_not_be_listed_just_now_was_not_evicted() -> None:
    def act(scene: Scene) -> None:
        run = Staging(scene.home.machine(), STAGING).run(RUN)
        (point,) = ring_points(run)
        scene.world.inject("disk.list", Fault.READ_ERROR, skip=1, times=None)
        with pytest.raises(UnavailableError):
            shares_of(run, point)

    play(saves, act)


def test_the_agent_says_that_a_launch_without_a_record_is_not_archived() -> None:
    """Else its share is pinned for ever, and nobody is told why."""

    def act(scene: Scene) -> None:
        scene.home.disk.find(f"{STAGING}/{RUN}/launches/00000000.json").flip(7)
        agent = scene.agent(scene.home)
        for _ in range(2):
            done = agent.step()
            assert len(done.pending) == 1
            assert "the record of the launch of step 1" in " ".join(done.troubles)
            scene.home.clock.sleep(60.0)

    play(saves, act)
