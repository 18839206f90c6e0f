"""Generate the index of an archive of years: random and prefixed run ids, restarts, forks 59 deep, 1 to 1,000 ranks.

    python bench/index_generate.py --checkpoints 1000000 --out /disk/1m [--files-per 10] [--columns] [--json]

Memory stays bounded by one month. The same arguments give the same rows.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from index_files import TableWriter, by_column
from index_small import SmallRows
from index_world import END, MICROS, START, World, months

from ckpt_archive.clock import SystemClock
from ckpt_archive.index import schema

CLOCK = SystemClock()
SMALL_FILES = 20
MONTHLY = ("checkpoints", "files", "metrics", "events")


def generate(out: str, checkpoints: int, files_per: int) -> list[dict[str, Any]]:
    subprocess.run(
        [sys.executable, "-m", "ckpt_archive", "--archive", f"file://{os.path.abspath(out)}", "init"],
        check=True,
        capture_output=True,
    )
    world = World(checkpoints, files_per)
    # A batch of the log every five minutes, less often in a small archive.
    rows = SmallRows(world, min(21_600, max(300, (END - START) // MICROS * 32 // checkpoints)) * MICROS)
    writers = {name: TableWriter(out, table) for name, table in schema.TABLES.items()}
    seconds = dict.fromkeys(schema.TABLES, 0.0)

    def write(name: str, month: str | None, chunks: Iterable[pa.Table], high: int) -> None:
        began = CLOCK.monotonic()
        writers[name].write(month, chunks, (high - START) // rows.log_period + 1)
        seconds[name] += CLOCK.monotonic() - began

    for month, low, high in months():
        whole = rows.month(low, high)
        last = high == END
        edges = [low + (high - low) * i // SMALL_FILES for i in range(SMALL_FILES + 1)] if last else [low, high]
        for begin, past in itertools.pairwise(edges):
            part = whole if not last else whole.only((whole.committed >= begin) & (whole.committed < past))
            count = len(part.launch)
            if not count:
                continue
            # Made within `write`, so that its time counts.
            write("checkpoints", month, (rows.checkpoints(one) for one in (part,)), past)
            write("files", month, rows.files(part), past)
            write("metrics", month, (rows.metrics(one) for one in (part,)), past)
            write("events", month, (rows.events(one, count // 2, begin, past) for one in (part,)), past)
        print(month, f"{writers['checkpoints'].rows:,} checkpoints, {writers['files'].rows:,} files", flush=True)
    for name, table in rows.small().items():
        write(name, None, [table], END)
    return [
        {
            "table": name,
            "rows": writer.rows,
            "mb": round(writer.bytes / 1e6, 1),
            "bytes_per_row": round(writer.bytes / max(1, writer.rows), 1),
            "rows_per_second": round(writer.rows / max(1e-9, seconds[name])),
        }
        for name, writer in writers.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, required=True)
    parser.add_argument("--files-per", type=int, default=10, help="mean number of files in a checkpoint (default 10)")
    parser.add_argument("--out", required=True, help="folder of the archive, which must not be there yet")
    parser.add_argument("--columns", action="store_true", help="also say what each column costs")
    parser.add_argument("--json", help="also write the table to this file")
    chosen = parser.parse_args()
    began = CLOCK.monotonic()
    found = generate(chosen.out, chosen.checkpoints, chosen.files_per)
    wall = CLOCK.monotonic() - began
    for row in found:
        print(
            "{table:16} {rows:>12,} rows {mb:>9,.1f} MB {bytes_per_row:>7.1f} B/row {rows_per_second:>9,} rows/s".format(
                **row
            )
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{wall:.0f} s, at most {peak:.0f} MB resident")
    if chosen.columns:
        for table in MONTHLY:
            for name, size, encodings in by_column(f"{chosen.out}/index/{table}"):
                print(f"  {table}.{name:22} {size:7.2f} B/row  {encodings}")
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(
                {"checkpoints": chosen.checkpoints, "seconds": round(wall, 1), "peak_mb": round(peak), "tables": found},
                file,
            )


if __name__ == "__main__":
    main()
