"""Flips single bits of what the log is made from and of the log itself, seals and projects.

Rows of records that are whole are all there and right. A damaged record or marker is a finding that names it, and leaves
out what it told, nothing else; a damaged batch is an error that names it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow as pa

from ckpt_archive.commit import layout
from ckpt_archive.commit.marker import Attempt, Marker, MarkerKind, write_marker
from ckpt_archive.errors import IntegrityError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.index import arrow
from ckpt_archive.index.fetching import Fetcher
from ckpt_archive.index.projection import Projection, Reading, batches
from ckpt_archive.index.schema import EVENTS, LAUNCHES, LOG_SEQ, SYNC_LOG, TABLES
from ckpt_archive.index.state import State
from ckpt_archive.log.batch import FINDING, Entry
from ckpt_archive.log.reconcile import reconcile
from ckpt_archive.log.sequence import newest_number
from ckpt_archive.log.sync import seal
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, ManualClock
from ckpt_archive.testing.fuzz import guard
from ckpt_archive.testing.fuzz.kinds import require
from ckpt_archive.testing.fuzz.shelf import Shelf
from ckpt_archive.testing.logged import small_archive

Rows = dict[str, Counter[str]]
"""The rows of each table, as texts."""

_INLINE = InlineExecutor()
_NAMES = {name: arrow.file_schema(table).names for name, table in TABLES.items()}
# What a finding says, and what follows from the bytes of a record alone.
_OF_BYTES = {EVENTS.name: ("reason", "digest"), SYNC_LOG.name: ("batch_sha256", "findings", "entries", "unresolved")}
_STRICTLY_EVERY = 8
_NOISE = 7  # from one flipped bit to the next
# A reconciliation leaves alone what may still be on its way.
_LATER = timedelta(hours=3)
# Rows that come from one record each, whatever others say.
_DIRECT = ("checkpoints", "files", "metrics", "launches", "events", "tensor_layouts", "signers")
_DEPENDS_ON_OTHERS = {LAUNCHES.name: ("line_attempt",)}


class Gathered:
    """A sink that keeps rows."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def wants(self, name: str) -> bool:
        """All of them."""
        return name in TABLES

    def add_row(self, name: str, month: str, row: Sequence[object]) -> None:
        """See `Sink.add_row`."""
        self.rows[name].append({"month": month, **dict(zip(_NAMES[name], row, strict=True))})

    def add(self, name: str, month: str, /, **values: object) -> None:
        """See `Sink.add`."""
        self.rows[name].append({"month": month, **{column: values.get(column) for column in _NAMES[name]}})

    def add_table(self, name: str, month: str, rows: pa.Table) -> None:
        """See `Sink.add_table`."""
        self.rows[name] += [{"month": month, **row} for row in rows.to_pylist()]


def projected(store: Shelf, reading: Reading = Reading.FAST) -> dict[str, list[dict[str, Any]]]:
    """All rows of a log."""
    sink = Gathered()
    projection = Projection(Fetcher(store, _INLINE), sink, State(), ARCHIVE_ID, reading)
    for sealed in batches(store, _INLINE, ARCHIVE_ID, 1, newest_number(store)):
        projection.add(sealed)
    return sink.rows


def comparable(rows: Mapping[str, Sequence[Mapping[str, Any]]], *, besides: Sequence[str] = ()) -> Rows:
    """Rows without what must differ where bytes do."""
    found: Rows = {}
    for name, some in rows.items():
        left_out = (*_OF_BYTES.get(name, ()), *besides)
        found[name] = Counter(str({key: value for key, value in row.items() if key not in left_out}) for row in some)
    return found


