"""How fast the log becomes an index: projection, rebuild, compaction of a month, and what a Delta commit costs.

    python bench/index_sync.py [--checkpoints 100000] [--folder /some/disk] [--only projection …] [--json FILE]

Each measurement is a process of its own, so that its peak memory can be told. `projection` holds all records in memory, as
a sync that has fetched them does; `rebuild` reads them from files. Records are real ones: a receipt and a manifest are made
by the product, and repeated with other digests and steps.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from index_world import BEGAN, digest, digests

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import layout
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.contribution import Contribution
from ckpt_archive.digest import crc32c, crc32c_hex, sha256_hex
from ckpt_archive.index import arrow, schema
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.rebuild import rebuild
from ckpt_archive.index.sink import put_file
from ckpt_archive.index.sync import open_projector
from ckpt_archive.log.batch import MAX_ENTRIES, Batch, Entry
from ckpt_archive.log.sequence import add_batch
from ckpt_archive.share import DataObject, FileEntry, Share

CLOCK = SystemClock()
STEP = 100_000_000  # all steps have nine digits, so that every record has the length of its template
KIB = 1024


@dataclass(frozen=True)
class Shape:
    """A kind of checkpoint."""

    writers: int
    files: int  # of each writer

    @property
    def rows(self) -> int:
        return self.writers * self.files


SHAPES = {"small": Shape(1, 8), "64 writers": Shape(64, 8), "large": Shape(8, 512)}


class Records:
    """Receipts and manifests of one shape: those of a template with the digest of its files, and its step, replaced."""

    def __init__(self, shape: Shape, archive_id: str) -> None:
        self.shape = shape
        receipts = [self._receipt(rank, archive_id) for rank in range(shape.writers)]
        self._receipts = [receipt.encode() for receipt in receipts]
        self._manifest = Manifest.of(list(zip(receipts, self._receipts, strict=True))).encode()
        assert [resealed(data) for data in self._receipts] == self._receipts
        self._digests = [sha256_hex(data).encode() for data in self._receipts]

    def _receipt(self, rank: int, archive_id: str) -> Receipt:
        files = [
            FileEntry(f"rank-{rank:04}/part-{i:04}.safetensors", 1 << 28, self._sha256(rank, i), i, 0, tuple(range(4)))
            for i in range(self.shape.files)
        ]
        objects = [DataObject(file.sha256, 1 << 28, 64 << 20, tuple(range(4))) for file in files]
        return Receipt(
            archive_id=archive_id,
            run="run",
            attempt=0,
            step=STEP,
            rank=rank,
            contribution=Contribution(
                launch_key="slurm:4711:0",
                writers=self.shape.writers,
                staged_at=BEGAN,
                promotion={"rule": "every", "count": 5, "ordinal": 1, "save_every_steps": 100},
                metrics={"loss": 2.125, "lr": 0.0003},
                labels={"project": "bench", "owner": "jo"},
                lineage={"code": {"commit": "9fceb02c40c34fc27e6f4bf4c1d8bd6c5c2d7f6e", "dirty": False}},
                retention_class="daily",
            ),
            share=Share(tuple(files), tuple(objects)),
        )

    def _sha256(self, rank: int, file: int) -> str:
        return digest(60, rank * 10_000 + file)

    def checkpoint(self, number: int) -> Iterator[tuple[str, bytes]]:
        """Keys and bytes of the records of a checkpoint, its manifest last."""
        run, step = f"run-{number // 2000:04}", STEP + number % 2000
        fresh = digests(61, np.arange(self.shape.rows) + number * self.shape.rows)
        manifest = self._manifest
        for rank, template in enumerate(self._receipts):
            data = template.replace(b'"step":%d' % STEP, b'"step":%d' % step).replace(
                b'"run":"run"', b'"run":"%s"' % run.encode()
            )
            # Every file of a small share gets digests of its own, of a larger one the first eight do: time, not truth.
            for file in range(min(8, self.shape.files)):
                new = fresh[rank * self.shape.files + file].tobytes()
                data = data.replace(self._sha256(rank, file).encode(), new)
            data = resealed(data)
            manifest = manifest.replace(self._digests[rank], sha256_hex(data).encode())
            manifest = manifest.replace(b'"size":%d}' % len(template), b'"size":%d}' % len(data))
            yield layout.receipt(run, 0, step, rank), data
        manifest = manifest.replace(b'"step":%d' % STEP, b'"step":%d' % step).replace(
            b'"run":"run"', b'"run":"%s"' % run.encode()
        )
        yield layout.manifest(run, 0, step), resealed(manifest)


_CHECKSUM = re.compile(rb'"crc32c":"[0-9a-f]{8}",')


def resealed(data: bytes) -> bytes:
    """A record with the checksum of what it now says."""
    begin, end = _CHECKSUM.search(data).span()
    found = crc32c_hex(crc32c(data[:begin] + data[end:]))
    return data[:begin] + b'"crc32c":"%s",' % found.encode() + data[end:]


class Held:
    """Records that were fetched a moment ago."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def take(self, key: str) -> bytes | None:
        return self.records.pop(key, None)


