"""What a user may change about the agent."""

from dataclasses import dataclass, field
from typing import Literal

from ckpt_archive.transfer.settings import TransferSettings


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How the agent works.

    Attributes:
        transfer: Sizes and limits of uploads.
        poll_seconds: Pause between two looks at the staging directory.
        recheck_seconds: Pause before a share that could not be archived, or that awaits other writers, is tried again.
        abandon_seconds: How long a share waits for those of other writers once a newer checkpoint is archived; then the
            checkpoint is given up, for a writer that was not killed in between would have come long before.
        linger_seconds: How long an agent that was started on demand stays when nothing is left to do and no launch lives.
        give_up_under_pressure: Whether promotions may be given up, each with a recorded gap, before training's disk is full.
        maintain: Who maintains the archives: "auto" for the agent itself, beside its work; "external" for somebody else.
    """

    transfer: TransferSettings = field(default_factory=TransferSettings)
    poll_seconds: float = 1.0
    recheck_seconds: float = 30.0
    abandon_seconds: float = 3600.0
    linger_seconds: float = 10.0
    give_up_under_pressure: bool = True
    maintain: Literal["auto", "external"] = "auto"
