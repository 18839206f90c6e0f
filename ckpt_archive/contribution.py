"""What is said about a writer's share when it is sealed. The same values stand in the seal and in the receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ckpt_archive import clock
from ckpt_archive.names import check_writers
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class Contribution:
    """What is said about a writer's share when it is sealed.

    Attributes:
        launch_key: Shared by all writers of one launch.
        writers: How many writers this checkpoint has.
        staged_at: When the share was sealed, by the writer's clock.
        promotion: Why it goes to the archive, such as ``{"rule": "every", "count": 5}``; empty if it does not.
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

    def to_json(self) -> dict[str, Json]:
        """As members of a record."""
        return {
            "launch_key": self.launch_key,
            "writers": self.writers,
            "staged_at": clock.to_text(self.staged_at),
            "promotion": dict(self.promotion),
            "metrics": dict(self.metrics),
            "labels": dict(self.labels),
            "lineage": dict(self.lineage),
            "completeness": self.completeness,
            **({"class": self.retention_class} if self.retention_class else {}),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> "Contribution":
        """Read the members back.

        Raises:
            IntegrityError: If a member is missing or not possible.
        """
        return cls(
            launch_key=fields.text("launch_key"),
            writers=fields.number("writers", check_writers),
            staged_at=fields.time("staged_at"),
            promotion=fields.mapping("promotion"),
            metrics=fields.mapping("metrics"),
            labels=fields.mapping("labels"),
            lineage=fields.mapping("lineage"),
            retention_class=fields.text("class") if fields.has("class") else "",
            completeness=fields.text("completeness"),
        )
