"""The tables of the index: what stands in each column, in which unit, and where it comes from. Values only.

All rows are facts, appended once. A release may add a table, or a column at the end of one (old rows have none of it then);
it never renames, retypes or drops one. `VERSION` counts such additions.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VERSION = 1
"""Of the columns below; stands in every table's configuration under `VERSION_KEY`."""

VERSION_KEY = "ckpt-archive.schema"
ARCHIVE_KEY = "ckpt-archive.archive"
"""A table's configuration: the id of the archive whose index it belongs to. One that was made anew there has another."""

APP = "ckpt-archive"
"""The Delta app transaction whose version is the number of the last log batch in the table."""

COMPACTION_APP = "ckpt-archive/compact"
LOG_SEQ = "log_seq"
MONTH = "month"
RUN = "run"


class Type(enum.StrEnum):
    """Column types that all engines have; the values are their names in a Delta schema."""

    TEXT = "string"
    INTEGER = "long"
    NUMBER = "double"
    BOOLEAN = "boolean"
    TIME = "timestamp"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Never a reserved word of an engine.
        type: Its type; any column may be NULL.
        meaning: What it says, with its unit.
        source: Where the value is taken from.
        example: One value.
    """

    name: str
    type: Type
    meaning: str
    source: str
    example: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        name: Its folder below ``index/``.
        purpose: One row is …
        columns: In order.
        sort_by: Rows of a file are in this order, so that a range of a run is found by the statistics of row groups.
        known_at: The column by the store's clock that says when the archive came to know it, for questions "as of".
        monthly: Whether files are partitioned by `MONTH`, the month of `known_at` in UTC; the column is then part of it.
        bloom: Columns with a Bloom filter, because one value of them is looked up in files of many.
    """

    name: str
    purpose: str
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...]
    known_at: str
    monthly: bool = False
    bloom: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name. Raises `KeyError`."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _text(name: str, meaning: str, source: str, example: str) -> Column:
    return Column(name, Type.TEXT, meaning, source, example)


def _integer(name: str, meaning: str, source: str, example: str) -> Column:
    return Column(name, Type.INTEGER, meaning, source, example)


def _number(name: str, meaning: str, source: str, example: str) -> Column:
    return Column(name, Type.NUMBER, meaning, source, example)


def _flag(name: str, meaning: str, source: str, example: str) -> Column:
    return Column(name, Type.BOOLEAN, meaning, source, example)


def _time(name: str, meaning: str, source: str, example: str = "2026-03-01 12:00:00") -> Column:
    return Column(name, Type.TIME, meaning, source, example)


_DIGEST = "2f4d…39a4"
_LOG_SEQ = _integer(LOG_SEQ, "Number of the log batch that told of it.", "log/seq", "4711")


def _place(of: str) -> tuple[Column, Column, Column]:
    return (
        _text("run", "Run name.", of, "llama-7b"),
        _integer("attempt", "Number of the launch, from 0.", of, "3"),
        _integer("step", "Training step.", of, "100000"),
    )


def _month(of: str) -> Column:
    return _text(MONTH, f"Month of `{of}` in UTC; files are partitioned by it.", of, "2026-03")


