"""What a pass did, step by step, and what it left for the next one. Values only."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.errors import CkptArchiveError, UnavailableError


class State(enum.StrEnum):
    """How a step ended."""

    DONE = "done"
    NOTHING = "nothing"
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a pass.

    Attributes:
        step: Its name.
        state: How it ended.
        did: What it did, for people.
        left: What is left for the next pass, or why there is nothing to do.
        findings: How much it found that somebody should look at.
        error: What stopped it.
    """

    step: str
    state: State
    did: str = ""
    left: str = ""
    findings: int = 0
    error: CkptArchiveError | None = None

    @classmethod
    def of(cls, step: str, did: Sequence[str], left: str = "", findings: int = 0) -> "StepReport":
        """A step that was not stopped by an error."""
        state = State.LEFT if left else State.DONE if did else State.NOTHING
        return cls(step, state, ", ".join(did), left, findings)

    @classmethod
    def failed(cls, step: str, error: CkptArchiveError) -> "StepReport":
        """A step that was stopped by an error."""
        return cls(step, State.FAILED, left=error.hint, error=error)

    @property
    def problem(self) -> str:
        """What stopped it, for people."""
        return self.error.message if self.error is not None else ""


@dataclass(frozen=True, slots=True)
class MaintainReport:
    """One pass.

    Attributes:
        steps: In the order in which they were made.
    """

    steps: tuple[StepReport, ...]

    @property
    def findings(self) -> int:
        """How much it found that somebody should look at."""
        return sum(step.findings for step in self.steps)

    @property
    def errors(self) -> tuple[CkptArchiveError, ...]:
        """What stopped steps."""
        return tuple(step.error for step in self.steps if step.error is not None)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left that a longer pass would have done."""
        return all(step.state in (State.DONE, State.NOTHING) for step in self.steps)

    def worst_error(self) -> CkptArchiveError | None:
        """What whoever started the pass should hear of: that the store does not answer explains most other errors."""
        return next((error for error in self.errors if isinstance(error, UnavailableError)), None) or next(
            iter(self.errors), None
        )
