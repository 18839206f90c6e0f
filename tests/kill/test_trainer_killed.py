"""A trainer that is killed while it saves: a draft is no checkpoint, and what was sealed before is there and good."""

from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.local.ring import SealedShare, scan
from ckpt_archive.local.tidy import clean
from ckpt_archive.place import Place
from ckpt_archive.testing.kill import Act, Point, When
from ckpt_archive.testing.lab import Lab

pytestmark = [pytest.mark.server, pytest.mark.kill]

RUN = "llama"
SIZE_BYTES = 1 << 20


def request_of(lab: Lab, *steps: int, torn: bool = False) -> dict[str, Any]:
    return {
        "url": lab.url,
        "staging": str(lab.folder / "ssd"),
        "run": RUN,
        "steps": steps,
        "size_bytes": SIZE_BYTES,
        "torn": torn,
    }


def data_of(step: int) -> bytes:
    return step.to_bytes(4, "big") * (SIZE_BYTES // 4)


def sealed(lab: Lab) -> dict[int, SealedShare]:
    """What the ring holds, every byte looked at."""
    shares = {share.step: share for share in scan(lab.staging(RUN))}
    for step, share in shares.items():
        assert (Path(share.files_path) / "model.bin").read_bytes() == data_of(step)
    return shares


def drafts(lab: Lab) -> list[str]:
    return [path.name for path in Path(lab.staging(RUN).tmp).iterdir()]


def check_archived(lab: Lab, *steps: int) -> None:
    """The agent archives exactly these; each launch is an attempt of its own."""
    ended = lab.victims.run("agent", staging=str(lab.folder / "ssd"))
    assert (ended.code, ended.result["done"], ended.result["troubles"]) == (0, True, []), ended
    assert sorted(place.step for place in lab.places(RUN)) == sorted(steps)
    for place in lab.places(RUN):
        original = lab.folder / f"original-{place.step}"
        original.mkdir(exist_ok=True)
        (original / "model.bin").write_bytes(data_of(place.step))
        lab.check_restored(place, original)
    lab.check_nothing_orphaned()


def test_killed_in_the_middle_of_a_save(lab: Lab) -> None:
    dead = lab.victims.run("train", **request_of(lab, 1, 2, torn=True))
    assert dead.was_killed, dead
    assert drafts(lab)
    assert list(sealed(lab)) == [1]
    assert clean(lab.staging(RUN)).drafts == 1
    assert drafts(lab) == []
    check_archived(lab, 1)


def test_living_draft_is_left_alone_when_another_one_died(lab: Lab) -> None:
    """Two trainers of one run on one node, in turn: the cleaner takes only what nobody writes."""
    assert lab.victims.run("train", **request_of(lab, 1, torn=True)).was_killed
    point = Point(When.BEFORE, "rename", "/ring/", act=Act.WAIT)
    living = lab.victims.start("train", points=[point], **request_of(lab, 2))
    living.until_reached()
    assert clean(lab.staging(RUN)).drafts == 1
    living.go_on()
    ended = living.wait()
    assert (ended.code, ended.result["saved"]) == (0, [[2, True, False]]), ended
    assert list(sealed(lab)) == [2]


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
def test_killed_between_the_seals_rename_and_its_acknowledgement(when: When, lab: Lab) -> None:
    """Nobody was told that step 2 is staged; it may be there, whole, or not at all."""
    dead = lab.victims.run("train", points=[Point(when, "rename", "/ring/", number=2)], **request_of(lab, 1, 2))
    assert dead.was_killed, dead
    cleaned = clean(lab.staging(RUN))
    there = [1, 2] if when is When.AFTER else [1]
    assert (list(sealed(lab)), cleaned.drafts, cleaned.quarantined) == (there, 2 - len(there), 0)
    assert drafts(lab) == []
    # The new launch saves that step anew; both launches stand side by side.
    again = lab.victims.run("train", **request_of(lab, 2, 3))
    assert (again.code, again.result["saved"]) == (0, [[2, True, False], [3, True, False]]), again
    check_archived(lab, *there, 2, 3)


def test_sealed_and_never_acknowledged_is_archived(lab: Lab) -> None:
    """Whether or not its trainer heard of it."""
    point = Point(When.AFTER, "rename", "/ring/")
    assert lab.victims.run("train", points=[point], **request_of(lab, 7)).was_killed
    check_archived(lab, 7)
    assert lab.places(RUN) == [Place(RUN, 0, 7)]
