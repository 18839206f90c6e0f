"""What the environment says: the one place that reads environment variables (credentials are the AWS SDK's own business)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ckpt_archive.errors import ConflictError

ACTOR = "CKPT_ARCHIVE_ACTOR"
ARCHIVE_URL = "CKPT_ARCHIVE_URL"
LAUNCH_KEY = "CKPT_ARCHIVE_LAUNCH_KEY"
STAGING = "CKPT_ARCHIVE_STAGING"

# torchrun and most others; MPI, under Slurm too, where every process of a node may see the number of one task; srun.
_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS")
_ACTORS = (ACTOR, "USER", "LOGNAME")


_MOST_DIGITS = 18  # no job has more processes


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
        actor: Who does things to the archive: ``CKPT_ARCHIVE_ACTOR``, else the name of the user; "" if nothing says.
    """

    archive_url: str | None = None
    staging: str | None = None
    launch_key: str | None = None
    scheduler_key: str | None = None
    rank: int | None = None
    world_size: int | None = None
    actor: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> "Environment":
        """Read it from `variables`, by default those of this process."""
        found = os.environ if variables is None else variables
        return cls(
            archive_url=found.get(ARCHIVE_URL) or None,
            staging=found.get(STAGING) or None,
            launch_key=found.get(LAUNCH_KEY) or None,
            scheduler_key=_scheduler_key(found),
            rank=_number(found, *_RANKS),
            world_size=_number(found, *_SIZES),
            actor=next((found[name] for name in _ACTORS if found.get(name)), ""),
        )


def reused_key(run: str, launch_key: str) -> ConflictError:
    """The error where a second process of a writer comes with the key of a launch in which that writer has saved before."""
    return ConflictError(
        f"this writer of {run} has saved before with the launch key {launch_key!r}: two launches would be mixed up",
        hint=f"Give every launch a new {LAUNCH_KEY}, or call resume(agree=…), which makes one.",
    )


def _scheduler_key(found: Mapping[str, str]) -> str | None:
    """What the launcher tells all processes of a launch alike, and hardly any other launch.

    A pod's uid is not among it: the pods of a launch have different ones, and a container started again has the same.
    """
    levels = []
    if found.get("SLURM_JOB_ID"):
        # The restart count is unset until the job is requeued for the first time.
        levels.append(f"slurm:{found['SLURM_JOB_ID']}:{found.get('SLURM_RESTART_COUNT') or 0}")
        # A job may start srun in a loop. Where one is started per node, their numbers have nothing in common.
        nodes = found.get("SLURM_JOB_NUM_NODES") or found.get("SLURM_NNODES")
        if found.get("SLURM_STEP_ID") and nodes and found.get("SLURM_STEP_NUM_NODES") == nodes:
            levels.append(f"step:{found['SLURM_STEP_ID']}")
    # torchrun's --rdzv-id defaults to the word "none", which every plain launch would share.
    if found.get("TORCHELASTIC_RUN_ID", "none") not in ("none", ""):
        levels.append(f"torchelastic:{found['TORCHELASTIC_RUN_ID']}:{found.get('TORCHELASTIC_RESTART_COUNT') or 0}")
    return "/".join(levels) or None


def _number(found: Mapping[str, str], *names: str) -> int | None:
    """The first of them that is a number; these names are not ours alone, so nothing else is an error."""
    for name in names:
        text = found.get(name, "")
        if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
            return int(text)
    return None
