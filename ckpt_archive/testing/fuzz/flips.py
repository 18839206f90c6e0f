"""Flips single bits of everything that is stored, one at a time, and runs what reads it.

What comes of it is what came of it without the flip, or an error of ours, or a finding, or (of the ring) an older checkpoint
and a warning. Never other bytes, never another checkpoint without a word, and nothing that was there is lost.
"""

import logging
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.decision import read_decisions
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.latest import latest
from ckpt_archive.commit.marker import Marker, read_marker
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.gaps import peek_missed
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.local.status import describe
from ckpt_archive.place import Place
from ckpt_archive.testing.archives import content, read_tree
from ckpt_archive.testing.fuzz import guard
from ckpt_archive.testing.fuzz.kinds import Wrong, require
from ckpt_archive.testing.fuzz.scene import Scene
from ckpt_archive.testing.site import kill

LIST_LENGTH = 100_000
_SHARE = {False: 1, True: 12}  # what is staged takes longer to be read
SAME, REFUSED, REPORTED, OLDER = "same", "refused", "reported", "set aside"

_ALL_EVERY = 4
_BYTES = ("data", "receipts", "manifests")  # a restore reads them
_OWN = {
    "attempts": ("latest", "restore latest", "runs", "push again"),
    "decisions": ("decisions", "doctor"),
    "pending": ("markers",),
    "events": ("events",),
}


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit: of an object of the archive, or of a file of the staging directory."""

    staged: bool
    name: str
    bit: int

    @property
    def kind(self) -> str:
        """What kind of stored object it is."""
        parts = self.name.split("/")
        if not self.staged:
            return {"runs": parts[2:3], "log": parts[1:2]}.get(parts[0], parts)[0]
        if "files" in parts:
            return "staged file"
        if "launches" in parts:
            return f"launches/{parts[-1].partition('.')[2]}"
        return "gaps" if "gaps" in parts else parts[-1]


class Warnings(logging.Handler):
    """Counts what was told loudly."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self.texts.append(record.getMessage())


