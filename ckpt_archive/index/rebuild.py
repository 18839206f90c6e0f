"""The index made anew from the log: new files beside the old ones, then each table swapped in one commit.

Until then, and if it ends before, the old index serves. A reader sees a table before or after. Syncs and compactions may go
on meanwhile: whoever comes first, the other is refused and goes on from what stands.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ckpt_archive import errors
from ckpt_archive.commit import layout
from ckpt_archive.errors import ConflictError, UnavailableError
from ckpt_archive.index.checking_log import log_differences, snapshot_of
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.projection import Projection, batches
from ckpt_archive.index.schema import TABLES, Table
from ckpt_archive.index.sink import Sink
from ckpt_archive.index.state import State
from ckpt_archive.index.tables import DataFile, OpenTable, RefusedError, UnreadableError, open_or_create
from ckpt_archive.index.vacuum import LOG_FOLDER
from ckpt_archive.log.sequence import newest_number
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress, ProgressEvent
from ckpt_archive.store.object_store import Location
from ckpt_archive.store.protocol import Store, list_pages

_log = logging.getLogger(__name__)

_MOST_REFUSALS = 100
PHASE = "rebuild"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        number: The last batch in every table.
        entries: How many entries were replayed.
        rows: Of each table.
        renewed: Tables whose own log could not be read, and was dropped.
    """

    number: int
    entries: int
    rows: Mapping[str, int]
    renewed: tuple[str, ...] = ()


def rebuild(
    store: Store, machine: Machine, archive_id: str, location: Location, *, progress: Progress | None = None
) -> Rebuilt:
    """Replay the whole log into new files, and swap them in.

    Args:
        store: Where the archive is.
        machine: Clock, executor, nonces.
        archive_id: The archive's.
        location: Of the archive, for the library.
        progress: Told after each batch, in batches.

    Raises:
        IntegrityError: If a batch of the log is missing or damaged; the old index stands.
        UnavailableError: If the store does not answer; likewise, or some tables are new: then do it again.
    """
    replay = _Replay(store, machine, archive_id, progress)
    replay.go_on(newest_number(store))
    renewed: list[str] = []
    # Hours may have passed, and credentials expired.
    location = location.renewed().of(archive_id)
    for name, table in TABLES.items():
        opened, is_new = _opened(store, machine, location, table)
        if is_new:
            renewed.append(name)
        _swap(store, machine, opened, replay)
    rows = {name: sum(file.rows for file in files) for name, files in replay.files.items()}
    return Rebuilt(replay.number, replay.entries, rows, tuple(renewed))


class _Replay:
    """The log as files that no table names yet."""

    def __init__(self, store: Store, machine: Machine, archive_id: str, progress: Progress | None) -> None:
        self._store = store
        self._machine = machine
        self._archive_id = archive_id
        self._progress = progress
        self._state = State()
        self.files: dict[str, list[DataFile]] = {name: [] for name in TABLES}
        self.entries = 0

    @property
    def number(self) -> int:
        """The last batch in the files."""
        return self._state.number

    def go_on(self, target: int) -> None:
        """Replay the batches up to this one, if they are not in the files yet."""
        if target <= self.number:
            return
        sink = Sink(self._store, self._machine.nonce, TABLES)
        fetcher = Fetcher(self._store, self._machine.executor)
        projection = Projection(fetcher, sink, self._state, self._archive_id)
        first = self.number + 1
        for sealed in batches(self._store, self._machine.executor, self._archive_id, first, target):
            projection.add(sealed)
            self.entries += len(sealed.batch.entries)
            if self._progress is not None:
                self._progress(ProgressEvent(PHASE, sealed.number, target))
        for name, files in sink.finish().items():
            self.files[name] += files


def _opened(store: Store, machine: Machine, location: Location, table: Table) -> tuple[OpenTable, bool]:
    """The table, and whether it had to be made because its own log could not be read."""
    try:
        opened = open_or_create(location, table)
        opened.files()
        _check_log(store, machine, opened)
    except UnreadableError as error:
        _log.warning("%s; it is dropped and made anew", error.message)
        _drop(store, table)
        return open_or_create(location, table), True
    return opened, False


def _check_log(store: Store, machine: Machine, opened: OpenTable) -> None:
    """Check that whoever reads the table's own log strictly understands it too, and as it is meant.

    Raises:
        UnreadableError: If not.
    """
    name = opened.table.name
    try:
        differences = list(log_differences(snapshot_of(store, machine.executor, name), opened))
    except (errors.IntegrityError, errors.InvalidInputError) as error:
        # Damaged, or only a newer reader understands it.
        raise UnreadableError(error.message, hint=error.hint) from error
    if differences:
        raise UnreadableError(f"the log of the index table {name} is damaged: {differences[0].what}")


def _require_files(store: Store, table: Table, replay: _Replay) -> None:
    """Check that all new files are still there: hours have passed, and somebody may have forced a vacuum.

    Raises:
        ConflictError: If not; the old index stands.
    """
    folder = layout.index_table(table.name)
    there = {info.key for page in list_pages(store, folder) for info in page.objects}
    missing = [file.path for file in replay.files[table.name] if folder + file.path not in there]
    if missing:
        raise ConflictError(
            f"{len(missing)} new files of the index table {table.name} were removed before they were used: {missing[0]}",
            hint="Vacuum with a margin longer than a rebuild takes, then rebuild again.",
        )


def _drop(store: Store, table: Table) -> None:
    """Remove the log of a table: without it there is none. Its files are left to `vacuum`."""
    for page in list_pages(store, layout.index_table(table.name) + LOG_FOLDER):
        for info in page.objects:
            store.delete(info.key)


def _swap(store: Store, machine: Machine, opened: OpenTable, replay: _Replay) -> None:
    for _ in range(_MOST_REFUSALS):
        # A sync has gone on meanwhile: the new files must not know less than the table.
        replay.go_on(opened.number)
        if not replay.number:
            return
        _require_files(store, opened.table, replay)
        try:
            opened.replace(opened.files(), replay.files[opened.table.name], machine.clock.now(), number=replay.number)
        except RefusedError:
            opened.reload()
            continue
        return
    raise UnavailableError(
        f"the index table {opened.table.name} of {store.url} is changed by somebody else all the time",
        hint="Stop the other syncs for a moment.",
    )
