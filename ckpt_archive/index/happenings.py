"""Launches, decisions and events as rows, and the lineage that they tell of."""

from collections.abc import Mapping
from datetime import datetime

from ckpt_archive import clock
from ckpt_archive.commit.decision import Decision
from ckpt_archive.commit.event import Event
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.index import limits
from ckpt_archive.index.arrow import month_of
from ckpt_archive.index.rows import At, Rows
from ckpt_archive.index.said import Labels, integer, source_columns, text
from ckpt_archive.index.schema import EVENTS, LAUNCHES, LINEAGE, LINEAGE_CLOSURE, RUN_SOURCES, SIGNERS
from ckpt_archive.index.state import artifact_node, line_node, source_node
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Json


class Happenings:
    """Puts the rows of what is no commit into a sink.

    Args:
        rows: Takes what commits have too; its sink and its state are used.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.sink = rows.sink
        self.state = rows.state

    def launch(self, at: At, launch: Launch) -> None:
        """A launch, its run, and what its line was made from."""
        start, labels = launch.resume_from, Labels.of(launch.labels)
        goes_on = not launch.explicit and (start is None or start.run == launch.run)
        line = min(launch.branch, launch.attempt) if goes_on else launch.attempt
        if launch.late and goes_on:
            # What it says about branches is about the launch that answers instead of it.
            line = launch.attempt if start is None else self.state.line_of(start.run, start.attempt)
        self.sink.add(
            LAUNCHES.name,
            "",
            run=launch.run,
            attempt=launch.attempt,
            recorded_at=at.time,
            started_at=launch.started_at,
            launch_key=limits.text(launch.launch_key),
            writers=launch.writers,
            resume_run=start.run if start else None,
            resume_attempt=start.attempt if start else None,
            resume_step=start.step if start else None,
            explicit=launch.explicit,
            late=launch.late,
            line_attempt=line,
            policy_sha256=limits.text(launch.policy) or None,
            project=labels.project,
            labels=labels.text,
            log_seq=at.log_seq,
        )
        self.rows.run(at, launch.run, labels)
        was_taken_for = line_node(launch.run, self.state.line_of(launch.run, launch.attempt))
        self.state.lines[launch.run, launch.attempt] = line
        node = line_node(launch.run, line)
        if node != was_taken_for and was_taken_for in self.state.closure:
            # Somebody went on from it before it was told of.
            self._edge(at, was_taken_for, node, "line", None, None, None)
        if start is not None and not goes_on:
            relation = "rollback" if start.run == launch.run else "fork"
            parent = line_node(start.run, self.state.line_of(start.run, start.attempt))
            self._edge(at, node, parent, relation, start, None, None)

    def decision(self, at: At, decision: Decision, identity: str) -> None:
        """A promotion, or a gap."""
        self.sink.add(
            EVENTS.name,
            month_of(at.time),
            event_id=identity,
            kind=decision.action.value,
            recorded_at=at.time,
            happened_at=decision.decided_at,
            actor=limits.text(decision.decided_by) or None,
            run=decision.run,
            attempt=decision.attempt,
            step=decision.step,
            reason=limits.text(decision.reason) or None,
            log_seq=at.log_seq,
        )

    def event(self, at: At, event: Event) -> None:
        """An event: a row for each checkpoint that it is about, and what else follows from its kind."""
        about: tuple[Place | None, ...] = event.places or (None,)
        month, details = month_of(at.time), limits.json_text(event.details)
        is_large = details is not None and len(details) * len(about) > limits.MAX_DETAILS_CHARACTERS
        for index, place in enumerate(about):
            self.sink.add(
                EVENTS.name,
                month,
                event_id=event.event_id,
                kind=event.kind,
                recorded_at=at.time,
                happened_at=event.happened_at,
                actor=event.actor or None,
                node=event.node or None,
                run=place.run if place else event.run,
                attempt=place.attempt if place else None,
                step=place.step if place else None,
                rank=event.rank,
                subject=event.subject or None,
                digest=event.digest,
                outcome=event.outcome or None,
                reason=event.reason or None,
                until_at=event.until_at,
                size_bytes=event.size_bytes,
                details=None if is_large and index else details,
                log_seq=at.log_seq,
            )
        match event.kind:
            case "source":
                self._declared_source(at, event)
            case "lineage" | "output":
                self._declared_lineage(at, event)
            case "key-published" | "key-revoked":
                self._signer(at, event)

    def _declared_source(self, at: At, event: Event) -> None:
        said = {"uri": event.subject, "digest": event.digest, **event.details}
        about = {(place.run, place.attempt): place.step for place in reversed(event.places)}
        if not about and event.run is not None:
            attempt = integer(event.details.get("attempt"))
            about = {(event.run, attempt if attempt is not None else 0): integer(event.details.get("from_step")) or 0}
        for (run, attempt), step in sorted(about.items()):
            self.sink.add(
                RUN_SOURCES.name,
                "",
                run=run,
                attempt=attempt,
                from_step=step,
                recorded_at=at.time,
                declared_by=event.actor or "",
                log_seq=at.log_seq,
                **source_columns({name: value for name, value in said.items() if name not in ("attempt", "from_step")}),
            )

    def _declared_lineage(self, at: At, event: Event) -> None:
        relation = event.details.get("relation")
        name = limits.text(relation) if isinstance(relation, str) and relation else event.kind
        child = self._child(event)
        if child is None:
            self.rows.finding(
                at,
                event.subject,
                f"the event {event.kind} {event.event_id} does not say what was made: a digest or a run",
            )
            return
        for place in event.places:
            parent = line_node(place.run, self.state.line_of(place.run, place.attempt))
            self._edge(at, child, parent, name, place, event.actor, event.details)
        if not event.places and event.subject:
            self._edge(at, child, source_node(event.subject), name, None, event.actor, event.details)

    def _child(self, event: Event) -> str | None:
        if event.digest:
            return artifact_node(event.digest)
        if event.kind == "lineage" and event.run is not None:
            attempt = integer(event.details.get("attempt")) or 0
            return line_node(event.run, self.state.line_of(event.run, attempt))
        return None

    def _edge(
        self,
        at: At,
        child: str,
        parent: str,
        relation: str,
        leaves: Place | None,
        actor: str | None,
        details: Mapping[str, Json] | None,
    ) -> None:
        self.sink.add(
            LINEAGE.name,
            "",
            child=child,
            parent=parent,
            relation=relation,
            parent_run=leaves.run if leaves else None,
            parent_attempt=leaves.attempt if leaves else None,
            parent_step=leaves.step if leaves else None,
            declared_by=actor,
            recorded_at=at.time,
            details=limits.json_text(details) if details else None,
            log_seq=at.log_seq,
        )
        if child == parent:
            return
        dropped = self.state.closure.dropped
        for way in self.state.closure.add_edge(child, parent, leaves):
            self.sink.add(
                LINEAGE_CLOSURE.name,
                "",
                descendant=way.descendant,
                ancestor=way.ancestor,
                depth=way.depth,
                ancestor_run=way.leaves.run if way.leaves else None,
                ancestor_attempt=way.leaves.attempt if way.leaves else None,
                ancestor_step=way.leaves.step if way.leaves else None,
                recorded_at=at.time,
                log_seq=at.log_seq,
            )
        if self.state.closure.dropped > dropped:
            problem = f"{child} has more than the {limits.MAX_ANCESTORS} ancestors that `lineage_closure` lists"
            self.rows.finding(at, child, problem, part=parent)

    def _signer(self, at: At, event: Event) -> None:
        details = event.details
        self.sink.add(
            SIGNERS.name,
            "",
            key_id=event.subject or event.digest,
            state=event.kind.removeprefix("key-"),
            algorithm=text(details.get("algorithm")),
            owner=text(details.get("owner")),
            valid_from=_time(details.get("valid_from")),
            valid_until=event.until_at,
            public_key=text(details.get("public_key")),
            reason=event.reason or None,
            recorded_at=at.time,
            log_seq=at.log_seq,
        )


def _time(value: Json) -> datetime | None:
    try:
        return clock.from_text(value) if isinstance(value, str) else None
    except ValueError:
        return None
