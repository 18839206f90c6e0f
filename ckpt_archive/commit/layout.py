"""Every key of the bucket is built here, and nowhere else.

Numbers are decimals of fixed width, so that text order is number order in every store; where the newest must list first, the
number is subtracted from the largest one ("inverted"). Keys are relative to the archive's prefix.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.names import EVENT_ID, EVENT_KIND, MAX_ATTEMPT, MAX_RANK, MAX_STEP, RUN_NAME, SHA256_HEX

ARCHIVE = "archive.json"
MANIFESTS = "manifests/"
DATA = "data/"
RECEIPTS = "receipts/"
RUNS = "runs/"
PENDING = "log/pending/"
EVENTS = "log/events/"
SEQUENCE = "log/seq/"
INDEX = "index/"
INDEX_MARKS = f"{INDEX}marks/"
INDEX_DAYS = f"{INDEX}days/"
POLICIES = "policy/"
APPLIED = f"{POLICIES}applied/"
RETENTION = "retention/"
RETENTION_DAYS = f"{RETENTION}days/"
RETENTION_RUNS = f"{RETENTION}runs/"

OWN = frozenset((MANIFESTS, DATA, RECEIPTS, RUNS, "log/", INDEX, POLICIES, RETENTION))
"""The folders of an archive."""

_FOREIGN = "It was not written by ckpt-archive: move it elsewhere."

_ATTEMPT_DIGITS = len(str(MAX_ATTEMPT))
_STEP_DIGITS = len(str(MAX_STEP))
_RANK_DIGITS = len(str(MAX_RANK))
_RECEIPT = re.compile(
    rf"receipts/{RUN_NAME.pattern}/[0-9]{{{_ATTEMPT_DIGITS}}}"
    rf"/(?P<step>[0-9]{{{_STEP_DIGITS}}})/(?P<rank>[0-9]{{{_RANK_DIGITS}}})\.json"
)

_STATEMENT = re.compile(
    rf"{RUNS}(?P<run>{RUN_NAME.pattern})/retention"
    rf"/(?:run|(?P<attempt>[0-9]{{{_ATTEMPT_DIGITS}}})/(?P<step>[0-9]{{{_STEP_DIGITS}}}))/(?P<name>[^/]+)"
)
_POLICY = re.compile(rf"{POLICIES}(?P<sha256>{SHA256_HEX.pattern})\.toml")
_MAX_APPLIED = 99_999_999
_APPLIED_DIGITS = len(str(_MAX_APPLIED))
_BATCH_DIGITS = 20
_BATCH = re.compile(rf"{SEQUENCE}(?P<number>[0-9]{{{_BATCH_DIGITS}}})")
_MARK = re.compile(rf"{INDEX_MARKS}(?P<number>[0-9]{{{_BATCH_DIGITS}}})-[0-9]+-[0-9a-f]{{16}}")
_STAMP = "%Y%m%dT%H%M%S"
_STAMPED = re.compile(
    rf"(?P<stamp>[0-9]{{8}}T[0-9]{{6}})-(?P<kind>{EVENT_KIND.pattern})-(?P<identity>{EVENT_ID.pattern})\.json"
)


@dataclass(frozen=True, slots=True)
class RecordName:
    """What the key of a marker or of an event says.

    Attributes:
        kind: `commit`, `launch`, `decision` or `event` for a marker; what happened for an event.
        identity: 32 hexadecimal digits.
        moment: The store's clock, to the second.
    """

    kind: str
    identity: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class StatementKey:
    """What the key of a statement about retention says.

    Attributes:
        run: The run.
        attempt: Of the checkpoint that it is about; None: it is about the whole run.
        step: Likewise.
        name: The last component.
    """

    run: str
    attempt: int | None
    step: int | None
    name: str


def _attempt(attempt: int) -> str:
    return f"{attempt:0{_ATTEMPT_DIGITS}d}"


def _step(step: int) -> str:
    return f"{step:0{_STEP_DIGITS}d}"


def run_data(run: str) -> str:
    """Where the data of all checkpoints of a run lies."""
    return f"{DATA}{run}/"


def data_folder(run: str, attempt: int, step: int) -> str:
    """All objects of a checkpoint; ends in '/'."""
    return f"{DATA}{run}/{_attempt(attempt)}/{_step(step)}/"


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


def retention_folder(run: str) -> str:
    """All that was said about what becomes of a run's checkpoints; ends in '/'."""
    return f"{RUNS}{run}/retention/"


