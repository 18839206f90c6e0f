"""Local launches get their numbers in the archive, oldest first: a launch may go on from one that has no number yet.

A number is one of a certain archive. Where a run was moved to another archive, or its archive was made anew, what launches
were called in the old one says nothing here.
"""

from collections.abc import Mapping

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


def number_launch(connection: Connection, run: RunStaging, launch: LocalLaunch) -> int:
    """The attempt of a launch in its archive; its record is created if there is none.

    Those that it goes on from, one from the other, need numbers too, and get them first.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the archive's launch records contradict each other.
    """
    known = _known(connection, run, launch.ordinal)
    if known is not None:
        return known.attempt
    launches = {item.ordinal: item for item in load_launches(run)}
    chain = [launch]
    while (earlier := _unnumbered_origin(connection, run, launches, chain[-1])) is not None:
        chain.append(earlier)
    return [_number(connection, run, item, launches) for item in reversed(chain)][-1]


def ring_place(connection: Connection, run: RunStaging, url: str, ordinal: int, step: int) -> Place | None:
    """Where a checkpoint of the ring stands, or will stand, in the archive at `url`; its launch is numbered if need be.

    None if it is of another archive, or nothing is known of its launch any more.
    """
    known = _known(connection, run, ordinal)
    if known is not None:
        return Place(run.name, known.attempt, step)
    launch = next((item for item in load_launches(run) if item.ordinal == ordinal), None)
    if launch is None or launch.archive_url != url:
        return None
    return Place(run.name, number_launch(connection, run, launch), step)


def _known(connection: Connection, run: RunStaging, ordinal: int, *, strict: bool = False) -> LocalAttempt | None:
    known = read_attempt(run, ordinal, strict=strict)
    return known if known is not None and known.archive_id == connection.archive_id else None


def _unnumbered_origin(
    connection: Connection, run: RunStaging, launches: Mapping[int, LocalLaunch], launch: LocalLaunch
) -> LocalLaunch | None:
    """The launch that it goes on from, if that is to be archived in the same place and has no number yet."""
    resume = read_resume(run, launch.ordinal)
    # Ordinals fall with every step back, so following them ends.
    if resume is None or resume.from_ring is None or resume.from_ring[0] >= launch.ordinal:
        return None
    earlier = launches.get(resume.from_ring[0])
    if earlier is None or earlier.archive_url != launch.archive_url:
        return None
    return earlier if _known(connection, run, earlier.ordinal) is None else None


def _number(connection: Connection, run: RunStaging, launch: LocalLaunch, launches: Mapping[int, LocalLaunch]) -> int:
    """Number a launch whose origin has its number.

    What the record says of its origin stands for ever, so it is not made up of what the disk does not give back just now.
    """
    elsewhere = read_attempt(run, launch.ordinal, strict=True)
    if elsewhere is not None and elsewhere.archive_id == connection.archive_id:
        # Another process has numbered it just now.
        return elsewhere.attempt
    resume = read_resume(run, launch.ordinal)
    origin = None if resume is None else _origin(connection, run, resume, moved=elsewhere is not None)

    def choose(_: Standing) -> Resumption:
        return Resumption(origin, explicit=origin is not None and resume is not None and resume.explicit)

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
            earlier=_earlier(launches, launch),
            now=run.machine.clock.now,
        ),
        choose,
    )
    if elsewhere is not None:
        reason = f"it is about the archive {elsewhere.archive_id}, and this is {connection.archive_id}"
        forget_attempt(run, launch.ordinal, reason)
    return record_attempt(run, launch.ordinal, connection.archive_id, record.attempt, record.late).attempt


def _earlier(launches: Mapping[int, LocalLaunch], launch: LocalLaunch) -> frozenset[str]:
    """The keys of the launches that began before it on this node, however wrong the node's clock is.

    Whether they are numbered is not asked: whoever numbered one may have died before it was noted here.
    """
    return frozenset(item.launch_key for ordinal, item in launches.items() if ordinal < launch.ordinal)


def _origin(connection: Connection, run: RunStaging, resume: Resume, *, moved: bool) -> Place | None:
    """Where a launch went on from, as this archive names it; `moved`: the launch was numbered in another archive before."""
    if resume.from_ring is not None:
        ordinal, step = resume.from_ring
        known = _known(connection, run, ordinal, strict=True)
        if known is not None:
            return Place(run.name, known.attempt, step)
    return None if moved else resume.resume_from
