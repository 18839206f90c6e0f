"""Archive one folder now: read in place, no staging, no agent.

Pushing the same step again is the same attempt, so it is a repetition and not a second checkpoint: what is there is found,
and only what is missing is sent. Other content under the same step is a conflict, found before any byte is sent.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ckpt_archive.commit.committing import Awaiting, Committed, finish_commits, try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.commit.launch import Launch, LaunchRequest, Resumption, open_launch, push_key
from ckpt_archive.commit.manifest import check_same_launch
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import contributed_ranks, read_receipt, require_same
from ckpt_archive.contribution import Contribution
from ckpt_archive.errors import CkptArchiveError, InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.names import (
    check_class_name,
    check_milestone,
    check_rank,
    check_run_name,
    check_step,
    check_writers,
)
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.promotion import milestone_reason
from ckpt_archive.share import Share
from ckpt_archive.ship.folder import Folder, refuse_empty, survey, watched
from ckpt_archive.strictjson import Json
from ckpt_archive.transfer.digesting import digest_share
from ckpt_archive.transfer.plan import plan_objects

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What is to be pushed, and as what.

    Attributes:
        directory: The folder, an absolute path.
        run: Run name.
        step: Training step.
        rank: Which writer this is, from 0.
        writers: How many writers the checkpoint has.
        launch_key: Given by the launcher of several writers; "" to use the run itself.
        new_attempt: Begin a new attempt instead of going on with the last one.
        metrics: Numbers to be recorded with it.
        labels: Texts to be recorded with it.
        milestone: Its name, if it is one; else "".
        retention_class: Its class under the policy; "": the policy chooses.
    """

    directory: str
    run: str
    step: int
    rank: int = 0
    writers: int = 1
    launch_key: str = ""
    new_attempt: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    milestone: str = ""
    retention_class: str = ""

    def __post_init__(self) -> None:
        check_run_name(self.run)
        check_step(self.step)
        check_rank(self.rank)
        check_writers(self.writers)
        if self.milestone:
            check_milestone(self.milestone)
        if self.retention_class:
            check_class_name(self.retention_class)
        if self.rank >= self.writers:
            raise InvalidInputError(
                f"rank {self.rank} of {self.writers} writers is not possible",
                hint=f"Ranks count from 0: use --rank 0 to {self.writers - 1}.",
            )
        if self.new_attempt and self.writers > 1 and not self.launch_key:
            raise InvalidInputError(
                "several writers can not each begin a new attempt",
                hint="Set CKPT_ARCHIVE_LAUNCH_KEY to the same new text for all of them: that begins one.",
            )


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Attributes:
        run: Run name.
        attempt: The attempt it went to.
        step: Training step.
        state: "committed", "already-committed", or "awaiting" other writers.
        awaiting: Which ranks are awaited.
        files: Files in this writer's share.
        size_bytes: Their size.
        bytes_sent: Sent now.
        bytes_resumed: Found from an earlier try and not sent again.
        parts_sent: Requests that carried data.
        seconds: How long it took.
    """

    run: str
    attempt: int
    step: int
    state: str
    awaiting: tuple[int, ...]
    files: int
    size_bytes: int
    bytes_sent: int
    bytes_resumed: int
    parts_sent: int
    seconds: float


def push(
    machine: Machine, connection: Connection, request: PushRequest, progress: Progress | None = None
) -> PushReport:
    """Archive a folder as the share of one writer, and commit the checkpoint if it is the last one.

    Raises:
        NotFoundError: If there is no such folder.
        InvalidInputError: If it holds something that can not be archived, or nothing.
        ConflictError: If other content is archived as this step, the folder changes meanwhile, or the writers disagree.
        IntegrityError: If something in the archive is not what it should be.
        UnavailableError: If the store does not answer.
    """
    began_seconds = machine.clock.monotonic()
    folder = survey(machine.fs, request.directory)
    refuse_empty(folder, request.writers)
    launch = _open_attempt(machine, connection, request)
    for dead, outcome in finish_commits(
        connection.store,
        machine.executor,
        connection.archive_id,
        request.run,
        launch.attempt,
        read_back=not connection.checksums_enforced(),
    ):
        if isinstance(outcome, CkptArchiveError) and dead.step != request.step:
            _log.warning("%s is still uncommitted: %s", dead, outcome)
    place = Place(request.run, launch.attempt, request.step)
    contribution = Contribution(
        launch_key=launch.launch_key,
        writers=request.writers,
        staged_at=machine.clock.now(),
        promotion=milestone_reason(request.milestone) if request.milestone else {"rule": "push"},
        metrics=dict(request.metrics),
        labels=dict(request.labels),
        retention_class=request.retention_class,
    )
    with watched(folder):
        share = _digest(machine, connection, folder, progress)
        ours = Receipt(connection.archive_id, place.run, place.attempt, place.step, request.rank, contribution, share)
        known = _known(connection, place, ours)
        uploaded = contribute(
            connection.store,
            machine.executor,
            place=place,
            rank=request.rank,
            archive_id=connection.archive_id,
            contribution=known.contribution,
            share=known.share,
            open_file=folder.open,
            still_same=folder.still_same,
            settings=connection.settings,
            checksums_enforced=connection.checksums_enforced(),
            progress=Meter(progress, "upload", sum(item.size_bytes for item in known.share.objects)),
            limiter=connection.limiter,
        )
    outcome = try_commit(
        connection.store,
        machine.executor,
        place,
        archive_id=connection.archive_id,
        writers=request.writers,
        own={request.rank: uploaded.data},
        read_back=not connection.checksums_enforced(),
    )
    if isinstance(outcome, Awaiting):
        state = "awaiting"
    else:
        state = "committed" if isinstance(outcome, Committed) else "already-committed"
    upload = uploaded.upload
    return PushReport(
        run=request.run,
        attempt=launch.attempt,
        step=request.step,
        state=state,
        awaiting=outcome.ranks if isinstance(outcome, Awaiting) else (),
        files=len(share.files),
        size_bytes=share.size_bytes,
        bytes_sent=upload.bytes_sent if upload else 0,
        bytes_resumed=upload.bytes_resumed if upload else 0,
        parts_sent=upload.parts_sent if upload else 0,
        seconds=machine.clock.monotonic() - began_seconds,
    )


def _open_attempt(machine: Machine, connection: Connection, request: PushRequest) -> Launch:
    labels: dict[str, Json] = dict(request.labels)
    key = push_key(request.run) + (f":{request.launch_key}" if request.launch_key else "")
    return open_launch(
        connection.store,
        LaunchRequest(
            archive_id=connection.archive_id,
            run=request.run,
            launch_key=key,
            writers=request.writers,
            started_at=machine.clock.now(),
            labels=labels,
            policy="",
            ended=False,
            maybe_recorded=True,
            # Of several writers the first one begins the attempt, and the others must find it.
            join=not request.new_attempt or request.writers > 1,
        ),
        lambda _: Resumption(None, explicit=False),
    )


def _digest(machine: Machine, connection: Connection, folder: Folder, progress: Progress | None) -> Share:
    plans = plan_objects(folder.files, connection.settings, connection.store.limits)
    meter = Meter(progress, "digest", sum(size for _, size in folder.files))
    return digest_share(plans, folder.open, folder.files, connection.settings, on_bytes=meter)


def _known(connection: Connection, place: Place, ours: Receipt) -> Receipt:
    """What this writer has contributed already, packed as it was packed then; `ours` if it has not. No byte is sent yet.

    Raises:
        ConflictError: If it has contributed something else, or another writer is there who is of another launch.
    """
    ranks = contributed_ranks(connection.store, place)
    if ours.rank in ranks:
        stored, _ = read_receipt(connection.store, place, ours.rank)
        require_same(stored, ours)
        return stored
    if ranks:
        other, _ = read_receipt(connection.store, place, min(ranks))
        check_same_launch([other, ours])
    return ours
