"""Every key of the bucket is built here, and nowhere else.

Numbers are decimals of fixed width, so that text order is number order in every store; where the newest must list first, the
number is subtracted from the largest one ("inverted"). Keys are relative to the archive's prefix.
"""

import re
from datetime import UTC, datetime

from ckpt_archive.errors import IntegrityError
from ckpt_archive.names import MAX_ATTEMPT, MAX_RANK, MAX_STEP, RUN_NAME

ARCHIVE = "archive.json"
MANIFESTS = "manifests/"
RUNS = "runs/"

_FOREIGN = "It was not written by ckpt-archive: move it elsewhere."

_ATTEMPT_DIGITS = len(str(MAX_ATTEMPT))
_STEP_DIGITS = len(str(MAX_STEP))
_RANK_DIGITS = len(str(MAX_RANK))
_RECEIPT = re.compile(
    rf"receipts/{RUN_NAME.pattern}/[0-9]{{{_ATTEMPT_DIGITS}}}"
    rf"/(?P<step>[0-9]{{{_STEP_DIGITS}}})/(?P<rank>[0-9]{{{_RANK_DIGITS}}})\.json"
)


def _attempt(attempt: int) -> str:
    return f"{attempt:0{_ATTEMPT_DIGITS}d}"


def _step(step: int) -> str:
    return f"{step:0{_STEP_DIGITS}d}"


def data_folder(run: str, attempt: int, step: int) -> str:
    """All objects of a checkpoint; ends in '/'."""
    return f"data/{run}/{_attempt(attempt)}/{_step(step)}/"


def share_folder(run: str, attempt: int, step: int, rank: int) -> str:
    """All objects of one writer's share; ends in '/'."""
    return f"{data_folder(run, attempt, step)}{rank:0{_RANK_DIGITS}d}/"


def data_object(run: str, attempt: int, step: int, rank: int, sha256: str) -> str:
    """One object of data."""
    return share_folder(run, attempt, step, rank) + sha256


def receipts_of_attempt(run: str, attempt: int) -> str:
    """All receipts of an attempt, oldest step first; ends in '/'."""
    return f"receipts/{run}/{_attempt(attempt)}/"


def receipts_folder(run: str, attempt: int, step: int) -> str:
    """All receipts of a checkpoint; ends in '/'."""
    return f"{receipts_of_attempt(run, attempt)}{_step(step)}/"


def receipt(run: str, attempt: int, step: int, rank: int) -> str:
    """The receipt of one writer."""
    return f"{receipts_folder(run, attempt, step)}{rank:0{_RANK_DIGITS}d}.json"


def receipt_step_rank(key: str) -> tuple[int, int] | None:
    """(step, rank) of a receipt's key; None for a key that `receipt` does not build, which is none of ours."""
    found = _RECEIPT.fullmatch(key)
    return None if found is None else (int(found["step"]), int(found["rank"]))


def manifests_folder(run: str, attempt: int | None = None) -> str:
    """All manifests of a run or of one attempt, newest first; ends in '/'."""
    folder = f"{MANIFESTS}{run}/"
    return folder if attempt is None else f"{folder}{_attempt(MAX_ATTEMPT - attempt)}/"


def manifest(run: str, attempt: int, step: int) -> str:
    """The commit point of a checkpoint."""
    return f"{manifests_folder(run, attempt)}{_step(MAX_STEP - step)}.json"


def manifest_place(key: str) -> tuple[str, int, int]:
    """(run, attempt, step) of a manifest's key.

    Raises:
        IntegrityError: If the key is not one that `manifest` builds.
    """
    components = key.split("/")
    if len(components) != 4 or f"{components[0]}/" != MANIFESTS:
        raise IntegrityError(f"{key} is not a manifest's key", hint="Nothing else may live under manifests/.")
    attempt = MAX_ATTEMPT - _number(key, components[2] + ".json", _ATTEMPT_DIGITS)
    step = MAX_STEP - _number(key, components[3], _STEP_DIGITS)
    return manifests_run(f"{MANIFESTS}{components[1]}/"), attempt, step


def manifests_run(folder: str) -> str:
    """The run of a folder directly below `MANIFESTS`.

    Raises:
        IntegrityError: If it is not one that `manifests_folder` builds.
    """
    name = folder.removeprefix(MANIFESTS).removesuffix("/")
    if not RUN_NAME.fullmatch(name):
        raise IntegrityError(f"{folder} is not a run's folder", hint="Nothing else may live under manifests/.")
    return name


def manifests_attempt(folder: str) -> int:
    """The attempt of a folder directly below a run's manifests.

    Raises:
        IntegrityError: If it is not one that `manifests_folder` builds.
    """
    name = folder.removesuffix("/").rpartition("/")[2]
    return MAX_ATTEMPT - _number(folder, name + ".json", _ATTEMPT_DIGITS)


def attempts_folder(run: str) -> str:
    """All launch records of a run, newest first; ends in '/'."""
    return f"{RUNS}{run}/attempts/"


def attempt_record(run: str, attempt: int) -> str:
    """The record of one launch."""
    return f"{attempts_folder(run)}{_attempt(MAX_ATTEMPT - attempt)}.json"


def attempt_number(key: str) -> int:
    """The attempt of a launch record's key.

    Raises:
        IntegrityError: If the key is not one that `attempt_record` builds.
    """
    return MAX_ATTEMPT - _number(key, key.rpartition("/")[2], _ATTEMPT_DIGITS)


def decisions_folder(run: str, attempt: int) -> str:
    """All decisions of an attempt; ends in '/'."""
    return f"{RUNS}{run}/decisions/{_attempt(attempt)}/"


def decision(run: str, attempt: int, step: int) -> str:
    """Whether a step of an attempt is promoted or given up."""
    return f"{decisions_folder(run, attempt)}{_step(step)}.json"


def decision_step(key: str) -> int:
    """The step of a decision's key.

    Raises:
        IntegrityError: If the key is not one that `decision` builds.
    """
    return _number(key, key.rpartition("/")[2], _STEP_DIGITS)


def pending_marker(kind: str, identity: str, store_time: datetime) -> str:
    """A pending marker, filed under the hour of the store's clock."""
    moment = store_time.astimezone(UTC)
    return f"log/pending/{moment:%Y/%m/%d/%H}/{moment:%Y%m%dT%H%M%S}-{kind}-{identity}.json"


def _number(key: str, name: str, digits: int) -> int:
    stem, dot, suffix = name.partition(".")
    if len(stem) == digits and stem.isascii() and stem.isdigit() and dot + suffix == ".json":
        return int(stem)
    raise IntegrityError(f"{key} has a name that is not {digits} digits and .json", hint=_FOREIGN)
