"""What the actions in a Delta log make of a table: its columns, live files, transactions, configuration. Values only.

Only what every reader must know is understood (reader version 1); a table that asks for more is refused, never half read.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from ckpt_archive import strictjson
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.store.keys import is_key
from ckpt_archive.strictjson import Json, brief

LOG = "_delta_log/"
HINT = "The index can be made anew at any time: run `ckpt-archive index rebuild`."
_READER_VERSION = 1


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
        mark: Tells its newest commit from another one of that number; "" if the log does not show it.
    """

    folder: str
    version: int
    fields: tuple[Field, ...] = ()
    partition_by: tuple[str, ...] = ()
    files: Mapping[str, LiveFile] = field(default_factory=dict)
    transactions: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)
    mark: str = field(default="", compare=False)


class State:
    """A snapshot being brought forward, action by action."""

    def __init__(self, start: Snapshot) -> None:
        self._folder = start.folder
        self._version = start.version
        self._fields = start.fields
        self._partition_by = start.partition_by
        self._files = dict(start.files)
        self._transactions = dict(start.transactions)
        self._configuration = start.configuration

    def advanced(self, actions: Iterable[tuple[int, Iterable[Mapping[str, Json]]]]) -> Snapshot:
        """The snapshot after these groups of actions, each with the version after it (-1: the one it began with).

        Raises:
            InvalidInputError: If only a newer reader understands them.
            IntegrityError: If they are none.
        """
        for version, group in actions:
            for action in group:
                self._apply(action)
            self._version = max(self._version, version)
        if not self._fields:
            raise wrong(self._folder + LOG, "it says nothing about columns")
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
                self._transactions[_text(transaction["appId"])] = count(transaction["version"])
            if metadata := action.get("metaData"):
                self._describe(metadata)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise wrong(self._folder + LOG, f"an action can not be understood ({brief(repr(error))})") from error

    def _describe(self, metadata: Mapping[str, Json]) -> None:
        schema = strictjson.parse(metadata["schemaString"].encode())
        strictjson.check(schema)
        fields = schema["fields"]
        self._fields = tuple(Field(_text(item["name"]), item["type"]) for item in fields)
        self._partition_by = tuple(map(_text, metadata.get("partitionColumns") or ()))
        names = [field.name for field in self._fields]
        if len({name.casefold() for name in names}) < len(names) or not set(self._partition_by) <= set(names):
            raise ValueError("its columns are not different ones")
        configuration = metadata.get("configuration") or {}
        self._configuration = {name: _text(value) for name, value in configuration.items() if value is not None}

    def _add(self, added: Mapping[str, Json]) -> None:
        if added.get("deletionVector"):
            raise _newer(self._folder, "deletion vectors")
        key = self._key(added["path"])
        stats = (json.loads(added["stats"]) if added.get("stats") else None) or {}
        if not all(isinstance(bounds, dict) for bounds in (stats.get("minValues") or {}, stats.get("maxValues") or {})):
            raise ValueError("its statistics are none")
        partition = {name: value and _text(value) for name, value in (added.get("partitionValues") or {}).items()}
        self._files[key] = LiveFile(key, count(added["size"]), partition, stats)

    def _key(self, path: str) -> str:
        # Paths are URL-encoded. An absolute one, or one that leads out of the table, is none of ours.
        relative = unquote(path)
        if not is_key(relative) or relative.startswith("_") or ":" in relative.partition("/")[0]:
            raise wrong(self._folder + LOG, f"it names the file {brief(repr(relative))}")
        return self._folder + relative

    def _check(self, protocol: Mapping[str, Json]) -> None:
        version = count(protocol["minReaderVersion"])
        if version > _READER_VERSION:
            features = ", ".join(protocol.get("readerFeatures") or ()) or f"reader version {version}"
            raise _newer(self._folder, features)


def count(value: Json) -> int:
    """A number that counts something.

    Raises:
        ValueError: If it is none.
    """
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{brief(repr(value))} is not a number that counts something")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{brief(repr(value))} is not a text")
    return value


def wrong(where: str, problem: str) -> IntegrityError:
    """The error for a log that is none."""
    return IntegrityError(
        f"the Delta log {where} is damaged: {problem}",
        hint=HINT,
    )


def _newer(folder: str, feature: str) -> InvalidInputError:
    return InvalidInputError(
        f"the table {folder.rstrip('/')} needs a newer reader: {feature}",
        hint="Upgrade ckpt-archive, or make the index anew with `ckpt-archive index rebuild`.",
    )
