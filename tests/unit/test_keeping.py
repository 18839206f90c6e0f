"""Retention from a program: what the command line does, as methods of an archive."""

from pathlib import Path

import pytest

from ckpt_archive.errors import ConflictError
from ckpt_archive.retention.policy.file import load, preset
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.testing.archives import archive_on, memory_store, write_tree

POLICY = load(
    'keep_newest = 1\n[classes.week]\nkeep_for = "7d"\n[classes.kept]\nkeep_for = "forever"\nexplicit = true\n', "p"
)


def test_a_policy_is_planned_applied_and_compared(tmp_path: Path) -> None:
    store = memory_store()
    archive = archive_on(store)
    archive.connection.bucket = MemoryBucket(store)
    for step in (100, 200, 300):
        archive.push(str(write_tree(tmp_path / str(step), {"model": b"x" * step})), run="run", step=step)
    retention = archive.retention
    assert retention.in_force() is None
    plan = retention.plan(POLICY)
    assert {change.place.step for change in plan.changes} == {100, 200}
    retention.hold("run", 100, case="A.1", reason="a lawyer asked")
    with pytest.raises(ConflictError):
        retention.apply(plan)
    assert retention.apply(retention.plan(POLICY)).is_complete
    assert retention.in_force() == POLICY
    assert not retention.drift(POLICY, tags=True).differences
    states = {info.step: (info.state, info.held) for info in archive.checkpoints("run")}
    assert states == {300: ("kept", False), 200: ("ending", False), 100: ("kept", True)}
    with pytest.raises(ConflictError, match="held"):
        retention.drop(POLICY, "run", 100, 100, reason="no use")
    assert retention.release("run", 100, case="A.1", reason="over").others == ()
    assert len(retention.drop(POLICY, "run", 100, 100, reason="no use").places) == 1
    assert len(retention.undrop("run").places) == 1
    assert retention.assign(POLICY, "run", 100, "kept", reason="wanted").after == "kept"
    assert retention.drift(preset("default")).differences
