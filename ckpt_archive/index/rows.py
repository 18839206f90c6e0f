"""What is put into tables wherever it is met: findings, what is said about runs, sources, tables of tensors, batches."""

from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.digest import sha256_hex
from ckpt_archive.index import limits
from ckpt_archive.index.arrow import month_of
from ckpt_archive.index.parsed import Layout
from ckpt_archive.index.said import Labels, Lineage
from ckpt_archive.index.schema import (
    EVENTS,
    RUN_SOURCES,
    RUNS,
    SYNC_LOG,
    TENSOR_LAYOUTS,
)
from ckpt_archive.index.sink import RowSink
from ckpt_archive.index.state import State, source_key
from ckpt_archive.log.batch import FINDING
from ckpt_archive.log.sequence import Sealed
from ckpt_archive.place import Place
from ckpt_archive.strictjson import encode

_UNRESOLVED_SHOWN = 100
_LONGEST_KEY = 1_024


@dataclass(frozen=True, slots=True)
class At:
    """Where in the log something was told, and when it was created by the store's clock."""

    log_seq: int
    position: int
    time: datetime


class Rows:
    """Puts rows into a sink.

    Args:
        sink: Takes them.
        state: What the log said before; moved on here.
    """

    def __init__(self, sink: RowSink, state: State) -> None:
        self.sink = sink
        self.state = state
        self.findings = 0
        self._said: dict[str, tuple[At, Labels]] = {}
        # Most checkpoints of a launch name the same sources as the one before.
        self._named: dict[tuple[str, int], tuple[Lineage, int]] = {}

    def finding(
        self, at: At, subject: str, problem: str, *, digest: str = "", place: Place | None = None, part: str = ""
    ) -> None:
        """Something could not be read, or is not as it should be.

        Args:
            at: The entry that led there.
            subject: The key.
            problem: What is wrong.
            digest: SHA-256 that it should have.
            place: Of the checkpoint, where it is about one.
            part: Which of several findings of one entry.
        """
        self.findings += 1
        self.sink.add(
            EVENTS.name,
            month_of(at.time),
            event_id=sha256_hex(f"{FINDING}/{at.log_seq}/{at.position}/{part}".encode())[:32],
            kind=FINDING,
            recorded_at=at.time,
            run=place.run if place else None,
            attempt=place.attempt if place else None,
            step=place.step if place else None,
            subject=subject[:_LONGEST_KEY],
            digest=digest or None,
            outcome="failed",
            reason=limits.text(problem),
            log_seq=at.log_seq,
        )

    def run(self, at: At, name: str, labels: Labels) -> None:
        """What a launch or a checkpoint says about its run; of a batch the newest counts."""
        said = self._said.get(name)
        if said is None or at.time >= said[0].time:
            self._said[name] = (at, labels)

    def _add_runs(self) -> None:
        for name, (at, labels) in sorted(self._said.items()):
            if self.state.runs.get(name) != labels.digest:
                self.state.runs[name] = labels.digest
                self.sink.add(RUNS.name, "", run=name, recorded_at=at.time, log_seq=at.log_seq, **labels.columns)
        self._said.clear()

    def sources(self, at: At, place: Place, lineage: Lineage) -> None:
        """The sources that a checkpoint names: each that is new for its launch, or named by an earlier step than before."""
        if not lineage.sources:
            return
        before = self._named.get((place.run, place.attempt))
        if before is not None and before[0] is lineage and before[1] <= place.step:
            return
        self._named[place.run, place.attempt] = (lineage, place.step)
        for source in lineage.sources:
            key = source_key(place.run, place.attempt, source.values())
            known = self.state.sources.get(key)
            if known is not None and known <= place.step:
                continue
            self.state.sources[key] = place.step
            self.sink.add(
                RUN_SOURCES.name,
                "",
                run=place.run,
                attempt=place.attempt,
                from_step=place.step,
                recorded_at=at.time,
                log_seq=at.log_seq,
                **source,
            )

    def layout(self, at: At, layout: Layout) -> None:
        """A table of tensors, if it is new."""
        if layout.sha256 in self.state.layouts:
            return
        self.state.layouts.add(layout.sha256)
        for tensor in layout.tensors:
            self.sink.add(
                TENSOR_LAYOUTS.name,
                "",
                layout_sha256=layout.sha256,
                name=limits.text(tensor["name"]),
                dtype=limits.text(tensor["dtype"]),
                shape=limits.json_text(tensor["shape"]) or "[]",
                offset_bytes=tensor["offset"],
                size_bytes=tensor["size"],
                recorded_at=at.time,
                log_seq=at.log_seq,
            )

    def batch(self, sealed: Sealed) -> None:
        """What a batch says about itself; the last of its rows."""
        self._add_runs()
        batch = sealed.batch
        unresolved = sorted(batch.unresolved, key=lambda marker: (marker.since, marker.key))
        self.sink.add(
            SYNC_LOG.name,
            "",
            sealed_at=batch.sealed_at,
            sealed_by=limits.text(batch.sealed_by),
            watermark=batch.watermark,
            swept_at=batch.swept_at,
            first_entry=batch.first_entry,
            entries=len(batch.entries),
            findings=sum(entry.kind == FINDING for entry in batch.entries),
            unresolved=len(unresolved),
            oldest_unresolved_at=unresolved[0].since if unresolved else None,
            unresolved_keys=_list_text([marker.key for marker in unresolved[:_UNRESOLVED_SHOWN]]),
            batch_sha256=sealed.sha256,
            log_seq=batch.number,
        )


def _list_text(values: list[str]) -> str:
    return encode(values)[:-1].decode()
