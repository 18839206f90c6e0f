"""Local launches get their numbers in the archive, oldest first: a launch may go on from one that has no number yet."""

from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import Standing
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.local.launches import (
    LocalAttempt,
    LocalLaunch,
    Resume,
    forget_attempt,
    has_ended,
    load_launches,
    read_attempt,
    read_resume,
    record_attempt,
)
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.place import Place


def known_attempt(connection: Connection, run: RunStaging, ordinal: int) -> LocalAttempt | None:
    """The number of a launch in this archive, if it has one; what is known of another archive is set aside."""
    known = read_attempt(run, ordinal)
    if known is None or known.archive_id == connection.archive_id:
        return known
    forget_attempt(run, ordinal, f"it is about the archive {known.archive_id}, and this is {connection.archive_id}")
    return None


def number_launch(connection: Connection, run: RunStaging, launch: LocalLaunch) -> int:
    """The attempt of a launch; its record is created if there is none.

    A launch that goes on from another one of this node needs that one's number: it is numbered first.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the archive's launch records contradict each other.
    """
    known = known_attempt(connection, run, launch.ordinal)
    if known is not None:
        return known.attempt
    resume = read_resume(run, launch.ordinal)
    origin = None if resume is None else resume_place(connection, run, resume)
    record = open_launch(
        connection.store,
        LaunchRequest(
            archive_id=connection.archive_id,
            run=run.name,
            launch_key=launch.launch_key,
            writers=launch.writers,
            started_at=launch.started_at,
            labels=launch.labels,
            policy=launch.policy,
            ended=has_ended(run, launch.ordinal),
            maybe_recorded=True,
        ),
        lambda standing: _resumption(origin, resume, standing),
    )
    return record_attempt(run, launch.ordinal, connection.archive_id, record.attempt, record.late).attempt


def resume_place(connection: Connection, run: RunStaging, resume: Resume) -> Place | None:
    """Where a launch resumed from, as the archive names it; the launch it goes on from is numbered if need be."""
    if resume.resume_from is not None:
        return resume.resume_from
    if resume.from_ring is None:
        return None
    ordinal, step = resume.from_ring
    known = known_attempt(connection, run, ordinal)
    if known is not None:
        return Place(run.name, known.attempt, step)
    # Ordinals fall with every step back, so this ends.
    earlier = next((launch for launch in load_launches(run) if launch.ordinal == ordinal), None)
    if earlier is None:
        return None
    return Place(run.name, number_launch(connection, run, earlier), step)


def _resumption(origin: Place | None, resume: Resume | None, standing: Standing) -> Resumption:
    del standing
    return Resumption(origin, explicit=resume is not None and resume.explicit)
