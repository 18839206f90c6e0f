"""A step by its number: which attempt's it is, and from where, when ring and archive may both have it."""

from pathlib import Path

import pytest

from ckpt_archive.errors import NotFoundError
from ckpt_archive.promotion import Every
from ckpt_archive.testing.archives import read_tree
from ckpt_archive.testing.site import URL, Node, Site, kill, save

RUN = "run-a"
OTHER = "memory://other"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def trained(node: Node, step: int, data: bytes, url: str = URL) -> None:
    """A launch that saves one checkpoint; the agent archives it."""
    run = node.run(url=url, promote=Every(1))
    save(run, step, {"model.bin": data})
    node.site.clock.sleep(60)
    node.ship()
    kill(run)


def near(site: Site, node: Node, step: int) -> dict[str, bytes]:
    """What a person gets who names this node's staging folder."""
    target = site.folder / f"restored-{site.nonce()}"
    node.archive().restore(RUN, step, to=target, staging=node.staging.root, exact_folder=True)
    return read_tree(target)


def test_a_step_that_two_attempts_have_is_that_of_the_newest_wherever_it_is(site: Site) -> None:
    here, elsewhere = site.node("here"), site.node("elsewhere")
    trained(here, 1, b"old")
    trained(elsewhere, 1, b"new")
    restored = here.run().restore(1)
    assert (restored.attempt, restored.source) == (1, "archive")
    assert read_tree(restored.path) == near(site, here, 1) == {"model.bin": b"new"}
    assert here.run().restore(1, attempt=0).source == "ring"


def test_the_ring_is_the_faster_copy_of_the_very_same_checkpoint(site: Site) -> None:
    node = site.node()
    trained(node, 1, b"data")
    run = node.run()
    site.counting[URL].reset()
    restored = run.restore(1)
    assert (restored.attempt, restored.source) == (0, "ring")
    assert site.counting[URL].requests == {"read": 1, "list": 1, "head": 1}, (
        "the archive's own record, attempts, manifest"
    )


def test_while_the_archive_does_not_answer_the_ring_alone_does(site: Site) -> None:
    here, elsewhere = site.node("here"), site.node("elsewhere")
    trained(here, 1, b"old")
    trained(elsewhere, 1, b"new")
    site.down = True
    restored = here.run().restore(1)
    assert (restored.attempt, restored.source) == (0, "ring")
    assert near(site, here, 1) == {"model.bin": b"old"}


def test_what_has_no_number_yet_is_newer_than_the_archive_knows(site: Site) -> None:
    node = site.node()
    trained(node, 1, b"old")
    run = node.run()
    save(run, 1, {"model.bin": b"young"})
    restored = run.restore(1)
    assert (restored.attempt, restored.source) == (None, "ring")
    assert near(site, node, 1) == {"model.bin": b"young"}


def test_a_damaged_newest_one_is_had_from_the_archive_and_not_from_an_older_attempt_in_the_ring(site: Site) -> None:
    node = site.node()
    trained(node, 1, b"old")
    trained(node, 1, b"new")
    (Path(node.shares()[-1].files_path) / "model.bin").write_bytes(b"bad")
    restored = node.run().restore(1)
    assert (restored.attempt, restored.source) == (1, "archive")
    assert near(site, node, 1) == {"model.bin": b"new"}


def test_a_step_of_a_late_launch_is_found_and_does_not_answer_latest(site: Site) -> None:
    late, other = site.node("late"), site.node("other")
    site.down = True
    run = late.run(promote=Every(3, save_every_steps=1))
    save(run, 1)
    kill(run)
    site.down = False
    site.clock.sleep(60)
    trained(other, 2, b"other")
    late.ship()
    restored = late.run().restore(1)
    assert (restored.step, restored.source) == (1, "ring")
    assert near(site, late, 1) == {"model.bin": b"step 1"}
    latest = late.run().resume()
    assert latest is not None
    assert latest.step == 2


def test_numbers_of_another_archive_are_not_compared(site: Site) -> None:
    node, elsewhere = site.node("moved"), site.node("elsewhere")
    for _ in range(3):
        trained(node, 1, b"old")
    site.make_archive(OTHER)
    run = elsewhere.run(url=OTHER, promote=Every(1))
    save(run, 1, {"model.bin": b"new"})
    elsewhere.ship()
    kill(run)
    restored = node.run(url=OTHER).restore(1)
    assert read_tree(restored.path) == {"model.bin": b"new"}


def test_a_step_that_is_nowhere_is_not_found(site: Site) -> None:
    node = site.node()
    trained(node, 1, b"data")
    with pytest.raises(NotFoundError):
        node.run().restore(2)
