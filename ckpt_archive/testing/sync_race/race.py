"""Starts the processes of the race, strikes them at drawn moments, and judges what is left."""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from ckpt_archive import compose, strictjson
from ckpt_archive.archive import Archive
from ckpt_archive.clock import Clock
from ckpt_archive.commit import layout
from ckpt_archive.index.check import check
from ckpt_archive.testing.sealed_log import Log, check_log
from ckpt_archive.testing.siege.processes import Child, Nursery
from ckpt_archive.testing.sync_race import roles

SYNCS, COMPACTIONS = 4, 2
_WRITERS = ("run-a", "run-b")
# How often each is struck against the others.
_WEIGHTS: Mapping[str, int] = {"sync": 4, "maintain": 1, "compact": 4, "vacuum": 1, "rebuild": 1, "write": 1, "read": 0}
_FREEZES = 0.2  # of all strikes: it stands still for a while instead, and goes on with what it knew


@dataclass(slots=True)
class Figures:
    """What a race came to.

    Attributes:
        seconds: How long it took.
        kills: By role.
        frozen: How many strikes let it live.
        did: How often what was done.
        removed: Files that vacuums removed.
        checkpoints: Committed and acknowledged.
        batches: Of the log in the end.
        entries: Of the log in the end.
        rows: Of the index in the end, each compared with what the log and the records say.
        wrong: What must not be.
    """

    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    frozen: int = 0
    did: Counter[str] = field(default_factory=Counter)
    removed: int = 0
    checkpoints: int = 0
    batches: int = 0
    entries: int = 0
    rows: int = 0
    wrong: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """As JSON."""
        # `asdict` would take a counter of texts for something else.
        plain = asdict(replace(self, kills=Counter(), did=Counter()))
        return strictjson.encode({**plain, "kills": dict(self.kills), "did": dict(self.did)})

    def text(self) -> str:
        """For people."""
        kills = ", ".join(f"{count} {role}" for role, count in sorted(self.kills.items()))
        did = ", ".join(f"{count} {what}" for what, count in sorted(self.did.items()))
        return (
            f"{self.seconds:.0f} s\n"
            f"killed       {self.kills.total()}: {kills}; {self.frozen} frozen for a while\n"
            f"done         {did}\n"
            f"vacuumed     {self.removed} files\n"
            f"log          {self.batches} batches, {self.entries} entries\n"
            f"checkpoints  {self.checkpoints} acknowledged\n"
            f"index check  {self.rows} rows, all of them\n"
            f"wrong        {len(self.wrong)}\n" + "".join(f"  {what}\n" for what in self.wrong)
        )


@dataclass(slots=True)
class _Runner:
    """A role, and the process that plays it now."""

    role: str
    action: Callable[[], Callable[[], int]]
    child: Child
    heard: int = 0


