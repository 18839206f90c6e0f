"""Reads the ring. What is not a whole sealed share is never trusted, and never removed: it is set aside with the reason.

Reading needs no lock: a share comes and goes by one rename, so whatever looks wrong is looked at again once nobody may take
shares away, and only then moved.
"""

import logging
from dataclasses import dataclass, field

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Entry, Kind, LockMode, join
from ckpt_archive.errors import IntegrityError, InvalidInputError, UnavailableError
from ckpt_archive.local.faults import converting, proves_something, says_nothing_about_the_file
from ckpt_archive.local.kept import SealedShare, read_share
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.staging import LAUNCH_DIGITS, STEP_DIGITS, RunStaging, parse_number, parse_rank_name, rank_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Something in the ring that is not a sealed share.

    Attributes:
        path: Where it is.
        reason: What is wrong with it.
    """

    path: str
    reason: str


@dataclass(slots=True)
class Findings:
    """What lies in the ring of a run.

    Attributes:
        shares: The sealed ones, of each writer and step the newest, in the order (launch, save).
        replaced: Sealed ones of which a newer generation stands.
        suspects: What is not to be trusted.
        unreadable: Where the disk did not answer: neither used nor moved.
        newer: Folders that a newer release sealed: not ours to judge.
        empty: Empty folders of steps and launches, inner ones first.
    """

    shares: list[SealedShare] = field(default_factory=list)
    replaced: list[SealedShare] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    unreadable: list[Suspect] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def scan(run: RunStaging, *, strict: bool = False) -> list[SealedShare]:
    """The sealed shares of a run, oldest first; what is not one goes to quarantine.

    Args:
        run: The run.
        strict: Do not pass over what the disk does not give back just now.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the ring {run.ring} can not be read"):
        findings = inspect(run)
        if findings.suspects:
            _set_suspects_aside(run)
        for place in findings.unreadable:
            if strict:
                raise UnavailableError(
                    f"{place.path} can not be read: {place.reason}", hint="It may be the newest checkpoint: try again."
                )
            _log.warning("%s can not be read and is passed over: %s", place.path, place.reason)
        return findings.shares


def _set_suspects_aside(run: RunStaging) -> None:
    """Move what is not a sealed share to quarantine, unless somebody reads from the ring just now."""
    held = run.machine.fs.try_lock(run.ring_lock, LockMode.EXCLUSIVE)
    if held is None:
        return
    with held:
        # Looked at again: only now nobody else takes shares away, so what looks torn is torn.
        for suspect in inspect(run).suspects:
            set_aside(run, suspect.path, suspect.reason)


