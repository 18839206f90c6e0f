"""What the environment says: the one place that reads environment variables (credentials are the AWS SDK's own business)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError

ARCHIVE_URL = "CKPT_ARCHIVE_URL"
LAUNCH_KEY = "CKPT_ARCHIVE_LAUNCH_KEY"
STAGING = "CKPT_ARCHIVE_STAGING"


@dataclass(frozen=True, slots=True)
class Environment:
    """What a launcher tells its processes.

    Attributes:
        archive_url: ``CKPT_ARCHIVE_URL``.
        staging: ``CKPT_ARCHIVE_STAGING``.
        launch_key: ``CKPT_ARCHIVE_LAUNCH_KEY``.
        scheduler_key: All levels of the launcher joined, such as ``slurm:4711:0/torchelastic:abc:1``, or None.
        rank: Which process of the job this is.
        world_size: How many processes the job has.
    """

    archive_url: str | None = None
    staging: str | None = None
    launch_key: str | None = None
    scheduler_key: str | None = None
    rank: int | None = None
    world_size: int | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> "Environment":
        """Read it from `variables`, by default those of this process."""
        found = os.environ if variables is None else variables
        return cls(
            archive_url=found.get(ARCHIVE_URL) or None,
            staging=found.get(STAGING) or None,
            launch_key=found.get(LAUNCH_KEY) or None,
            scheduler_key=_scheduler_key(found),
            rank=_number(found, "RANK", "SLURM_PROCID"),
            world_size=_number(found, "WORLD_SIZE", "SLURM_NTASKS"),
        )


def _scheduler_key(found: Mapping[str, str]) -> str | None:
    levels = []
    if found.get("SLURM_JOB_ID"):
        # Unset until the job is requeued for the first time.
        levels.append(f"slurm:{found['SLURM_JOB_ID']}:{found.get('SLURM_RESTART_COUNT') or 0}")
    # torchrun's --rdzv-id defaults to the word "none", which every plain launch would share.
    if found.get("TORCHELASTIC_RUN_ID", "none") not in ("none", ""):
        levels.append(f"torchelastic:{found['TORCHELASTIC_RUN_ID']}:{found.get('TORCHELASTIC_RESTART_COUNT') or 0}")
    if found.get("POD_UID"):
        levels.append(f"pod:{found['POD_UID']}")
    return "/".join(levels) or None


def _number(found: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = found.get(name)
        if text:
            if not (text.isascii() and text.isdigit()):
                raise InvalidInputError(f"{name}={text!r} is not a number", hint="Unset it or set it to an integer.")
            return int(text)
    return None
