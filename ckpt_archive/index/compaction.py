"""Many small files become few large ones: while a month goes on at about a hundred, and once more when it is over.

A merge is one commit, which takes files away and adds one with the same rows. It counts in an app transaction of its own, so
of two who merge at once one is refused, and appends pass beside it. What was put in vain is removed by `vacuum`. The
library's own compaction looks at no transaction: two at once have doubled rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.index.merging import merged_file
from ckpt_archive.index.schema import VERSION, Table
from ckpt_archive.index.sink import put_file
from ckpt_archive.index.tables import DataFile, OpenTable, RefusedError
from ckpt_archive.machine import Machine
from ckpt_archive.store.protocol import Store

MANY_FILES = 100
LARGE_BYTES = 128 << 20
"""Of a file that is made; one of half of it is left alone."""

_SETTLED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        removed: How many files are no longer part of their table.
        added: How many took their place.
        rows: How many rows these have.
        refused: How many merges somebody else made first, or made vain.
        is_complete: Whether nothing is left to do.
    """

    removed: int = 0
    added: int = 0
    rows: int = 0
    refused: int = 0
    is_complete: bool = True


def plan(table: Table, files: Sequence[DataFile], store_time: datetime, many: int = MANY_FILES) -> list[list[DataFile]]:
    """Which files are merged, each list into one."""
    by_month: dict[str, list[DataFile]] = {}
    for file in files:
        if file.size_bytes < LARGE_BYTES // 2:
            by_month.setdefault(file.month, []).append(file)
    groups: list[list[DataFile]] = []
    for month, small in sorted(by_month.items()):
        if len(small) >= many or (table.monthly and len(small) > 1 and _is_over(month, store_time)):
            groups += _packed(small)
    return groups


def _is_over(month: str, store_time: datetime) -> bool:
    now = (store_time - _SETTLED).astimezone(UTC)
    return month < f"{now:%Y-%m}"


def _packed(files: Sequence[DataFile]) -> list[list[DataFile]]:
    """Lists of files that are large enough together."""
    groups: list[list[DataFile]] = [[]]
    size_bytes = 0
    for file in files:
        if size_bytes >= LARGE_BYTES or len(groups[-1]) == 4 * MANY_FILES:
            groups.append([])
            size_bytes = 0
        groups[-1].append(file)
        size_bytes += file.size_bytes
    return [group for group in groups if len(group) > 1]


def compact(
    store: Store,
    machine: Machine,
    opened: OpenTable,
    *,
    many: int = MANY_FILES,
    until_seconds: float = float("inf"),
) -> Compacted:
    """Merge what is due in one table.

    Args:
        store: Where the archive is.
        machine: Clock and nonces.
        opened: The table; loaded anew.
        many: How many small files are worth a merge.
        until_seconds: A moment of the machine's monotonic clock; no merge begins after it.

    Raises:
        IntegrityError: If a file of the table is missing or damaged.
        UnavailableError: If the store does not answer.
    """
    opened.reload()
    if opened.schema_version > VERSION:
        # A merge by us would lose the columns that we do not know.
        return Compacted()
    store_time = store.list(layout.index_table(opened.table.name), limit=1).store_time
    removed = added = rows = refused = 0
    for group in plan(opened.table, opened.files(), store_time, many):
        if machine.clock.monotonic() >= until_seconds:
            return Compacted(removed, added, rows, refused, is_complete=False)
        file = merged_file(store, opened.table, group)
        put = put_file(store, machine.nonce, opened.table, group[0].month, file)
        try:
            opened.replace(group, [put], machine.clock.now())
        except RefusedError:
            # Perhaps our own, whose answer was lost: what stands now says what is left to do.
            opened.reload()
            refused += 1
            break
        removed += len(group)
        added += 1
        rows += put.rows
    return Compacted(removed, added, rows, refused)
