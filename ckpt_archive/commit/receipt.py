"""What one writer contributed to a checkpoint: write-once, kept for ever, a pure function of what was sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckpt_archive import record
from ckpt_archive.contribution import Contribution
from ckpt_archive.names import check_attempt, check_rank, check_run_name, check_step
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class Receipt:
    """A writer's receipt.

    Attributes:
        archive_id: The archive it belongs to.
        run: Run name.
        attempt: Number of the launch.
        step: Training step.
        rank: Which writer.
        contribution: What was sealed beside the bytes.
        share: Files, objects, digests.
        unknown: Members written by a newer release.
    """

    archive_id: str
    run: str
    attempt: int
    step: int
    rank: int
    contribution: Contribution
    share: Share
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes; their SHA-256 is what the manifest names."""
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "run": self.run,
            "attempt": self.attempt,
            "step": self.step,
            "rank": self.rank,
            **self.contribution.to_json(),
            **self.share.to_json(),
        }
        return record.encode("receipt", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Receipt":
        """Read a receipt that may come from anybody.

        Raises:
            IntegrityError: If it is malformed or inconsistent in itself.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("receipt", data, what)
        receipt = cls(
            archive_id=fields.text("archive"),
            run=fields.text("run", check_run_name),
            attempt=fields.number("attempt", check_attempt),
            step=fields.number("step", check_step),
            rank=fields.number("rank", check_rank),
            contribution=Contribution.from_json(fields),
            share=Share.from_json(fields),
        )
        if not receipt.rank < receipt.contribution.writers:
            fields.refuse(f"rank {receipt.rank} of {receipt.contribution.writers} writers is not possible")
        return replace(receipt, unknown=fields.rest())

    def same_content(self, other: "Receipt") -> bool:
        """Whether both say that this writer of this launch contributed these very files."""
        return (
            (self.archive_id, self.run, self.attempt, self.step, self.rank)
            == (other.archive_id, other.run, other.attempt, other.step, other.rank)
            and self.contribution.launch_key == other.contribution.launch_key
            and self.contribution.writers == other.contribution.writers
            and self.contribution.retention_class == other.contribution.retention_class
            and self.share.identity() == other.share.identity()
        )
