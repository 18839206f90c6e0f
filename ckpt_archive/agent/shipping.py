"""Brings one share into the archive, or finds out that it never will be there."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ckpt_archive.agent import outbox
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.commit.connection import Connection
from ckpt_archive.disk import durable
from ckpt_archive.errors import ConflictError, IntegrityError, NotFoundError
from ckpt_archive.local.faults import converting, proves_something
from ckpt_archive.local.ring import SealedShare, still_same
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress
from ckpt_archive.restore.proof import prove
from ckpt_archive.ship.sealed import Shipped, ship

_log = logging.getLogger(__name__)

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Archived:
    """A share that is now in the archive, its checkpoint committed."""

    run: str
    attempt: int
    step: int
    rank: int
    bytes_sent: int
    bytes_resumed: int


class Shipper:
    """Archives shares, one at a time.

    Args:
        machine: The machine it runs on.
        settings: How long other writers are waited for.
    """

    def __init__(self, machine: Machine, settings: AgentSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._proved: set[str] = set()

    def keep(self, folders: Collection[str]) -> None:
        """Forget what is known of other shares."""
        self._proved.intersection_update(folders)

    def archive(
        self,
        connection: Connection,
        share: SealedShare,
        attempt: int,
        shares: Sequence[SealedShare],
        progress: Progress,
    ) -> Archived | None:
        """Archive a promoted share, or give it up for good.

        Args:
            connection: The archive.
            share: Which one.
            attempt: Its launch's number.
            shares: All of the run on this node.
            progress: Told how far it is.

        Returns:
            What was archived; None if it waits for other writers, was given up, or is gone.

        Raises:
            IntegrityError, ConflictError: If it can not be archived; where that will never change, it was given up.
            NotFoundError: If something in the archive is missing.
            UnavailableError: If the store does not answer.
        """
        if share.seal.contribution.writers > 1 and outbox.follow_decision(connection, share, attempt):
            return None
        try:
            report = ship(self._machine, connection, share, attempt, progress)
        except NotFoundError:
            with converting(f"{share.folder} can not be looked for"):
                if durable.exists(self._machine.fs, share.folder):
                    raise
            # Evicted or replaced meanwhile: the next pass sees what is there.
            return None
        except (IntegrityError, ConflictError) as error:
            reason = error.message if isinstance(error, ConflictError) else self._damage(share)
            if reason:
                outbox.give_up_for_good(connection, share, attempt, reason)
            raise
        if report.state is Shipped.ARCHIVED:
            sent, resumed = (report.upload.bytes_sent, report.upload.bytes_resumed) if report.upload else (0, 0)
            _log.info("archived %s as attempt %d: %d bytes sent, %d found there", share, attempt, sent, resumed)
            return Archived(share.run, attempt, share.step, share.rank, sent, resumed)
        if self._is_abandoned(share, shares):
            missing = ", ".join(map(str, report.awaiting[:_NAMED])) + (", …" if len(report.awaiting) > _NAMED else "")
            outbox.give_up_for_good(connection, share, attempt, f"the shares of the writers {missing} never came")
            _log.warning("gave up %s: the shares of the writers %s never came", share, missing)
        return None

    def _damage(self, share: SealedShare) -> str:
        """What is wrong with the local files, so that they can never be archived; "" if they are what was sealed."""
        if share.folder in self._proved:
            return ""
        try:
            still_same(share)
            prove(self._machine, share)
        except IntegrityError as error:
            silent = isinstance(error.__cause__, OSError) and not proves_something(error.__cause__)
            # What the disk does not give back just now, it may give back later.
            return "" if silent else error.message
        self._proved.add(share.folder)
        return ""

    def _is_abandoned(self, share: SealedShare, shares: Sequence[SealedShare]) -> bool:
        """Whether the other writers have had their time: every agent goes from old to new, and a newer one is archived."""
        age = self._machine.clock.now() - share.seal.contribution.staged_at
        return age >= timedelta(seconds=self._settings.abandon_seconds) and any(
            (other.launch, other.seal.saves) > (share.launch, share.seal.saves) and other.is_archived
            for other in shares
            if other.rank == share.rank
        )
