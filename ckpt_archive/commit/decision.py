"""Whether a step is promoted beyond the rule, or given up: decided once for all writers of an attempt."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Marker, store_time, write_marker
from ckpt_archive.commit.writeonce import create_once, read_record
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.names import MAX_STEP, check_attempt, check_run_name, check_step
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store, list_pages
from ckpt_archive.strictjson import Json


class Action(enum.StrEnum):
    """What is decided."""

    PROMOTE = "promote"
    GAP = "gap"


PROMOTE = Action.PROMOTE
GAP = Action.GAP


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about one step of one attempt.

    Attributes:
        archive_id: The archive it belongs to.
        run: Run name.
        attempt: Number of the launch.
        step: Training step.
        action: `PROMOTE`: every writer archives it, whatever the rule says. `GAP`: it is given up.
        reason: Why, for people: such as "milestone:best" or "the disk is full".
        decided_by: Which node or person.
        decided_at: When, by his clock.
        unknown: Members written by a newer release.
    """

    archive_id: str
    run: str
    attempt: int
    step: int
    action: Action
    reason: str
    decided_by: str
    decided_at: datetime
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "run": self.run,
            "attempt": self.attempt,
            "step": self.step,
            "action": self.action.value,
            "reason": self.reason,
            "decided_by": self.decided_by,
            "decided_at": clock.to_text(self.decided_at),
        }
        return record.encode("decision", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Decision":
        """Read a decision that may come from anybody.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("decision", data, what)
        decoded = cls(
            archive_id=fields.text("archive"),
            run=fields.text("run", check_run_name),
            attempt=fields.number("attempt", check_attempt),
            step=fields.number("step", check_step),
            action=Action(fields.text("action", Action)),
            reason=fields.text("reason"),
            decided_by=fields.text("decided_by"),
            decided_at=fields.time("decided_at"),
        )
        return replace(decoded, unknown=fields.rest())


def decide(store: Store, decision: Decision) -> Decision:
    """Record a decision, unless one stands already: a listing for the store's time, a marker, and the decision.

    Returns:
        The decision that stands: the first one, which everybody follows.
    """
    key = layout.decision(decision.run, decision.attempt, decision.step)
    data = decision.encode()
    place = Place(decision.run, decision.attempt, decision.step)
    write_marker(store, Marker.of_decision(decision.archive_id, place, data), store_time(store))
    there = create_once(store, key, data)
    return decision if there is None else _decoded(there, key, decision.run, decision.attempt, decision.step)


def read_decision(store: Store, run: str, attempt: int, step: int) -> Decision | None:
    """What was decided about a step; None if nothing was."""
    key = layout.decision(run, attempt, step)
    try:
        return _decoded(read_record(store, key).data, key, run, attempt, step)
    except NotFoundError:
        return None


def read_decisions(store: Store, run: str, attempt: int, *, after: int | None = None) -> dict[int, Decision]:
    """All decisions about an attempt, by step.

    Args:
        store: Where the archive is.
        run: Run name.
        attempt: Number of the launch.
        after: Only about larger steps than this one.
    """
    folder = layout.decisions_folder(run, attempt)
    start = "" if after is None else layout.decision(run, attempt, min(after, MAX_STEP))
    found: dict[int, Decision] = {}
    for page in list_pages(store, folder, start_after=start):
        for info in page.objects:
            step = layout.decision_step(info.key)
            found[step] = _decoded(read_record(store, info.key).data, info.key, run, attempt, step)
    return found


def _decoded(data: bytes, key: str, run: str, attempt: int, step: int) -> Decision:
    decision = Decision.decode(data, key)
    if (decision.run, decision.attempt, decision.step) != (run, attempt, step):
        raise IntegrityError(
            f"{key} holds a decision about {decision.run} attempt {decision.attempt} step {decision.step}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return decision
