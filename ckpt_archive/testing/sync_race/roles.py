"""What the processes of the race do, each for ever. They tell what they did as lines of JSON."""

import json
import logging
import random
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.clock import SystemClock
from ckpt_archive.errors import CkptArchiveError, NotFoundError, UnavailableError
from ckpt_archive.index import compaction, tables
from ckpt_archive.index.query import engine  # noqa: F401  (loaded once, before the processes are forked)
from ckpt_archive.index.rebuild import rebuild
from ckpt_archive.index.vacuum import vacuum
from ckpt_archive.maintain.report import MaintainReport
from ckpt_archive.store.object_store import location

FILES_OF_EACH = 2

QUESTION = """
SELECT
  (SELECT count(*) FROM checkpoints) AS rows_seen,
  (SELECT count(DISTINCT manifest_sha256) FROM checkpoints) AS checkpoints_seen,
  (SELECT count(*) FROM files) AS files_seen,
  (SELECT count(*) FROM metrics) AS metrics_seen,
  (SELECT count(*) FROM checkpoints c JOIN (
     SELECT run, attempt, step, count(*) AS files_there FROM files GROUP BY run, attempt, step
   ) f ON c.run = f.run AND c.attempt = f.attempt AND c.step = f.step WHERE f.files_there = c.files) AS whole_seen
"""


def tell(did: str, **what: Any) -> None:
    """A line for whoever started this process."""
    sys.stdout.write(json.dumps({"did": did, **what}) + "\n")
    sys.stdout.flush()


def create(url: str) -> int:
    """Make the archive."""
    Archive.create(url)
    return 0


def write(url: str, run: str, first_step: int, folder: Path, seed: int) -> NoReturn:
    """Commit one small checkpoint after another; the bytes of a step are always the same ones."""
    archive, clock, chance = Archive.open(url), SystemClock(), random.Random(seed)
    step = first_step
    while True:
        source = folder / f"{run}-{step}"
        source.mkdir(exist_ok=True)
        for name in ("model.bin", "optimizer.bin"):
            (source / name).write_bytes(f"{run} {step} {name}".encode())
        report = archive.push(source, run, step, metrics={"loss": 1 / (1 + step)})
        tell("committed", run=run, attempt=report.attempt, step=step)
        for path in source.iterdir():
            path.unlink()
        source.rmdir()
        step += 1
        clock.sleep(chance.uniform(0, 0.2))


def sync(url: str, seed: int) -> NoReturn:
    """Bring what is new into the log and the index."""
    _count_refusals()

    def once(archive: Archive) -> None:
        _judge("synced", archive.sync())

    _again_and_again(url, seed, once)


def maintain(url: str, seed: int) -> NoReturn:
    """All of it, as a CronJob does."""
    _count_refusals()

    def once(archive: Archive) -> None:
        _judge("maintained", archive.maintain(budget_seconds=5.0))

    _again_and_again(url, seed, once)


def compact_all(url: str, seed: int) -> NoReturn:
    """Join small files, as soon as there are a few, into several at once."""
    _count_refusals()
    compaction.LARGE_BYTES = 20_000
    machine = compose.system_machine()

    def once(archive: Archive) -> None:
        for opened in _tables(archive):
            done = compaction.compact(archive.connection.store, machine, opened, many=4)
            if done.added:
                tell("compacted", removed=done.removed, added=done.added)

    _again_and_again(url, seed, once)


def vacuum_all(url: str, seed: int, margin_seconds: float) -> NoReturn:
    """Remove files that no table names any more, once they are older than any question and any commit takes."""

    def once(archive: Archive) -> None:
        margin = timedelta(seconds=margin_seconds)
        removed = sum(vacuum(archive.connection.store, opened, margin).files for opened in _tables(archive))
        tell("vacuumed", removed=removed)

    _again_and_again(url, seed, once)


def rebuild_all(url: str, seed: int) -> NoReturn:
    """Make the index anew, now and then, while all others go on with it."""
    _count_refusals()
    machine, chance = compose.system_machine(), random.Random(seed)

    def once(archive: Archive) -> None:
        machine.clock.sleep(chance.uniform(5, 15))
        connection = archive.connection
        done = rebuild(connection.store, machine, connection.archive_id, location(archive.url))
        tell("rebuilt", number=done.number)

    _again_and_again(url, seed, once)


def _tables(archive: Archive) -> Iterable[tables.OpenTable]:
    return tables.open_all(location(archive.url)).values()


def read(url: str, seed: int, *, keeps_open: bool) -> NoReturn:
    """Ask for counts that must agree, and never shrink."""
    seen, asked = 0, False
    kept = Archive.open(url)

    def once(archive: Archive) -> None:
        nonlocal seen, asked
        try:
            answer = (kept if keeps_open else archive).query(QUESTION)
        except NotFoundError:
            if asked:
                raise
            return  # there is no index yet
        asked = True
        (row,) = answer.rows
        rows, checkpoints, files, metrics, whole = row
        if not (rows == checkpoints == metrics == whole and files == FILES_OF_EACH * rows):
            tell("wrong", what=f"an answer that does not agree with itself: {row}")
        if rows < seen:
            tell("wrong", what=f"{rows} checkpoints after {seen}")
        seen = rows
        tell("asked", checkpoints=rows)

    _again_and_again(url, seed, once)


def _again_and_again(url: str, seed: int, once: Callable[[Archive], None]) -> NoReturn:
    clock, chance = SystemClock(), random.Random(seed)
    logging.getLogger("ckpt_archive").setLevel(logging.ERROR)
    while True:
        try:
            once(Archive.open(url))
        except UnavailableError as error:
            tell("unavailable", what=str(error))
        except CkptArchiveError as error:
            tell("wrong", what=f"{type(error).__name__}: {error}")
        clock.sleep(chance.uniform(0, 0.3))


def _judge(did: str, report: MaintainReport) -> None:
    for error in report.errors:
        tell("unavailable" if isinstance(error, UnavailableError) else "wrong", what=f"{type(error).__name__}: {error}")
    tell(did, steps={step.step: step.did for step in report.steps if step.did})


def _count_refusals() -> None:
    """Tell of each commit to a table that was refused because somebody else was first."""
    append, replace = tables.OpenTable.append, tables.OpenTable.replace

    def counted(did: str, method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **named: Any) -> None:
            try:
                method(*arguments, **named)
            except tables.RefusedError:
                tell(did)
                raise

        return call

    tables.OpenTable.append = counted("append refused", append)  # type: ignore[method-assign]
    tables.OpenTable.replace = counted("replace refused", replace)  # type: ignore[method-assign]
