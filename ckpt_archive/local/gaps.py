"""Saves that failed: this node has no share of such a step, and the other writers must be told not to wait for it."""

import re
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.facts import read_fact, write_fact
from ckpt_archive.local.faults import converting
from ckpt_archive.local.staging import LAUNCH_DIGITS, RANK_DIGITS, STEP_DIGITS, RunStaging
from ckpt_archive.names import check_attempt, check_rank, check_step

_NAME = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.json")


@dataclass(frozen=True, slots=True)
class MissedSave:
    """A save that failed.

    Attributes:
        launch: Local launch ordinal.
        step: Training step.
        rank: Which writer.
        reason: What went wrong.
        at: When.
    """

    launch: int
    step: int
    rank: int
    reason: str
    at: datetime


def record_missed(run: RunStaging, launch: int, step: int, rank: int, reason: str) -> None:
    """Record that a save failed, durably; once recorded, the first reason stays.

    Raises:
        CapacityError: If the disk is so full that even this does not fit.
        UnavailableError: If the disk does not answer.
    """
    members = {
        "launch": check_attempt(launch),
        "step": check_step(step),
        "rank": check_rank(rank),
        "reason": reason,
        "at": clock.to_text(run.machine.clock.now()),
    }
    with converting(f"the failed save of step {step} can not be recorded in {run.gaps}"):
        write_fact(run, _path(run, launch, step, rank), record.encode("missed-save", members, {}), _decode)


def load_missed(run: RunStaging, *, strict: bool = False) -> list[MissedSave]:
    """All saves that failed, by launch and step; what can not be read is passed over.

    Args:
        run: The run.
        strict: Do not pass over what the disk does not give back just now.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the failed saves in {run.gaps} can not be read"):
        try:
            entries = run.machine.fs.list(run.gaps)
        except FileNotFoundError:
            return []
        found = (
            read_fact(run, join(run.gaps, entry.name), _decode, strict=strict)
            for entry in entries
            if _NAME.fullmatch(entry.name)
        )
        return [missed for missed in found if missed is not None]


def peek_missed(run: RunStaging) -> list[MissedSave]:
    """As `load_missed`, but changes nothing: damaged records are passed over."""
    fs = run.machine.fs
    found = []
    try:
        names = [entry.name for entry in fs.list(run.gaps) if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    for name in names:
        try:
            found.append(_decode(durable.read_small(fs, join(run.gaps, name)), name))
        except (OSError, IntegrityError, InvalidInputError):
            continue
    return found


def forget_missed(run: RunStaging, missed: MissedSave) -> None:
    """Remove the record once the archive holds the decision, or the launch is no more of interest.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    path = _path(run, missed.launch, missed.step, missed.rank)
    with converting(f"{path} can not be removed"):
        durable.remove_if_there(run.machine.fs, path)


def _path(run: RunStaging, launch: int, step: int, rank: int) -> str:
    return join(run.gaps, f"{launch:0{LAUNCH_DIGITS}d}-{step:0{STEP_DIGITS}d}-{rank:0{RANK_DIGITS}d}.json")


def _decode(data: bytes, what: str) -> MissedSave:
    fields = record.decode("missed-save", data, what)
    return MissedSave(
        launch=fields.number("launch", check_attempt),
        step=fields.number("step", check_step),
        rank=fields.number("rank", check_rank),
        reason=fields.text("reason"),
        at=fields.time("at"),
    )
