"""A push, and an agent, that is killed at every boundary between its steps, and finished by a new process."""

from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.local.ring import scan
from ckpt_archive.place import Place
from ckpt_archive.testing.kill import Point, When
from ckpt_archive.testing.lab import Cost, Lab

pytestmark = [pytest.mark.server, pytest.mark.kill]

PLACE = Place("llama", 0, 100)

BEFORE, MIDDLE, AFTER = When.BEFORE, When.MIDDLE, When.AFTER

# In the order in which they come. The packed object counts as one of the parts.
POINTS = [
    Point(BEFORE, "create", "-launch-"),
    Point(AFTER, "create", "-launch-"),
    Point(BEFORE, "create", "runs/"),
    Point(AFTER, "create", "runs/"),
    Point(BEFORE, "list", "data/"),
    Point(BEFORE, "start_upload"),
    Point(AFTER, "start_upload"),
    Point(BEFORE, "create", "data/"),
    Point(MIDDLE, "create", "data/"),
    Point(AFTER, "create", "data/"),
    Point(BEFORE, "upload_part"),
    Point(MIDDLE, "upload_part"),
    Point(AFTER, "upload_part"),
    Point(AFTER, "upload_part", number=2, parts=3),
    Point(BEFORE, "upload_part", number=3, parts=3),
    Point(MIDDLE, "upload_part", number=3, parts=3),
    Point(AFTER, "upload_part", number=4, parts=5),
    Point(BEFORE, "complete_upload"),
    Point(AFTER, "complete_upload"),
    Point(BEFORE, "head"),
    Point(AFTER, "head"),
    Point(BEFORE, "create", "receipts/"),
    Point(AFTER, "create", "receipts/"),
    Point(BEFORE, "create", "-commit-"),
    Point(AFTER, "create", "-commit-"),
    Point(BEFORE, "create", "manifests/"),
    Point(AFTER, "create", "manifests/"),
]
RECEIPT_LANDED = POINTS.index(Point(AFTER, "create", "receipts/"))
COMMITTED = POINTS.index(Point(AFTER, "create", "manifests/"))
# Each push of the same again costs a second; these are the ones that leave most to be cleaned up.
REPEATED = (Point(MIDDLE, "upload_part", number=3, parts=3), Point(AFTER, "create", "manifests/"))

# What the agent makes durable on its own disk.
LOCAL_POINTS = [
    Point(when, "link", f"/{name}")
    for name in ("00000000.attempt.json", "digests.json", "receipt.json", "archived.json")
    for when in (BEFORE, AFTER)
]

IN_FLIGHT_BYTES = 2 * (5 << 20)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_push_killed(point: Point, lab: Lab, checkpoint: Path, record_property: Any) -> None:
    request: dict[str, Any] = {"url": lab.url, "directory": str(checkpoint), "run": PLACE.run, "step": PLACE.step}
    dead = lab.victims.run("push", points=[point], **request)
    assert dead.was_killed, dead
    lab.check_promises()
    assert lab.places(PLACE.run) == ([PLACE] if POINTS.index(point) >= COMMITTED else [])

    finished = lab.victims.run("push", **request)
    assert finished.code == 0, finished
    # With the receipt there, what every push begins with has finished the dead one's commit.
    state = "already-committed" if POINTS.index(point) >= RECEIPT_LANDED else "committed"
    assert (finished.result["state"], finished.result["attempt"]) == (state, PLACE.attempt)
    cost = Cost.of(dead, finished, finished.result["bytes_resumed"])
    record_property("killed", (f"push: {point}", cost.sent_first, cost.resumed, cost.sent_again, cost.in_flight))
    assert cost.in_flight <= IN_FLIGHT_BYTES
    assert cost.sent_again <= cost.in_flight
    assert not cost.acknowledged_again
    lab.check_committed(PLACE, checkpoint)

    if point not in REPEATED:
        return
    again = lab.victims.run("push", **request)
    assert (again.code, again.result["state"], again.result["bytes_sent"]) == (0, "already-committed", 0), again


@pytest.mark.parametrize("point", POINTS + LOCAL_POINTS, ids=str)
def test_agent_killed(point: Point, lab: Lab, checkpoint: Path, record_property: Any) -> None:
    staging = lab.stage(PLACE.run, PLACE.step, checkpoint)
    dead = lab.victims.run("agent", points=[point], staging=staging)
    assert dead.was_killed, dead
    lab.check_promises()
    (share,) = scan(lab.staging(PLACE.run))
    if share.is_archived:
        assert lab.places(PLACE.run) == [PLACE]
    else:
        assert share.is_pinned

    finished = lab.victims.run("agent", staging=staging)
    assert (finished.code, finished.result["done"], finished.result["troubles"]) == (0, True, []), finished
    resumed = sum(item["bytes_resumed"] for item in finished.result["archived"])
    cost = Cost.of(dead, finished, resumed)
    record_property("killed", (f"agent: {point}", cost.sent_first, cost.resumed, cost.sent_again, cost.in_flight))
    assert cost.in_flight <= IN_FLIGHT_BYTES
    assert cost.sent_again <= cost.in_flight
    assert not cost.acknowledged_again
    assert share.is_archived
    assert not share.is_pinned
    lab.check_committed(PLACE, checkpoint)
