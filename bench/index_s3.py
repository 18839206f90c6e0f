"""Look checkpoints up by run and step, and by digest, in an index on a local S3 server (SeaweedFS, the dev server).

    python bench/index_s3.py /disk/1m [--rounds 5] [--folder /some/disk] [--json FILE]

The index is copied into the server's bucket first. First: a new process asks. Warm: it asks the same again, and then others
of the same kind, each once: their index files' footers are known, their rows are not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from index_query import Values, bound, choose, engine, folder_store

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.query.engine import Engine
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.sandbox import Limits
from ckpt_archive.index.questions import saved_question
from ckpt_archive.store.body import Body
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.counting import CountingStore

CLOCK = SystemClock()
PREFIX = "scale"
WARM = 10
GOAL_FIRST, GOAL_WARM = 0.5, 0.1


def store_of(where: dict[str, str]) -> S3Store:
    connection = Connection(where["endpoint"], where["access_key"], where["secret_key"], REGION)
    return S3Store(where["bucket"], PREFIX, connection=connection)


def copy(folder: str, store: S3Store) -> int:
    copied = 0
    for path in sorted(Path(folder, "index").rglob("*")):
        if path.is_file():
            store.create(path.relative_to(folder).as_posix(), Body.of(path.read_bytes()))
            copied += path.stat().st_size
    return copied


def lookups(folder: str) -> tuple[dict[str, str], Values]:
    values = choose(engine(folder_store(folder)))
    place = "run = '{run}' AND step = {step}".format(**values)
    asked = {
        "point: a checkpoint": f"SELECT * FROM checkpoints WHERE {place}",
        "point: its files": f"SELECT rank, path, size_bytes, sha256 FROM files WHERE {place}",
        "digest of a manifest": "SELECT run, attempt, step FROM checkpoints WHERE manifest_sha256 = '{manifest}'".format(
            **values
        ),
        "digest of a file": "SELECT run, attempt, step, path FROM files WHERE sha256 = '{digest}'".format(**values),
    }
    for name in ("files", "digest", "checkpoint"):
        asked[f"saved: {name}"] = bound(saved_question(name), values)
    return asked, values


def one(where: dict[str, str], sql: str) -> dict[str, Any]:
    """What a new process measures."""
    counting = CountingStore(store_of(where))
    asked = Engine(RetryingStore(counting, CLOCK), ThreadExecutor(), Limits(threads=2))
    seconds, requests, fetched = [], [], []
    for _ in range(WARM + 1):
        counting.reset()
        before, began = asked.fetched_bytes, CLOCK.monotonic()
        rows = len(asked.answer(Question(sql)).rows)
        seconds.append(CLOCK.monotonic() - began)
        requests.append(dict(counting.requests))
        fetched.append(asked.fetched_bytes - before)
    return {
        "first": seconds[0], "warm": seconds[1:], "rows": rows, "requests": requests[0], "warm_requests": requests[-1],
        "fetched": fetched[0],
    }  # fmt: skip


def in_new_process(where: dict[str, str], sql: str) -> dict[str, Any]:
    told = json.dumps({"where": where, "sql": sql})
    done = subprocess.run([sys.executable, __file__, "--one"], input=told, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def summary(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    times = {"first": [one["first"] for one in found], "warm": [second for one in found for second in one["warm"]]}
    spread = {kind: [round(pick(all_), 4) for pick in (min, statistics.median, max)] for kind, all_ in times.items()}
    met = spread["first"][1] < GOAL_FIRST and spread["warm"][1] < GOAL_WARM
    same = {key: found[0][key] for key in ("rows", "requests", "warm_requests", "fetched")}
    return {"name": name, **spread, **same, "met": met}


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| lookup | rows | first s | warm s | requests first | warm | MB | goal |",
        "|---|---:|---|---|---:|---:|---:|---|",
    ]
    for row in results:
        first, warm = (" / ".join(f"{value:.3f}" for value in row[kind]) for kind in ("first", "warm"))
        counts = f"{sum(row['requests'].values())} | {sum(row['warm_requests'].values())}"
        goal = "met" if row["met"] else "**missed**"
        lines.append(
            f"| {row['name']} | {row['rows']} | {first} | {warm} | {counts} | {row['fetched'] / 1e6:.1f} | {goal} |"
        )
    return "\n".join(lines) + "\n"


def measure(folder: str, rounds: int, work: str) -> list[dict[str, Any]]:
    with DevServer(os.path.join(work, "server")) as server:
        where = {"endpoint": server.endpoint_url, "bucket": server.bucket}
        where |= {"access_key": server.access_key, "secret_key": server.secret_key}
        began = CLOCK.monotonic()
        copied = copy(folder, store_of(where))
        print(f"{copied / 1e6:.0f} MB copied in {CLOCK.monotonic() - began:.0f} s", flush=True)
        asked, _ = lookups(folder)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in asked}
        for _ in range(rounds):
            for name, sql in asked.items():
                found[name].append(in_new_process(where, sql))
        server.kill()
    return [summary(name, measured) for name, measured in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", help="folder of the archive")
    parser.add_argument("--rounds", type=int, default=5, help="new processes per lookup, interleaved (default 5)")
    parser.add_argument("--folder", help="where the server keeps its data (default: the temporary folder)")
    parser.add_argument("--json", help="write results to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        told = json.load(sys.stdin)
        print(json.dumps(one(told["where"], told["sql"])))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as work:
        results = measure(chosen.archive, chosen.rounds, work)
    print(table(results))
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
