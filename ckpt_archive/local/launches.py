"""Launches on this node: one record each, written once, and a lock that is held as long as a process of it lives.

Each launch has a local ordinal, which orders the ring without any store. All ranks of a launch on this node share one: the
first makes the record, the others find it by its key.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import LockMode
from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.local.facts import read_fact, write_fact
from ckpt_archive.local.faults import converting, proves_something, says_nothing_about_the_file
from ckpt_archive.local.launch_records import LocalAttempt, LocalLaunch, Resume
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.staging import LAUNCH_DIGITS, RunStaging, parse_number
from ckpt_archive.names import MAX_ATTEMPT
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Json

__all__ = [
    "LiveLaunch",
    "LocalAttempt",
    "LocalLaunch",
    "Resume",
    "begin_launch",
    "find_launch",
    "forget_attempt",
    "has_ended",
    "load_launches",
    "peek_launches",
    "read_attempt",
    "read_resume",
    "record_attempt",
    "record_resume",
]

_log = logging.getLogger(__name__)

_RECORD = ".json"
_RESUME = ".resume.json"
_ATTEMPT = ".attempt.json"
_LOCK = ".lock"
# How the names of what was set aside from the folder of launches begin.
_SET_ASIDE = "launches_"


class LiveLaunch:
    """A launch of which this process is a part; the launch has not ended while this is held.

    Args:
        launch: Its record.
        held: Releases the lock when closed.
        is_new: Whether this process has begun it, so that nobody else can have said anything about it before.
    """

    def __init__(self, launch: LocalLaunch, held: ExitStack, *, is_new: bool) -> None:
        self.launch = launch
        self.is_new = is_new
        self._held = held

    @property
    def ordinal(self) -> int:
        """Its local ordinal."""
        return self.launch.ordinal

    def release(self) -> None:
        """This process takes part no more; happens by itself when it dies."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def begin_launch(
    run: RunStaging,
    *,
    launch_key: str,
    archive_url: str,
    writers: int,
    keep_local: int = 3,
    labels: Mapping[str, Json] | None = None,
    sources: Sequence[Json] = (),
    every: Mapping[str, Json] | None = None,
    quota_bytes: int | None = None,
    policy: str = "",
) -> LiveLaunch:
    """Begin a launch, or join the one that has this key.

    Args:
        run: A prepared run.
        launch_key: Shared by all ranks, and by no other launch.
        archive_url: See `LocalLaunch`, and so on.
        writers: How many writers each checkpoint has.
        keep_local: At least 1.
        labels: Texts the run was given.
        sources: What feeds the run.
        every: The promotion rule as JSON.
        quota_bytes: Limit of the staging directory.
        policy: Digest of the retention policy.

    Raises:
        ConflictError: If the launch of this key has another number of writers, archive or promotion rule.
        InvalidInputError: If a value can not be recorded.
        CapacityError: If the disk is full.
    """
    if not launch_key or writers < 1 or keep_local < 1:
        raise InvalidInputError(
            f"launch key {launch_key!r}, writers = {writers}, keep_local = {keep_local} are not allowed",
            hint="The key is a text that is not empty, the numbers are at least 1.",
        )
    wanted = LocalLaunch(
        run=run.name,
        ordinal=0,
        launch_key=launch_key,
        archive_url=archive_url,
        writers=writers,
        started_at=run.machine.clock.now(),
        keep_local=keep_local,
        labels=labels or {},
        sources=tuple(sources),
        every=every or {},
        quota_bytes=quota_bytes,
        policy=policy,
    )
    with converting(f"no launch can be begun in {run.launches}"):
        # In this order: a launch of this key that is not found below it is met on the way up from it, or not yet begun.
        first_free = _first_free(run)
        known = _find_below(run, first_free, launch_key)
        if known is not None:
            return _join(run, known, wanted)
        for ordinal in range(first_free, MAX_ATTEMPT + 1):
            live = _try_ordinal(run, replace(wanted, ordinal=ordinal))
            if live is not None:
                return live
    raise InvalidInputError(f"{run.launches} has no ordinal left", hint="Use another staging folder.")


def load_launches(run: RunStaging) -> list[LocalLaunch]:
    """All launches that this release can read, in their order; damaged records go to quarantine.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the launches in {run.launches} can not be read"):
        found = (_read_launch(run, ordinal) for ordinal in _ordinals(run, (_RECORD,)))
        return [launch for launch in found if launch is not None]


def peek_launches(run: RunStaging) -> list[LocalLaunch]:
    """As `load_launches`, but damaged records stay where they are."""
    with converting(f"the launches in {run.launches} can not be read"):
        found = (_look(run, ordinal) for ordinal in _ordinals(run, (_RECORD,)))
        return [launch for launch in found if isinstance(launch, LocalLaunch)]


def find_launch(run: RunStaging, launch_key: str) -> LocalLaunch | None:
    """The newest launch of that key, if there is one.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the launches in {run.launches} can not be read"):
        return _find_below(run, max(_ordinals(run, (_RECORD,)), default=-1) + 1, launch_key)


