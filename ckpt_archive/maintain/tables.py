"""The steps of a pass that are about the tables of the index. Loads the libraries that make it."""

from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.index.sync import Projected, Projector, open_projector, project_all
from ckpt_archive.log.cache import RecordCache
from ckpt_archive.log.looking import Keep
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.maintaining import COMPACT, INDEX, VACUUM
from ckpt_archive.maintain.report import StepReport
from ckpt_archive.store.object_store import location


class TableWork:
    """What is done for the tables in one pass; they are opened once."""

    def __init__(self) -> None:
        self._kept = RecordCache()
        self._opened: Projector | None = None

    @property
    def keep(self) -> Keep:
        """See `IndexWork.keep`."""
        return self._kept.put

    def newest(self, machine: Machine, connection: Connection) -> int:
        """See `IndexWork.newest`."""
        try:
            return self._projector(machine, connection).number
        except CkptArchiveError:
            # It is met again, and told, when something is to be put into the index.
            return 0

    def project(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """See `IndexWork.project`."""
        return projected_step(project_all(self._projector(machine, connection), budget_seconds=budget.left_seconds))

    def compact(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """See `IndexWork.compact`."""
        del machine, connection, budget
        return StepReport.of(COMPACT, [])

    def vacuum(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """See `IndexWork.vacuum`."""
        del machine, connection, budget
        return StepReport.of(VACUUM, [])

    def _projector(self, machine: Machine, connection: Connection) -> Projector:
        if self._opened is None:
            self._opened = open_projector(
                connection.store, machine, connection.archive_id, location(connection.store.url), self._kept
            )
        return self._opened


def projected_step(done: Projected) -> StepReport:
    """What a projection came to, for people."""
    did = [f"{done.batches} batches with {done.entries} records"] if done.batches else []
    return StepReport.of(INDEX, did, "" if done.is_complete else f"batches after {done.number} are to be put in")
