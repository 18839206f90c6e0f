"""A milestone is archived whatever the rule says; a class that is said when saving stands in the manifest."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ckpt_archive.archive import Archive
from ckpt_archive.cli import cmd_push
from ckpt_archive.commit.catalog import load_manifest, places
from ckpt_archive.errors import ConflictError, InvalidInputError
from ckpt_archive.promotion import Every
from ckpt_archive.retention.policy.file import preset
from ckpt_archive.ship.push import PushRequest, push
from ckpt_archive.testing.archives import archive_on, connected, memory_store, write_tree
from ckpt_archive.testing.checkpoints import ManualClock
from ckpt_archive.testing.site import Node, Site, save
from ckpt_archive.testing.staged import local_machine


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Site(tmp_path).node()


def test_a_milestone_is_promoted_although_the_rule_says_no(node: Node) -> None:
    run = node.run(promote=Every(5))
    save(run, 1)
    save(run, 2, milestone="v1-rc1")
    by_step = {share.step: share for share in node.shares()}
    assert not by_step[1].is_promoted
    assert by_step[2].is_promoted
    assert by_step[2].seal.contribution.promotion == {"rule": "milestone", "name": "v1-rc1"}


def test_a_milestone_that_the_rule_promotes_too_keeps_its_ordinal() -> None:
    rule = Every(2, save_every_steps=10)
    assert rule.to_json(40, 4, "v1") == {
        "rule": "milestone",
        "name": "v1",
        "count": 2,
        "ordinal": 2,
        "save_every_steps": 10,
    }
    assert rule.to_json(30, 3, "v1") == {"rule": "milestone", "name": "v1"}
    assert rule.to_json(30, 3) == {}


def test_a_class_is_said_and_promotes_nothing(node: Node) -> None:
    run = node.run(promote=Every(5))
    save(run, 1, retention_class="keep-for-audit")
    (share,) = node.shares()
    assert share.seal.contribution.retention_class == "keep-for-audit"
    assert not share.is_promoted


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"milestone": ""}, "the milestone '' is not allowed"),
        ({"milestone": "a/b"}, "the milestone 'a/b' is not allowed"),
        ({"milestone": "x" * 129}, "is not allowed"),
        ({"milestone": 3}, "the milestone 3 is not allowed"),
        ({"retention_class": "Daily"}, "the retention class 'Daily' is not allowed"),
        ({"retention_class": ""}, "the retention class '' is not allowed"),
        ({"retention_class": "trash"}, "ckpt-archive drop"),
        ({"retention_class": 3}, "the retention class 3 is not allowed"),
    ],
)
def test_a_name_that_is_not_allowed_is_refused_before_anything_is_written(
    node: Node, tmp_path: Path, said: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        node.run().checkpoint(1, **said)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=problem):
        archive_on(memory_store()).push(tmp_path, "run", 1, **said)  # type: ignore[arg-type]


def test_what_was_pushed_as_a_milestone_is_one_under_the_policy(tmp_path: Path) -> None:
    store = memory_store()
    folder = write_tree(tmp_path / "out", {"model.bin": b"m"})
    archive_on(store).push(folder, "run", 1, milestone="v1", retention_class="release")
    (place,) = places(store, "run")
    manifest = load_manifest(store, place).manifest
    assert manifest.promotion == {"rule": "milestone", "name": "v1"}
    assert manifest.retention_class == "release"
    chosen, why = preset("default").choose(manifest.promotion)
    assert chosen is not None
    assert (chosen.name, why) == ("milestone", "milestone 'v1'")
    chosen, why = preset("eu-ai-10y").choose(manifest.promotion, manifest.retention_class)
    assert chosen is not None
    assert (chosen.name, why) == ("release", "saved as release")


def test_writers_that_say_other_classes_are_a_conflict(tmp_path: Path) -> None:
    store = memory_store()
    machine = local_machine(clock=ManualClock())

    def pushed(rank: int, retention_class: str) -> str:
        folder = write_tree(tmp_path / f"rank-{rank}", {f"shard-{rank}.bin": b"%d" % rank})
        request = PushRequest(str(folder), "run", 1, rank=rank, writers=2, retention_class=retention_class)
        return push(machine, connected(store), request).state

    assert pushed(0, "daily") == "awaiting"
    with pytest.raises(ConflictError, match="retention class"):
        pushed(1, "hourly")
    assert list(places(store, "run")) == []
    assert pushed(1, "daily") == "committed"


def test_the_command_line_says_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/archive"
    monkeypatch.delenv("CKPT_ARCHIVE_LAUNCH_KEY", raising=False)
    archive = Archive.create(url)
    folder = write_tree(tmp_path / "out", {"model.bin": b"m"})
    arguments = [
        str(folder),
        "--run",
        "run",
        "--step",
        "1",
        "--milestone",
        "v1",
        "--class",
        "release",
        "--archive",
        url,
    ]
    outcome = CliRunner().invoke(cmd_push.command, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    store = archive.connection.store
    (place,) = places(store, "run")
    manifest = load_manifest(store, place).manifest
    assert (manifest.promotion, manifest.retention_class) == ({"rule": "milestone", "name": "v1"}, "release")