CHECKPOINTS = Table(
    name="checkpoints",
    purpose="a committed checkpoint",
    columns=(
        *_place("manifest"),
        _time("committed_at", "When the manifest was created, by the store's clock.", "log entry: time"),
        _time(
            "first_staged_at", "When its first share was sealed, by that writer's clock.", "manifest: first_staged_at"
        ),
        _time("staged_at", "When its last share was sealed, by that writer's clock.", "manifest: staged_at"),
        _text("manifest_sha256", "SHA-256 of the manifest: the checkpoint's identity.", "log entry: digest", _DIGEST),
        _text("launch_key", "Shared by all writers of the launch.", "manifest: launch_key", "slurm:4711:0"),
        _integer("writers", "How many writers contributed.", "manifest: writers", "8"),
        _integer("files", "Files in its tree.", "manifest: files", "17"),
        _integer("size_bytes", "Their total size in bytes.", "manifest: size", "13476839424"),
        _integer("objects", "Objects of data that hold it.", "receipts: objects", "9"),
        _integer("stored_bytes", "Total size of these objects in bytes.", "receipts: objects[].size", "13476839424"),
        _text("project", "The run's label `project`.", "manifest: labels.project", "x"),
        _text("labels", "All labels, as JSON.", "manifest: labels", '{"project":"x"}'),
        _text("retention_class", "Its class when it was written.", "manifest: class", "daily"),
        _text("completeness", "`sealed` by its writers, or `assumed`.", "manifest: completeness", "sealed"),
        _text("promotion_rule", "Why it was archived.", "manifest: promotion.rule", "every"),
        _integer("promotion_ordinal", "Its ordinal under that rule.", "manifest: promotion.ordinal", "20"),
        _text("promotion", "All that is said about it, as JSON.", "manifest: promotion", '{"rule":"every","count":5}'),
        _text("code_commit", "Commit of the code that trained it.", "manifest: lineage.code.commit", "9fceb02…"),
        _flag("code_dirty", "Whether that code had uncommitted changes.", "manifest: lineage.code.dirty", "false"),
        _text("config_sha256", "SHA-256 of its configuration.", "manifest: lineage.config.sha256", _DIGEST),
        _text("environment_sha256", "SHA-256 of its environment.", "manifest: lineage.environment.sha256", _DIGEST),
        _text("lineage", "Where it came from, as JSON, without its sources.", "manifest: lineage", '{"code":{…}}'),
        _number(
            "save_seconds",
            "How long training stood still for the save: the slowest writer.",
            "receipts: timings.save_seconds",
            "0.41",
        ),
        _number(
            "upload_seconds",
            "How long the upload took: the slowest writer.",
            "receipts: timings.upload_seconds",
            "38.2",
        ),
        _LOG_SEQ,
        _month("committed_at"),
    ),
    sort_by=("run", "attempt", "step"),
    known_at="committed_at",
    monthly=True,
    bloom=(RUN, "manifest_sha256"),
)

FILES = Table(
    name="files",
    purpose="a file that one writer contributed to a checkpoint",
    columns=(
        *_place("receipt"),
        _integer("rank", "Which writer.", "receipt: rank", "0"),
        _text("path", "Path in the checkpoint's tree.", "receipt: files[].path", "model/weights.safetensors"),
        _integer("size_bytes", "Length in bytes.", "receipt: files[].size", "67108864"),
        _text("sha256", "SHA-256 of the file: its identity.", "receipt: files[].sha256", _DIGEST),
        _text(
            "object_sha256",
            "Of the object that holds it; NULL: the object is the file (or it is empty).",
            "receipt: objects[].sha256",
            _DIGEST,
        ),
        _integer(
            "object_offset", "Where it begins in that object, in bytes; NULL for 0.", "receipt: files[].offset", "4096"
        ),
        _text("tensor_layout_sha256", "Its tensors: see `tensor_layouts`.", "receipt: files[].tensors", _DIGEST),
        _text(
            "object_key",
            "Where its bytes lie if somebody else put them into the bucket: the whole key. NULL: among the archive's data.",
            "receipt: objects[].key",
            "old/checkpoint-100/model.bin",
        ),
        _time("committed_at", "As in `checkpoints`.", "log entry: time"),
        _LOG_SEQ,
        _month("committed_at"),
    ),
    sort_by=("run", "attempt", "step", "rank", "path"),
    known_at="committed_at",
    monthly=True,
    bloom=(RUN, "sha256"),
)

