"""What else may happen around a death: uploads vanish, answers are lost, others are at work, the server dies too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.devserver import DevServer
from ckpt_archive.place import Place
from ckpt_archive.testing.kill import Act, Part, Point, When
from ckpt_archive.testing.lab import Cost, Lab

pytestmark = [pytest.mark.server, pytest.mark.kill]

PLACE = Place("llama", 0, 100)
SHARE_BYTES = (16 << 20) + sum(40_000 + number for number in range(20))

IN_THE_THIRD_PART = Point(When.MIDDLE, "upload_part", number=3, parts=3)


def request_of(lab: Lab, folder: Path, **more: object) -> dict[str, Any]:
    return {"url": lab.url, "directory": str(folder), "run": PLACE.run, "step": PLACE.step, **more}


def test_upload_id_gone_between_death_and_restart(lab: Lab, checkpoint: Path) -> None:
    assert lab.victims.run("push", points=[IN_THE_THIRD_PART], **request_of(lab, checkpoint)).was_killed
    (upload,) = lab.store.list_uploads("")
    lab.store.abort_upload(upload.key, upload.upload_id)
    finished = lab.victims.run("push", **request_of(lab, checkpoint))
    assert (finished.code, finished.result["state"]) == (0, "committed"), finished
    # The packed object is there; the other one begins again.
    assert (finished.result["bytes_resumed"], finished.result["bytes_sent"]) == (0, 16 << 20)
    lab.check_committed(PLACE, checkpoint)


def test_upload_id_gone_while_parts_are_sent(lab: Lab, checkpoint: Path) -> None:
    point = Point(When.BEFORE, "upload_part", number=3, parts=3, act=Act.WAIT)
    pushing = lab.victims.start("push", points=[point], **request_of(lab, checkpoint))
    pushing.until_reached()
    (upload,) = lab.store.list_uploads("")
    lab.store.abort_upload(upload.key, upload.upload_id)
    pushing.go_on()
    ended = pushing.wait()
    assert (ended.code, ended.result["state"]) == (0, "committed"), ended
    lab.check_committed(PLACE, checkpoint)


@pytest.mark.parametrize("then", ["died", "went on"])
def test_completion_landed_and_answer_was_lost(then: str, lab: Lab, checkpoint: Path) -> None:
    points = [Point(When.AFTER, "complete_upload", act=Act.LOSE)]
    if then == "died":
        points.append(Point(When.BEFORE, "head"))
    ended = lab.victims.run("push", points=points, **request_of(lab, checkpoint))
    if then == "died":
        assert ended.was_killed, ended
        ended = lab.victims.run("push", **request_of(lab, checkpoint))
        assert ended.result["bytes_sent"] == 0, ended
    assert (ended.code, ended.result["state"]) == (0, "committed"), ended
    lab.check_committed(PLACE, checkpoint)


@pytest.mark.parametrize("key", ["runs/", "data/", "receipts/", "log/pending/", "manifests/"])
def test_creation_landed_and_answer_was_lost(key: str, lab: Lab, checkpoint: Path) -> None:
    lost = Point(When.AFTER, "create", key, act=Act.LOSE)
    ended = lab.victims.run("push", points=[lost], **request_of(lab, checkpoint))
    assert ended.code == 0, ended
    lab.check_committed(PLACE, checkpoint)


def test_start_of_upload_landed_and_answer_was_lost(lab: Lab, checkpoint: Path) -> None:
    lost = Point(When.AFTER, "start_upload", act=Act.LOSE)
    ended = lab.victims.run("push", points=[lost], **request_of(lab, checkpoint))
    assert ended.code == 0, ended
    lab.check_committed(PLACE, checkpoint)


def test_continued_with_another_part_size(lab: Lab, checkpoint: Path) -> None:
    assert lab.victims.run("push", points=[IN_THE_THIRD_PART], **request_of(lab, checkpoint)).was_killed
    finished = lab.victims.run("push", **request_of(lab, checkpoint, part_size_bytes=6 << 20))
    assert (finished.code, finished.result["bytes_resumed"]) == (0, 0), finished
    lab.check_committed(PLACE, checkpoint)


def test_killed_before_a_second_upload_was_aborted(lab: Lab, checkpoint: Path) -> None:
    """Its object is there, so nothing is sent any more; the next push still clears what was left."""
    assert lab.victims.run("push", points=[IN_THE_THIRD_PART], **request_of(lab, checkpoint)).was_killed
    request = request_of(lab, checkpoint, part_size_bytes=6 << 20)
    assert lab.victims.run("push", points=[Point(When.BEFORE, "abort_upload")], **request).was_killed
    assert len(lab.store.list_uploads("")) == 1
    finished = lab.victims.run("push", **request)
    assert (finished.code, finished.result["bytes_sent"]) == (0, 0), finished
    lab.check_committed(PLACE, checkpoint)


def test_first_part_still_under_way_and_a_later_one_is_there(lab: Lab, checkpoint: Path) -> None:
    """A later part alone might be of an upload with other parts, so its bytes are compared: see `transfer.session`."""
    point = Point(When.MIDDLE, "upload_part", parts=2)
    dead = lab.victims.run("push", points=[point], **request_of(lab, checkpoint))
    assert dead.was_killed, dead
    finished = lab.victims.run("push", **request_of(lab, checkpoint))
    assert finished.code == 0, finished
    cost = Cost.of(dead, finished, finished.result["bytes_resumed"])
    assert not cost.acknowledged_again
    assert cost.sent_again <= cost.in_flight
    lab.check_committed(PLACE, checkpoint)


def test_next_step_finishes_the_commit_of_the_one_that_died(lab: Lab, checkpoint: Path, scratch: Path) -> None:
    dead = lab.victims.run("push", points=[Point(When.BEFORE, "create", "manifests/")], **request_of(lab, checkpoint))
    assert dead.was_killed, dead
    other = scratch / "other"
    other.mkdir()
    (other / "model.bin").write_bytes(b"other" * 300_000)
    finished = lab.victims.run("push", **request_of(lab, other) | {"step": PLACE.step + 1})
    assert (finished.code, finished.result["state"]) == (0, "committed"), finished
    assert lab.places(PLACE.run) == [Place(PLACE.run, PLACE.attempt, PLACE.step + 1), PLACE]
    lab.check_restored(PLACE, checkpoint)
    lab.check_nothing_orphaned()


def test_killed_again_and_again(lab: Lab, checkpoint: Path) -> None:
    """Each life brings one part further; the last one finds all the others."""
    middle = Point(When.MIDDLE, "upload_part", number=2, parts=1)
    sent: set[Part] = set()
    sent_bytes = 0
    for _ in range(3):
        dead = lab.victims.run("push", points=[middle], parts_in_flight=1, **request_of(lab, checkpoint))
        assert dead.was_killed, dead
        assert not sent & dead.traffic.answered
        assert dead.traffic.answered
        sent |= dead.traffic.answered
        sent_bytes += dead.traffic.answered_bytes
    finished = lab.victims.run("push", parts_in_flight=1, **request_of(lab, checkpoint))
    assert finished.code == 0, finished
    assert finished.result["bytes_sent"] == SHARE_BYTES - sent_bytes
    lab.check_committed(PLACE, checkpoint)


def test_other_content_after_a_death_before_the_receipt(lab: Lab, checkpoint: Path, scratch: Path) -> None:
    """Nothing stands yet, so the other content is archived; what the dead one left is no part of it."""
    other = scratch / "other"
    other.mkdir()
    (other / "model.bin").write_bytes(b"other" * 300_000)
    dead = lab.victims.run("push", points=[Point(When.BEFORE, "create", "receipts/")], **request_of(lab, checkpoint))
    assert dead.was_killed, dead
    finished = lab.victims.run("push", **request_of(lab, other))
    assert (finished.code, finished.result["state"]) == (0, "committed"), finished
    assert lab.places(PLACE.run) == [PLACE]
    lab.check_restored(PLACE, other)


def test_other_content_after_a_death_behind_the_receipt(lab: Lab, checkpoint: Path, scratch: Path) -> None:
    other = scratch / "other"
    other.mkdir()
    (other / "model.bin").write_bytes(b"other" * 300_000)
    dead = lab.victims.run("push", points=[Point(When.AFTER, "create", "receipts/")], **request_of(lab, checkpoint))
    assert dead.was_killed, dead
    refused = lab.victims.run("push", **request_of(lab, other))
    assert (refused.code, refused.traffic.begun) == (5, {}), refused
    lab.check_committed(PLACE, checkpoint)


@pytest.mark.parametrize(
    "point",
    [
        Point(When.BEFORE, "create", "runs/", act=Act.WAIT),
        Point(When.BEFORE, "start_upload", act=Act.WAIT),
        Point(When.BEFORE, "complete_upload", act=Act.WAIT),
        Point(When.BEFORE, "create", "receipts/", act=Act.WAIT),
        Point(When.BEFORE, "create", "manifests/", act=Act.WAIT),
    ],
    ids=str,
)
def test_two_pushes_of_the_same_folder_at_once(point: Point, lab: Lab, checkpoint: Path) -> None:
    pushes = [lab.victims.start("push", points=[point], **request_of(lab, checkpoint)) for _ in range(2)]
    for push in pushes:
        push.until_reached()
    for push in pushes:
        push.go_on()
    ended = [push.wait() for push in pushes]
    assert [(end.code, end.result["attempt"]) for end in ended] == [(0, 0), (0, 0)], ended
    assert {end.result["state"] for end in ended} <= {"committed", "already-committed"}
    lab.check_committed(PLACE, checkpoint)


def test_two_committers_at_once(lab: Lab, scratch: Path) -> None:
    """Two writers both see all receipts, and both create the manifest: one does, the other finds it."""
    folders = []
    for rank in range(2):
        folders.append(scratch / f"share-{rank}")
        folders[-1].mkdir()
        (folders[-1] / f"shard-{rank}.bin").write_bytes(bytes([rank]) * 100_000)
    receipt = Point(When.AFTER, "create", "receipts/", act=Act.WAIT)
    manifest = Point(When.BEFORE, "create", "manifests/", act=Act.WAIT)
    pushes = [
        lab.victims.start("push", points=[receipt, manifest], **request_of(lab, folder, rank=rank, writers=2))
        for rank, folder in enumerate(folders)
    ]
    for point in (receipt, manifest):
        assert [push.until_reached() for push in pushes] == [str(point)] * 2
        for push in pushes:
            push.go_on()
    ended = [push.wait() for push in pushes]
    assert [end.code for end in ended] == [0, 0], ended
    assert sorted(end.result["state"] for end in ended) == ["already-committed", "committed"]
    whole = scratch / "whole"
    whole.mkdir()
    for rank, folder in enumerate(folders):
        (folder / f"shard-{rank}.bin").rename(whole / f"shard-{rank}.bin")
    lab.check_committed(PLACE, whole)


def test_committer_dies_and_the_other_writer_finishes(lab: Lab, scratch: Path) -> None:
    """The last receipt is there, its writer is dead: whoever pushes next commits."""
    folders = []
    for rank in range(2):
        folders.append(scratch / f"share-{rank}")
        folders[-1].mkdir()
        (folders[-1] / f"shard-{rank}.bin").write_bytes(bytes([rank]) * 100_000)
    first = lab.victims.run("push", **request_of(lab, folders[0], rank=0, writers=2))
    assert (first.result["state"], first.result["awaiting"]) == ("awaiting", [1]), first
    dead = lab.victims.run(
        "push",
        points=[Point(When.AFTER, "create", "receipts/")],
        **request_of(lab, folders[1], rank=1, writers=2),
    )
    assert dead.was_killed, dead
    assert lab.places(PLACE.run) == []
    again = lab.victims.run("push", **request_of(lab, folders[0], rank=0, writers=2))
    assert (again.code, again.result["state"]) == (0, "already-committed"), again
    assert lab.places(PLACE.run) == [PLACE]
    lab.check_nothing_orphaned()


@pytest.mark.parametrize("patient", [True, False])
def test_server_killed_in_the_middle_of_an_upload(
    patient: bool, scratch: Path, make_lab: Callable[[DevServer], Lab], checkpoint: Path
) -> None:
    """A patient push goes on by itself when the server is back; another says exit code 3, and the next one finishes."""
    with DevServer(str(scratch / "server")) as server:
        lab = make_lab(server)
        point = Point(When.MIDDLE, "upload_part", number=3, parts=3, act=Act.WAIT)
        request = request_of(lab, checkpoint, **({} if patient else {"max_tries": 2}))
        pushing = lab.victims.start("push", points=[point], **request)
        pushing.until_reached()
        server.kill()
        pushing.go_on()
        if not patient:
            ended = pushing.wait()
            assert (ended.code, ended.result) == (3, {}), ended
        server.restart()
        if not patient:
            pushing = lab.victims.start("push", **request_of(lab, checkpoint))
        ended = pushing.wait()
        assert (ended.code, ended.result["state"]) == (0, "committed"), ended
        if not patient:
            assert ended.result["bytes_resumed"] >= 2 * (5 << 20)
        lab.check_committed(PLACE, checkpoint)
