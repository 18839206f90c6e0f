"""A restore that is killed: the final name never shows anything but the whole tree, and the next one keeps what is right."""

from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.place import Place
from ckpt_archive.testing.kill import Act, Point, When
from ckpt_archive.testing.lab import Lab, check_same_tree

pytestmark = [pytest.mark.server, pytest.mark.kill]

PLACE = Place("llama", 0, 100)
SHARE_BYTES = (16 << 20) + sum(40_000 + number for number in range(20))

IN_A_RANGE = Point(When.MIDDLE, "fetch", number=4, parts=3)
BEFORE_THE_RENAME = Point(When.BEFORE, "rename", "/back")
BEHIND_THE_RENAME = Point(When.AFTER, "rename", "/back")
EMPTY_TARGET_REMOVED = Point(When.AFTER, "remove_directory", "/back")


@pytest.fixture
def pushed(lab: Lab, checkpoint: Path) -> Lab:
    """An archive that holds the checkpoint."""
    arguments: dict[str, Any] = {"directory": str(checkpoint), "run": PLACE.run, "step": PLACE.step}
    assert lab.victims.run("push", url=lab.url, **arguments).code == 0
    return lab


def request_of(lab: Lab, to: Path) -> dict[str, Any]:
    return {"url": lab.url, "to": str(to), "run": PLACE.run, "attempt": PLACE.attempt, "step": PLACE.step}


CASES = [
    (IN_A_RANGE, "missing"),
    (BEFORE_THE_RENAME, "missing"),
    (BEHIND_THE_RENAME, "missing"),
    (IN_A_RANGE, "empty"),
    (EMPTY_TARGET_REMOVED, "empty"),
    (BEHIND_THE_RENAME, "empty"),
]


@pytest.mark.parametrize(("point", "target"), CASES, ids=str)
def test_restore_killed(point: Point, target: str, pushed: Lab, checkpoint: Path, scratch: Path) -> None:
    to = scratch / "out" / "back"
    if target == "empty":
        to.mkdir(parents=True)
    dead = pushed.victims.run("restore", points=[point], **request_of(pushed, to))
    assert dead.was_killed, dead
    if point == BEHIND_THE_RENAME:
        check_same_tree(to, checkpoint)
    else:
        assert not to.exists() or list(to.iterdir()) == []

    finished = pushed.victims.run("restore", **request_of(pushed, to))
    assert (finished.code, finished.result["verified"]) == (0, True), finished
    kept = finished.result["bytes_kept"]
    if point == IN_A_RANGE:
        assert 0 < dead.traffic.answered_bytes <= kept < SHARE_BYTES
    else:
        assert kept == SHARE_BYTES
    assert finished.result["bytes_fetched"] == SHARE_BYTES - kept
    check_same_tree(to, checkpoint)
    assert [entry.name for entry in to.parent.iterdir()] == [to.name]


def test_two_restores_into_one_folder_and_one_is_killed(pushed: Lab, checkpoint: Path, scratch: Path) -> None:
    """The second one waits for the first one's lock, which dies with it, and goes on with what is there."""
    to = scratch / "out" / "back"
    first = pushed.victims.start("restore", points=[_waiting(IN_A_RANGE)], **request_of(pushed, to))
    first.until_reached()
    second = pushed.victims.start("restore", **request_of(pushed, to))
    first.kill()
    assert first.wait().was_killed
    ended = second.wait()
    assert ended.code == 0, ended
    assert ended.result["bytes_kept"] > 0
    check_same_tree(to, checkpoint)


def test_what_a_dead_restore_left_was_damaged(pushed: Lab, checkpoint: Path, scratch: Path) -> None:
    """Nothing that is found is believed: a flipped byte costs one range."""
    to = scratch / "out" / "back"
    assert pushed.victims.run("restore", points=[BEFORE_THE_RENAME], **request_of(pushed, to)).was_killed
    (partial,) = (path for path in to.parent.iterdir() if path.is_dir())
    with (partial / "model.bin").open("r+b") as file:
        file.seek(6 << 20)
        byte = file.read(1)
        file.seek(6 << 20)
        file.write(bytes([byte[0] ^ 1]))
    finished = pushed.victims.run("restore", **request_of(pushed, to))
    assert (finished.code, finished.result["bytes_fetched"]) == (0, 5 << 20), finished
    check_same_tree(to, checkpoint)


def _waiting(point: Point) -> Point:
    return Point(point.when, point.verb, point.key, point.number, point.parts, Act.WAIT)