class Bench:
    """Runs what reads a scene, and compares."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.warnings = Warnings()
        self._numbers = 0
        node = scene.node
        self.readers: dict[str, Callable[[], Any]] = {
            "runs": lambda: node.archive().runs(),
            "checkpoints": lambda: self.archive.checkpoints("run-a"),
            "latest": lambda: [latest(scene.shelf, run) for run in ("run-a", "run-b", "run-d")],
            "find": lambda: [self.archive.find("run-a", step) for step in (2, 4, 6)],
            "show": lambda: [self.archive.show(run, step) for run, step in self.committed],
            "verify": lambda: node.archive().verify(),
            "verify deep": lambda: self.archive.verify(deep=True),
            "doctor": lambda: node.archive().doctor(),
            "decisions": lambda: read_decisions(scene.shelf, "run-a", 1),
            "markers": self._markers,
            "events": self._events,
            "push again": self._push_again,
            "restore latest": lambda: self._restore("run-a", None),
        }
        self.staged_readers: dict[str, Callable[[], Any]] = {
            "status": self._status,
            "resume": self._resume,
            "agent": self._agent,
            "restore nearby": self._nearby,
            "resume offline": self._offline,
        }
        self.committed = [("run-a", 2), ("run-a", 4), ("run-a", 6), ("run-b", 10), ("run-d", 10), ("run-d", 20)]
        self.expected: dict[str, Any] = {}
        for name, read in self.readers.items():
            self.expected[name] = read()
        require(all(key.startswith("log/") for key in scene.shelf.added(scene.before)), "reading wrote")
        scene.shelf.restore_state(scene.before)
        for run, step in self.committed:
            self._restore(run, step)
        for name, read in self.staged_readers.items():
            scene.lay_out()
            self.expected[name] = read()
            scene.shelf.restore_state(scene.before)

    @property
    def archive(self) -> Any:
        """The archive, in a new process."""
        return self.scene.node.archive()

    def _markers(self) -> list[Marker]:
        shelf = self.scene.shelf
        return [read_marker(content(shelf, key), key) for key in self._kept(layout.PENDING)]

    def _events(self) -> list[Event]:
        shelf = self.scene.shelf
        return [read_event(content(shelf, key), key) for key in self._kept(layout.EVENTS)]

    def _kept(self, prefix: str) -> list[str]:
        """What lay there before anything was read: whoever restores or verifies leaves a record of it."""
        return [key for key in self.scene.shelf.sizes() if key.startswith(prefix) and key in self.scene.before[0]]

    def _push_again(self) -> list[Any]:
        return [self.archive.push(source, run, step) for (run, step), source in self.scene.pushed.items()]

    def _restore(self, run: str, step: int | None) -> Place:
        self._numbers += 1
        to = self.scene.folder / f"to-{self._numbers}"
        try:
            found = self.archive.restore(run, step, to=to)
            self._check_bytes(found)
        finally:
            shutil.rmtree(to, ignore_errors=True)
        return Place(found.run, found.attempt, found.step)

    def _check_bytes(self, found: Any) -> None:
        require(read_tree(found.path) == self.scene.saved[found.run, found.step], f"OTHER BYTES in step {found.step}")

    def _status(self) -> Any:
        staging = self.scene.node.staging
        run = self.scene.node.of()
        # What is free, and how much time has passed, has nothing to do with this.
        return (
            replace(describe(staging), free_bytes=0, used_bytes=0, oldest_promotion_seconds=None),
            read_status(staging),
            peek_missed(run),
            list(quarantined(run)),
        )

    def _resume(self) -> tuple[str, int]:
        run = self.scene.node.run()
        try:
            found = run.resume()
            require(found is not None, "NOTHING to resume, without an error")
            assert found is not None
            self._check_bytes(found)
            return found.run, found.step
        finally:
            kill(run)

    def _offline(self) -> tuple[str, int]:
        self.scene.site.down = True
        try:
            return self._resume()
        finally:
            self.scene.site.down = False

    def _nearby(self) -> list[int]:
        steps = []
        for step in (9, 6):
            self._numbers += 1
            to = self.scene.folder / f"to-{self._numbers}"
            try:
                found = self.archive.restore("run-a", step, to=to, staging=self.scene.node.staging.root)
                self._check_bytes(found)
                steps.append(found.step)
            finally:
                shutil.rmtree(to, ignore_errors=True)
        return steps

    def _agent(self) -> Any:
        done = self.scene.node.ship()
        self._check_added()
        return [(item.step, item.attempt) for item in done.archived], len(done.pending), done.untold, done.troubles

    def _check_added(self) -> None:
        """What was archived meanwhile is what was staged."""
        for key in self.scene.shelf.added(self.scene.before):
            if key.startswith("manifests/"):
                step = 10**12 - 1 - int(key.rpartition("/")[2].partition(".")[0])
                place = catalog.find(self.scene.shelf, "run-a", step)
                require(self._restore("run-a", place.step) == place, "another checkpoint")

    def try_one(self, flip: Flip, turn: int) -> dict[str, str]:
        """Flip one bit and read; how each reader ended.

        Raises:
            Wrong: If a promise was broken.
        """
        ended: dict[str, str] = {}
        scene = self.scene
        if flip.staged:
            scene.lay_out()
            scene.flip_file(flip.name, flip.bit)
            name = list(self.staged_readers)[turn % len(self.staged_readers)]
            chosen = [(name, self.staged_readers[name])]
        else:
            scene.shelf.flip(flip.name, flip.bit)
            chosen = [(name, self.readers[name]) for name in self._readers_of(flip, turn)]
            if flip.kind in _BYTES or turn % _ALL_EVERY == 0:
                run, step = self._affected(flip)
                self.expected["restore"] = Place(run, 1 if (run, step) == ("run-a", 6) else 0, step)
                chosen.append(("restore", lambda: self._restore(run, step)))
        try:
            for name, read in chosen:
                ended[name] = self._read(name, read, flip)
                self._check_nothing_lost(flip)
        finally:
            if flip.staged:
                scene.mend_file(flip.name, flip.bit)
            else:
                scene.shelf.flip(flip.name, flip.bit)
            scene.shelf.restore_state(scene.before)
        return ended

    def _readers_of(self, flip: Flip, turn: int) -> list[str]:
        """Those that read this kind of object, in turns; now and then any other one."""
        if turn % _ALL_EVERY == 0:
            own = tuple(self.readers)
        else:
            own = _OWN.get(flip.kind, () if flip.kind in _BYTES else tuple(self.readers))
        return [own[turn // _ALL_EVERY % len(own)]] if own else []

    def _affected(self, flip: Flip) -> tuple[str, int]:
        for run, step in self.committed:
            if f"/{run}/" in flip.name and (f"/{step:012d}" in flip.name or f"/{10**12 - 1 - step:012d}" in flip.name):
                return run, step
        return self.committed[flip.bit % len(self.committed)]

    def _read(self, name: str, read: Callable[[], Any], flip: Flip) -> str:
        self.warnings.texts.clear()
        try:
            with guard.ending():
                found = read()
        except CkptArchiveError as error:
            text = str(error)
            require(self._names(text, flip), f"{name}: an error that does not say which object: {text}")
            return REFUSED
        if found == self.expected[name]:
            return SAME
        if name in ("verify", "verify deep", "doctor", "status"):
            return REPORTED
        require(self.warnings.texts or (name == "agent" and found[3]), f"{name}: {found} without a word")
        if name.startswith("resume"):
            require(found[1] < self.expected[name][1], f"{name}: {found}")
            return OLDER
        require(name in ("agent", "restore nearby"), f"{name}: {found}")
        return OLDER

    def _names(self, text: str, flip: Flip) -> bool:
        if flip.staged:
            return True
        tail = flip.name.rpartition("/")[2]
        step = next((f"step {int(part)}" for part in flip.name.split("/") if part.isdigit() and len(part) == 12), "?")
        return flip.name in text or tail in text or step in text

    def _check_nothing_lost(self, flip: Flip) -> None:
        lost = self.scene.shelf.lost(self.scene.before)
        require(not lost, f"LOST in the archive: {lost}")
        if flip.staged:
            scene = self.scene
            gone = scene.payload(scene.master) - scene.payload(scene.node.staging.root)
            require(not gone, f"LOST on the node: {len(gone)} files of checkpoints")


def all_flips(scene: Scene, length: int = LIST_LENGTH) -> list[Flip]:
    """So many bits, all of small objects and an even share of the others, in an order in which every beginning is even."""
    sizes = [(False, name, size * 8) for name, size in scene.shelf.sizes().items()]
    sizes += [(True, name, size * 8) for name, size in scene.records().items() if not name.endswith("/content")]
    total = 0
    cap = 64
    while total < length and cap < max(bits for _, _, bits in sizes):
        cap += 16
        total = sum(min(bits, cap // _SHARE[staged]) for staged, _, bits in sizes)
    flips: list[Flip] = []
    for staged, name, bits in sorted(sizes):
        count = min(bits, cap // _SHARE[staged])
        step = max(1, bits // count)
        flips.extend(Flip(staged, name, number * bits // count + number % step) for number in range(count))
    random.Random(7).shuffle(flips)
    return flips[:length]


@dataclass(slots=True)
class FlipResult:
    """What became of some flips.

    Attributes:
        outcomes: By kind of object and outcome.
        readers: By reader and outcome.
        flips: By kind of object.
        findings: What is wrong.
        seconds: How long it took.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    readers: Counter[tuple[str, str]] = field(default_factory=Counter)
    flips: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(folder: Path, count: int, start: int = 0, told: Callable[[str], None] = lambda _: None) -> FlipResult:
    """Try flips `start` to `start + count` of `all_flips`."""
    began = time.perf_counter()
    log = logging.getLogger("ckpt_archive")
    result = FlipResult()
    bench = Bench(Scene(folder))
    propagate, log.propagate = log.propagate, False
    log.addHandler(bench.warnings)
    try:
        flips = all_flips(bench.scene, max(LIST_LENGTH, start + count))
        for turn, flip in enumerate(flips[start : start + count], start):
            result.flips[flip.kind] += 1
            try:
                ended = bench.try_one(flip, turn)
            except (Exception, guard.Hang) as error:  # noqa: BLE001 - that is what is looked for
                text = f"FOUND --start {turn} --count 1: bit {flip.bit} of {flip.name}: {type(error).__name__}: {error}"
                result.findings.append(text)
                result.outcomes[flip.kind, "WRONG"] += 1
                told(text[:1_500])
                continue
            for reader, outcome in ended.items():
                result.outcomes[flip.kind, outcome] += 1
                result.readers[reader, outcome] += 1
    finally:
        log.removeHandler(bench.warnings)
        log.propagate = propagate
    result.seconds = time.perf_counter() - began
    return result


def report(result: FlipResult) -> str:
    """Two tables."""
    columns = (SAME, REFUSED, REPORTED, OLDER, "WRONG")
    lines = [f"{'flipped':22} {'flips':>7} " + " ".join(f"{name:>10}" for name in columns)]
    for kind, flips in sorted(result.flips.items()):
        lines.append(f"{kind:22} {flips:7} " + " ".join(f"{result.outcomes[kind, name]:10}" for name in columns))
    lines.append(f"{'read by':22} {'':7} " + " ".join(f"{name:>10}" for name in columns))
    lines += [
        f"{reader:22} {'':7} " + " ".join(f"{result.readers[reader, name]:10}" for name in columns)
        for reader in sorted({name for name, _ in result.readers})
    ]
    reads = sum(result.readers.values())
    lines.append(
        f"{sum(result.flips.values())} flips, {reads} reads in {result.seconds:.0f} s: {len(result.findings)} findings"
    )
    return "\n".join(lines)


__all__ = ["Bench", "Flip", "Wrong", "all_flips", "report", "run"]
