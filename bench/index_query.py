"""Ask every saved question of an archive's index, cold and warm.

    python bench/index_query.py /tmp/scale/10m [--rounds 3] [--only NAME …] [--questions FOLDER] [--json FILE] [--markdown FILE]

Cold: the index's files are dropped from the page cache, then a new process asks. Warm: the same process asks again, five
times. The clock runs from the call of the query engine to the last row; starting Python and importing DuckDB does not count.
Parameters are values that occur in the archive; those that a question has and this program does not know keep their default.
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
from ckpt_archive.index.query.engine import Engine, Question
from ckpt_archive.index.query.result import Result
from ckpt_archive.index.query.sandbox import Limits
from ckpt_archive.index.questions import SavedQuestion, parse, saved_questions
from ckpt_archive.store.open import open_store
from ckpt_archive.store.protocol import Store

CLOCK = SystemClock()
WARM = 5
SHOWN = 10_000
GOAL_WARM, GOAL_COLD, GOAL_CHAIN = 1.0, 3.0, 6.0

Values = dict[str, str]


def folder_store(folder: str) -> Store:
    return open_store(f"file://{os.path.abspath(folder)}", fs=PosixFileSystem(), clock=CLOCK)


def engine(store: Store, threads: int = 2) -> Engine:
    return Engine(store, ThreadExecutor(), Limits(threads=threads))


def first_rows(result: Result) -> list[tuple[Any, ...]]:
    result.columns  # noqa: B018 - runs it
    return result.rows(SHOWN)[0]


def ask(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    return engine.ask(Question(sql), first_rows)


def bound(question: SavedQuestion, values: Values) -> str:
    """Its SQL: what must be given is, everything else keeps its default, which is the whole archive."""
    given = {one.name: values[one.name] for one in question.parameters if one.default is None}
    return question.bound(given, ENDED.date())


def choose(engine: Engine) -> Values:
    """Values of an archive that is there: a run of the usual size that was launched several times and made from another one."""
    run = ask(
        engine,
        "SELECT l.run FROM launches l JOIN (SELECT DISTINCT run FROM launches WHERE resume_run <> run) f ON f.run = l.run "
        "GROUP BY l.run HAVING count(*) BETWEEN 4 AND 8 ORDER BY l.run LIMIT 1 OFFSET 7",
    )[0][0]
    rows = ask(
        engine,
        f"SELECT attempt, step, manifest_sha256 FROM checkpoints WHERE run = '{run}' ORDER BY committed_at",
    )
    attempt, step, digest = rows[len(rows) // 2]
    other = rows[-1]
    file = ask(
        engine,
        f"SELECT sha256 FROM files WHERE run = '{run}' AND attempt = {attempt} AND step = {step} ORDER BY path DESC LIMIT 1",
    )[0][0]
    source = ask(engine, f"SELECT uri FROM run_sources WHERE run = '{run}' ORDER BY uri LIMIT 1")[0][0]
    first = {"run": run, "attempt": str(attempt), "step": str(step), "digest": file, "source": source}
    return first | {"other_run": run, "other_attempt": str(other[0]), "other_step": str(other[1]), "manifest": digest}


def drop_cache(folder: str) -> None:
    os.sync()
    for root, _, names in os.walk(os.path.join(folder, "index")):
        for name in names:
            file = os.open(os.path.join(root, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def one(folder: str, sql: str) -> dict[str, Any]:
    """What a new process measures."""
    asked = engine(folder_store(folder))
    seconds, rows = [], []
    for number in range(WARM + 1):
        began = CLOCK.monotonic()
        rows = ask(asked, sql)
        seconds.append(CLOCK.monotonic() - began)
        if number >= 2 and sum(seconds) > 30:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cold": seconds[0], "warm": seconds[1:], "rows": len(rows), "peak_mb": round(peak / 1e3)}


def in_new_process(folder: str, sql: str) -> dict[str, Any]:
    drop_cache(folder)
    done = subprocess.run(
        [sys.executable, __file__, folder, "--one"], input=sql, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:300]}
    return json.loads(done.stdout)


def summary(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    errors = [one["error"] for one in found if "error" in one]
    if errors:
        return {"name": name, "error": errors[0]}
    cold = [one["cold"] for one in found]
    warm = [second for one in found for second in one["warm"]]
    spread = {
        kind: [round(pick(times), 4) for pick in (min, statistics.median, max)]
        for kind, times in (("cold", cold), ("warm", warm))
    }
    best_median = min(statistics.median(one["warm"]) for one in found)
    met = spread["warm"][1] < GOAL_WARM and spread["cold"][1] < GOAL_COLD
    if "chain" in name:
        met = spread["cold"][1] < GOAL_CHAIN
    return {
        "name": name,
        **spread,
        "warm_best_round": round(best_median, 4),
        "rows": found[0]["rows"],
        "peak_mb": max(one["peak_mb"] for one in found),
        "met": met,
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| question | rows | cold s: min / median / max | warm s: min / median / max | peak MB | goal |",
        "|---|---:|---|---|---:|---|",
    ]
    for row in results:
        if "error" in row:
            lines.append(f"| {row['name']} | {row['error']} |")
            continue
        cold, warm = (" / ".join(f"{value:.2f}" for value in row[kind]) for kind in ("cold", "warm"))
        lines.append(
            f"| {row['name']} | {row['rows']:,} | {cold} | {warm} | {row['peak_mb']} | {'met' if row['met'] else 'missed'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the archive")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how many new processes per question, interleaved (default 3)"
    )
    parser.add_argument("--only", nargs="*", help="names of questions, or beginnings of them")
    parser.add_argument("--questions", help="a folder of .sql files instead of the product's")
    parser.add_argument("--json", help="write results to this file")
    parser.add_argument("--markdown", help="write the table to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.folder, sys.stdin.read())))
        return
    values = choose(engine(folder_store(chosen.folder)))
    print(json.dumps(values))
    asked = saved_questions()
    if chosen.questions:
        asked = [parse(path.stem, path.read_text()) for path in sorted(Path(chosen.questions).glob("*.sql"))]
    questions = {question.name: bound(question, values) for question in asked}
    if chosen.only:
        questions = {name: sql for name, sql in questions.items() if name.startswith(tuple(chosen.only))}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in questions}
    for number in range(chosen.rounds):
        for name, sql in questions.items():
            measured = in_new_process(chosen.folder, sql)
            found[name].append(measured)
            print(
                number + 1,
                name,
                {
                    key: [round(v, 3) for v in value] if isinstance(value, list) else value
                    for key, value in measured.items()
                },
                flush=True,
            )
    results = [summary(name, measured) for name, measured in found.items()]
    print(table(results))
    if chosen.json:
        Path(chosen.json).write_text(
            json.dumps({"folder": chosen.folder, "values": values, "results": results}, indent=1)
        )
    if chosen.markdown:
        Path(chosen.markdown).write_text(table(results))


if __name__ == "__main__":
    main()