def checkpoint_statements(run: str, attempt: int, step: int) -> str:
    """What was said about one checkpoint; ends in '/'."""
    return f"{retention_folder(run)}{_attempt(MAX_ATTEMPT - attempt)}/{_step(MAX_STEP - step)}/"


def checkpoint_statement(run: str, attempt: int, step: int, name: str) -> str:
    """One statement about a checkpoint; `name` is without ".json"."""
    return f"{checkpoint_statements(run, attempt, step)}{name}.json"


def run_statements(run: str) -> str:
    """What was said about a run as a whole; ends in '/'."""
    return f"{retention_folder(run)}run/"


def run_statement(run: str, name: str) -> str:
    """One statement about a run as a whole; `name` is without ".json"."""
    return f"{run_statements(run)}{name}.json"


def statement_key(key: str) -> StatementKey | None:
    """What a statement's key says; None for a key that lies where none of ours does."""
    found = _STATEMENT.fullmatch(key)
    if found is None:
        return None
    if found["attempt"] is None:
        return StatementKey(found["run"], None, None, found["name"])
    return StatementKey(found["run"], MAX_ATTEMPT - int(found["attempt"]), MAX_STEP - int(found["step"]), found["name"])


def policy(sha256: str) -> str:
    """A retention policy that is, or was, in force."""
    return f"{POLICIES}{sha256}.toml"


def policy_sha256(key: str) -> str | None:
    """The digest in a policy's key; None for a key that `policy` does not build."""
    found = _POLICY.fullmatch(key)
    return None if found is None else found["sha256"]


def policy_applied(number: int) -> str:
    """That a policy was put into force; they are numbered from 1, and the newest lists first.

    Raises:
        InvalidInputError: If there are no more numbers.
    """
    if not 1 <= number <= _MAX_APPLIED:
        raise InvalidInputError(
            f"no policy can have the number {number}",
            hint=f"{APPLIED}{0:0{_APPLIED_DIGITS}d}.json, which has the last one, is none of ours: have its storage owner "
            "remove it.",
        )
    return f"{APPLIED}{_MAX_APPLIED - number:0{_APPLIED_DIGITS}d}.json"


def policy_applied_number(key: str) -> int:
    """The number in such a key.

    Raises:
        IntegrityError: If the key is not one that `policy_applied` builds.
    """
    number = _MAX_APPLIED - _number(key, key.removeprefix(APPLIED), _APPLIED_DIGITS)
    if not number:
        raise IntegrityError(f"{key} says that no policy was applied", hint=_FOREIGN)
    return number


def retention_day(day: date, number: int) -> str:
    """Says that on this day all runs were gone through by the policy that was put into force with this number."""
    return f"{RETENTION_DAYS}{day:%Y-%m-%d}-{number:0{_APPLIED_DIGITS}d}"


def retention_runs(day: date, number: int) -> str:
    """The runs that were gone through on that day by that policy; ends in '/'."""
    return f"{RETENTION_RUNS}{day:%Y-%m-%d}-{number:0{_APPLIED_DIGITS}d}/"


def retention_run(day: date, number: int, run: str, *, is_done: bool) -> str:
    """Says that somebody has begun to go through a run, or is done with it."""
    return f"{retention_runs(day, number)}{run}/{'done' if is_done else 'begun'}"