METRICS = Table(
    name="metrics",
    purpose="a number that the trainer gave with a checkpoint",
    columns=(
        *_place("manifest"),
        _text("name", "Name of the metric.", "manifest: metrics", "loss"),
        _number("value", "Its value.", "manifest: metrics", "2.1"),
        _time("committed_at", "As in `checkpoints`.", "log entry: time"),
        _LOG_SEQ,
        _month("committed_at"),
    ),
    sort_by=("run", "name", "attempt", "step"),
    known_at="committed_at",
    monthly=True,
    bloom=(RUN,),
)

RUNS = Table(
    name="runs",
    purpose="what is said about a run, each time that it changes; the newest row counts",
    columns=(
        _text("run", "Run name.", "launch or manifest", "llama-7b"),
        _time("recorded_at", "When the archive came to know it, by the store's clock.", "log entry: time"),
        _text("project", "The run's label `project`.", "labels.project", "x"),
        _text("owner", "The run's label `owner`.", "labels.owner", "jo"),
        _text("purpose", "The run's label `purpose`: what the model is for.", "labels.purpose", "translation"),
        _text("risk_class", "The run's label `risk_class`.", "labels.risk_class", "high"),
        _text("labels", "All labels, as JSON.", "labels", '{"project":"x"}'),
        _LOG_SEQ,
    ),
    sort_by=("run", "recorded_at"),
    known_at="recorded_at",
)

LAUNCHES = Table(
    name="launches",
    purpose="a launch of a run (an attempt)",
    columns=(
        _text("run", "Run name.", "launch", "llama-7b"),
        _integer("attempt", "Its number, from 0.", "launch: attempt", "3"),
        _time("recorded_at", "When it was recorded, by the store's clock.", "log entry: time"),
        _time("started_at", "When it began, by its own clock.", "launch: started_at"),
        _text("launch_key", "Shared by all its writers.", "launch: launch_key", "slurm:4711:1"),
        _integer("writers", "How many writers it has.", "launch: writers", "8"),
        _text("resume_run", "What it goes on from: run …", "launch: resume_from.run", "llama-7b"),
        _integer("resume_attempt", "… attempt …", "launch: resume_from.attempt", "2"),
        _integer("resume_step", "… and step; NULL from nothing.", "launch: resume_from.step", "90000"),
        _flag("explicit", "Whether somebody chose that (a roll-back).", "launch: explicit", "false"),
        _flag("late", "Recorded only after it had ended.", "launch: late", "false"),
        _integer(
            "line_attempt",
            "First attempt of its line: launches of one run that each went on from the one before by themselves.",
            "launches of the run",
            "0",
        ),
        _text("policy_sha256", "Retention policy in force.", "launch: policy", _DIGEST),
        _text("project", "The label `project`.", "launch: labels.project", "x"),
        _text("labels", "All labels, as JSON.", "launch: labels", '{"project":"x"}'),
        _LOG_SEQ,
    ),
    sort_by=("run", "attempt"),
    known_at="recorded_at",
)

RUN_SOURCES = Table(
    name="run_sources",
    purpose="a source that a launch was trained on, from the checkpoint on that first names it",
    columns=(
        _text("run", "Run name.", "manifest", "llama-7b"),
        _integer("attempt", "Number of the launch.", "manifest", "3"),
        _text("uri", "What it is.", "lineage.sources[].uri", "s3://corpus/v3"),
        _text("version", "Its version.", "lineage.sources[].version", "3"),
        _text("digest", "Its digest.", "lineage.sources[].digest", _DIGEST),
        _text("licence", "Its licence.", "lineage.sources[].licence", "CC-BY-4.0"),
        _integer("records", "How many records it has.", "lineage.sources[].records", "1000000"),
        _integer("from_step", "The first checkpoint that names it.", "manifest: step", "5000"),
        _time("recorded_at", "When the archive came to know it, by the store's clock.", "log entry: time"),
        _text("declared_by", "Who declared it later; NULL: it was said at stage time.", "event source: actor", "jo"),
        _text("details", "Anything else, as JSON.", "lineage.sources[]", "{}"),
        _LOG_SEQ,
    ),
    sort_by=("uri", "run", "attempt"),
    known_at="recorded_at",
)

