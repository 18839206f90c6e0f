"""What one writer contributed to a checkpoint: write-once, kept for ever, a pure function of what was sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.names import check_attempt, check_rank, check_run_name, check_step
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class Contribution:
    """What is said about a writer's share when it is sealed.

    Attributes:
        launch_key: Shared by all writers of one launch.
        writers: How many writers this checkpoint has.
        staged_at: When the share was sealed, by the writer's clock.
        promotion: Why it goes to the archive, such as ``{"rule": "every", "count": 5}``.
        metrics: Numbers the trainer gave, such as ``{"loss": 2.1}``.
        labels: Texts the run was given, such as ``{"project": "x"}``.
        lineage: Where it came from: sources, parent, code.
        retention_class: Its class under the policy; "" while there is none.
        completeness: "sealed" by the writer, or "assumed" by somebody who watched a folder fall quiet.
    """

    launch_key: str
    writers: int
    staged_at: datetime
    promotion: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Json] = field(default_factory=dict)
    labels: Mapping[str, Json] = field(default_factory=dict)
    lineage: Mapping[str, Json] = field(default_factory=dict)
    retention_class: str = ""
    completeness: str = "sealed"


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
        about = self.contribution
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "run": self.run,
            "attempt": self.attempt,
            "step": self.step,
            "rank": self.rank,
            "launch_key": about.launch_key,
            "writers": about.writers,
            "staged_at": clock.to_text(about.staged_at),
            "promotion": dict(about.promotion),
            "metrics": dict(about.metrics),
            "labels": dict(about.labels),
            "lineage": dict(about.lineage),
            "completeness": about.completeness,
            **({"class": about.retention_class} if about.retention_class else {}),
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
            contribution=Contribution(
                launch_key=fields.text("launch_key"),
                writers=fields.number("writers"),
                staged_at=fields.time("staged_at"),
                promotion=fields.mapping("promotion"),
                metrics=fields.mapping("metrics"),
                labels=fields.mapping("labels"),
                lineage=fields.mapping("lineage"),
                retention_class=fields.text("class") if fields.has("class") else "",
                completeness=fields.text("completeness"),
            ),
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
