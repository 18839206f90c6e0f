"""Where a checkpoint stands: run, attempt, step. A value."""

from dataclasses import dataclass

from ckpt_archive.names import check_attempt, check_run_name, check_step
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The identity of a checkpoint within an archive.

    Attributes:
        run: Run name.
        attempt: Number of the launch that wrote it, counted from 0.
        step: Training step.
    """

    run: str
    attempt: int
    step: int

    def __str__(self) -> str:
        return f"{self.run} step {self.step} (attempt {self.attempt})"

    def to_json(self) -> dict[str, Json]:
        """As a member of a record."""
        return {"run": self.run, "attempt": self.attempt, "step": self.step}

    @classmethod
    def from_json(cls, fields: Fields) -> "Place":
        """Read it back.

        Raises:
            IntegrityError: If a member is missing or not possible.
        """
        return cls(
            fields.text("run", check_run_name),
            fields.number("attempt", check_attempt),
            fields.number("step", check_step),
        )
