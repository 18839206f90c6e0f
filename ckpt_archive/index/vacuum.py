"""Removes files that no table names any more, or never came to be named: by their age in the store, with a wide margin.

A reader who has listed a table may still open files that were replaced meanwhile, and a projector names its files only when
all are there: so nothing goes that is younger than the margin, or was replaced within it (or within the day for which a
table keeps its log, if that is shorter).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from ckpt_archive.commit import layout
from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.index.tables import OpenTable
from ckpt_archive.store.protocol import ObjectInfo, Store, list_pages

DEFAULT_MARGIN = timedelta(days=7)
LEAST_MARGIN = timedelta(hours=1)
LOG_FOLDER = "_delta_log/"
# A commit names at most the files of a table.
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What was removed.

    Attributes:
        files: How many.
        bytes: Their total size.
    """

    files: int = 0
    bytes: int = 0


def check_margin(margin: timedelta, *, force: bool = False) -> timedelta:
    """Return a margin that readers can live with.

    Raises:
        InvalidInputError: If it is shorter, and not forced.
    """
    if margin < LEAST_MARGIN and not force:
        raise InvalidInputError(
            f"a margin of {margin} takes files away from queries that are under way",
            hint="Use an hour or more; or --force, if nobody reads, syncs or rebuilds the index now.",
        )
    return margin


def vacuum(store: Store, opened: OpenTable, margin: timedelta = DEFAULT_MARGIN, *, dry_run: bool = False) -> Vacuumed:
    """Remove the files of one table that it does not need and that are older than `margin`.

    Args:
        store: Where the archive is.
        opened: The table; loaded anew, after the files were listed.
        margin: See `check_margin`.
        dry_run: Only say what would be removed.

    Raises:
        UnavailableError: If the store does not answer.
    """
    old = list(_old_files(store, opened.table.name, margin))
    opened.reload()
    folder = layout.index_table(opened.table.name)
    live = {folder + file.path for file in opened.files()}
    unneeded = [info for info in old if info.key not in live]
    if unneeded:
        # After the table was loaded: what is replaced since is among the live files.
        replaced = _replaced(store, folder, margin)
        unneeded = [info for info in unneeded if info.key not in replaced]
    if not dry_run:
        for info in unneeded:
            store.delete(info.key)
        # Last, because what was replaced within the margin is told by commits.
        opened.tidy_log()
    return Vacuumed(len(unneeded), sum(info.size_bytes for info in unneeded))


def _replaced(store: Store, folder: str, margin: timedelta) -> set[str]:
    """The files that commits took away within the margin; each commit's object was created at that moment."""
    found: set[str] = set()
    for page in list_pages(store, folder + LOG_FOLDER):
        for info in page.objects:
            is_young = info.modified is None or page.store_time - info.modified <= margin
            if is_young and info.key.endswith(".json"):
                found.update(folder + path for path in _removed_by(store, info.key))
    return found


def _removed_by(store: Store, key: str) -> Iterator[str]:
    try:
        data = store.read(key, limit_bytes=_MOST_BYTES).data
    except NotFoundError:
        return  # tidied up meanwhile, so it is old
    for line in data.splitlines():
        removed = json.loads(line).get("remove") if line.strip() else None
        if removed is not None:
            yield unquote(removed["path"])


def _old_files(store: Store, name: str, margin: timedelta) -> Iterator[ObjectInfo]:
    folder = layout.index_table(name)
    for page in list_pages(store, folder):
        for info in page.objects:
            is_data = info.key.endswith(".parquet") and not info.key.startswith(folder + LOG_FOLDER)
            if is_data and info.modified is not None and page.store_time - info.modified > margin:
                yield info
