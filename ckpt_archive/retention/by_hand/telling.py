"""Records what somebody decides about checkpoints: events, each about as many as one may be about."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from ckpt_archive.commit.event import MAX_PLACES, Event, record_event
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.voice import Voice

T = TypeVar("T")


def tell(
    voice: Voice,
    kind: str,
    places: Sequence[Place],
    moment: datetime,
    reason: str,
    *,
    outcome: str = "",
    until_at: datetime | None = None,
) -> str:
    """Record an event; its id.

    Args:
        voice: Who.
        kind: What happens.
        places: To which checkpoints, at most 1,000.
        moment: The store's clock.
        reason: Why, for people.
        outcome: The class that they have now; "" for none.
        until_at: When their data ends; None where that is not said.

    Raises:
        InvalidInputError: If no reader would accept it.
        UnavailableError: If the store does not answer: it may have been recorded.
    """
    event = Event(
        archive_id=voice.connection.archive_id,
        kind=kind,
        event_id=voice.machine.nonce(),
        happened_at=voice.machine.clock.now(),
        actor=voice.actor,
        node=voice.machine.node,
        places=tuple(places),
        outcome=outcome,
        reason=reason,
        until_at=until_at,
    )
    record_event(voice.connection.store, event, moment)
    return event.event_id


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many as an event may be about."""
    for start in range(0, len(items), MAX_PLACES):
        yield items[start : start + MAX_PLACES]