def saves_count(run: RunStaging, rank: int, *, launch: int | None = None) -> int:
    """The highest number of saves that a seal of this writer on this node tells; 0 before the first.

    Args:
        run: The run.
        rank: Which writer.
        launch: A local launch of whose saves none must be passed over, because the number orders them.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the ring {run.ring} can not be read"):
        findings = inspect(run)
    if launch is not None:
        folder = run.launch_folder(launch)
        for place in findings.unreadable:
            if f"{place.path}/".startswith(f"{folder}/"):
                raise UnavailableError(
                    f"{place.path} can not be read: {place.reason}", hint="It may be the newest save: try again."
                )
    return max((share.seal.saves for share in (*findings.shares, *findings.replaced) if share.rank == rank), default=0)


def inspect(run: RunStaging) -> Findings:
    """Everything in the ring of a run; changes nothing."""
    findings = Findings()
    launches = _list(run, run.ring, findings, LAUNCH_DIGITS)
    for launch, launch_folder in launches:
        steps = _list(run, launch_folder, findings, STEP_DIGITS)
        for step, step_folder in steps:
            _inspect_step(run, launch, step, step_folder, findings)
        if not steps and _is_empty(run, launch_folder):
            findings.empty.append(launch_folder)
    findings.shares.sort(key=lambda share: (share.launch, share.seal.saves, share.step, share.rank))
    return findings


def current(run: RunStaging, launch: int, step: int, rank: int) -> SealedShare | None:
    """The sealed share of one writer and step, if there is one; changes nothing.

    Raises:
        InvalidInputError: If a newer release sealed it.
        OSError: If the disk does not answer: then there may be one.
    """
    try:
        entries = run.machine.fs.list(run.step_folder(launch, step))
    except FileNotFoundError:
        return None
    names = (parse_rank_name(entry.name) for entry in entries if entry.kind is Kind.DIRECTORY)
    for generation in sorted((name[1] for name in names if name is not None and name[0] == rank), reverse=True):
        try:
            return read_share(run, launch, step, rank, generation)
        except IntegrityError:
            continue
    return None


def next_generation(run: RunStaging, launch: int, step: int, rank: int) -> int:
    """A generation above all whose names are taken, by whatever."""
    try:
        entries = run.machine.fs.list(run.step_folder(launch, step))
    except FileNotFoundError:
        return 0
    taken = (parse_rank_name(entry.name) for entry in entries)
    return 1 + max((name[1] for name in taken if name is not None and name[0] == rank), default=-1)


def _list(run: RunStaging, folder: str, findings: Findings, digits: int) -> list[tuple[int, str]]:
    """The numbered folders in a folder; every other name is a suspect."""
    numbered = []
    for entry in _entries(run, folder, findings):
        path = join(folder, entry.name)
        number = parse_number(entry.name, digits)
        if number is None or entry.kind is not Kind.DIRECTORY:
            findings.suspects.append(Suspect(path, f"a {entry.kind.value} of this name has no place in the ring"))
        else:
            numbered.append((number, path))
    return numbered


def _entries(run: RunStaging, folder: str, findings: Findings) -> list[Entry]:
    try:
        return run.machine.fs.list(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        if folder == run.ring:
            raise
        _note_error(folder, error, findings)
        return []


def _is_empty(run: RunStaging, folder: str) -> bool:
    try:
        return not run.machine.fs.list(folder)
    except OSError:
        return False


def _generations(run: RunStaging, folder: str, findings: Findings) -> dict[int, list[int]]:
    """The generations of each rank in a step's folder, highest first."""
    generations: dict[int, list[int]] = {}
    for entry in _entries(run, folder, findings):
        name = parse_rank_name(entry.name)
        if name is None or entry.kind is not Kind.DIRECTORY:
            reason = f"a {entry.kind.value} of this name has no place in the ring"
            findings.suspects.append(Suspect(join(folder, entry.name), reason))
        else:
            generations.setdefault(name[0], []).append(name[1])
    for ranks in generations.values():
        ranks.sort(reverse=True)
    return generations


def _inspect_step(run: RunStaging, launch: int, step: int, folder: str, findings: Findings) -> None:
    generations = _generations(run, folder, findings)
    if not generations and _is_empty(run, folder):
        findings.empty.append(folder)
    for rank, numbers in generations.items():
        newest: SealedShare | None = None
        for generation in numbers:
            unknown_before = len(findings.newer) + len(findings.unreadable)
            share = _inspect_share(run, launch, step, rank, generation, findings)
            if len(findings.newer) + len(findings.unreadable) > unknown_before:
                # It may well replace the ones below, so these are not used either.
                break
            if share is None:
                continue
            if newest is None:
                newest = share
                findings.shares.append(share)
            else:
                findings.replaced.append(share)


def _inspect_share(
    run: RunStaging, launch: int, step: int, rank: int, generation: int, findings: Findings
) -> SealedShare | None:
    folder = join(run.step_folder(launch, step), rank_name(rank, generation))
    try:
        return read_share(run, launch, step, rank, generation)
    except InvalidInputError:
        findings.newer.append(folder)
    except OSError as error:
        _note_error(folder, error, findings)
    except IntegrityError as error:
        # What was evicted while it was being read looks torn too.
        if durable.exists(run.machine.fs, folder):
            findings.suspects.append(Suspect(folder, error.message))
    return None


def _note_error(path: str, error: OSError, findings: Findings) -> None:
    if says_nothing_about_the_file(error):
        raise error
    (findings.suspects if proves_something(error) else findings.unreadable).append(Suspect(path, str(error)))