def findings(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
    """What findings are about."""
    return {str(row["subject"]) for row in rows[EVENTS.name] if row["kind"] == FINDING}


def _told(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Rows:
    """The rows that come from one record each, but for findings, whichever batch told of them."""
    kept = {
        name: [
            {key: value for key, value in row.items() if key not in _DEPENDS_ON_OTHERS.get(name, ())}
            for row in rows[name]
            if row.get("kind") != FINDING
        ]
        for name in _DIRECT
    }
    return comparable(kept, besides=(LOG_SEQ,))


def _shelf(clock: ManualClock) -> Shelf:
    return Shelf("memory://logged", limits=StoreLimits(min_part_size_bytes=1), clock=clock)


def _marker_of(entry: Entry) -> Marker:
    match entry.kind:
        case "commit":
            return Marker.of_commit(ARCHIVE_ID, Place(*layout.manifest_place(entry.key)), entry.digest)
        case "launch":
            attempt = Attempt(entry.key.split("/")[1], layout.attempt_number(entry.key))
            return Marker(ARCHIVE_ID, MarkerKind.LAUNCH, attempt, entry.digest)
        case "decision":
            _, run, _, launch, step = entry.key.removesuffix(".json").split("/")
            return Marker(ARCHIVE_ID, MarkerKind.DECISION, Place(run, int(launch), int(step)), entry.digest)
    name = layout.event_name(entry.key)
    return Marker.of_event(ARCHIVE_ID, name.kind, name.identity, name.moment)


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit of an object: before the log was sealed, or after."""

    is_sealed: bool
    key: str
    bit: int

    @property
    def kind(self) -> str:
        """What kind of object it is, and when it was flipped."""
        parts = self.key.split("/")
        name = {"runs": parts[2:3], "log": parts[1:2]}.get(parts[0], parts)[0]
        return f"{name}, {'sealed' if self.is_sealed else 'new'}"


class Scene:
    """A small archive of everything, with its markers and no log; and the same with its log.

    Attributes:
        new: Before anybody has sealed anything.
        sealed: With a log of several batches.
        records: The entries of all records, by key.
    """

    def __init__(self) -> None:
        self.sealed = _shelf(ManualClock())
        made = small_archive(self.sealed)
        self.records = {
            entry.key: entry for sealed in made.sealed for entry in sealed.batch.entries if entry.kind != FINDING
        }
        self.markers: dict[str, str] = {}
        self.new_clock = ManualClock()
        self.new = _shelf(self.new_clock)
        self.new.restore_state(self.sealed.state())
        for key in [key for key in self.new.sizes() if key.startswith(layout.SEQUENCE)]:
            self.new.delete(key)
        for entry in self.records.values():
            self.markers[write_marker(self.new, _marker_of(entry), NOON)] = entry.key
        self.new_clock.sleep(_LATER.total_seconds())
        self.objects = {
            (is_sealed, key): size
            for is_sealed, shelf in ((False, self.new), (True, self.sealed))
            for key, size in shelf.sizes().items()
            if key != layout.ARCHIVE
        }
        self._whole = {False: self._after_sealing()[0], True: projected(self.sealed)}
        self._without: dict[tuple[bool, str], Rows] = {}

    def _after_sealing(self) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
        """The rows after a seal, and those after a reconciliation; the store is as before."""
        before = self.new.state()
        try:
            seal(self.new, _INLINE, ARCHIVE_ID, "node")
            rows = projected(self.new)
            reconcile(self.new, _INLINE, ARCHIVE_ID, "node")
            return rows, projected(self.new)
        finally:
            require(not self.new.lost(before), "something was lost")
            self.new.restore_state(before)

    def without(self, *, is_sealed: bool, key: str) -> Rows:
        """The rows that there are if an object is nothing but noise; checked to lack only what that object tells."""
        found = self._without.get((is_sealed, key))
        if found is None:
            shelf = self.sealed if is_sealed else self.new
            noise = range(0, self.objects[is_sealed, key] * 8, _NOISE)
            for bit in noise:
                shelf.flip(key, bit)
            try:
                rows = projected(shelf) if is_sealed else self._after_sealing()[0]
            finally:
                for bit in noise:
                    shelf.flip(key, bit)
            require(key in findings(rows), f"noise at {key} is no finding")
            self._check_others(key, rows, self._whole[is_sealed])
            found = self._without[is_sealed, key] = comparable(rows)
        return found

    def _check_others(self, key: str, rows: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
        """What other records tell is there; what is not told any more is about one record."""
        less, all_of_it = _told(rows), _told(whole)
        record = self.markers.get(key, key)
        for name in _DIRECT:
            require(name == "checkpoints" or not less[name] - all_of_it[name], f"{key}: rows of {name} from nowhere")
            lost = (all_of_it[name] - less[name]).total()
            if record.startswith("receipts/"):
                require(
                    name in ("files", "checkpoints", "tensor_layouts") or not lost, f"{key}: {lost} rows of {name} less"
                )
            else:
                kind = self.records[record].kind
                own = {"commit": ("checkpoints", "files", "metrics", "tensor_layouts"), "launch": ("launches",)}
                require(name in own.get(kind, ("events", "signers")) or not lost, f"{key}: {lost} rows of {name} less")
                most = {"checkpoints": 1, "launches": 1, "signers": 1, "events": 2}.get(name)
                require(most is None or lost <= most, f"{key}: {lost} rows of {name} less")

    def try_one(self, flip: Flip) -> str:
        """Flip one bit, seal, project, compare; how it ended.

        Raises:
            Wrong: If a promise was broken.
        """
        shelf = self.sealed if flip.is_sealed else self.new
        shelf.flip(flip.key, flip.bit)
        try:
            with guard.ending():
                if flip.key.startswith(layout.SEQUENCE):
                    return self._damaged_batch(flip)
                return self._sealed_record(flip) if flip.is_sealed else self._new_record(flip)
        finally:
            shelf.flip(flip.key, flip.bit)

    def _damaged_batch(self, flip: Flip) -> str:
        """Nothing is made of a log that is not whole."""
        number = layout.sequence_number(flip.key)
        before = self.sealed.state()
        readers: tuple[Callable[[], object], ...] = (
            lambda: projected(self.sealed),
            lambda: projected(self.sealed, Reading.STRICT),
            lambda: reconcile(self.sealed, _INLINE, ARCHIVE_ID, "node"),
            lambda: seal(self.sealed, _INLINE, ARCHIVE_ID, "node"),
        )
        for turn, read in enumerate(readers):
            try:
                read()
            except IntegrityError as error:
                text = str(error)
                require(flip.key in text or f"batch {number} " in text, f"it does not say which batch: {text}")
            else:
                # A seal reads the end of the log alone.
                newest = len([key for key in before[0] if key.startswith(layout.SEQUENCE)])
                require(turn == len(readers) - 1 and number < newest, "a damaged batch was believed")
            require(not self.sealed.lost(before), "something was lost")
            self.sealed.restore_state(before)
        return "error"

    def _sealed_record(self, flip: Flip) -> str:
        rows = projected(self.sealed)
        if flip.bit % _STRICTLY_EVERY == 0:
            strict = projected(self.sealed, Reading.STRICT)
            require(comparable(rows) == comparable(strict), "read strictly it says otherwise")
        return self._judged(flip, rows)

    def _new_record(self, flip: Flip) -> str:
        rows, reconciled = self._after_sealing()
        ended = self._judged(flip, rows)
        if flip.key in self.markers:
            # The record itself is whole, and a listing finds it.
            whole, found = _told(self._whole[False]), _told(reconciled)
            require(found == whole, f"after a reconciliation: {[name for name in whole if found[name] != whole[name]]}")
        return ended

    def _judged(self, flip: Flip, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
        found = comparable(rows)
        if found == comparable(self._whole[flip.is_sealed]):
            return "same"
        wanted = self.without(is_sealed=flip.is_sealed, key=flip.key)
        require(flip.key in findings(rows), "rows are different, and no finding says why")
        require(found == wanted, f"other rows of {[name for name in wanted if found[name] != wanted[name]]}")
        return "finding"


def all_flips(scene: Scene, length: int) -> list[Flip]:
    """So many bits, as many of each object as it has, up to an even share; in an order in which every beginning is even."""
    cap = -(-length // len(scene.objects))
    while sum(min(cap, size * 8) for size in scene.objects.values()) < length and cap < 1 << 20:
        cap += cap // 4 + 1
    chance = random.Random(5)
    flips = [
        Flip(is_sealed, key, bit)
        for (is_sealed, key), size in sorted(scene.objects.items())
        for bit in chance.sample(range(size * 8), min(cap, size * 8))
    ]
    chance.shuffle(flips)
    return flips[:length]


@dataclass(slots=True)
class LogFlipResult:
    """What became of some flips.

    Attributes:
        outcomes: By kind of object and outcome.
        findings: What is wrong.
        seconds: How long it took.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(count: int, told: Callable[[str], None] = lambda _: None) -> LogFlipResult:
    """Try so many flips."""
    began, scene, result = time.perf_counter(), Scene(), LogFlipResult()
    for flip in all_flips(scene, count):
        try:
            ended = scene.try_one(flip)
        except (Exception, guard.Hang) as error:  # noqa: BLE001 - that is what is looked for
            ended = "WRONG"
            text = f"FOUND bit {flip.bit} of {flip.key} ({flip.kind}): {type(error).__name__}: {error}"
            result.findings.append(text)
            told(text[:1_500])
        result.outcomes[flip.kind, ended] += 1
    result.seconds = time.perf_counter() - began
    return result


def report(result: LogFlipResult) -> str:
    """A table."""
    columns = ("same", "finding", "error", "WRONG")
    lines = [f"{'flipped':22} " + " ".join(f"{name:>10}" for name in columns)]
    lines += [
        f"{kind:22} " + " ".join(f"{result.outcomes[kind, name]:10}" for name in columns)
        for kind in sorted({kind for kind, _ in result.outcomes})
    ]
    lines.append(f"{result.outcomes.total()} flips in {result.seconds:.0f} s: {len(result.findings)} findings")
    return "\n".join(lines)