def has_ended(run: RunStaging, ordinal: int) -> bool:
    """Whether no process of that launch lives any more.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    with converting(f"the lock of launch {ordinal} in {run.launches} can not be asked"):
        held = run.machine.fs.try_lock(run.launch_file(ordinal, _LOCK), LockMode.EXCLUSIVE)
        if held is None:
            return False
        with held:
            return True


def record_resume(
    run: RunStaging,
    ordinal: int,
    resume_from: Place | None,
    explicit: bool,
    source: str,
    from_ring: tuple[int, int] | None = None,
) -> Resume:
    """Decide from where a launch resumes; what stands in the end is returned, and every rank must follow it.

    Raises:
        IntegrityError: If what stands can not be read.
    """
    path = run.launch_file(ordinal, _RESUME)
    # A damaged one is not written anew: other ranks may have followed it.
    with converting(f"{path} can not be written"):
        data = Resume(resume_from, explicit, source, from_ring).encode()
        return Resume.decode(durable.write_once(run.machine.fs, path, data, nonce=run.machine.nonce()), path)


def read_resume(run: RunStaging, ordinal: int) -> Resume | None:
    """From where a launch resumed, if that was decided.

    Raises:
        IntegrityError: If it was decided, but can not be read any more.
    """
    path = run.launch_file(ordinal, _RESUME)
    with converting(f"{path} can not be read"):
        try:
            return Resume.decode(durable.read_small(run.machine.fs, path), path)
        except FileNotFoundError:
            return None


def record_attempt(run: RunStaging, ordinal: int, archive_id: str, attempt: int, late: bool) -> LocalAttempt:
    """Record which attempt a launch became; what stands in the end is returned.

    Raises:
        IntegrityError: If what stands can not be read.
    """
    data = LocalAttempt(archive_id, attempt, late).encode()
    path = run.launch_file(ordinal, _ATTEMPT)
    with converting(f"{path} can not be written"):
        return write_fact(run, path, data, LocalAttempt.decode)


def read_attempt(run: RunStaging, ordinal: int, *, strict: bool = False) -> LocalAttempt | None:
    """Which attempt a launch became; None while it is not known here: the archive knows it by the launch key.

    Args:
        run: The run.
        ordinal: Local ordinal of the launch.
        strict: Do not take for unknown what the disk does not give back just now.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    path = run.launch_file(ordinal, _ATTEMPT)
    with converting(f"{path} can not be read"):
        return read_fact(run, path, LocalAttempt.decode, strict=strict)


def forget_attempt(run: RunStaging, ordinal: int, reason: str) -> None:
    """Set aside what is known of an archive that is no more, so that the launch is numbered anew."""
    path = run.launch_file(ordinal, _ATTEMPT)
    if durable.exists(run.machine.fs, path):
        set_aside(run, path, reason)


def _join(run: RunStaging, known: LocalLaunch, wanted: LocalLaunch) -> LiveLaunch:
    held = ExitStack()
    held.enter_context(run.machine.fs.lock(run.launch_file(known.ordinal, _LOCK), LockMode.SHARED))
    try:
        _check_same(known, wanted)
        # Whoever made the record may not have got as far as this, and what is sealed here is nothing without it.
        run.machine.fs.sync_directory(run.launches)
    except (OSError, CkptArchiveError):
        held.close()
        raise
    return LiveLaunch(known, held, is_new=False)


def _try_ordinal(run: RunStaging, wanted: LocalLaunch) -> LiveLaunch | None:
    """Take an ordinal; None if it belongs to another launch."""
    path = run.launch_file(wanted.ordinal, _RECORD)
    held = ExitStack()
    # The lock first: a record whose launch seems to have ended already would be misunderstood.
    held.enter_context(run.machine.fs.lock(run.launch_file(wanted.ordinal, _LOCK), LockMode.SHARED))
    try:
        if _was_set_aside(run, wanted.ordinal):
            # Others have worked under it since it was found free. From now on, under the lock, nobody sets it aside.
            held.close()
            return None
        try:
            data = wanted.encode()
        except (ValueError, TypeError) as error:
            raise InvalidInputError(
                f"the launch can not be recorded: {error}", hint="Labels and sources are JSON values."
            ) from error
        is_new = durable.write_once(run.machine.fs, path, data, nonce=run.machine.nonce()) == data
        launch = wanted if is_new else _read_launch(run, wanted.ordinal, joining=True)
        if launch is None or launch.launch_key != wanted.launch_key:
            held.close()
            return None
        _check_same(launch, wanted)
    except (OSError, CkptArchiveError):
        held.close()
        raise
    return LiveLaunch(launch, held, is_new=is_new)