def seal(connection: Any, shape: Shape, checkpoints: int, put: Callable[[str, bytes], object]) -> int:
    """Make records, and a log that names the manifests; the number of its last batch."""
    records = Records(shape, connection.archive_id)
    entries: list[Entry] = []
    number, first, previous = 0, 0, ""
    for index in range(checkpoints):
        for key, data in records.checkpoint(index):
            put(key, data)
        # The last one is the manifest. A year of checkpoints.
        at = BEGAN + timedelta(seconds=round(index * 31_536_000 / checkpoints))
        entries.append(Entry.of_record("commit", "", data, at, key))
        if len(entries) == MAX_ENTRIES or index == checkpoints - 1:
            number += 1
            batch = Batch(connection.archive_id, number, previous, first, at, "bench", at, at, tuple(entries))
            stands, sealed = add_batch(connection.store, batch)
            assert stands
            first, previous, entries = first + len(entries), sealed.sha256, []
    return number


def connect(folder: str) -> Any:
    return Archive.open(f"file://{folder}").connection


def timed(work: Callable[[], object]) -> dict[str, float]:
    before, began = resource.getrusage(resource.RUSAGE_SELF), CLOCK.monotonic()
    work()
    wall, after = CLOCK.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": wall,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory_before_mb": before.ru_maxrss * KIB / 1e6,
        "memory_peak_mb": after.ru_maxrss * KIB / 1e6,
    }


def projection(folder: str, shape: Shape, checkpoints: int) -> dict[str, Any]:
    connection, held = connect(folder), Held()
    number = seal(connection, shape, checkpoints, held.records.__setitem__)
    projector = open_projector(
        connection.store, compose.system_machine(), connection.archive_id, compose.location_of(connection), held
    )
    used = timed(lambda: projector.project(number))
    return used | counted(connection, checkpoints, shape)


def counted(connection: Any, checkpoints: int, shape: Shape) -> dict[str, int]:
    """How many rows there are, which must be all of them."""
    tables = compose.open_tables(connection)
    rows = {name: sum(file.rows for file in tables[name].files()) for name in ("checkpoints", "files", "events")}
    assert rows == {"checkpoints": checkpoints, "files": checkpoints * shape.rows, "events": 0}, rows
    return {"checkpoints": rows["checkpoints"], "files": rows["files"]}


def write_records(folder: str, shape: Shape, checkpoints: int) -> None:
    known: set[Path] = set()

    def put(key: str, data: bytes) -> None:
        path = Path(folder, key)
        if path.parent not in known:
            path.parent.mkdir(parents=True, exist_ok=True)
            known.add(path.parent)
        path.write_bytes(data)

    seal(connect(folder), shape, checkpoints, put)


def rebuilding(folder: str, shape: Shape, checkpoints: int) -> dict[str, Any]:
    connection = connect(folder)
    machine, location = compose.system_machine(), compose.location_of(connection)
    used = timed(lambda: rebuild(connection.store, machine, connection.archive_id, location))
    return used | counted(connection, checkpoints, shape)


