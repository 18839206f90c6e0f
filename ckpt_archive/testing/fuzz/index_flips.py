"""Flips single bits of the index's own files: Parquet, and the JSON of Delta logs; then asks, checks and rebuilds.

A question gets the true rows or an error, or what a flipped bit made of them: DuckDB does not look at the checksums of
pages. A check finds every one of these. A rebuild mends all.
"""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.index.check import check
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.sandbox import Limits
from ckpt_archive.index.rebuild import rebuild
from ckpt_archive.index.schema import TABLES
from ckpt_archive.index.sync import open_projector, project_all
from ckpt_archive.index.tables import open_present
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.object_store import location
from ckpt_archive.testing.checkpoints import ARCHIVE_ID
from ckpt_archive.testing.fuzz import guard
from ckpt_archive.testing.fuzz.kinds import require
from ckpt_archive.testing.logged import small_archive

TRUE, WRONG_ROWS, REFUSED = "true rows", "other rows", "error"
CLEAN, DIFFERENT = "clean", "differences"
_REBUILT_EVERY = 25


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit of a file, by its path below the archive."""

    path: str
    bit: int

    @property
    def table(self) -> str:
        """The table that it belongs to."""
        return self.path.split("/")[1]

    @property
    def kind(self) -> str:
        """What it is."""
        return "Delta log" if "_delta_log" in self.path else "Parquet"


class Scene:
    """A small archive with an index, in a folder.

    Args:
        folder: An empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "archive"
        self._master = folder / "master"
        self._url = f"file://{self.root}"
        self._machine = system_machine()
        self._store = store_at(self._url, self._machine)
        FileStore(self._machine.fs, str(self.root), clock=self._machine.clock, nonce=self._machine.nonce).prepare()
        small_archive(self._store)
        project_all(open_projector(self._store, self._machine, ARCHIVE_ID, location(self._url)))
        shutil.copytree(self.root / "index", self._master)
        self.files = {
            str(path.relative_to(self.root)): path.stat().st_size
            for path in sorted((self.root / "index").rglob("*"))
            if path.is_file()
        }
        self._true = {name: self._asked(name) for name in TABLES}
        require(self._checked() == CLEAN, "the index is not right to begin with")

    def _asked(self, table: str) -> list[str]:
        engine = Engine(self._store, InlineExecutor(), Limits(threads=1))
        return sorted(map(repr, engine.answer(Question(f"SELECT * FROM {table}")).rows))  # noqa: S608 - names of ours

    def _checked(self) -> str:
        found = check(self._store, self._machine, ARCHIVE_ID, open_present(location(self._url)), sample=None)
        return DIFFERENT if found.count else CLEAN

    def try_one(self, flip: Flip, turn: int) -> tuple[str, str]:
        """Flip one bit, ask, check, and now and then rebuild; how a question and the check ended.

        Raises:
            Wrong: If a promise was broken.
        """
        with self._flipped(flip), guard.ending():
            asked, checked = self._both(flip)
            require(asked != WRONG_ROWS or checked != CLEAN, "a question is answered wrongly, and the check is content")
        if turn % _REBUILT_EVERY == 0:
            self._mended(flip)
        return asked, checked

    def _both(self, flip: Flip) -> tuple[str, str]:
        try:
            asked = TRUE if self._asked(flip.table) == self._true[flip.table] else WRONG_ROWS
        except CkptArchiveError:
            asked = REFUSED
        try:
            checked = self._checked()
        except CkptArchiveError:
            checked = REFUSED
        return asked, checked

    def _mended(self, flip: Flip) -> None:
        """A rebuild makes all right, whatever was wrong."""
        self._flip(flip)
        try:
            rebuild(self._store, self._machine, ARCHIVE_ID, location(self._url))
            require(self._asked(flip.table) == self._true[flip.table], "after a rebuild questions get other rows")
            require(self._checked() == CLEAN, "after a rebuild the check finds something")
        finally:
            self._put_back()

    @contextmanager
    def _flipped(self, flip: Flip) -> Iterator[None]:
        self._flip(flip)
        try:
            yield
        finally:
            self._put_back(flip.path)

    def _flip(self, flip: Flip) -> None:
        data = bytearray((self.root / flip.path).read_bytes())
        data[flip.bit // 8] ^= 1 << flip.bit % 8
        (self.root / flip.path).write_bytes(data)

    def _put_back(self, path: str = "") -> None:
        """Be as it was: one file, or everything."""
        if path:
            shutil.copyfile(self._master / Path(path).relative_to("index"), self.root / path)
            return
        shutil.rmtree(self.root / "index")
        shutil.copytree(self._master, self.root / "index")


def all_flips(scene: Scene, length: int) -> list[Flip]:
    """So many bits of all files, an even share of each, in an order in which every beginning is even."""
    chance = random.Random(9)
    share = -(-length // len(scene.files))
    flips = [
        Flip(path, bit)
        for path, size in scene.files.items()
        for bit in chance.sample(range(size * 8), min(share, size * 8))
    ]
    chance.shuffle(flips)
    return flips[:length]


@dataclass(slots=True)
class IndexFlipResult:
    """What became of some flips.

    Attributes:
        outcomes: By kind of file, how a question ended, and how the check.
        findings: What is wrong.
        seconds: How long it took.
    """

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(folder: Path, count: int, told: Callable[[str], None] = lambda _: None) -> IndexFlipResult:
    """Try so many flips, in an empty folder."""
    began, scene, result = time.perf_counter(), Scene(folder), IndexFlipResult()
    for turn, flip in enumerate(all_flips(scene, count)):
        ended: Any = ("WRONG", "WRONG")
        try:
            ended = scene.try_one(flip, turn)
        except (Exception, guard.Hang) as error:  # noqa: BLE001 - that is what is looked for
            text = f"FOUND bit {flip.bit} of {flip.path}: {type(error).__name__}: {error}"
            result.findings.append(text)
            told(text[:1_500])
        result.outcomes[(flip.kind, *ended)] += 1
    result.seconds = time.perf_counter() - began
    return result


def report(result: IndexFlipResult) -> str:
    """A table."""
    lines = [f"{'flipped':12} {'a question':12} {'the check':12} {'times':>8}"]
    lines += [
        f"{kind:12} {asked:12} {checked:12} {times:8}"
        for (kind, asked, checked), times in sorted(result.outcomes.items())
    ]
    lines.append(f"{result.outcomes.total()} flips in {result.seconds:.0f} s: {len(result.findings)} findings")
    return "\n".join(lines)