class Race:
    """One race on one archive.

    Args:
        url: Of the archive, which is there and empty.
        environment: With which it is reached.
        folder: For what the processes need.
        seed: Decides who is struck, and when.
        margin_seconds: How old a file must be to be vacuumed.
        clock: Paces it.
    """

    def __init__(
        self, url: str, environment: Mapping[str, str], folder: Path, seed: int, margin_seconds: float, clock: Clock
    ) -> None:
        self._url = url
        self._environment = environment
        self._folder = folder
        self._chance = random.Random(seed)
        self._margin_seconds = margin_seconds
        self._clock = clock
        self._nursery = Nursery(clock)
        self._runners: list[_Runner] = []
        self._next_step = dict.fromkeys(_WRITERS, 1)
        self._acknowledged: set[tuple[str, int, int]] = set()
        self._answers: list[int] = []
        self.figures = Figures()

    def run(self, seconds: float, mean_pause_seconds: float) -> Figures:
        """Race for so long, with a strike every so often, then judge."""
        began = self._clock.monotonic()
        try:
            self._create_archive()
            self._start_all()
            ends_at = began + seconds
            while (now := self._clock.monotonic()) < ends_at:
                pause = min(self._chance.expovariate(1 / mean_pause_seconds), ends_at - now)
                self._nursery.wait(pause)
                self._hear()
                self._strike()
        finally:
            self._nursery.kill_all()
        self._hear(dying=True)
        self._judge()
        self.figures.seconds = self._clock.monotonic() - began
        return self.figures

    def _create_archive(self) -> None:
        # By a child: whoever forks should not have talked to anybody.
        maker = self._start("init", lambda: partial(roles.create, self._url))
        assert self._nursery.wait(60.0, lambda: maker.code is not None)
        assert maker.code == 0, (self._folder / "init.log").read_text()

    def _start_all(self) -> None:
        actions: list[tuple[str, Callable[[], Callable[[], int]]]] = [
            *(("write", partial(self._writing, run)) for run in _WRITERS),
            *[("sync", lambda: partial(roles.sync, self._url, self._seed()))] * SYNCS,
            ("maintain", lambda: partial(roles.maintain, self._url, self._seed())),
            *[("compact", lambda: partial(roles.compact_all, self._url, self._seed()))] * COMPACTIONS,
            ("vacuum", lambda: partial(roles.vacuum_all, self._url, self._seed(), self._margin_seconds)),
            ("rebuild", lambda: partial(roles.rebuild_all, self._url, self._seed())),
            ("read", lambda: partial(roles.read, self._url, self._seed(), keeps_open=True)),
            ("read", lambda: partial(roles.read, self._url, self._seed(), keeps_open=False)),
        ]
        self._runners = [_Runner(role, action, self._start(role, action)) for role, action in actions]

    def _writing(self, run: str) -> Callable[[], int]:
        return partial(roles.write, self._url, run, self._next_step[run], self._folder, self._seed())

    def _seed(self) -> int:
        return self._chance.randrange(1 << 32)

    def _start(self, role: str, action: Callable[[], Callable[[], int]]) -> Child:
        """What is to be done is made anew for each process: with a seed of its own, from where the one before it got."""
        return self._nursery.start(role, action(), self._environment, str(self._folder / f"{role}.log"))

    def _strike(self) -> None:
        weights = [_WEIGHTS[runner.role] for runner in self._runners]
        (runner,) = self._chance.choices(self._runners, weights)
        if self._chance.random() < _FREEZES:
            if runner.child.send(signal.SIGSTOP):
                self._nursery.wait(self._chance.uniform(0.1, 3.0))
                runner.child.send(signal.SIGCONT)
                self.figures.frozen += 1
            return
        if self._nursery.kill(runner.child):
            self.figures.kills[runner.role] += 1
        self._hear()
        runner.child, runner.heard = self._start(runner.role, runner.action), 0

    def _hear(self, *, dying: bool = False) -> None:
        """Take in what all have told."""
        for runner in self._runners:
            lines = runner.child.lines
            for line in lines[runner.heard :]:
                self._take(json.loads(line))
            runner.heard = len(lines)
            code = runner.child.code
            if code is not None and not dying and code != -signal.SIGKILL:
                log = self._folder / f"{runner.role}.log"
                self.figures.wrong.append(f"{runner.role} ended with {code}: {log.read_text()[-2000:]}")
                runner.child, runner.heard = self._start(runner.role, runner.action), 0

    def _take(self, told: dict[str, Any]) -> None:
        figures = self.figures
        figures.did[told["did"]] += 1
        match told["did"]:
            case "committed":
                self._acknowledged.add((told["run"], told["attempt"], told["step"]))
                self._next_step[told["run"]] = told["step"] + 1
            case "asked":
                self._answers.append(told["checkpoints"])
            case "vacuumed":
                figures.removed += told["removed"]
            case "wrong":
                figures.wrong.append(told["what"])

    def _judge(self) -> None:
        """Calm: what was acknowledged is there, each once, and every answer was true at some moment."""
        figures = self.figures
        os.environ.update(self._environment)
        archive = Archive.open(self._url)
        report = archive.sync()
        figures.wrong += [f"the last sync: {error}" for error in report.errors]
        try:
            log = check_log(archive.connection.store, archive.id)
        except AssertionError as error:
            figures.wrong.append(f"the log: {error}")
            return
        figures.batches, figures.entries = len(log.batches), len(log.entries)
        figures.checkpoints = len(self._acknowledged)
        figures.wrong += [f"a finding of the log: {entry}" for entry in log.findings.values()]
        figures.wrong += self._lost(log)
        figures.wrong += self._differing(archive, log)
        figures.wrong += self._untrue(log)
        checked = check(
            archive.connection.store,
            compose.system_machine(),
            archive.id,
            compose.open_tables(archive.connection),
            sample=None,
        )
        figures.rows = sum(checked.rows.values())
        figures.wrong += [f"index check: {difference}" for difference in checked.differences]

    def _lost(self, log: Log) -> list[str]:
        return [
            f"{place} was acknowledged and is not in the log"
            for place in sorted(self._acknowledged)
            if layout.manifest(*place) not in log.entries
        ]

    def _differing(self, archive: Archive, log: Log) -> list[str]:
        answer = archive.query("SELECT run, attempt, step, manifest_sha256, log_seq FROM checkpoints")
        rows = Counter(
            (layout.manifest(run, attempt, step), digest, seq) for run, attempt, step, digest, seq in answer.rows
        )
        expected = Counter(
            (entry.key, entry.digest, sealed.number)
            for sealed in log.batches
            for entry in sealed.batch.entries
            if entry.kind == "commit"
        )
        return [f"a row too many: {row}" for row in rows - expected] + [
            f"a row that is not there: {row}" for row in expected - rows
        ]

    def _untrue(self, log: Log) -> list[str]:
        counts = accumulate(sum(entry.kind == "commit" for entry in sealed.batch.entries) for sealed in log.batches)
        possible = {0, *counts}
        return [
            f"an answer that was never true: {answer} checkpoints" for answer in self._answers if answer not in possible
        ]