def _find_below(run: RunStaging, end: int, launch_key: str) -> LocalLaunch | None:
    # By number and not by listing: a record made while the folder is being listed may be missing from the list.
    for ordinal in range(end - 1, -1, -1):
        launch = _read_launch(run, ordinal, joining=True)
        if launch is not None and launch.launch_key == launch_key:
            return launch
    return None


def _check_same(known: LocalLaunch, wanted: LocalLaunch) -> None:
    pairs: list[tuple[str, object, object]] = [
        ("writers", known.writers, wanted.writers),
        ("archive", known.archive_url, wanted.archive_url),
    ]
    if known.writers > 1:
        pairs.append(("promotion rule", dict(known.every), dict(wanted.every)))
    for what, before, now in pairs:
        if before != now:
            raise ConflictError(
                f"the launch key {known.launch_key!r} of run {known.run} was used with {what} {before!r}, now with {now!r}",
                hint="All writers of a launch say the same; give a new launch its own CKPT_ARCHIVE_LAUNCH_KEY.",
            )


def _first_free(run: RunStaging) -> int:
    """Above every ordinal of which anything is left, also where the record itself is damaged and was set aside."""
    ordinals = set(_ordinals(run, (_RECORD, _RESUME, _ATTEMPT)))
    ordinals.update(_numbers(entry.name for entry in run.machine.fs.list(run.ring)))
    damaged = (entry.name.removeprefix(_SET_ASIDE) for entry in run.machine.fs.list(run.quarantine))
    ordinals.update(_numbers(name.partition(".")[0] for name in damaged))
    return max(ordinals, default=-1) + 1


def _ordinals(run: RunStaging, suffixes: Sequence[str]) -> list[int]:
    """The ordinals that have a file of one of these suffixes, ascending."""
    stems = []
    try:
        entries = run.machine.fs.list(run.launches)
    except FileNotFoundError:
        return []
    for entry in entries:
        stem, dot, suffix = entry.name.partition(".")
        if dot + suffix in suffixes:
            stems.append(stem)
    return sorted(set(_numbers(stems)))


def _numbers(names: Sequence[str] | Iterator[str]) -> Iterator[int]:
    for name in names:
        number = parse_number(name, LAUNCH_DIGITS)
        if number is not None:
            yield number


def _read_launch(run: RunStaging, ordinal: int, *, joining: bool = False) -> LocalLaunch | None:
    found = _look(run, ordinal, joining=joining)
    if isinstance(found, str):
        _set_record_aside(run, ordinal, found)
        return None
    return found


def _set_record_aside(run: RunStaging, ordinal: int, reason: str) -> None:
    """Not while somebody holds its lock: he may have found the ordinal free and be about to take it."""
    path = run.launch_file(ordinal, _RECORD)
    try:
        held = run.machine.fs.try_lock(run.launch_file(ordinal, _LOCK), LockMode.EXCLUSIVE)
    except OSError as error:
        _log.warning("%s is not trusted where it is: %s", path, error)
        return
    if held is not None:
        with held:
            set_aside(run, path, reason)


def _was_set_aside(run: RunStaging, ordinal: int) -> bool:
    beginning = _SET_ASIDE + run.launch_file(ordinal, f"{_RECORD}.").rpartition("/")[2]
    return any(entry.name.startswith(beginning) for entry in run.machine.fs.list(run.quarantine))


def _look(run: RunStaging, ordinal: int, *, joining: bool = False) -> LocalLaunch | str | None:
    """The record; a text that says what is wrong with it; or None if there is none, or a newer release wrote it.

    Whoever looks for a launch to join must not pass one over that lives: two of one key would tear its checkpoints apart.
    """
    path = run.launch_file(ordinal, _RECORD)
    try:
        return _load(run, ordinal)
    except (FileNotFoundError, InvalidInputError):
        return None
    except IntegrityError as error:
        return error.message
    except OSError as error:
        if says_nothing_about_the_file(error):
            raise
        if proves_something(error):
            return f"it can not be read: {error}"
        if joining and not has_ended(run, ordinal):
            raise
        _log.warning("%s can not be read and is passed over: %s", path, error)
        return None


def _load(run: RunStaging, ordinal: int) -> LocalLaunch:
    fs, path, known = run.machine.fs, run.launch_file(ordinal, _RECORD), run.staging.known
    if known is None:
        return _decode_launch(run, ordinal, durable.read_small(fs, path))
    stat = fs.stat(path)
    launch = known.value(path, stat, LocalLaunch)
    if launch is None:
        launch = _decode_launch(run, ordinal, durable.read_small(fs, path))
        known.learn(path, stat, launch)
    return launch


def _decode_launch(run: RunStaging, ordinal: int, data: bytes) -> LocalLaunch:
    path = run.launch_file(ordinal, _RECORD)
    launch = LocalLaunch.decode(data, path)
    if (launch.run, launch.ordinal) != (run.name, ordinal):
        raise IntegrityError(f"{path} is of launch {launch.ordinal} of {launch.run}", hint="Somebody moved it there.")
    return launch
