"""The manifest: the small root whose creation makes a checkpoint archived. A pure function of its receipts.

Two committers, today's and one of a later release, come to the same manifest, because nothing enters it but what the
receipts say: no time of commit, no predecessor, no name of whoever made it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.names import (
    check_attempt,
    check_file_tree,
    check_rank,
    check_run_name,
    check_sha256,
    check_step,
    check_writers,
)
from ckpt_archive.place import Place
from ckpt_archive.share import FileEntry
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """A receipt as the manifest names it: writer, SHA-256 and length of its bytes, and what a newer release adds to them."""

    rank: int
    sha256: str
    size_bytes: int
    unknown: Mapping[str, Json] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The root of a checkpoint.

    Attributes:
        archive_id: The archive it belongs to.
        run: Run name.
        attempt: Number of the launch.
        step: Training step.
        launch_key: Of the launch that wrote it.
        writers: How many writers it has.
        first_staged_at: When the first share was sealed.
        staged_at: When the last share was sealed.
        retention_class: Its class under the policy; "" while there is none.
        completeness: "sealed" by all writers, or "assumed" for at least one of them.
        promotion: Why it was archived, in the words of rank 0, as are the next three.
        metrics: Numbers the trainer gave.
        labels: Texts the run was given.
        lineage: Where it came from.
        files: How many files its tree has.
        size_bytes: Their total size.
        receipts: Those of all writers, by rank.
        unknown: Members written by a newer release.
    """

    archive_id: str
    run: str
    attempt: int
    step: int
    launch_key: str
    writers: int
    first_staged_at: datetime
    staged_at: datetime
    retention_class: str
    completeness: str
    promotion: Mapping[str, Json]
    metrics: Mapping[str, Json]
    labels: Mapping[str, Json]
    lineage: Mapping[str, Json]
    files: int
    size_bytes: int
    receipts: tuple[ReceiptEntry, ...]
    unknown: Mapping[str, Json] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Which checkpoint it is of."""
        return Place(self.run, self.attempt, self.step)

    @classmethod
    def of(cls, receipts_bytes: Sequence[tuple[Receipt, bytes]]) -> "Manifest":
        """The manifest of a checkpoint.

        Args:
            receipts_bytes: The receipts of all writers, each with its bytes as they are stored, in any order.

        Raises:
            ConflictError: If two receipts are of different launches, or hold files that can not stand in one tree.
            InvalidInputError: If a writer is missing or occurs twice.
        """
        ordered = sorted(receipts_bytes, key=lambda pair: pair[0].rank)
        receipts = [receipt for receipt, _ in ordered]
        if not receipts:
            raise InvalidInputError(
                "a checkpoint without writers is not possible", hint="Give the receipts of all of them."
            )
        check_same_launch(receipts)
        first = receipts[0]
        if [receipt.rank for receipt in receipts] != list(range(first.contribution.writers)):
            raise InvalidInputError(
                f"{_place(first)}: these are not the receipts of all {first.contribution.writers} writers",
                hint="Give one receipt of each of them.",
            )
        files = _union(receipts)
        size_bytes = sum(file.size_bytes for file in files.values())
        if size_bytes >= 2**63:
            # Each of them is possible; what can not be read back must not be committed.
            raise ConflictError(
                f"the receipts of {_place(first)} say that it has {size_bytes} bytes, which is not possible",
                hint="It stays uncommitted: somebody changed receipts, or wrote them by hand.",
            )
        staged = [receipt.contribution.staged_at for receipt in receipts]
        assumed = any(receipt.contribution.completeness != "sealed" for receipt in receipts)
        return cls(
            archive_id=first.archive_id,
            run=first.run,
            attempt=first.attempt,
            step=first.step,
            launch_key=first.contribution.launch_key,
            writers=first.contribution.writers,
            first_staged_at=min(staged),
            staged_at=max(staged),
            retention_class=first.contribution.retention_class,
            completeness="assumed" if assumed else "sealed",
            promotion=first.contribution.promotion,
            metrics=first.contribution.metrics,
            labels=first.contribution.labels,
            lineage=first.contribution.lineage,
            files=len(files),
            size_bytes=size_bytes,
            receipts=tuple(ReceiptEntry(receipt.rank, sha256_hex(data), len(data)) for receipt, data in ordered),
        )

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "run": self.run,
            "attempt": self.attempt,
            "step": self.step,
            "launch_key": self.launch_key,
            "writers": self.writers,
            "first_staged_at": clock.to_text(self.first_staged_at),
            "staged_at": clock.to_text(self.staged_at),
            "completeness": self.completeness,
            "promotion": dict(self.promotion),
            "metrics": dict(self.metrics),
            "labels": dict(self.labels),
            "lineage": dict(self.lineage),
            "files": self.files,
            "size": self.size_bytes,
            "receipts": [
                {**entry.unknown, "rank": entry.rank, "sha256": entry.sha256, "size": entry.size_bytes}
                for entry in self.receipts
            ],
            **({"class": self.retention_class} if self.retention_class else {}),
        }
        return record.encode("manifest", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Manifest":
        """Read a manifest that may come from anybody.

        Raises:
            IntegrityError: If it is malformed or inconsistent in itself.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("manifest", data, what)
        manifest = cls(
            archive_id=fields.text("archive"),
            run=fields.text("run", check_run_name),
            attempt=fields.number("attempt", check_attempt),
            step=fields.number("step", check_step),
            launch_key=fields.text("launch_key"),
            writers=fields.number("writers", check_writers),
            first_staged_at=fields.time("first_staged_at"),
            staged_at=fields.time("staged_at"),
            retention_class=fields.text("class") if fields.has("class") else "",
            completeness=fields.text("completeness"),
            promotion=fields.mapping("promotion"),
            metrics=fields.mapping("metrics"),
            labels=fields.mapping("labels"),
            lineage=fields.mapping("lineage"),
            files=fields.number("files"),
            size_bytes=fields.number("size"),
            receipts=tuple(_entry_from_json(entry) for entry in fields.objects("receipts")),
        )
        if [entry.rank for entry in manifest.receipts] != list(range(len(manifest.receipts))):
            fields.refuse("its receipts are not those of ranks 0, 1, 2 and so on")
        if len(manifest.receipts) != manifest.writers:
            fields.refuse(f"it names {len(manifest.receipts)} receipts of {manifest.writers} writers")
        if manifest.first_staged_at > manifest.staged_at:
            fields.refuse("its first share was sealed after its last one")
        return replace(manifest, unknown=fields.rest())

    def check_place(self, place: Place) -> "Manifest":
        """Itself, if it is the manifest of that checkpoint.

        Raises:
            IntegrityError: If it says that it is of another one.
        """
        if self.place != place:
            raise IntegrityError(
                f"the manifest of {place} says that it is of {self.place}",
                hint="Somebody copied or renamed objects of the archive: put them back.",
            )
        return self

    def same_as(self, other: "Manifest") -> bool:
        """Whether all that version 1 says is equal, whatever a newer release may have added to one of them."""
        return replace(self, unknown={}) == replace(other, unknown={})


