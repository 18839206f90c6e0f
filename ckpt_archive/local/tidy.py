"""Removes what crashes left behind, and nothing that anybody still writes, reads or needs."""

import re
from dataclasses import dataclass

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Entry, Kind, LockMode, join
from ckpt_archive.local import scanning
from ckpt_archive.local.faults import converting
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.staging import LAUNCH_DIGITS, NONCE, RunStaging
from ckpt_archive.local.trash import empty_trash, remove_if_empty, throw_away

_LOCK_SUFFIX = ".lock"
# What `durable` writes before it has its name; all names in these folders begin with the ordinal of a launch.
_TEMPORARY = re.compile(
    rf"{re.escape(durable.TEMPORARY_PREFIX)}{NONCE.pattern}-([0-9]{{{LAUNCH_DIGITS}}})[.-][a-z0-9.-]*"
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a pass did.

    Attributes:
        drafts: Drafts of dead writers that went.
        replaced: Shares that went because a newer generation stands.
        quarantined: Things that were set aside.
    """

    drafts: int
    replaced: int
    quarantined: int


def clean(run: RunStaging) -> Cleaned:
    """Remove dead drafts, replaced shares, empty folders and the trash; set aside what should not be where it is.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"{run.folder} can not be cleaned"):
        drafts, foreign = _clean_drafts(run)
        for folder in (run.launches, run.gaps):
            _clean_temporaries(run, folder)
        replaced, suspects = _clean_ring(run)
        empty_trash(run)
    return Cleaned(drafts, replaced, foreign + suspects)


def _clean_drafts(run: RunStaging) -> tuple[int, int]:
    """(dead drafts removed, foreign things set aside)."""
    drafts = foreign = 0
    for entry in run.machine.fs.list(run.tmp):
        name = _draft_name(entry)
        if name is None:
            path = join(run.tmp, entry.name)
            foreign += set_aside(run, path, f"a {entry.kind.value} of this name has no place among drafts") is not None
        else:
            drafts += _clean_draft(run, name)
    return drafts, foreign


def _draft_name(entry: Entry) -> str | None:
    """The draft to which an entry of ``tmp/`` belongs: its folder, or the lock beside it."""
    name = entry.name.removesuffix(_LOCK_SUFFIX)
    kind = Kind.DIRECTORY if name == entry.name else Kind.FILE
    return name if entry.kind is kind and NONCE.fullmatch(name) else None


def _clean_draft(run: RunStaging, name: str) -> bool:
    lock = join(run.tmp, name + _LOCK_SUFFIX)
    held = run.machine.fs.try_lock(lock, LockMode.EXCLUSIVE)
    if held is None:
        return False
    with held:
        # The folder goes before its lock: see `open_draft`.
        was_there = throw_away(run, join(run.tmp, name))
        durable.remove_if_there(run.machine.fs, lock)
    return was_there


def _clean_temporaries(run: RunStaging, folder: str) -> None:
    """Remove half-written records of launches that have ended; but for them only the agent writes there, which we are."""
    for entry in _list_or_nothing(run, folder):
        found = _TEMPORARY.fullmatch(entry.name)
        if found is None or entry.kind is not Kind.FILE:
            continue
        held = run.machine.fs.try_lock(run.launch_file(int(found[1]), _LOCK_SUFFIX), LockMode.EXCLUSIVE)
        if held is not None:
            with held:
                durable.remove_if_there(run.machine.fs, join(folder, entry.name))


def _list_or_nothing(run: RunStaging, folder: str) -> list[Entry]:
    try:
        return run.machine.fs.list(folder)
    except FileNotFoundError:
        return []


def _clean_ring(run: RunStaging) -> tuple[int, int]:
    """(replaced shares removed, suspects set aside)."""
    if not _wants_cleaning(scanning.inspect(run)):
        return 0, 0
    held = run.machine.fs.try_lock(run.ring_lock, LockMode.EXCLUSIVE)
    if held is None:
        return 0, 0
    with held:
        # Looked at again: only now nobody else takes shares away, so what looks torn is torn.
        findings = scanning.inspect(run)
        replaced = [share for share in findings.replaced if not share.is_begun]
        for share in replaced:
            # The one that replaced it may not have a durable name yet: its writer may have died on the way.
            run.sync_names(share.launch, share.step)
            throw_away(run, share.folder)
        for folder in findings.empty:
            remove_if_empty(run, folder)
        suspects = sum(set_aside(run, suspect.path, suspect.reason) is not None for suspect in findings.suspects)
    return len(replaced), suspects


def _wants_cleaning(findings: scanning.Findings) -> bool:
    return bool(findings.suspects or findings.replaced or findings.empty)
