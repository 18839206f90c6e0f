"""The step of a pass that carries out the retention policy in force, once a day."""

from ckpt_archive.commit.connection import Connection
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.report import StepReport
from ckpt_archive.retention.passes.periodic import Passed, go_through
from ckpt_archive.retention.passes.voice import DID, Voice

RETENTION = "retention"

_NAMED = 3


def retain(machine: Machine, connection: Connection, budget: Budget) -> StepReport:
    """Carry out the policy in force, if that was not done today. Raises as `go_through`."""

    def voice(policy: str) -> Voice:
        return Voice(machine, connection, "", policy)

    passed = go_through(voice, connection.store, connection.archive_id, lambda: not budget.is_over())
    return retained_step(passed)


def retained_step(passed: Passed) -> StepReport:
    """What came of a pass, for people."""
    counts = passed.done.counts
    did = [f"{counts[kind]} checkpoints {word}" for kind, word in DID.items() if counts.get(kind)]
    left = [*passed.problems[:_NAMED]]
    if len(passed.problems) > _NAMED:
        left.append(f"{len(passed.problems) - _NAMED} more like that: ckpt-archive retention drift")
    if passed.left:
        left.append(f"{passed.left} runs are to be gone through")
    return StepReport.of(RETENTION, did, "; ".join(left), len(passed.problems))