def _entry_from_json(fields: Fields) -> ReceiptEntry:
    rank, sha256 = fields.number("rank", check_rank), fields.text("sha256", check_sha256)
    return ReceiptEntry(rank, sha256, fields.number("size"), fields.rest())


def check_same_launch(receipts: Sequence[Receipt]) -> None:
    """Check that receipts of one checkpoint are of one launch.

    Raises:
        ConflictError: If two of them differ in checkpoint, launch key, number of writers or retention class.
    """
    first = receipts[0]
    for receipt in receipts[1:]:
        for name, ours, theirs in zip(_COMMON, _common(first), _common(receipt), strict=True):
            if ours != theirs:
                raise ConflictError(
                    f"the receipts of {_place(first)} are not of one launch: {name} is {ours!r} for rank {first.rank} and "
                    f"{theirs!r} for rank {receipt.rank}",
                    hint="It stays uncommitted. Give every launch a key of its own, the same one on all its nodes.",
                )


_COMMON = ("the archive", "the checkpoint", "the launch key", "the number of writers", "the retention class")


def _common(receipt: Receipt) -> tuple[str, str, str, int, str]:
    said = receipt.contribution
    return (receipt.archive_id, str(_place(receipt)), said.launch_key, said.writers, said.retention_class)


def _place(receipt: Receipt) -> Place:
    return Place(receipt.run, receipt.attempt, receipt.step)


def _union(receipts: Sequence[Receipt]) -> dict[str, FileEntry]:
    """The files of all writers by path; the same file from several of them once."""
    files: dict[str, FileEntry] = {}
    rank_of: dict[str, int] = {}
    for receipt in receipts:
        for file in receipt.share.files:
            known = files.setdefault(file.path, file)
            other = rank_of.setdefault(file.path, receipt.rank)
            if (known.size_bytes, known.sha256) != (file.size_bytes, file.sha256):
                raise ConflictError(
                    f"ranks {other} and {receipt.rank} both wrote {file.path!r} in {_place(receipt)}, with different bytes",
                    hint="It stays uncommitted. Let only one of them write that file, or give each its own name for it.",
                )
    try:
        check_file_tree(files)
    except InvalidInputError as error:
        raise ConflictError(
            f"the writers of {_place(receipts[0])} wrote files that can not stand in one tree: {error.message}",
            hint="It stays uncommitted. Give the files other names.",
        ) from error
    return files
