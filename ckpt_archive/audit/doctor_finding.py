"""What a doctor says: one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """Something somebody should know.

    Attributes:
        severity: "error" (act now), "warning" (act), or "note".
        what: In a few words.
        detail: The whole of it.
        command: What to run next; "" where there is nothing to run.
    """

    severity: str
    what: str
    detail: str
    command: str = ""
