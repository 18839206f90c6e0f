"""What is archived, how often and for how long: what a simulation is about. Values only."""

from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money.cohorts import DAY_SECONDS
from ckpt_archive.retention.money.prices import MONTH_SECONDS

_OBJECT_BYTES = 16 * 10**9
_PART_BYTES = 64 << 20
_MAX_PARTS = 10_000
_RECORDS = 2  # a marker and a manifest, beside a receipt per object at most


@dataclass(frozen=True, slots=True)
class Workload:
    """What is archived, and for how long.

    Attributes:
        size_bytes: Of a checkpoint.
        every_seconds: Between two that are archived.
        months: How long, of `MONTH_SECONDS` each.
        objects: Of a checkpoint; 0: one per 16 GB.
        milestones_per_month: So many are milestones.
        reads_per_month: So many are read back whole.
    """

    size_bytes: int
    every_seconds: int
    months: int
    objects: int = 0
    milestones_per_month: int = 1
    reads_per_month: float = 1.0

    def __post_init__(self) -> None:
        limits = {"size_bytes": (1, 10**18), "every_seconds": (1, 366 * DAY_SECONDS), "months": (1, 1200)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidInputError(f"{name} is {value}", hint=f"It must be {least:,} to {most:,}.")
        if self.every_seconds > self.months * MONTH_SECONDS:
            raise InvalidInputError(
                f"nothing is archived in {self.months} months, one checkpoint every {self.every_seconds} s",
                hint="Take more months.",
            )
        if self.objects < 0 or self.milestones_per_month < 0 or self.reads_per_month < 0:
            raise InvalidInputError("a number of the workload is negative", hint="Use numbers from 0 on.")

    @property
    def object_count(self) -> int:
        """Objects of a checkpoint."""
        return self.objects or max(1, -(-self.size_bytes // _OBJECT_BYTES))

    @property
    def parts(self) -> int:
        """Parts of a checkpoint, as they are sent and read."""
        return self.object_count * min(_MAX_PARTS, -(-self.size_bytes // (self.object_count * _PART_BYTES)))

    @property
    def writes(self) -> int:
        """Requests that write a checkpoint."""
        begun_and_completed = 2 * self.object_count if self.parts > self.object_count else 0
        return self.parts + begun_and_completed + self.object_count + _RECORDS

    def milestones(self) -> list[int]:
        """Which checkpoints are milestones: evenly, the last one of each stretch."""
        count = self.months * self.milestones_per_month
        last = self.months * MONTH_SECONDS // self.every_seconds
        return sorted({last * number // count for number in range(1, count + 1)} - {0})
