"""Runs made up: launches that crash and go on, roll-backs, forks, and the checkpoints, files and sources of each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ckpt_archive.testing.indexed.rows import EPOCH, Row, Rows, sha256

PROJECTS = ("speech", "vision", "protein")
SOURCES = (
    ("s3://corpus/web", "CC-BY-4.0"),
    ("s3://corpus/books", "proprietary"),
    ("hf://datasets/wiki", "CC-BY-SA-3.0"),
    ("s3://corpus/speech-de", None),
)
DEEP = 52
"""So many runs each begin from the one before."""

RANKS_OF_THE_WIDEST = 1_000


@dataclass(slots=True)
class Line:
    """Where a line of launches has got to, for whoever begins from it."""

    run: str
    attempt: int
    started_at: datetime
    checkpoints: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Trainer:
    """Makes up runs.

    Attributes:
        rows: Where they go.
        lines: All lines so far, by run and first attempt.
        checkpoints: All checkpoints so far.
    """

    rows: Rows
    lines: dict[tuple[str, int], Line] = field(default_factory=dict)
    checkpoints: list[Row] = field(default_factory=list)

    def everything(self, runs: int) -> None:
        """So many ordinary runs, one very wide one, and a chain of `DEEP` runs."""
        dice = self.rows.dice
        for number in range(runs):
            name = (
                f"{dice.choice(PROJECTS)}-2025{9 + number % 4:02d}-{number:03d}" if number % 2 else self.rows.hex_id()
            )
            forkable = [line for line in self.lines.values() if line.checkpoints]
            parent = dice.choice(forkable) if number > 3 and number % 4 == 0 else None
            writers = dice.choice([1, 1, 2, 8])
            self.run(name, 1 + number % 5, saves=6, writers=writers, parent=parent, day=number * 100 / runs)
        self.run("vision-wide", 1, saves=1, writers=RANKS_OF_THE_WIDEST, parent=None, day=50, losses=False)
        line: Line | None = None
        for number in range(DEEP + 1):
            line = self.run(f"deep-{number:03d}", 1, saves=2, writers=1, parent=line, day=10, losses=False)

    def run(
        self,
        name: str,
        attempts: int,
        *,
        saves: int,
        writers: int,
        parent: Line | None,
        day: float,
        losses: bool = True,
    ) -> Line:
        """One run; attempt 2 of four or more is a roll-back, the others go on by themselves.

        Args:
            name: Of the run.
            attempts: How many launches it has.
            saves: How many times each of them saves.
            writers: How many writers it has.
            parent: What its first launch is forked from.
            day: When it begins, unless its parent is not as far yet.
            losses: Whether some saves are given up, or missing without a word.
        """
        dice = self.rows.dice
        number = len(self.lines)
        started_at = EPOCH + timedelta(days=day, seconds=dice.randint(0, 3600))
        if parent is not None:
            started_at = max(started_at, _time(parent.checkpoints[-1]["committed_at"]) + timedelta(hours=1))
        labels = _labels(number)
        line = Line(name, 0, started_at)
        resume = parent.checkpoints[-1 - (len(parent.checkpoints) > 2)] if parent else None
        for attempt in range(attempts):
            if attempt == 3 and number % 2:
                labels = labels | {"owner": "someone-else", "project": PROJECTS[(number + 1) % 3]}
            if attempt == 0 or (attempt == 3 and number % 2):
                self._describe(name, labels, started_at)
            rolled_back = attempts >= 4 and attempt == 2
            if rolled_back:
                line = Line(name, attempt, started_at)
                resume = next((row for row in self.checkpoints if row["run"] == name), None)
            self.lines[name, line.attempt] = line
            chosen = rolled_back or (attempt == 0 and resume is not None)
            self._launch(line, attempt, writers, started_at, resume, labels, explicit=chosen)
            if resume is not None and (attempt == 0 or rolled_back):
                self._edge(line, resume, started_at)
            step = int(str(resume["step"])) if resume is not None else 0
            self._sources(line, attempt, step, started_at)
            for _ in range(saves):
                step += 100
                started_at += timedelta(seconds=dice.randint(1800, 7200))
                if self._saved(line.run, attempt, step, started_at, losses):
                    self._checkpoint(line, attempt, step, writers, started_at, labels)
            started_at += timedelta(hours=1)
            if line.checkpoints:
                # It crashed after the newest one in the archive, or had gone further than the one it goes on from.
                resume = line.checkpoints[-1 - (len(line.checkpoints) > 3 and dice.random() < 0.4)]
        return line

    def _launch(
        self,
        line: Line,
        attempt: int,
        writers: int,
        at: datetime,
        resume: Row | None,
        labels: dict[str, str],
        *,
        explicit: bool,
    ) -> None:
        resume = resume or {}
        step = resume.get("step")
        if line.run.endswith("-007") and attempt == 1 and isinstance(step, int):
            step += 1  # a checkpoint that nobody has
        self.rows.add(
            "launches",
            run=line.run,
            attempt=attempt,
            recorded_at=at + timedelta(seconds=3),
            started_at=at,
            launch_key=f"slurm:{line.run[:6]}:{attempt}",
            writers=writers,
            resume_run=resume.get("run"),
            resume_attempt=resume.get("attempt"),
            resume_step=step,
            explicit=explicit,
            late=attempt == 4,
            line_attempt=line.attempt,
            policy_sha256=sha256("policy"),
            project=labels.get("project"),
            labels=json.dumps(labels, sort_keys=True),
        )

    def _describe(self, run: str, labels: dict[str, str], at: datetime) -> None:
        known = {name: labels.get(name) for name in ("project", "owner", "purpose", "risk_class")}
        text = json.dumps(labels, sort_keys=True)
        self.rows.add("runs", run=run, recorded_at=at + timedelta(seconds=3), labels=text, **known)

    def _edge(self, line: Line, parent: Row, at: datetime) -> None:
        run, attempt = str(parent["run"]), int(str(parent["attempt"]))
        first = next(
            row["line_attempt"]
            for row in self.rows.tables["launches"]
            if (row["run"], row["attempt"]) == (run, attempt)
        )
        self.rows.add(
            "lineage",
            child=f"line:{line.run}/{line.attempt}",
            parent=f"line:{run}/{first}",
            relation="rollback" if run == line.run else "fork",
            parent_run=run,
            parent_attempt=attempt,
            parent_step=parent["step"],
            recorded_at=at + timedelta(seconds=3),
            details="{}",
        )

    def _sources(self, line: Line, attempt: int, step: int, at: datetime) -> None:
        dice = self.rows.dice
        for uri, licence in (
            dice.sample(SOURCES, 1 + attempt % 2) if not line.run.startswith("deep-0") or step == 0 else ()
        ):
            self.rows.add(
                "run_sources",
                run=line.run,
                attempt=attempt,
                uri=uri,
                version=str(1 + attempt % 3),
                digest=sha256(uri, 1 + attempt % 3),
                licence=licence,
                records=dice.randint(1000, 9_000_000),
                from_step=step + 100,
                recorded_at=at + timedelta(hours=2),
                details="{}",
            )

    def _saved(self, run: str, attempt: int, step: int, at: datetime, losses: bool) -> bool:
        chance = self.rows.dice.random() if losses else 1.0
        if chance < 0.12:
            self.decision(run, attempt, step, "gap", at)
        elif chance > 0.9 and losses:
            self.decision(run, attempt, step, "promote", at)
        return not chance < 0.18  # between them nobody knows why it is missing

    def decision(self, run: str, attempt: int, step: int, action: str, at: datetime) -> None:
        """A step that was promoted beyond the rule, or given up."""
        reason = "the disk is full" if action == "gap" else "milestone:best"
        self.rows.add(
            "events",
            event_id=sha256(action, run, attempt, step)[:32],
            kind=action,
            recorded_at=(at + timedelta(seconds=30)).replace(microsecond=0),
            happened_at=at,
            actor=f"gpu-{attempt}",
            node=f"gpu-{attempt}",
            run=run,
            attempt=attempt,
            step=step,
            reason=reason,
            details="{}",
        )

    def _checkpoint(
        self, line: Line, attempt: int, step: int, writers: int, at: datetime, labels: dict[str, str]
    ) -> None:
        dice = self.rows.dice
        place: Row = {"run": line.run, "attempt": attempt, "step": step}
        committed_at = (at + timedelta(seconds=dice.randint(40, 900))).replace(microsecond=0)
        files = list(_files(place, writers, dice.random() < 0.5))
        for values in files:
            self.rows.add("files", committed_at=committed_at, **place, **values)
        size = sum(int(str(values["size_bytes"])) for values in files)
        row = self.rows.add(
            "checkpoints",
            **place,
            committed_at=committed_at,
            first_staged_at=at,
            staged_at=at + timedelta(seconds=dice.randint(0, 20), microseconds=dice.randint(0, 999_999)),
            manifest_sha256=sha256("manifest", *place.values()),
            launch_key=f"slurm:{line.run[:6]}:{attempt}",
            writers=writers,
            files=len(files),
            size_bytes=size,
            objects=len(files),
            stored_bytes=size,
            project=labels.get("project"),
            labels=json.dumps(labels, sort_keys=True),
            retention_class="milestone" if step % 500 == 0 else dice.choice(["daily", "recent"]),
            completeness="assumed" if dice.random() < 0.05 else "sealed",
            promotion_rule="every",
            promotion_ordinal=step // 100,
            promotion='{"rule":"every"}',
            code_commit=None if dice.random() < 0.04 else sha256("code", line.run, attempt)[:40],
            code_dirty=attempt == 1,
            config_sha256=sha256("config", line.run),
            environment_sha256=sha256("environment", attempt),
            lineage="{}",
            save_seconds=round(dice.uniform(0.1, 3), 3),
            upload_seconds=round(dice.uniform(10, 90), 3),
        )
        line.checkpoints.append(row)
        self.checkpoints.append(row)
        for name, value in (("loss", 5.0 / (1 + step / 300)), ("accuracy", 1 - 1 / (1 + step / 300))):
            self.rows.add("metrics", committed_at=committed_at, name=name, value=value + attempt / 100, **place)


def _labels(number: int) -> dict[str, str]:
    labels = {
        "project": PROJECTS[number % 3],
        "owner": f"owner-{number % 4}",
        "purpose": "translation",
        "risk_class": "high",
    }
    for missing in ((), ("owner",), ("purpose", "risk_class"), ("project",))[number % 7 % 4 if number % 7 < 4 else 0]:
        del labels[missing]
    return labels


def _files(place: Row, writers: int, tokenizer_again: bool) -> Iterator[Row]:
    """Weights differ with every step; the configuration stays; a tokenizer may lie under another name."""
    for rank in range(writers):
        yield _file(
            rank, f"shards/{rank:04d}.safetensors", 1_000_000 + rank, sha256("shard", rank, *place.values()), alone=True
        )
    yield _file(0, "config.json", 800, sha256("config.json", place["run"]))
    yield _file(0, "tokenizer/again.json" if tokenizer_again else "tokenizer.json", 20_000, sha256("tokenizer"))
    yield _file(0, "empty.txt", 0, sha256())


def _file(rank: int, path: str, size: int, digest: str, *, alone: bool = False) -> Row:
    packed = not alone and size > 0
    return {
        "rank": rank,
        "path": path,
        "size_bytes": size,
        "sha256": digest,
        "object_sha256": sha256("packed", digest, rank) if packed else None,
        "object_offset": 800 if packed and path.startswith("tokenizer") else None,
        "tensor_layout_sha256": sha256("layout", rank) if alone else None,
        "object_key": None,
    }


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no time")
    return value
