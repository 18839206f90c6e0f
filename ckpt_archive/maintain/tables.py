"""The steps of a pass that are about the tables of the index. Loads the libraries that make it."""

from dataclasses import replace
from datetime import UTC

from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.marker import store_time
from ckpt_archive.commit.marks import is_marked, mark
from ckpt_archive.index.compaction import Compacted, compact
from ckpt_archive.index.schema import TABLES, VERSION
from ckpt_archive.index.sync import Projected, Projector, open_projector
from ckpt_archive.index.vacuum import vacuum
from ckpt_archive.log.cache import RecordCache
from ckpt_archive.log.looking import Keep
from ckpt_archive.machine import Machine
from ckpt_archive.maintain.budget import Budget
from ckpt_archive.maintain.maintaining import COMPACT, INDEX, VACUUM
from ckpt_archive.maintain.marks import forget_old
from ckpt_archive.maintain.report import StepReport
from ckpt_archive.progress import Progress
from ckpt_archive.store.object_store import location
from ckpt_archive.store.protocol import Store, list_folders


class TableWork:
    """What is done for the tables in one pass; they are opened once, and not at all where marks say that all is done.

    Args:
        progress: Told how far a projection is, in batches of the log.
        looks: Whether it looks, with one more listing, if somebody has removed a table.
    """

    def __init__(self, progress: Progress | None = None, *, looks: bool = False) -> None:
        self._progress = progress
        self._looks = looks
        self._kept = RecordCache()
        self._opened: Projector | None = None
        self._grown = False
        self._is_first: bool | None = None
        self._day = ""

    @property
    def keep(self) -> Keep:
        """See `IndexWork.keep`."""
        return self._kept.put

    def project(self, machine: Machine, connection: Connection, newest: int, budget: Budget) -> StepReport:
        """See `IndexWork.project`."""
        store, key = connection.store, layout.index_mark(newest, VERSION, connection.archive_id)
        if is_marked(store, key) and not (self._looks and _is_one_missing(store)):
            return StepReport.of(INDEX, ())
        projector = self._projector(machine, connection)
        until_seconds = machine.clock.monotonic() + budget.left_seconds
        done = projector.project(newest, until_seconds=until_seconds, progress=self._progress)
        self._grown = done.batches > 0
        if done.is_complete:
            mark(store, key)
        return projected_step(done)

    def compact(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """See `IndexWork.compact`. Where nothing has come into the tables, once a day, with the vacuum."""
        if not self._grown and not self._is_first_of_the_day(connection):
            return StepReport.of(COMPACT, ())
        total = Compacted()
        until_seconds = machine.clock.monotonic() + budget.left_seconds
        for opened in self._projector(machine, connection).tables.values():
            if budget.is_over():
                total = replace(total, is_complete=False)
                break
            total = _sum(total, compact(connection.store, machine, opened, until_seconds=until_seconds))
        return compacted_step(total)

    def vacuum(self, machine: Machine, connection: Connection, budget: Budget) -> StepReport:
        """See `IndexWork.vacuum`."""
        store = connection.store
        # Whoever makes the mark does it; if he is killed, the next day comes.
        if not self._is_first_of_the_day(connection) or not mark(store, self._today(connection)):
            return StepReport.of(VACUUM, ())
        projector = self._projector(machine, connection)
        files = size_bytes = 0
        left = ""
        for opened in projector.tables.values():
            if budget.is_over():
                left = "some tables were not looked through; they will be tomorrow"
                break
            done = vacuum(store, opened)
            files, size_bytes = files + done.files, size_bytes + done.bytes
        forget_old(store, projector.number, self._today(connection))
        return StepReport.of(VACUUM, [f"{files} files of {size_bytes} bytes removed"] if files else [], left)

    def _is_first_of_the_day(self, connection: Connection) -> bool:
        if self._is_first is None:
            self._is_first = not is_marked(connection.store, self._today(connection))
        return self._is_first

    def _today(self, connection: Connection) -> str:
        if not self._day:
            self._day = layout.index_day(store_time(connection.store).astimezone(UTC).date())
        return self._day

    def _projector(self, machine: Machine, connection: Connection) -> Projector:
        if self._opened is None:
            self._opened = open_projector(
                connection.store, machine, connection.archive_id, location(connection.store.url), self._kept
            )
        return self._opened


def projected_step(done: Projected) -> StepReport:
    """What a projection came to, for people."""
    did = [f"{done.batches} batches with {done.entries} records"] if done.batches else []
    left = "" if done.is_complete else f"batches after {done.number} are to be put in"
    return StepReport.of(INDEX, did, left, done.findings)


def compacted_step(done: Compacted) -> StepReport:
    """What compactions came to, for people."""
    did = [f"{done.removed} files joined into {done.added}"] if done.removed else []
    return StepReport.of(COMPACT, did, "" if done.is_complete else "more files are to be joined")


def _sum(one: Compacted, other: Compacted) -> Compacted:
    return Compacted(
        one.removed + other.removed,
        one.added + other.added,
        one.rows + other.rows,
        one.refused + other.refused,
        one.is_complete and other.is_complete,
    )


def _is_one_missing(store: Store) -> bool:
    return not {layout.index_table(name) for name in TABLES} <= set(list_folders(store, layout.INDEX))
