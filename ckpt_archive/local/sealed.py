"""The record that makes a folder a sealed share: its files as they were when it was sealed. Values only."""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckpt_archive import record
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk.protocol import FileStat, Kind
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import MAX_ATTEMPT, check_file_tree, check_rank, check_run_name, check_step
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file as it was when it was sealed; if any of this differs, somebody changed it.

    Attributes:
        path: Relative, '/'-separated.
        size_bytes: Length.
        mtime_ns: Time of the last modification.
        inode: Number of the file on its file system.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int

    def matches(self, found: FileStat) -> bool:
        """Whether the file found is this one, unchanged."""
        return (
            found.kind is Kind.FILE
            and found.size_bytes == self.size_bytes
            and found.mtime_ns == self.mtime_ns
            and found.inode == self.inode
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """A writer's seal.

    Attributes:
        run: Run name.
        launch: Local launch ordinal.
        step: Training step.
        rank: Which writer.
        saves: Which save of this run by this writer on this node it is, counted from 1.
        contribution: What is said about the share.
        files: In the order of their paths.
        unknown: Members written by a newer release.
    """

    run: str
    launch: int
    step: int
    rank: int
    saves: int
    contribution: Contribution
    files: tuple[SealedFile, ...]
    unknown: Mapping[str, Json] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The files' total size."""
        return sum(file.size_bytes for file in self.files)

    def file(self, path: str) -> SealedFile | None:
        """The file of that path, if there is one."""
        index = bisect.bisect_left(self.files, path, key=lambda file: file.path)
        return self.files[index] if index < len(self.files) and self.files[index].path == path else None

    def encode(self) -> bytes:
        """Canonical bytes.

        Raises:
            ValueError: If a metric is not finite.
        """
        members: dict[str, Json] = {
            "run": self.run,
            "launch": self.launch,
            "step": self.step,
            "rank": self.rank,
            "saves": self.saves,
            **self.contribution.to_json(),
            "files": [_file_to_json(file) for file in self.files],
        }
        return record.encode("seal", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Seal":
        """Read a seal.

        Raises:
            IntegrityError: If it is malformed or inconsistent in itself.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("seal", data, what)
        seal = cls(
            run=fields.text("run", check_run_name),
            launch=fields.number("launch"),
            step=fields.number("step", check_step),
            rank=fields.number("rank", check_rank),
            saves=fields.number("saves"),
            contribution=Contribution.from_json(fields),
            files=tuple(_file_from_json(item) for item in fields.objects("files")),
        )
        paths = [file.path for file in seal.files]
        if paths != sorted(paths):
            fields.refuse("its files are not in the order of their paths")
        try:
            check_file_tree(paths)
        except InvalidInputError as error:
            fields.refuse(error.message)
        if seal.launch > MAX_ATTEMPT or not seal.rank < seal.contribution.writers:
            fields.refuse(f"rank {seal.rank} of {seal.contribution.writers} in launch {seal.launch} is not possible")
        return replace(seal, unknown=fields.rest())


def _file_to_json(file: SealedFile) -> Json:
    # As text: both may be numbers that do not fit 63 bits.
    return {"path": file.path, "size": file.size_bytes, "mtime_ns": str(file.mtime_ns), "inode": str(file.inode)}


def _file_from_json(fields: Fields) -> SealedFile:
    return SealedFile(
        path=fields.text("path"),
        size_bytes=fields.number("size"),
        mtime_ns=int(fields.text("mtime_ns", _check_integer)),
        inode=int(fields.text("inode", _check_integer)),
    )


def _check_integer(text: str) -> str:
    if len(text) <= 20 and str(int(text)) == text:
        return text
    raise ValueError(f"{text!r} is not an integer")
