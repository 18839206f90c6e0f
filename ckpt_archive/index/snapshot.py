"""What a Delta table holds now, read from its log through a `Store`: columns, live files, transactions, configuration.

Needs duckdb for checkpoints of the log, and nothing else beyond the core. Only what every reader of Delta Lake must know is
understood (reader version 1); a table that asks for more is refused, never half read.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.store.keys import is_key
from ckpt_archive.store.protocol import Store, list_pages
from ckpt_archive.strictjson import Json

ReadActions = Callable[[bytes], Iterable[Mapping[str, Json]]]
"""The actions in a checkpoint of the log, given as the bytes of a Parquet file; raises `ValueError` if it is none."""

LOG = "_delta_log/"
_POINTER = "_last_checkpoint"
_READER_VERSION = 1
# A commit of ours names at most a few thousand files; a checkpoint names all of them.
_MOST_BYTES = 256 << 20
_FETCHES_AT_ONCE = 16

_COMMIT = re.compile(r"([0-9]{20})\.json")
_CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint(?:\.([0-9]{10})\.([0-9]{10}))?\.parquet")


@dataclass(frozen=True, slots=True)
class Field:
    """A column as the table itself declares it.

    Attributes:
        name: Its name.
        type: A Delta type: a name such as "long", or an object for nested ones.
    """

    name: str
    type: Json


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A Parquet file of the table.

    Attributes:
        key: Relative to the archive's prefix.
        size_bytes: Its length.
        partition: Values of the partition columns.
        stats: What the writer says of its values: ``numRecords``, ``minValues``, ``maxValues``; may be empty.
    """

    key: str
    size_bytes: int
    partition: Mapping[str, str | None] = field(default_factory=dict)
    stats: Mapping[str, Json] = field(default_factory=dict)

    def least(self, column: str) -> Json:
        """A lower bound of a column's values, or None where nothing is known."""
        return (self.stats.get("minValues") or {}).get(column)

    def greatest(self, column: str) -> Json:
        """An upper bound (of times to the millisecond), or None where nothing is known."""
        return (self.stats.get("maxValues") or {}).get(column)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at one version.

    Attributes:
        folder: Where it is, ending in '/'.
        version: Of the newest commit in it.
        fields: Its columns, those of partitions among them.
        partition_by: Names of the partition columns.
        files: Its live files by key.
        transactions: The newest version of each app transaction.
        configuration: The table's own settings.
    """

    folder: str
    version: int
    fields: tuple[Field, ...] = ()
    partition_by: tuple[str, ...] = ()
    files: Mapping[str, LiveFile] = field(default_factory=dict)
    transactions: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)


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
    if known is not None:
        log = _list(store, folder, after=known.version)
        # Otherwise what came next was cleaned away: the newest checkpoint knows it.
        if not log.commits and not log.checkpoints:
            return known
        if log.continues(known.version):
            return _State(known).advanced(_fetched(store, executor, (), log.keys_after(known.version), read_actions))
    pointed = _pointed_at(store, folder)
    log = _list(store, folder, after=-1 if pointed is None else pointed.version)
    checkpoint = log.newest_checkpoint() or pointed
    if checkpoint is None and not log.commits:
        raise NotFoundError(f"there is no table {folder.rstrip('/')} in {store.url}")
    start = _Checkpoint(-1, ()) if checkpoint is None else checkpoint
    if not log.continues(start.version):
        raise _wrong(folder + LOG, f"commit {log.first_missing(start.version)} is missing")
    try:
        commits = log.keys_after(start.version)
        actions = _fetched(store, executor, start.keys, commits, read_actions)
    except NotFoundError as error:
        raise _wrong(folder + LOG, error.message) from error
    return _State(Snapshot(folder, start.version)).advanced(actions)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    version: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Log:
    """What a listing of the log showed: commits by version, checkpoints by version and number of parts."""

    commits: dict[int, str] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def add(self, key: str) -> None:
        """Sort a key in; others stand there too."""
        name = key.rpartition("/")[2]
        if match := _COMMIT.fullmatch(name):
            self.commits[int(match[1])] = key
        elif match := _CHECKPOINT.fullmatch(name):
            self.checkpoints.setdefault((int(match[1]), int(match[3] or 1)), []).append(key)

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
        return tuple(sorted(item for item in self.commits.items() if item[0] > version))


def _list(store: Store, folder: str, *, after: int) -> _Log:
    log = _Log()
    # A version's checkpoint stands before its commit: neither is shown again.
    start_after = f"{folder}{LOG}{after:020d}.json" if after >= 0 else ""
    for page in list_pages(store, folder + LOG, start_after=start_after):
        for info in page.objects:
            log.add(info.key)
    return log


def _pointed_at(store: Store, folder: str) -> _Checkpoint | None:
    """The checkpoint that the log's own hint names. There may be newer ones."""
    key = folder + LOG + _POINTER
    try:
        pointer = _objects(store.read(key, limit_bytes=1 << 20).data, key)[0]
        version, parts = int(pointer["version"]), pointer.get("parts")
    except NotFoundError:
        return None
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise _wrong(key, "it names no version") from error
    stem = f"{folder}{LOG}{version:020d}.checkpoint"
    if not parts:
        return _Checkpoint(version, (f"{stem}.parquet",))
    return _Checkpoint(version, tuple(f"{stem}.{part:010d}.{parts:010d}.parquet" for part in range(1, int(parts) + 1)))