LINEAGE = Table(
    name="lineage",
    purpose="an edge: what was made from what",
    columns=(
        _text(
            "child",
            "Node: `line:RUN/ATTEMPT` (a line of launches, see `launches`), `artifact:DIGEST`.",
            "launch or event",
            "line:llama-7b-sft/0",
        ),
        _text("parent", "Node, as `child`, or `source:URI`.", "launch or event", "line:llama-7b/0"),
        _text("relation", "`rollback`, `fork`, `fine-tune`, `merge`, `output`, `dataset` …", "launch or event", "fork"),
        _text("parent_run", "The checkpoint it was made from: run …", "launch: resume_from, event: places", "llama-7b"),
        _integer("parent_attempt", "… attempt …", "launch: resume_from, event: places", "2"),
        _integer("parent_step", "… and step.", "launch: resume_from, event: places", "90000"),
        _text("declared_by", "Who declared it later; NULL: the launch itself says so.", "event: actor", "jo"),
        _time("recorded_at", "When the archive came to know it, by the store's clock.", "log entry: time"),
        _text("details", "Anything else, as JSON.", "event: details", "{}"),
        _LOG_SEQ,
    ),
    sort_by=("child", "parent"),
    known_at="recorded_at",
)

LINEAGE_CLOSURE = Table(
    name="lineage_closure",
    purpose="a way from a node to one of its ancestors, so that no engine has to recurse",
    columns=(
        _text("descendant", "Node, as `lineage.child`.", "lineage", "line:llama-7b-sft/0"),
        _text("ancestor", "Node, as `lineage.parent`.", "lineage", "line:llama-7b/0"),
        _integer("depth", "How many edges lie between them; the shortest way.", "lineage", "2"),
        _text("ancestor_run", "Where that way leaves the ancestor: run …", "lineage: parent_run", "llama-7b"),
        _integer("ancestor_attempt", "… attempt …", "lineage: parent_attempt", "2"),
        _integer(
            "ancestor_step", "… and step: later checkpoints of it are no ancestors.", "lineage: parent_step", "90000"
        ),
        _time("recorded_at", "When the archive came to know it, by the store's clock.", "log entry: time"),
        _LOG_SEQ,
    ),
    sort_by=("descendant", "depth"),
    known_at="recorded_at",
)

TENSOR_LAYOUTS = Table(
    name="tensor_layouts",
    purpose="a tensor of a layout; files with equal tables of tensors share one",
    columns=(
        _text(
            "layout_sha256", "SHA-256 of the table of tensors, as canonical JSON.", "receipt: files[].tensors", _DIGEST
        ),
        _text("name", "Name of the tensor.", "tensors[].name", "layers.0.weight"),
        _text("dtype", "Type of its elements.", "tensors[].dtype", "bf16"),
        _text("shape", "Its shape, as JSON.", "tensors[].shape", "[4096,4096]"),
        _integer("offset_bytes", "Where it begins in the file.", "tensors[].offset", "8192"),
        _integer("size_bytes", "Its length in bytes.", "tensors[].size", "33554432"),
        _time("recorded_at", "When the archive came to know it, by the store's clock.", "log entry: time"),
        _LOG_SEQ,
    ),
    sort_by=("layout_sha256", "offset_bytes"),
    known_at="recorded_at",
)

