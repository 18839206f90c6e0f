"""Ask every saved question of an archive's index, cold and warm.

    python bench/index_query.py /disk/10m [--rounds 3] [--only NAME …] [--json FILE] [--markdown FILE]

Cold: the index's files are dropped from the page cache, then a new process asks. Warm: the same process asks again, five
times. The clock runs from the call of the query engine to the last row shown (the first 10,000); starting Python and
importing DuckDB does not count. Parameters that a question must be given are values that occur in the archive; all others
keep their default, which is the whole archive.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from index_world import ENDED

from ckpt_archive.clock import SystemClock
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.sandbox import Limits
from ckpt_archive.index.questions import SavedQuestion, parse, saved_questions
from ckpt_archive.store.open import open_store
from ckpt_archive.store.protocol import Store

CLOCK = SystemClock()
WARM = 5
SHOWN = 10_000
GOAL_WARM, GOAL_COLD, GOAL_CHAIN = 1.0, 3.0, 6.0

Values = dict[str, str]
Row = dict[str, Any]


def folder_store(folder: str) -> Store:
    return open_store(f"file://{os.path.abspath(folder)}", fs=PosixFileSystem(), clock=CLOCK)


def engine(store: Store, threads: int = 2) -> Engine:
    return Engine(store, ThreadExecutor(), Limits(threads=threads))


def ask(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    return list(engine.answer(Question(sql), SHOWN).rows)


def bound(question: SavedQuestion, values: Values) -> str:
    """Its SQL: what must be given is, everything else keeps its default."""
    given = {one.name: values[one.name] for one in question.parameters if one.default is None}
    return question.bound(given, ENDED.date())


def choose(engine: Engine) -> Values:
    """Values that occur: a run that was launched several times and made from another one, and a checkpoint of it."""
    run = ask(
        engine,
        "SELECT l.run FROM launches l JOIN (SELECT DISTINCT run FROM launches WHERE resume_run <> run) f ON f.run = l.run "
        "GROUP BY l.run HAVING count(*) BETWEEN 4 AND 8 ORDER BY l.run LIMIT 1 OFFSET 7",
    )[0][0]
    places = ask(
        engine,
        f"SELECT attempt, step, manifest_sha256 FROM checkpoints WHERE run = '{run}' ORDER BY committed_at",
    )
    attempt, step, manifest = places[len(places) // 2]
    other_attempt, other_step, _ = places[-1]
    digest = ask(
        engine,
        f"SELECT sha256 FROM files WHERE run = '{run}' AND attempt = {attempt} AND step = {step} "
        "ORDER BY path DESC LIMIT 1",
    )[0][0]
    source = ask(engine, f"SELECT uri FROM run_sources WHERE run = '{run}' ORDER BY uri LIMIT 1")[0][0]
    return {
        "run": run,
        "attempt": str(attempt),
        "step": str(step),
        "manifest": manifest,
        "other_run": run,
        "other_attempt": str(other_attempt),
        "other_step": str(other_step),
        "digest": digest,
        "source": source,
    }


def drop_cache(folder: str) -> None:
    os.sync()
    for root, _, names in os.walk(os.path.join(folder, "index")):
        for name in names:
            file = os.open(os.path.join(root, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def one(folder: str, sql: str, warm: int) -> Row:
    """What a new process measures."""
    asked = engine(folder_store(folder))
    seconds, processor, count, read = [], [], 0, 0
    for number in range(warm + 1):
        began, spent = CLOCK.monotonic(), processor_seconds()
        count = len(ask(asked, sql))
        seconds.append(CLOCK.monotonic() - began)
        processor.append(processor_seconds() - spent)
        if number == 0:
            read = disk_bytes()
        if number >= 2 and sum(seconds) > 30:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cold": seconds[0],
        "warm": seconds[1:],
        "processor": statistics.median(processor[1:]),
        "rows": count,
        "read_mb": round(read / 1e6, 1),
        "peak_mb": round(peak / 1e3),
    }


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def disk_bytes() -> int:
    """What this process has made the disk read."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def in_new_process(folder: str, sql: str, warm: int) -> Row:
    drop_cache(folder)
    command = [sys.executable, __file__, folder, "--one", "--warm", str(warm)]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:300]}
    return json.loads(done.stdout)


def summary(name: str, found: list[Row]) -> Row:
    errors = [one["error"] for one in found if "error" in one]
    if errors:
        return {"name": name, "error": errors[0]}
    times = {"cold": [one["cold"] for one in found], "warm": [second for one in found for second in one["warm"]]}
    spread = {
        kind: [round(pick(seconds), 4) for pick in (min, statistics.median, max)] for kind, seconds in times.items()
    }
    (_, cold, _), (_, warm, _) = spread["cold"], spread["warm"]
    return {
        "name": name,
        **spread,
        "processor": round(min(one["processor"] for one in found), 3),
        "rows": found[0]["rows"],
        "read_mb": found[0]["read_mb"],
        "peak_mb": max(one["peak_mb"] for one in found),
        "met": cold < GOAL_CHAIN if name == "chain" else warm < GOAL_WARM and cold < GOAL_COLD,
    }


def table(results: list[Row]) -> str:
    lines = [
        "| question | rows | cold s | warm s | CPU s | peak MB | goal |",
        "|---|---:|---|---|---:|---:|---|",
    ]
    for row in results:
        if "error" in row:
            lines.append(f"| `{row['name']}` | {row['error']} |")
            continue
        cold, warm = (" / ".join(f"{value:.2f}" for value in row[kind]) for kind in ("cold", "warm"))
        goal = "met" if row["met"] else "**missed**"
        lines.append(
            f"| `{row['name']}` | {row['rows']:,} | {cold} | {warm} | {row['processor']:.2f} | {row['peak_mb']} | {goal} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the archive")
    parser.add_argument("--rounds", type=int, default=3, help="new processes per question, interleaved (default 3)")
    parser.add_argument("--warm", type=int, default=WARM, help="how often each process asks again (default 5)")
    parser.add_argument("--only", nargs="*", help="names of questions, or beginnings of them")
    parser.add_argument("--questions", help="a folder of .sql files instead of the product's")
    parser.add_argument("--json", help="write results to this file")
    parser.add_argument("--markdown", help="write the table to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.folder, sys.stdin.read(), chosen.warm)))
        return
    values = choose(engine(folder_store(chosen.folder)))
    print(json.dumps(values))
    asked = saved_questions()
    if chosen.questions:
        asked = [parse(path.stem, path.read_text()) for path in sorted(Path(chosen.questions).glob("*.sql"))]
    questions = {question.name: bound(question, values) for question in asked}
    if chosen.only:
        questions = {name: sql for name, sql in questions.items() if name.startswith(tuple(chosen.only))}
    found: dict[str, list[Row]] = {name: [] for name in questions}
    for number in range(chosen.rounds):
        for name, sql in questions.items():
            found[name].append(in_new_process(chosen.folder, sql, chosen.warm))
            print(number + 1, name, json.dumps(found[name][-1]), flush=True)
    results = [summary(name, measured) for name, measured in found.items()]
    print(table(results))
    if chosen.json:
        told = {"folder": Path(chosen.folder).name, "load": os.getloadavg(), "values": values, "results": results}
        Path(chosen.json).write_text(json.dumps(told, indent=1))
    if chosen.markdown:
        Path(chosen.markdown).write_text(table(results))


if __name__ == "__main__":
    main()
