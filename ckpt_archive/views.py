"""What the archive answers about its checkpoints: values with the field's names, ready for tables and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line about a run.

    Attributes:
        run: Its name.
        newest_attempt: Attempt of the checkpoint that `latest` answers; None if nothing is committed.
        newest_step: Its step.
        committed_at: When that was committed, by the store's clock.
        size_bytes: Of that checkpoint.
    """

    run: str
    newest_attempt: int | None
    newest_step: int | None
    committed_at: datetime | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One line about a committed checkpoint.

    Attributes:
        run: Run name.
        attempt: Attempt.
        step: Step.
        committed_at: When its manifest was stored, by the store's clock.
        staged_at: When its last writer sealed it, by that writer's clock.
        writers: How many writers it has.
        files: How many files.
        size_bytes: Their size.
        metrics: What the trainer recorded.
        labels: What the run was given.
        manifest_sha256: Digest of its manifest: the one thing to write down.
        state: "kept", "ending" where an end is announced, "ended" where its data is gone or may be going.
        retention_class: The class that it has, was given, or was saved as; "" for none.
        ends_at: When its data ends; None while nothing is announced.
        held: Whether it, or its run, is held for a case.
    """

    run: str
    attempt: int
    step: int
    committed_at: datetime | None
    staged_at: datetime
    writers: int
    files: int
    size_bytes: int
    metrics: Mapping[str, Json]
    labels: Mapping[str, Json]
    manifest_sha256: str
    state: str = "kept"
    retention_class: str = ""
    ends_at: datetime | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a checkpoint, and where its bytes lie.

    Attributes:
        path: Relative to the checkpoint.
        size_bytes: Length.
        sha256: Of the whole file.
        rank: The writer that contributed it.
        key: The object that holds it, relative to the archive, or, with a '/' before it, its whole key in the bucket; ""
            for an empty file.
        offset: Where it begins in that object.
    """

    path: str
    size_bytes: int
    sha256: str
    rank: int
    key: str
    offset: int


@dataclass(frozen=True, slots=True)
class CheckpointDetails:
    """All there is to know about a checkpoint.

    Attributes:
        info: The line about it.
        manifest: Its manifest, as stored.
        files: Its files, sorted by path.
        receipts: (rank, key, SHA-256) of every receipt.
    """

    info: CheckpointInfo
    manifest: Mapping[str, Json]
    files: tuple[FileInfo, ...]
    receipts: tuple[tuple[int, str, str], ...]
