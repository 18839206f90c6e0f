"""A Delta table as it stands now, read from its log through a `Store`.

Needs duckdb for checkpoints of the log, through whoever hands in what reads them, and nothing else beyond the core.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.index.actions import HINT, LOG, Field, LiveFile, Snapshot, State, count, wrong
from ckpt_archive.store.protocol import ObjectInfo, Store, list_pages
from ckpt_archive.strictjson import Json

__all__ = ["Field", "LiveFile", "ReadActions", "Snapshot", "read_snapshot"]

ReadActions = Callable[[bytes], Iterable[Mapping[str, Json]]]
"""The actions in a checkpoint of the log, given as the bytes of a Parquet file; raises `ValueError` if it is none."""

_Actions = list[tuple[int, Iterable[Mapping[str, Json]]]]

_POINTER = "_last_checkpoint"
# A commit of ours names at most a few thousand files; a checkpoint names all of them.
_MOST_BYTES = 256 << 20
_MOST_PARTS = 10_000
_FETCHES_AT_ONCE = 16

_COMMIT = re.compile(r"([0-9]{20})\.json")
_CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint(?:\.([0-9]{10})\.([0-9]{10}))?\.parquet")


def read_snapshot(
    store: Store, folder: str, executor: Executor, read_actions: ReadActions, *, known: Snapshot | None = None
) -> Snapshot:
    """The newest version of a table: its hint, one listing, and at once all objects that are not known yet.

    Args:
        store: Where.
        folder: Of the table, relative to the archive's prefix, ending in '/'.
        executor: Fetches several objects at a time.
        read_actions: Reads a checkpoint of the log.
        known: An earlier answer for this folder: then one listing shows what came after it, and only that is read.

    Raises:
        NotFoundError: If there is no table.
        InvalidInputError: If only a newer reader understands it.
        IntegrityError: If its log is not one.
        UnavailableError: If the store does not answer.
    """
    reader = _Reader(store, folder, executor, read_actions)
    found = None if known is None else _or_none(lambda: reader.advanced(known))
    if found is None:
        # Twice, because the log may be tidied up while it is read.
        found = _or_none(reader.newest) or reader.newest()
    return found


class _CleanedError(IntegrityError):
    """What the listing showed was gone when it was read."""


def _or_none(read: Callable[[], Snapshot | None]) -> Snapshot | None:
    try:
        return read()
    except _CleanedError:
        return None


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    version: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Log:
    """What a listing of the log showed: commits by version, checkpoints by version and number of parts."""

    commits: dict[int, ObjectInfo] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def add(self, info: ObjectInfo) -> None:
        """Sort an object in; others stand there too."""
        name = info.key.rpartition("/")[2]
        if match := _COMMIT.fullmatch(name):
            self.commits[int(match[1])] = info
        elif match := _CHECKPOINT.fullmatch(name):
            self.checkpoints.setdefault((int(match[1]), int(match[3] or 1)), []).append(info.key)

    def mark(self, version: int) -> str:
        """What tells a commit from another one of its number; "" if it is not shown."""
        return self.commits[version].etag if version in self.commits else ""

    def newest_checkpoint(self) -> _Checkpoint | None:
        """The newest one that is whole."""
        whole = [(version, keys) for (version, parts), keys in self.checkpoints.items() if len(keys) == parts]
        return _Checkpoint(*max((version, tuple(sorted(keys))) for version, keys in whole)) if whole else None

    def continues(self, version: int) -> bool:
        """Whether all commits after `version` are there."""
        return self.first_missing(version) > max(self.commits, default=version)

    def first_missing(self, version: int) -> int:
        """The first one after `version` that is not there."""
        version += 1
        while version in self.commits:
            version += 1
        return version

    def keys_after(self, version: int) -> tuple[tuple[int, str], ...]:
        """The commits after `version`, oldest first."""
        return tuple((number, self.commits[number].key) for number in sorted(self.commits) if number > version)


class _Reader:
    """Reads one table's log."""

    def __init__(self, store: Store, folder: str, executor: Executor, read_actions: ReadActions) -> None:
        self._store = store
        self._folder = folder
        self._executor = executor
        self._read_actions = read_actions

    def advanced(self, known: Snapshot) -> Snapshot | None:
        """A snapshot with what came after it; None if it can not be told from the log any more."""
        log = self._list(known.version)
        if not known.mark or log.mark(known.version) != known.mark or not log.continues(known.version):
            return None  # tidied up, or another table stands there
        commits = log.keys_after(known.version)
        return self._brought_forward(known, (), commits, log) if commits else known

    def newest(self) -> Snapshot:
        """The newest snapshot, from the newest checkpoint on."""
        pointed = self._pointed_at()
        log = self._list(0 if pointed is None else pointed.version)
        checkpoint = log.newest_checkpoint() or pointed
        if checkpoint is None and not log.commits:
            raise NotFoundError(f"there is no table {self._folder.rstrip('/')} in {self._store.url}")
        start = _Checkpoint(-1, ()) if checkpoint is None else checkpoint
        if not log.continues(start.version):
            raise wrong(self._folder + LOG, f"commit {log.first_missing(start.version)} is missing")
        empty = Snapshot(self._folder, start.version)
        return self._brought_forward(empty, start.keys, log.keys_after(start.version), log)

    def _brought_forward(
        self, start: Snapshot, checkpoint: tuple[str, ...], commits: tuple[tuple[int, str], ...], log: _Log
    ) -> Snapshot:
        found = State(start).advanced(self._fetched(checkpoint, commits))
        return replace(found, mark=log.mark(found.version))

    def _list(self, version: int) -> _Log:
        """The log from this version on."""
        log = _Log()
        prefix = self._folder + LOG
        start_after = f"{prefix}{version - 1:020d}.json" if version else ""
        for page in list_pages(self._store, prefix, start_after=start_after):
            for info in page.objects:
                log.add(info)
        return log

    def _pointed_at(self) -> _Checkpoint | None:
        """The checkpoint that the log's own hint names. There may be newer ones."""
        return _hint_in(self._store, self._folder)

    def _fetched(self, checkpoint: tuple[str, ...], commits: tuple[tuple[int, str], ...]) -> _Actions:
        """Actions in order, with the version after them; those of a checkpoint come first and have -1."""
        wanted = [(-1, key) for key in checkpoint] + list(commits)
        # The usual case needs no threads.
        one = len(wanted) == 1
        results = (
            map(self._fetch, wanted)
            if one
            else self._executor.map_unordered(self._fetch, wanted, limit=_FETCHES_AT_ONCE)
        )
        return [(version, actions) for version, _, actions in sorted(results, key=lambda result: result[:2])]

    def _fetch(self, item: tuple[int, str]) -> tuple[int, str, Iterable[Mapping[str, Json]]]:
        version, key = item
        try:
            data = self._store.read(key, limit_bytes=_MOST_BYTES).data
        except NotFoundError as error:
            raise _CleanedError(error.message, hint=HINT) from error
        if version >= 0:
            return version, key, _objects(data, key)
        try:
            return version, key, self._read_actions(data)
        except ValueError as error:
            raise wrong(key, f"it can not be read ({error})") from error


def _hint_in(store: Store, folder: str) -> _Checkpoint | None:
    key = folder + LOG + _POINTER
    try:
        pointer = _objects(store.read(key, limit_bytes=1 << 20).data, key)[0]
        version, parts = count(pointer["version"]), count(pointer.get("parts") or 0)
    except NotFoundError:
        return None
    except (IndexError, KeyError, ValueError) as error:
        raise wrong(key, "it names no version") from error
    if parts > _MOST_PARTS:
        raise wrong(key, f"it names a checkpoint of {parts} parts")
    stem = f"{folder}{LOG}{version:020d}.checkpoint"
    if not parts:
        return _Checkpoint(version, (f"{stem}.parquet",))
    return _Checkpoint(version, tuple(f"{stem}.{part:010d}.{parts:010d}.parquet" for part in range(1, parts + 1)))


def _objects(data: bytes, key: str) -> list[dict[str, Json]]:
    try:
        found = [json.loads(line) for line in data.splitlines() if line.strip()]
    except (RecursionError, ValueError) as error:
        raise wrong(key, "it is not JSON") from error
    if not found or not all(isinstance(item, dict) for item in found):
        raise wrong(key, "it does not hold objects")
    return found