EVENTS = Table(
    name="events",
    purpose="something that happened to one checkpoint, or to something else (an event about many has a row for each)",
    columns=(
        _text("event_id", "Id of the event; rows about several checkpoints share it.", "event: id", "9b1d…"),
        _text("kind", "What happened: see the list of kinds.", "event: event, or decision: action", "restored"),
        _time("recorded_at", "When it was recorded, by the store's clock.", "log entry: time"),
        _time("happened_at", "When it happened, by the clock of whoever says so.", "event: happened_at"),
        _text("actor", "Who.", "event: actor", "jo"),
        _text("node", "On which machine.", "event: node", "gpu-17"),
        _text("run", "Run name.", "event: places, run", "llama-7b"),
        _integer("attempt", "Number of the launch.", "event: places", "3"),
        _integer("step", "Training step.", "event: places", "100000"),
        _integer("rank", "Which writer, where it is about one.", "event: rank", "0"),
        _text("subject", "What else it is about: a key, a URI, an id.", "event: subject", "case-2026-17"),
        _text("digest", "SHA-256 of what it is about.", "event: digest", _DIGEST),
        _text("outcome", "`ok`, `failed`, `findings`, a class, …", "event: outcome", "ok"),
        _text("reason", "Why, for people.", "event: reason", "audit 2026"),
        _time("until_at", "Until when it holds, or when it will be.", "event: until_at"),
        _integer("size_bytes", "How many bytes it concerned.", "event: size", "13476839424"),
        _text("details", "Anything else, as JSON.", "event: details", "{}"),
        _LOG_SEQ,
        _month("recorded_at"),
    ),
    sort_by=("kind", "run", "attempt", "step"),
    known_at="recorded_at",
    monthly=True,
    bloom=(RUN, "digest"),
)

SIGNERS = Table(
    name="signers",
    purpose="a public key that was published or revoked",
    columns=(
        _text("key_id", "SHA-256 of the public key.", "event: subject", _DIGEST),
        _text("state", "`published` or `revoked`; the newest row counts.", "event: event", "published"),
        _text("algorithm", "Its algorithm.", "event: details.algorithm", "ecdsa-p256"),
        _text("owner", "Whose it is.", "event: details.owner", "release team"),
        _time("valid_from", "From when its signatures count.", "event: details.valid_from"),
        _time("valid_until", "Until when.", "event: until_at"),
        _text("public_key", "The key, PEM.", "event: details.public_key", "-----BEGIN PUBLIC KEY-----…"),
        _text("reason", "Why, for people.", "event: reason", "rotated"),
        _time("recorded_at", "When it was recorded, by the store's clock.", "log entry: time"),
        _LOG_SEQ,
    ),
    sort_by=("key_id", "recorded_at"),
    known_at="recorded_at",
)

SYNC_LOG = Table(
    name="sync_log",
    purpose="a batch of the log: how far the index has seen, and what it has not",
    columns=(
        _time("sealed_at", "When the batch was made, by the store's clock.", "batch: sealed_at"),
        _text("sealed_by", "On which machine.", "batch: sealed_by", "gpu-17"),
        _time("watermark", "Everything announced before is in the log, or among the unresolved.", "batch: watermark"),
        _time("swept_at", "When everything announced in 90 days was last looked at.", "batch: swept_at"),
        _integer("first_entry", "How many entries all batches before it have.", "batch: first_entry", "190000"),
        _integer("entries", "How many entries it has.", "batch: entries", "40"),
        _integer(
            "findings", "How many of them could not be read, or were announced and never came.", "batch: entries", "0"
        ),
        _integer("unresolved", "Announced, and not there yet.", "batch: unresolved", "1"),
        _time("oldest_unresolved_at", "Since when.", "batch: unresolved[].since"),
        _text("unresolved_keys", "Up to 100 of these announcements, as JSON.", "batch: unresolved[].key", "[]"),
        _text("batch_sha256", "SHA-256 of the batch.", "log/seq", _DIGEST),
        _LOG_SEQ,
    ),
    sort_by=(LOG_SEQ,),
    known_at="sealed_at",
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            CHECKPOINTS,
            FILES,
            METRICS,
            RUNS,
            LAUNCHES,
            RUN_SOURCES,
            LINEAGE,
            LINEAGE_CLOSURE,
            TENSOR_LAYOUTS,
            EVENTS,
            SIGNERS,
            SYNC_LOG,
        )
    }
)