_Actions = list[tuple[int, Iterable[Mapping[str, Json]]]]


def _fetched(
    store: Store,
    executor: Executor,
    checkpoint: tuple[str, ...],
    commits: tuple[tuple[int, str], ...],
    read_actions: ReadActions,
) -> _Actions:
    """Actions in order, with the version after them; those of a checkpoint come first and have -1."""
    wanted = [(-1, key) for key in checkpoint] + list(commits)

    def fetch(item: tuple[int, str]) -> tuple[int, str, Iterable[Mapping[str, Json]]]:
        version, key = item
        data = store.read(key, limit_bytes=_MOST_BYTES).data
        if version >= 0:
            return version, key, _objects(data, key)
        try:
            return version, key, read_actions(data)
        except ValueError as error:
            raise _wrong(key, f"it can not be read ({error})") from error

    # The usual case needs no threads.
    one = len(wanted) == 1
    results = map(fetch, wanted) if one else executor.map_unordered(fetch, wanted, limit=_FETCHES_AT_ONCE)
    return [(version, actions) for version, _, actions in sorted(results, key=lambda result: result[:2])]


class _State:
    """A snapshot being brought forward."""

    def __init__(self, start: Snapshot) -> None:
        self._folder = start.folder
        self._version = start.version
        self._fields = start.fields
        self._partition_by = start.partition_by
        self._files = dict(start.files)
        self._transactions = dict(start.transactions)
        self._configuration = start.configuration

    def advanced(self, actions: _Actions) -> Snapshot:
        """The snapshot after these actions."""
        for version, group in actions:
            for action in group:
                self._apply(action)
            self._version = max(self._version, version)
        if not self._fields:
            raise _wrong(self._folder + LOG, "it says nothing about columns")
        return Snapshot(
            self._folder,
            self._version,
            self._fields,
            self._partition_by,
            self._files,
            self._transactions,
            self._configuration,
        )

    def _apply(self, action: Mapping[str, Json]) -> None:
        try:
            if protocol := action.get("protocol"):
                self._check(protocol)
            if added := action.get("add"):
                self._add(added)
            if removed := action.get("remove"):
                self._files.pop(self._key(removed["path"]), None)
            if transaction := action.get("txn"):
                self._transactions[transaction["appId"]] = int(transaction["version"])
            if metadata := action.get("metaData"):
                fields = json.loads(metadata["schemaString"])["fields"]
                self._fields = tuple(Field(item["name"], item["type"]) for item in fields)
                self._partition_by = tuple(metadata.get("partitionColumns") or ())
                self._configuration = dict(metadata.get("configuration") or {})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _wrong(self._folder + LOG, f"an action can not be understood ({error!r})") from error

    def _add(self, added: Mapping[str, Json]) -> None:
        if added.get("deletionVector"):
            raise _newer(self._folder, "deletion vectors")
        key = self._key(added["path"])
        stats = json.loads(added["stats"]) if added.get("stats") else {}
        self._files[key] = LiveFile(key, int(added["size"]), dict(added.get("partitionValues") or {}), stats or {})

    def _key(self, path: str) -> str:
        # Paths are URL-encoded. An absolute one, or one that leads out of the table, is none of ours.
        relative = unquote(path)
        if not is_key(relative) or relative.startswith("_") or ":" in relative.partition("/")[0]:
            raise _wrong(self._folder + LOG, f"it names the file {relative[:200]!r}")
        return self._folder + relative

    def _check(self, protocol: Mapping[str, Json]) -> None:
        version = int(protocol["minReaderVersion"])
        if version > _READER_VERSION:
            features = ", ".join(protocol.get("readerFeatures") or ()) or f"reader version {version}"
            raise _newer(self._folder, features)


def _objects(data: bytes, key: str) -> list[dict[str, Json]]:
    try:
        found = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise _wrong(key, "it is not JSON") from error
    if not all(isinstance(item, dict) for item in found):
        raise _wrong(key, "it does not hold objects")
    return found


def _wrong(where: str, problem: str) -> IntegrityError:
    return IntegrityError(
        f"the Delta log {where} is damaged: {problem}",
        hint="The index can be made anew at any time: run `ckpt-archive index rebuild`.",
    )


def _newer(folder: str, feature: str) -> InvalidInputError:
    return InvalidInputError(
        f"the table {folder.rstrip('/')} needs a newer reader: {feature}",
        hint="Upgrade ckpt-archive, or make the index anew with `ckpt-archive index rebuild`.",
    )