def retention_compared(number: int) -> str:
    """Says that every checkpoint was compared with the policy that was put into force with this number."""
    return f"{RETENTION}compared/{number:0{_APPLIED_DIGITS}d}"


def pending_hour(moment: datetime) -> str:
    """All pending markers of an hour of the store's clock, oldest first; ends in '/'."""
    return f"{PENDING}{moment.astimezone(UTC):%Y/%m/%d/%H}/"


def pending_marker(kind: str, identity: str, store_time: datetime) -> str:
    """A pending marker, filed under the hour of the store's clock."""
    return f"{pending_hour(store_time)}{_stamped(kind, identity, store_time)}"


def pending_start(moment: datetime) -> str:
    """The key after which all pending markers of this second and later ones are listed."""
    return f"{pending_hour(moment)}{moment.astimezone(UTC):{_STAMP}}"


def marker_name(key: str) -> RecordName | None:
    """What a marker's key says; None for a key that `pending_marker` does not build, which is none of ours."""
    name = _stamped_name(key)
    return name if name and pending_marker(name.kind, name.identity, name.moment) == key else None


def event_record(kind: str, identity: str, store_time: datetime) -> str:
    """The record of an event, filed under the day of the store's clock."""
    return f"{EVENTS}{store_time.astimezone(UTC):%Y/%m/%d}/{_stamped(kind, identity, store_time)}"


def event_name(key: str) -> RecordName:
    """What an event's key says.

    Raises:
        IntegrityError: If the key is not one that `event_record` builds.
    """
    name = _stamped_name(key)
    if name is None or event_record(name.kind, name.identity, name.moment) != key:
        raise IntegrityError(f"{key} is not an event's key", hint=_FOREIGN)
    return name


def sequence_batch(number: int) -> str:
    """One batch of the log; they are numbered from 1."""
    return f"{SEQUENCE}{number:0{_BATCH_DIGITS}d}"


def sequence_number(key: str) -> int:
    """The number of a batch's key.

    Raises:
        IntegrityError: If the key is not one that `sequence_batch` builds.
    """
    found = _BATCH.fullmatch(key)
    if found is None or not int(found["number"]):
        raise IntegrityError(f"{key} is not the key of a batch of the log", hint=_FOREIGN)
    return int(found["number"])


def index_table(name: str) -> str:
    """The folder of one table of the index; ends in '/'."""
    return f"{INDEX}{name}/"


def index_mark(number: int, schema_version: int, archive_id: str) -> str:
    """Says that all tables of this version of the archive's index have the batches of the log up to this one."""
    return f"{INDEX_MARKS}{number:0{_BATCH_DIGITS}d}-{schema_version}-{sha256_hex(archive_id.encode())[:16]}"


def index_mark_number(key: str) -> int | None:
    """The number of a mark's key; None for a key that `index_mark` does not build."""
    found = _MARK.fullmatch(key)
    return None if found is None else int(found["number"])


def index_day(day: date) -> str:
    """Says that somebody has begun with what is done for the index once a day."""
    return f"{INDEX_DAYS}{day:%Y-%m-%d}"


def _stamped(kind: str, identity: str, moment: datetime) -> str:
    return f"{moment.astimezone(UTC):{_STAMP}}-{kind}-{identity}.json"


def _stamped_name(key: str) -> RecordName | None:
    found = _STAMPED.fullmatch(key.rpartition("/")[2])
    if found is None:
        return None
    try:
        moment = datetime.strptime(found["stamp"], _STAMP).replace(tzinfo=UTC)
    except ValueError:  # A thirteenth month.
        return None
    return RecordName(found["kind"], found["identity"], moment)


def _number(key: str, name: str, digits: int) -> int:
    stem, dot, suffix = name.partition(".")
    if len(stem) == digits and stem.isascii() and stem.isdigit() and dot + suffix == ".json":
        return int(stem)
    raise IntegrityError(f"{key} has a name that is not {digits} digits and .json", hint=_FOREIGN)
