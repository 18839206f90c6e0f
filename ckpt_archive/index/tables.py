"""The Delta tables of an archive: opened, made, and written to exactly once.

Parquet files are put there by our own store; only the commit that names them goes through `deltalake`. A commit carries an
app transaction: the number of the last log batch in the table. It is made with the one handle whose number was looked at, so
whoever was overtaken is refused, whatever he does: no batch enters a table twice, and no row is lost.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import deltalake
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, PostCommitHookProperties, RemoveAction, Transaction

from ckpt_archive import errors
from ckpt_archive.commit import layout
from ckpt_archive.index import arrow
from ckpt_archive.index.schema import (
    APP,
    ARCHIVE_KEY,
    COMPACTION_APP,
    LOG_SEQ,
    MONTH,
    SYNC_LOG,
    TABLES,
    VERSION,
    VERSION_KEY,
    Table,
)
from ckpt_archive.store.object_store import Location

_log = logging.getLogger(__name__)

_CONFIGURATION: dict[str, str | None] = {
    VERSION_KEY: str(VERSION),
    # Whoever opens a table reads one checkpoint and at most so many commits.
    "delta.checkpointInterval": "10",
    # Far longer than a reader needs between listing the log and reading it; some 300 commits at one every five minutes.
    "delta.logRetentionDuration": "interval 1 days",
    "delta.enableExpiredLogCleanup": "true",
}


class RefusedError(errors.ConflictError):
    """Somebody else committed to this table first: load it again and go on from what stands."""


class UnreadableError(errors.IntegrityError):
    """The table's own log can not be read: only making the table anew helps."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table.

    Attributes:
        path: Relative to the table's folder.
        size_bytes: Its length.
        month: Its partition; "" in a table that has none.
        rows: How many rows it has.
        stats: What the log says of its values; "" where that is not known.
        batches: The first and the last log batch that it may have rows of.
    """

    path: str
    size_bytes: int
    month: str
    rows: int
    stats: str = field(default="", compare=False)
    batches: tuple[int, int] = field(default=(0, sys.maxsize), compare=False)


class OpenTable:
    """One table, as it stood when it was loaded last.

    Args:
        table: Which.
        location: Of the archive.
        handle: Of the library.
    """

    def __init__(self, table: Table, location: Location, handle: DeltaTable) -> None:
        self.table = table
        self._location = location
        self._handle = handle
        # The library reads its log again for each of these, and lists it after each commit: here only when it is needed.
        self._transactions: dict[str, int] = {}
        self._is_behind = False

    @property
    def number(self) -> int:
        """The last log batch that is in it, as far as is known here."""
        return self._transaction(APP)

    @property
    def compactions(self) -> int:
        """How often its files were replaced."""
        return self._transaction(COMPACTION_APP)

    @property
    def schema_version(self) -> int:
        """Of the columns, as the table says."""
        text = self._handle.metadata().configuration.get(VERSION_KEY, "0")
        return int(text) if text.isdecimal() else 0

    def column_names(self) -> list[str]:
        """All columns that the table has, also those of a newer release."""
        return [column.name for column in self._handle.schema().fields]

    def _transaction(self, app: str) -> int:
        if app not in self._transactions:
            self._catch_up()
            with failures(self.table.name, self._location.url):
                self._transactions[app] = self._handle.transaction_version(app) or 0
        return self._transactions[app]

    def reload(self) -> None:
        """See what stands now."""
        self._transactions.clear()
        with failures(self.table.name, self._location.url):
            self._handle.update_incremental()
        self._is_behind = False

    def _catch_up(self) -> None:
        """After a commit of ours: see it, and what others have committed since."""
        if self._is_behind:
            self.reload()

    def files(self) -> list[DataFile]:
        """The live files."""
        self._catch_up()
        with failures(self.table.name, self._location.url):
            rows = pa.table(self._handle.get_add_actions(flatten=False)).to_pylist()
        return sorted((_file(row) for row in rows), key=lambda file: file.path)

    def append(self, files: Sequence[DataFile], number: int, now: datetime) -> None:
        """Add the rows of the log batches after `number` of this handle, up to the new one.

        Args:
            files: That hold them; perhaps none.
            number: Of the last batch that is in them.
            now: The time.

        Raises:
            RefusedError: If the table has moved on; nothing was added.
            UnavailableError: If the store does not answer: it may have been added, which the next load shows.
        """
        known = self.number
        assert number > known, (number, known)
        self._catch_up()
        if self.number != known:
            raise RefusedError(
                f"somebody else has added to the index table {self.table.name} in {self._location.url}",
                hint="Load it again and go on from there.",
            )
        self._commit([_add(file, now, data_change=True) for file in files], {APP: number})

    def replace(
        self, removed: Sequence[DataFile], added: Sequence[DataFile], now: datetime, *, number: int | None = None
    ) -> None:
        """Put files in the place of others.

        Args:
            removed: Live files of this handle.
            added: With the same rows (compaction), or with all rows up to batch `number` (rebuild).
            now: The time.
            number: Of the last log batch in the table then; None: it stays what it is, and appends may pass.

        Raises:
            RefusedError: If somebody else replaced files meanwhile, or, with a `number`, added any.
        """
        live = {file.path for file in self.files()}
        if not all(file.path in live for file in removed):
            # What a commit of ours, just before, brought along: somebody else's came between, and his number is known now.
            raise RefusedError(
                f"files of the index table {self.table.name} in {self._location.url} were replaced meanwhile",
                hint="Load it again and go on from there.",
            )
        is_change = number is not None
        transactions = {COMPACTION_APP: self.compactions + 1} | ({} if number is None else {APP: number})
        actions: list[AddAction | RemoveAction] = [_remove(file, now, data_change=is_change) for file in removed]
        self._commit([*actions, *(_add(file, now, data_change=is_change) for file in added)], transactions)

    def _commit(self, actions: Sequence[AddAction | RemoveAction], transactions: Mapping[str, int]) -> None:
        properties = CommitProperties(
            app_transactions=[Transaction(app, number) for app, number in transactions.items()]
        )
        partition_by = [MONTH] if self.table.monthly else []
        with failures(self.table.name, self._location.url):
            self._handle.create_write_transaction(
                list(actions),
                "append",
                self._handle.schema(),
                partition_by=partition_by,
                commit_properties=properties,
                # It would list the log after every commit; `tidy_log` does it once a day.
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        self._transactions.update(transactions)
        self._is_behind = True

    def tidy_log(self) -> None:
        """Remove commits of the Delta log that a checkpoint of it has replaced and that are older than its retention."""
        self._catch_up()
        with failures(self.table.name, self._location.url):
            self._handle.cleanup_metadata()

    def add_missing_columns(self) -> None:
        """Give a table of an older release the columns of this one; old rows have NULL there."""
        present = set(self.column_names())
        missing = [name for name in arrow.table_schema(self.table).names if name not in present]
        if not missing and self.schema_version == VERSION:
            return
        declared = deltalake.Schema.from_arrow(arrow.table_schema(self.table)).fields
        with failures(self.table.name, self._location.url):
            if missing:
                self._handle.alter.add_columns([column for column in declared if column.name in missing])
            self._handle.alter.set_table_properties({VERSION_KEY: str(VERSION)}, raise_if_not_exists=False)
            self._handle.update_incremental()


def open_table(location: Location, table: Table) -> OpenTable:
    """A table that is there.

    Raises:
        NotFoundError: If it is not.
        UnreadableError: If its log can not be read, or it belongs to another archive.
    """
    with failures(table.name, location.url):
        handle = DeltaTable(table_url(location, table), storage_options=dict(location.options))
        owner = handle.metadata().configuration.get(ARCHIVE_KEY, "")
    if owner and location.archive_id and owner != location.archive_id:
        raise UnreadableError(
            f"the index table {table.name} in {location.url} is of the archive {owner}, which was there before this one, "
            f"{location.archive_id}",
            hint="Run `ckpt-archive index rebuild`: it is made anew.",
        )
    return OpenTable(table, location, handle)


def open_or_create(location: Location, table: Table) -> OpenTable:
    """A table, made if it is not there, and with all columns of this release; any number may do this at once."""
    try:
        opened = open_table(location, table)
    except errors.NotFoundError:
        _create(location, table)
        opened = open_table(location, table)
    if opened.schema_version > VERSION:
        _log.warning(
            "the table %s has columns of a newer release (schema %d, this release knows %d); they stay empty in new rows",
            table.name,
            opened.schema_version,
            VERSION,
        )
    elif opened.schema_version < VERSION:
        _with_missing_columns(opened)
    return opened


def open_all(location: Location) -> dict[str, OpenTable]:
    """All tables, by name."""
    return {name: open_or_create(location, table) for name, table in TABLES.items()}


def open_present(location: Location) -> dict[str, OpenTable]:
    """All tables, by name, where an index is: nothing is made, only a table that older releases did not have.

    Raises:
        NotFoundError: If there is no index.
        UnreadableError: If a table's log can not be read.
    """
    try:
        open_table(location, SYNC_LOG)
    except errors.NotFoundError as error:
        raise errors.NotFoundError(
            f"{location.url} has no index yet", hint="Run `ckpt-archive index sync`, which makes it."
        ) from error
    return open_all(location)


def table_url(location: Location, table: Table) -> str:
    """Where a table is, for other engines too."""
    return f"{location.url}/{layout.index_table(table.name)}".rstrip("/")


def _create(location: Location, table: Table) -> None:
    with failures(table.name, location.url):
        try:
            DeltaTable.create(
                table_url(location, table),
                deltalake.Schema.from_arrow(arrow.table_schema(table)),
                mode="ignore",
                name=table.name,
                description=f"One row is {table.purpose}.",
                partition_by=[MONTH] if table.monthly else None,
                configuration=_CONFIGURATION | ({ARCHIVE_KEY: location.archive_id} if location.archive_id else {}),
                storage_options=dict(location.options),
                # Else only settings that the library knows.
                raise_if_key_not_exists=False,
            )
        except CommitFailedError:
            # Somebody else has made it meanwhile.
            return


def _with_missing_columns(opened: OpenTable) -> None:
    try:
        opened.add_missing_columns()
    except RefusedError:
        # Somebody else has done it; or a commit came between, then the next one who opens it does.
        opened.reload()


def _file(action: Mapping[str, Any]) -> DataFile:
    least, greatest = ((action.get(end) or {}).get(LOG_SEQ) for end in ("min", "max"))
    return DataFile(
        path=action["path"],
        size_bytes=action["size_bytes"],
        month=(action.get("partition") or {}).get(MONTH) or "",
        rows=action["num_records"] or 0,
        batches=(0, sys.maxsize) if least is None or greatest is None else (least, greatest),
    )


def _add(file: DataFile, now: datetime, *, data_change: bool) -> AddAction:
    partition = {MONTH: file.month} if file.month else {}
    return AddAction(file.path, file.size_bytes, partition, _milliseconds(now), data_change, file.stats or "{}")


def _remove(file: DataFile, now: datetime, *, data_change: bool) -> RemoveAction:
    partition: dict[str, str | None] = {MONTH: file.month} if file.month else {}
    return RemoveAction(file.path, data_change, _milliseconds(now), size=file.size_bytes, partition_values=partition)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


_DENIED = ("privileges", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403 Forbidden")
_NO_BUCKET = "NoSuchBucket"
# Mostly an OSError; but a table must not be taken for unreadable because of the network.
_ON_THE_WAY = ("Generic S3 error", "Error performing", "error sending request", "timed out")
_UNKNOWN = "It is unknown whether it landed."


@contextmanager
def failures(table: str, url: str) -> Iterator[None]:
    """Convert the library's errors, here and nowhere else."""
    what = f"the index table {table} in {url}"
    try:
        yield
    except TableNotFoundError as error:
        raise errors.NotFoundError(
            f"there is no {what.removeprefix('the ')}", hint="Run `ckpt-archive index sync`."
        ) from error
    except CommitFailedError as error:
        raise RefusedError(
            f"{what} was changed meanwhile: {_sentence(error)}", hint="Load it again and go on from there."
        ) from error
    except OSError as error:
        text = str(error)
        if any(sign in text for sign in _DENIED):
            raise errors.DeniedError(
                f"{what}: {_sentence(error)}", hint="These credentials lack the right: ask the storage owner."
            ) from error
        if _NO_BUCKET in text:
            raise errors.NotFoundError(
                f"there is no bucket for {url}", hint="Create it, or correct the archive's URL."
            ) from error
        raise errors.UnavailableError(f"{what}: {_sentence(error)}", hint=_UNKNOWN) from error
    except (DeltaError, ValueError, TypeError, KeyError) as error:
        if any(sign in str(error) for sign in _ON_THE_WAY):
            raise errors.UnavailableError(f"{what}: {_sentence(error)}", hint=_UNKNOWN) from error
        raise UnreadableError(
            f"{what} can not be read: {_sentence(error)}",
            hint="Run `ckpt-archive index rebuild`: it is made anew from the log.",
        ) from error


def _sentence(error: BaseException) -> str:
    """The library draws trees with colours."""
    # Lines of a stack follow a line that says so.
    said = str(error).partition("\n   0: <unknown>")[0]
    words = "".join(letter for letter in said if letter.isprintable() or letter.isspace()).split()
    text = " ".join(word for word in words if word not in ("[31m↳[0m", "[31m↳", "↳"))
    return text[:1000].rstrip(".") or type(error).__name__
