"""Gaps reach the archive: what was given up here is recorded there as a decision that every writer follows."""

from collections.abc import Sequence

from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.decision import GAP, PROMOTE, Decision, decide, read_decision, read_decisions
from ckpt_archive.errors import ConflictError
from ckpt_archive.local.gaps import MissedSave, forget_missed, load_missed, record_missed
from ckpt_archive.local.ring import SealedShare
from ckpt_archive.local.staging import RunStaging


def give_up(share: SealedShare, reason: str) -> None:
    """Give a promotion up, for good; the record waits on this disk until the archive has it.

    Raises:
        ConflictError: If its receipt is written: others may have committed the checkpoint with it.
        NotFoundError: If it was evicted or replaced meanwhile.
    """
    # The record first: it is forgotten again if the share turns out not to be given up, and once it is, it may be evicted.
    record_missed(share.staging, share.launch, share.step, share.rank, reason)
    share.mark_gap(reason)


def missed_launches(run: RunStaging) -> dict[int, list[MissedSave]]:
    """What waits to be recorded, by launch."""
    found: dict[int, list[MissedSave]] = {}
    for missed in load_missed(run):
        found.setdefault(missed.launch, []).append(missed)
    return found


def report_gap(
    connection: Connection, run: RunStaging, attempt: int, missed: MissedSave, share: SealedShare | None
) -> None:
    """Record one gap in the archive; a save that was repeated and sealed after all is none.

    Args:
        connection: The archive.
        run: The run.
        attempt: The launch's number.
        missed: What was recorded here.
        share: The sealed share of that step, launch and rank, if there is one.

    Raises:
        UnavailableError: If the store does not answer.
    """
    if share is None or share.has_gap:
        _decide_gap(
            connection,
            Decision(
                archive_id=connection.archive_id,
                run=run.name,
                attempt=attempt,
                step=missed.step,
                action=GAP,
                reason=f"rank {missed.rank}: {missed.reason}",
                decided_by=run.machine.node,
                decided_at=missed.at,
            ),
        )
    forget_missed(run, missed)


def give_up_for_good(connection: Connection, share: SealedShare, attempt: int, reason: str) -> None:
    """Give a promotion up that can never be archived, whether or not its receipt is written. Raises as those two do."""
    if share.has_receipt:
        give_up_everywhere(connection, share, attempt, reason)
    else:
        give_up(share, reason)


def give_up_everywhere(connection: Connection, share: SealedShare, attempt: int, reason: str) -> None:
    """Give a checkpoint up of which this share's receipt is written already: in the archive first, where all see it.

    Raises:
        ConflictError: If it was decided otherwise.
        UnavailableError: If the store does not answer.
    """
    machine = share.staging.machine
    decision = Decision(
        archive_id=connection.archive_id,
        run=share.run,
        attempt=attempt,
        step=share.step,
        action=GAP,
        reason=f"rank {share.rank}: {reason}",
        decided_by=machine.node,
        decided_at=machine.clock.now(),
    )
    share.follow_gap(_decide_gap(connection, decision).reason)


def _decide_gap(connection: Connection, decision: Decision) -> Decision:
    standing = decide(connection.store, decision)
    if standing.action is not GAP:
        raise ConflictError(
            f"{decision.run} step {decision.step} can not be given up ({decision.reason}): {standing.decided_by} has "
            f"decided to archive it ({standing.reason})",
            hint="The other writers go on waiting for it.",
        )
    return standing


def follow_decision(connection: Connection, share: SealedShare, attempt: int) -> bool:
    """Give up a share that another writer has given up; whether that was so.

    Raises:
        UnavailableError: If the store does not answer.
    """
    decision = read_decision(connection.store, share.run, attempt, share.step)
    if decision is None or decision.action is not GAP:
        return False
    share.follow_gap(f"given up by {decision.decided_by}: {decision.reason}")
    return True


def follow_promotions(connection: Connection, run: RunStaging, attempt: int, shares: Sequence[SealedShare]) -> None:
    """Promote the shares of a launch that somebody asked for beyond the rule.

    Raises:
        UnavailableError: If the store does not answer.
    """
    open_shares = [share for share in shares if not share.is_promoted and not share.has_gap]
    if not open_shares:
        return
    oldest = min(share.step for share in open_shares)
    decisions = read_decisions(connection.store, run.name, attempt, after=oldest - 1 if oldest else None)
    for share in open_shares:
        decision = decisions.get(share.step)
        if decision is not None and decision.action is PROMOTE:
            share.promote({"rule": "decision", "reason": decision.reason, "decided_by": decision.decided_by})
