"""Answers questions over the index of one archive: one consistent snapshot of the tables that a question names.

Nothing is written, and nothing but the files of these tables is read. What a question sees is the state up to the newest
log batch that all its tables have.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TypeVar

import duckdb

from ckpt_archive.commit import layout
from ckpt_archive.errors import CkptArchiveError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.index import schema
from ckpt_archive.index.query import failures, sandbox, views
from ckpt_archive.index.query.answer import Answer
from ckpt_archive.index.query.blocks import Blocks, Shelf
from ckpt_archive.index.query.delta_checkpoint import checkpoint_actions
from ckpt_archive.index.query.files import IndexFiles, url_of
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.result import Result
from ckpt_archive.index.query.statement import Statement, understand
from ckpt_archive.index.snapshot import Snapshot, read_snapshot
from ckpt_archive.store.protocol import Store

T = TypeVar("T")
Watch = Callable[[Callable[[], float]], AbstractContextManager[None]]
"""Given what says how far a question is, in percent or negative for unknown: something to be entered meanwhile."""

_FILE_URL = "file://"
# What a path of DuckDB's own must not hold: it would be taken for a pattern.
_PATTERN = frozenset("*?[]{}\\")
_TABLES_AT_ONCE = 16


class Engine:
    """Answers questions, one after the other or from several threads.

    Args:
        store: The archive's.
        executor: Fetches several objects at a time.
        limits: What a query may take.
        shelf: Where blocks of files are kept between processes.
        archive_id: Of the archive that is asked: an index of another one, which was there before, is refused.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: sandbox.Limits | None = None,
        shelf: Shelf | None = None,
        archive_id: str = "",
    ) -> None:
        self._archive_id = archive_id
        self._store = store
        self._executor = executor
        self._limits = limits or sandbox.Limits()
        self._blocks = Blocks(store, shelf)
        self._lock = threading.Lock()
        self._known: dict[str, Snapshot] = {}

    @property
    def fetched_bytes(self) -> int:
        """How much of the index's files came from the store so far."""
        return self._blocks.fetched_bytes

    def answer(self, question: Question, limit: int | None = None, watch: Watch | None = None) -> Answer:
        """The answer in memory: its first rows, or all of them. Raises as `ask`."""
        if limit is not None and limit < 0:
            raise InvalidInputError(f"{limit} rows can not be taken", hint="Use None for all of them.")

        def take(result: Result) -> Answer:
            rows, has_more = result.rows(limit)
            return Answer(result.columns, tuple(rows), has_more, result.notes)

        return self.ask(question, take, watch)

    def ask(self, question: Question, take: Callable[[Result], T], watch: Watch | None = None) -> T:
        """Answer a question.

        Args:
            question: What is asked.
            take: Reads the answer; called once more if files of the index are removed while it does.
            watch: Entered while it does.

        Raises:
            InvalidInputError: If the question may not be asked, or is wrong.
            NotFoundError: If there is no index.
            CapacityError: If it takes more memory than it may.
            IntegrityError: If the index is damaged.
            UnavailableError: If the store does not answer.
        """
        if question.as_of is not None and question.as_of.tzinfo is None:
            raise InvalidInputError(f"the time {question.as_of} has no zone", hint="Give it one, such as UTC.")
        try:
            return self._answered(question, take, watch)
        except failures.VanishedError:
            # Compacted and vacuumed in between; whoever does that twice within one question keeps files too short a time.
            self._forget()
            return self._answered(question, take, watch)

    def _answered(self, question: Question, take: Callable[[Result], T], watch: Watch | None) -> T:
        files = IndexFiles(self._blocks)
        with sandbox.connect(self._limits, files) as connection:
            columns: dict[str, list[str]] = {}
            paths: dict[str, str] = {}
            try:
                statement = understand(connection, question.sql)
                snapshots = self._snapshots(statement)
                columns = {name: [field.name for field in found.fields] for name, found in snapshots.items()}
                windows = _windows(snapshots, question.as_of)
                live = [file for name, found in snapshots.items() for file in views.files_in(found, windows[name])]
                files.show({file.key: file.size_bytes for file in live})
                paths = {file.key: self._path(file.key) for file in live}
                for name, found in snapshots.items():
                    connection.execute(views.view(found, windows[name], paths))
                sandbox.lock(connection, [*paths.values(), *([question.output] if question.output else [])])
                result = Result(connection, statement, _notes(snapshots, question.as_of))
                with watch(connection.query_progress) if watch else nullcontext():
                    return take(result)
            except duckdb.Error as error:
                raise self._failure(error, files, paths, columns) from error

    def _snapshots(self, statement: Statement) -> dict[str, Snapshot]:
        """Those of the tables that a statement names; a name that no table has may be one of its own."""
        known = frozenset(schema.TABLES)
        names = sorted((statement.tables & known) | (statement.tables - statement.own_names))
        if statement.names_all:
            names = sorted(known.union(names))
        pairs = list(self._executor.map_unordered(self._snapshot, names, limit=_TABLES_AT_ONCE)) if names else []
        found = {name: snapshot for name, snapshot in sorted(pairs) if snapshot is not None}
        missing = sorted(statement.tables - statement.own_names - found.keys())
        if missing and not found and not self._is_there():
            raise NotFoundError(
                f"{self._store.url} has no index yet", hint="Run `ckpt-archive index sync`, which makes it."
            )
        for name in missing:
            if name in schema.TABLES:
                raise NotFoundError(
                    f"the index of {self._store.url} has no table {name}",
                    hint="Run `ckpt-archive index sync`; if somebody removed it, `ckpt-archive index rebuild`.",
                )
            raise failures.no_table(name, schema.TABLES)
        return found

    def _snapshot(self, name: str) -> tuple[str, Snapshot | None]:
        with self._lock:
            known = self._known.get(name)
        try:
            found = read_snapshot(
                self._store, layout.index_table(name), self._executor, checkpoint_actions, known=known
            )
        except NotFoundError:
            return name, None
        owner = found.configuration.get(schema.ARCHIVE_KEY, "")
        if owner and self._archive_id and owner != self._archive_id:
            raise IntegrityError(
                f"the index of {self._store.url} is of the archive {owner}, which was there before this one",
                hint="Run `ckpt-archive index rebuild`: it is made anew.",
            )
        with self._lock:
            self._known[name] = found
        return name, found

    def _is_there(self) -> bool:
        return bool(self._store.list(layout.INDEX, limit=1).objects)

    def _path(self, key: str) -> str:
        """What DuckDB calls a file: its path where it can open it itself."""
        url = self._store.url
        path = f"{url.removeprefix(_FILE_URL)}/{key}" if url.startswith(_FILE_URL) else ""
        return path if path and _PATTERN.isdisjoint(path) else url_of(key)

    def _failure(
        self, error: duckdb.Error, files: IndexFiles, paths: Mapping[str, str], columns: failures.Columns
    ) -> CkptArchiveError:
        if isinstance(files.failure, NotFoundError) or self._is_gone(error, paths):
            return failures.vanished()
        return files.failure or failures.converted(error, paths.values(), columns)

    def _is_gone(self, error: duckdb.Error, paths: Mapping[str, str]) -> bool:
        """Whether DuckDB failed because of a file that it opened itself and that is gone."""
        # A local file that is not there it takes for a folder, which it may not look into.
        if not isinstance(error, duckdb.IOException | duckdb.PermissionException):
            return False
        named = [key for key, path in paths.items() if path in str(error)]
        try:
            for key in named:
                self._store.head(key)
        except NotFoundError:
            return True
        return False

    def _forget(self) -> None:
        with self._lock:
            self._known.clear()


def _windows(snapshots: Mapping[str, Snapshot], as_of: datetime | None) -> dict[str, views.Window]:
    newest = min((found.transactions.get(schema.APP, 0) for found in snapshots.values()), default=0)
    return {name: views.Window(newest, as_of) for name in snapshots}


def _notes(snapshots: Mapping[str, Snapshot], as_of: datetime | None) -> tuple[str, ...]:
    notes = []
    for name, found in snapshots.items():
        version = found.configuration.get(schema.VERSION_KEY, "")
        if version.isdigit() and int(version) > schema.VERSION:
            notes.append(
                f"{name} was written by a newer release (schema {version}; this one knows {schema.VERSION}): "
                "all its columns can be asked, but not all of them are described here"
            )
        if as_of is not None and views.known_at(found) is None:
            raise InvalidInputError(
                f"{name} does not say when its rows became known", hint="Ask for it as it is now, without --as-of."
            )
    return tuple(notes)
