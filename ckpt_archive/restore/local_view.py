"""What this node alone knows of a run: the checkpoints in its ring, and where its launches went on from."""

from collections import Counter
from collections.abc import Iterable

from ckpt_archive.local.launches import load_launches, read_attempt, read_resume
from ckpt_archive.local.ring import Group, SealedShare, complete_groups, scan
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.restore.choice import LocalPoint, Origin, PastLaunch


def ring_points(
    run: RunStaging,
    archive_id: str | None = None,
    *,
    strict: bool = False,
    whole: bool = False,
    late: bool = False,
) -> list[LocalPoint]:
    """Checkpoints of the ring that are complete as far as this node can tell, oldest first.

    Args:
        run: The run's staging.
        archive_id: Only those of launches that have a number in this archive; None for all.
        strict: Do not pass over what the disk does not give back just now.
        whole: Only those of which the share of every writer is here: for whoever needs all of their files.
        late: Those of late launches too: they never answer "latest", but whoever names their step means them.

    Raises:
        UnavailableError: If the disk does not answer.
    """
    shares = scan(run, strict=strict)
    groups = list(reversed(complete_groups(shares, keep_local=len(shares) + 1)))
    if whole:
        counts = Counter((share.launch, share.step) for share in shares)
        writers = {(share.launch, share.step): share.seal.contribution.writers for share in shares}
        groups = [group for group in groups if counts[group] == writers[group]]
    return _points(run, groups, archive_id, strict=strict, late=late)


def rank_points(
    run: RunStaging, rank: int, writers: int, archive_id: str | None = None, *, strict: bool = False
) -> list[LocalPoint]:
    """Checkpoints of so many writers of which this node has one's share, oldest first; whether it has all is not asked.

    Of a checkpoint of more writers the ranks that are there now would have a part, without noticing.
    """
    groups = [
        (share.launch, share.step)
        for share in scan(run, strict=strict)
        if share.rank == rank and share.seal.contribution.writers == writers
    ]
    return _points(run, groups, archive_id, strict=strict)


def _points(
    run: RunStaging, groups: Iterable[Group], archive_id: str | None, *, strict: bool, late: bool = False
) -> list[LocalPoint]:
    """Those of late launches count only if asked for."""
    points = []
    for launch, step in groups:
        known = read_attempt(run, launch, strict=strict)
        here = archive_id is None or (known is not None and known.archive_id == archive_id)
        if here and (late or known is None or not known.late):
            points.append(LocalPoint(launch, None if known is None else known.attempt, step))
    return points


def shares_of(run: RunStaging, point: LocalPoint) -> list[SealedShare]:
    """The shares of a checkpoint of the ring; none if it was evicted.

    Raises:
        UnavailableError: If the disk does not answer.
    """

    def found(*, strict: bool) -> list[SealedShare]:
        shares = scan(run, strict=strict)
        return [share for share in shares if (share.launch, share.step) == (point.launch, point.step)]

    # What the disk does not give back just now is not taken for evicted.
    return found(strict=False) or found(strict=True)


def past_launches(run: RunStaging, before: int) -> list[PastLaunch]:
    """The launches on this node with a smaller ordinal than `before`, oldest first.

    Raises:
        IntegrityError: If where one of them went on from can not be read any more.
    """
    past = []
    for launch in load_launches(run):
        if launch.ordinal >= before:
            continue
        resume = read_resume(run, launch.ordinal)
        origin = None
        if resume is not None and (resume.from_ring is not None or resume.resume_from is not None):
            place = resume.resume_from
            ordinal, step = resume.from_ring or (None, place.step if place is not None else 0)
            origin = Origin(ordinal, None if place is None else place.attempt, step, resume.explicit)
        past.append(PastLaunch(launch.ordinal, origin))
    return past
