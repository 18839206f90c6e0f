"""Keeps runs and projects within what the policy in force lets them store: warns, then gives checkpoints up, never silently.

Theory of operation. The writer of rank 0 decides for all, before it sends its share: giving up is a decision in the archive,
which the agents of all other writers follow. It looks at what is stored once an hour, and in between counts what it lets
through itself. Where it can not look it lets through, and says so: not to know is no reason to lose a checkpoint. A receipt
that is written is never given up: others may have committed the checkpoint with it.

Where no policy with quotas is in force this costs one listing an hour, and up to two reads.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ckpt_archive.agent.outbox import give_up_everywhere
from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import ConflictError, DeniedError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.local.ring import SealedShare
from ckpt_archive.machine import Machine
from ckpt_archive.retention.money.quotas import Standing, stored_bytes, wanted
from ckpt_archive.retention.policy.in_force import policy_in_force
from ckpt_archive.retention.policy.values import Quota

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 3600.0

Found = TypeVar("Found")


@dataclass(slots=True)
class _Looked:
    """What was seen of an archive.

    Attributes:
        at_seconds: When the policy was read.
        quotas: Of the policy in force.
        stored: Bytes, by quota and name, with what was let through since; None: that can not be told.
        warned: Of what somebody was warned since then.
    """

    at_seconds: float
    quotas: tuple[Quota, ...] = ()
    stored: dict[tuple[Quota, str], int | None] = field(default_factory=dict)
    warned: set[tuple[Quota, str]] = field(default_factory=set)


class Quotas:
    """The quotas of the archives that an agent works for.

    Args:
        machine: The machine it runs on.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._looked: dict[str, _Looked] = {}
        self._admitted: set[str] = set()

    def keep(self, folders: set[str]) -> None:
        """Forget what was decided about other shares."""
        self._admitted &= folders

    def admits(self, connection: Connection, share: SealedShare, attempt: int) -> bool:
        """Whether a promoted share may be archived; if not, its checkpoint was given up, here and in the archive.

        Raises:
            UnavailableError: If the store does not answer.
            NotFoundError: If the share was evicted or replaced meanwhile.
        """
        if share.rank != 0 or share.has_receipt or share.folder in self._admitted:
            return True
        looked = self._look(connection)
        # All writers of a checkpoint have shares of much the same size.
        adding = share.size_bytes * share.seal.contribution.writers
        counted = wanted(looked.quotas, share.run, share.seal.contribution.labels)
        for quota, name in counted:
            stored = self._stored(connection, looked, quota, name)
            if stored is None:
                continue
            standing = Standing(quota, name, stored, adding)
            if standing.is_over and self._gave_up(connection, share, attempt, standing):
                return False
            if standing.is_near and (quota, name) not in looked.warned:
                looked.warned.add((quota, name))
                _log.warning("quota: %s; what goes above is given up", standing)
        for key in counted:
            known = looked.stored.get(key)
            if known is not None:
                looked.stored[key] = known + adding
        self._admitted.add(share.folder)
        return True

    def _gave_up(self, connection: Connection, share: SealedShare, attempt: int, standing: Standing) -> bool:
        if _has_receipt(connection, share, attempt):
            return False
        try:
            give_up_everywhere(
                connection, share, attempt, f"quota: {standing}, and {share.run} adds {standing.adding_bytes:,}"
            )
        except ConflictError as error:
            # Somebody has asked for this very checkpoint: whoever did that wanted it more than the quota.
            _log.warning("quota: %s; archived all the same: %s", standing, error.message)
            return False
        _log.warning("gave up %s: quota: %s", share, standing)
        return True

    def _look(self, connection: Connection) -> _Looked:
        """The quotas in force, read once an hour."""
        now_seconds = self._machine.clock.monotonic()
        known = self._looked.get(connection.archive_id)
        if known is not None and now_seconds < known.at_seconds + _LOOK_SECONDS:
            return known
        found = _Looked(now_seconds)
        quotas = _doubtful(lambda: _quotas_in_force(connection), "the policy in force can not be read")
        found.quotas = quotas or ()
        self._looked[connection.archive_id] = found
        return found

    def _stored(self, connection: Connection, looked: _Looked, quota: Quota, name: str) -> int | None:
        key = (quota, name)
        if key not in looked.stored:
            what = f"what {quota.scope} {name} has stored can not be counted"
            looked.stored[key] = _doubtful(lambda: stored_bytes(connection.store, quota.scope, name), what)
        return looked.stored[key]


def _has_receipt(connection: Connection, share: SealedShare, attempt: int) -> bool:
    """Whether its receipt is in the archive; this node may have died before it wrote that down."""
    try:
        connection.store.head(layout.receipt(share.run, attempt, share.step, share.rank))
    except NotFoundError:
        return False
    return True


def _quotas_in_force(connection: Connection) -> tuple[Quota, ...]:
    policy = policy_in_force(connection.store, connection.archive_id)
    return () if policy is None else policy.quotas


def _doubtful(look: Callable[[], Found], what: str) -> Found | None:
    """What somebody sees; None, and a warning, where there is nothing to be seen by us, today."""
    try:
        return look()
    except (DeniedError, IntegrityError, InvalidInputError, NotFoundError) as error:
        _log.warning("quota: %s, so nothing is given up for it: %s", what, error.message)
        return None