def compaction(folder: str, source: str) -> dict[str, Any]:
    """A month of `files` in a hundred files, as a hundred appends left it, merged."""
    connection, machine = connect(folder), compose.system_machine()
    opened = compose.open_tables(connection)[schema.FILES.name]
    months = sorted(Path(source, "index", schema.FILES.name).glob("month=*"))
    rows = pq.read_table(months[len(months) // 2], partitioning=None)
    order = np.argsort(rows["committed_at"].to_numpy(), kind="stable")
    month = months[len(months) // 2].name.removeprefix("month=")
    before = 0
    for number, part in enumerate(np.array_split(order, 100), 1):
        piece = rows.take(np.sort(part))
        file = put_file(connection.store, machine.nonce, schema.FILES, month, arrow.to_parquet(schema.FILES, piece))
        before += file.size_bytes
        opened.append([file], number, machine.clock.now())
    count = rows.num_rows
    del rows, piece, order, part
    # What came before must not count as memory of the merge: it is measured in a process of its own.
    return {"files": count, "mb_before": before / 1e6}


def merging(folder: str) -> dict[str, Any]:
    connection = connect(folder)
    opened = compose.open_tables(connection)[schema.FILES.name]
    found: list[Any] = []
    used = timed(lambda: found.append(compact(connection.store, compose.system_machine(), opened)))
    size = sum(file.size_bytes for file in opened.files())
    return used | {"removed": found[0].removed, "added": found[0].added, "files": found[0].rows, "mb_after": size / 1e6}


def commits(folder: str, count: int) -> dict[str, Any]:
    """Appends of nothing to one table, one after the other, and opening it anew at the end."""
    connection = connect(folder)
    opened = compose.open_tables(connection)[schema.SIGNERS.name]
    seconds = []
    for number in range(1, count + 1):
        began = CLOCK.monotonic()
        opened.append([], number, CLOCK.now())
        seconds.append(CLOCK.monotonic() - began)
    reopened = timed(lambda: compose.open_tables(connection))
    return {
        "commits": count,
        "first_hundred_ms": 1e3 * float(np.median(seconds[:100])),
        "last_hundred_ms": 1e3 * float(np.median(seconds[-100:])),
        "slowest_ms": 1e3 * max(seconds),
        "open_all_tables_ms": 1e3 * reopened["seconds"],
    }


def in_new_process(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, "--inside", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout or "null")


def inside(what: str, folder: str, *arguments: Any) -> object:
    match what:
        case "projection":
            return projection(folder, SHAPES[arguments[0]], arguments[1])
        case "write":
            return write_records(folder, SHAPES[arguments[0]], arguments[1])
        case "rebuild":
            return rebuilding(folder, SHAPES[arguments[0]], arguments[1])
        case "compaction":
            return compaction(folder, arguments[0])
        case "merging":
            return merging(folder)
        case _:
            return commits(folder, arguments[0])


def new_archive(folder: str) -> str:
    archive = tempfile.mkdtemp(dir=folder)
    used = [sys.executable, "-m", "ckpt_archive", "--archive", f"file://{archive}", "init"]
    subprocess.run(used, check=True, capture_output=True)
    return archive


def with_rates(found: dict[str, Any]) -> dict[str, Any]:
    for what in ("checkpoints", "files"):
        if what in found and "seconds" in found:
            found[f"{what}_per_second"] = round(found[what] / found["seconds"])
            found[f"{what}_per_processor_second"] = round(found[what] / found["processor"])
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in found.items()}


def measure(folder: str, checkpoints: int, source: str | None, only: list[str]) -> dict[str, Any]:
    results: dict[str, Any] = {}

    def note(name: str, found: dict[str, Any]) -> None:
        results[name] = with_rates(found)
        print(name, json.dumps(results[name]), flush=True)

    for name, shape in SHAPES.items():
        count = max(10, checkpoints // 5 // shape.rows * 8)
        if "projection" in only:
            note(f"projection, {name}", in_new_process("projection", new_archive(folder), name, count))
    if "rebuild" in only:
        archive = new_archive(folder)
        in_new_process("write", archive, "small", checkpoints)
        note("rebuild", in_new_process("rebuild", archive, "small", checkpoints))
    if "compaction" in only and source:
        archive = new_archive(folder)
        before = in_new_process("compaction", archive, source)
        note("compaction", before | in_new_process("merging", archive))
    if "commits" in only:
        note("commits", in_new_process("commits", new_archive(folder), 1000))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=100_000, help="of the rebuild (default 100,000)")
    parser.add_argument("--source", help="a generated archive, of whose `files` one month is compacted")
    parser.add_argument("--folder", help="where to work (default: the temporary folder)")
    parser.add_argument("--only", nargs="*", default=["projection", "rebuild", "compaction", "commits"])
    parser.add_argument("--json", help="write results to this file")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(inside(*json.loads(chosen.inside))))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        results = measure(folder, chosen.checkpoints, chosen.source, chosen.only)
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
