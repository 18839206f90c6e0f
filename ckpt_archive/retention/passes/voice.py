"""Who says what becomes of checkpoints: the statements and the events of one pass, with its reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import MAX_PLACES, Event, record_event
from ckpt_archive.commit.fating import Told
from ckpt_archive.machine import Machine
from ckpt_archive.retention.plans.plan import Change, Kind

ENDING = "ending"
ENDED = "ended"

DID: Mapping[Kind, str] = {
    Kind.HOLD: "held in the bucket",
    Kind.LOCK: "locked",
    Kind.TAKE_BACK: "taken back",
    Kind.CLEAR: "cleared",
    Kind.ANNOUNCE: "announced",
    Kind.TAG: "tagged",
    Kind.ENDED: "ended",
}
"""What was done to checkpoints, for people."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody who acts by a policy.

    Attributes:
        machine: Where.
        connection: On which archive.
        actor: Who; "" if nobody says.
        policy: SHA-256 of the policy.
    """

    machine: Machine
    connection: Connection
    actor: str
    policy: str

    def told(self, reason: str, event_id: str = "") -> Told:
        """What is told with a statement."""
        return Told(self.actor, self.machine.node, reason, self.machine.clock.now(), event_id, self.policy)

    def tell(
        self, kind: str, changes: Sequence[Change], moment: datetime, reason: str, until_at: datetime | None = None
    ) -> str:
        """Record what happens to checkpoints, at most 1,000 of one class and day; the event's id.

        Args:
            kind: `ENDING` or `ENDED`.
            changes: What is done to them.
            moment: The store's clock.
            reason: Why, for people.
            until_at: When their data ends; None: no end is announced any more.
        """
        first = changes[0]
        event = Event(
            archive_id=self.connection.archive_id,
            kind=kind,
            event_id=self.machine.nonce(),
            happened_at=self.machine.clock.now(),
            actor=self.actor,
            node=self.machine.node,
            places=tuple(change.place for change in changes),
            outcome=class_name(first.after or first.before),
            reason=reason,
            until_at=until_at,
            size_bytes=sum(change.size_bytes for change in changes),
            details={"policy": self.policy},
        )
        record_event(self.connection.store, event, moment)
        return event.event_id


def batches(changes: Iterable[Change]) -> Iterator[tuple[Change, ...]]:
    """Changes as events tell them: of one tag, one end, and as many places as an event may have."""
    groups: dict[tuple[str, str, str, datetime | None], list[Change]] = {}
    for change in changes:
        # What is taken back, or has ended, is told by what it had.
        had = "" if change.after else change.before
        groups.setdefault((change.kind, change.after, had, change.ends_after), []).append(change)
    for group in groups.values():
        for start in range(0, len(group), MAX_PLACES):
            yield tuple(group[start : start + MAX_PLACES])


def class_name(tags: str) -> str:
    """The class of a tag; of several the first."""
    return tags.partition(" ")[0].partition(".")[0]
