"""One pass of maintenance: seal the log, finish commits, bring the index up to date, keep it small, carry out retention.

Any number may be made at once, each may be killed anywhere, and the next one goes on from what stands in the store: a pass
remembers nothing. An error of one step stops that step alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Protocol

from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.log.looking import Keep, forget
from ckpt_archive.log.sequence import newest_number, read_batch
from ckpt_archive.log.sync import SealReport, seal
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.finishing import Finishing, finish
from ckpt_archive.maintain.report import MaintainReport, State, StepReport
from ckpt_archive.maintain.retaining import RETENTION, retain
from ckpt_archive.place import Place

LOG = "log"
COMMITS = "commits"
INDEX = "index"
COMPACT = "compact"
VACUUM = "vacuum"

INSTALL = "pip install 'ckpt-archive[index]'"

_NO_TIME = "the time was over before it began"
_NAMED = 3


class IndexWork(Protocol):
    """What can be done for the index where its libraries are installed."""

    @property
    def keep(self) -> Keep:
        """Is given the records as they are sealed, so that they need not be fetched again."""
        ...

    def project(self, machine: Machine, connection: Connection, newest: int, budget: Budget) -> StepReport:
        """Bring the batches of the log up to `newest` into the tables that lack them."""
        ...

    def compact(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """Join small files where there are many."""
        ...

    def vacuum(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """Remove files that no table names any more, at most once a day."""
        ...


def maintain(
    machine: Machine,
    connection: Connection,
    *,
    budget_seconds: float,
    index: IndexWork | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[StepReport], None] = lambda step: None,
) -> MaintainReport:
    """One pass. Never raises what one of its steps meets: that stands in the report.

    Args:
        machine: Runs it.
        connection: The archive.
        budget_seconds: When it is over, nothing more is begun.
        index: What is done for the index; None where its libraries are not installed.
        should_stop: Asked between steps, and between parts of them.
        on_step: Told of each step when it has ended.
    """
    one_pass = _Pass(machine, connection, Budget(machine.clock, budget_seconds, should_stop), index)
    steps: list[StepReport] = []
    for step in one_pass.steps():
        on_step(step)
        steps.append(step)
    return MaintainReport(tuple(steps))


def sync(
    machine: Machine,
    connection: Connection,
    *,
    budget_seconds: float = math.inf,
    index: IndexWork | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> MaintainReport:
    """The part of a pass that brings what is new into the log and the index. Arguments as `maintain`."""
    one_pass = _Pass(machine, connection, Budget(machine.clock, budget_seconds, should_stop), index)
    return MaintainReport(tuple(one_pass.sync_steps()))


def sealed_step(report: SealReport) -> StepReport:
    """What a seal came to, for people."""
    did = []
    if report.entries:
        did.append(f"{report.entries} records sealed")
    if report.findings:
        did.append(f"{report.findings} findings sealed")
    left = "" if report.is_complete else "more markers are to be looked at"
    findings = report.findings
    if report.needs_reconcile:
        left = "markers may have expired before anybody looked: run ckpt-archive index reconcile"
        findings += 1
    return StepReport.of(LOG, did, left, findings)


def finished_step(done: Finishing) -> StepReport:
    """What came of looking for commits to finish, for people."""
    did = [f"{len(done.committed)} committed: {_named(done.committed)}"] if done.committed else []
    problems = [f"{place}: {error.message}" for place, error in done.problems[:_NAMED]]
    left = [*problems, *([f"{done.left} attempts are to be looked at"] if done.left else [])]
    return StepReport.of(COMMITS, did, "; ".join(left), len(done.problems))


def _named(places: list[Place]) -> str:
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return ", ".join(map(str, places[:_NAMED])) + more


def _joined(first: StepReport, then: StepReport) -> StepReport:
    """Two steps of one name as one."""
    if first.error is not None or then.state is State.NOTHING:
        return first
    did = ", ".join(text for text in (first.did, then.did) if text)
    return replace(then, did=did, findings=first.findings + then.findings)


class _Pass:
    def __init__(self, machine: Machine, connection: Connection, budget: Budget, index: IndexWork | None) -> None:
        self._machine = machine
        self._connection = connection
        self._budget = budget
        self._index = index
        self._newest = 0
        self._committed = False

    def steps(self) -> Iterator[StepReport]:
        """Each step, when it has ended."""
        # Sealing is first because it tells where to look for commits to finish, which it then has to seal too.
        sealed = self._guarded(LOG, self._seal)
        finished = self._guarded(COMMITS, self._finish)
        if self._committed:
            sealed = _joined(sealed, self._guarded(LOG, self._seal))
        yield sealed
        yield finished
        yield self._projected()
        if self._index is not None:
            for name, work in ((COMPACT, self._index.compact), (VACUUM, self._index.vacuum)):
                yield self._guarded(name, partial(work, self._machine, self._connection, self._budget))
        # Last: nothing waits for it, and the first pass after a policy was applied may take all the time there is.
        yield self._guarded(RETENTION, partial(retain, self._machine, self._connection, self._budget))

    def sync_steps(self) -> Iterator[StepReport]:
        """Each step of a sync, when it has ended."""
        yield self._guarded(LOG, self._seal)
        yield self._projected()

    def _projected(self) -> StepReport:
        if self._index is None:
            return StepReport(
                INDEX, State.NOTHING, left=f"the libraries that make it are not installed here: {INSTALL}"
            )
        index = self._index
        return self._guarded(
            INDEX, lambda: index.project(self._machine, self._connection, self._newest_sealed(), self._budget)
        )

    def _seal(self) -> StepReport:
        connection, index = self._connection, self._index
        report = seal(
            connection.store,
            self._machine.executor,
            connection.archive_id,
            self._machine.node,
            hint=self._newest,
            go_on=lambda: not self._budget.is_over(),
            keep=forget if index is None else index.keep,
            # One more request for each batch: cheaper than to find out whether the store compares what it is sent.
            read_back=True,
        )
        self._newest = report.newest
        return sealed_step(report)

    def _newest_sealed(self) -> int:
        """The newest batch; looked for where sealing failed."""
        return self._newest or newest_number(self._connection.store)

    def _finish(self) -> StepReport:
        connection = self._connection
        newest = read_batch(connection.store, connection.archive_id, self._newest) if self._newest else None
        # This machine's clock says how long ago that was: a wrong one looks at more attempts, or later, and does no harm.
        now = self._machine.clock.now()
        done = finish(self._machine, connection, newest, now, self._budget)
        self._committed = bool(done.committed)
        return finished_step(done)

    def _guarded(self, name: str, work: Callable[[], StepReport]) -> StepReport:
        if self._budget.is_over():
            return StepReport.of(name, (), _NO_TIME)
        try:
            return work()
        except CkptArchiveError as error:
            return StepReport.failed(name, error)
