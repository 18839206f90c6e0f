"""Peak memory, processor time and wall time of the command line's push, verify --deep and restore, on a local server.

    python bench/push_memory.py [--gib 2] [--folder /some/disk] [--json]

The server works on the same machine; its own processor time is not counted, but it takes its share of the wall time. As a
floor, as many bytes are read and hashed, and written, in this process. The system's part of it depends on whether the
kernel has pages for its cache at hand that were used before: on a virtual machine fresh ones cost 2 s per GiB.
"""

import argparse
import hashlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import DevServer
from ckpt_archive.testing.usage import run_measured

Row = dict[str, Any]

CLOCK = SystemClock()
MIB = 1 << 20
FILES = 4


def write_checkpoint(folder: Path, size_bytes: int) -> None:
    folder.mkdir()
    block = os.urandom(8 * MIB)
    for index in range(FILES):
        with (folder / f"shard-{index}.bin").open("wb") as file:
            for number in range(size_bytes // FILES // len(block)):
                file.write(bytes([index]) + number.to_bytes(7, "big") + block[8:])


def hash_all(folder: Path) -> None:
    buffer = bytearray(MIB)
    for path in sorted(folder.iterdir()):
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while read := file.readinto(buffer):
                digest.update(memoryview(buffer)[:read])


def write_and_sync(folder: Path, size_bytes: int) -> None:
    buffer = os.urandom(MIB)
    with (folder / "floor").open("wb", buffering=0) as file:
        for _ in range(size_bytes // MIB):
            file.write(buffer)
        os.fsync(file.fileno())


def row(what: str, peak_bytes: int, user_seconds: float, system_seconds: float, wall_seconds: float) -> Row:
    return {
        "what": what,
        "peak_mb": round(peak_bytes / 10**6, 1),
        "user_seconds": round(user_seconds, 2),
        "system_seconds": round(system_seconds, 2),
        "wall_seconds": round(wall_seconds, 2),
    }


def floor(what: str, work: Callable[[], object]) -> Row:
    before, began = resource.getrusage(resource.RUSAGE_SELF), CLOCK.monotonic()
    work()
    after, wall_seconds = resource.getrusage(resource.RUSAGE_SELF), CLOCK.monotonic() - began
    return row(what, 0, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, wall_seconds)


def measure(folder: Path, gib: float) -> list[Row]:
    unit = 8 * FILES * MIB
    size_bytes = max(1, int(gib * 1024) * MIB // unit) * unit
    checkpoint = folder / "checkpoint"
    write_checkpoint(checkpoint, size_bytes)
    rows = [
        floor("floor: read and SHA-256", lambda: hash_all(checkpoint)),
        floor("floor: write and fsync", lambda: write_and_sync(folder, size_bytes)),
    ]
    push = ["push", str(checkpoint), "--run", "bench", "--step", "1"]
    verbs = {
        "init": ["init"],
        "push": push,
        "push again": push,
        "verify --deep": ["verify", "bench", "--deep"],
        "restore": ["restore", "bench", "--to", str(folder / "back")],
    }
    with DevServer(str(folder / "server")) as server:
        environment = {"PATH": os.defpath, **server.environment()}
        for what, verb in verbs.items():
            command = [sys.executable, "-m", "ckpt_archive", *verb, "--json"]
            used = run_measured(command, str(folder / "out"), environment)
            if used.code:
                sys.exit(f"{what} failed: {used.errors}")
            rows.append(row(what, used.peak_bytes, used.user_seconds, used.system_seconds, used.wall_seconds))
        server.kill()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the checkpoint (default 2)")
    parser.add_argument("--folder", help="where to work; needs four times the size (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        rows = measure(Path(folder), chosen.gib)
    if chosen.json:
        print(json.dumps(rows))
        return
    print(f"{'what':24} {'peak MB':>8} {'user s':>8} {'system s':>9} {'CPU s/GiB':>10} {'wall s':>8}")
    for found in rows:
        what, peak_mb, user_seconds, system_seconds, wall_seconds = found.values()
        per_gib = (user_seconds + system_seconds) / chosen.gib
        print(f"{what:24} {peak_mb or '-':>8} {user_seconds:>8} {system_seconds:>9} {per_gib:>10.2f} {wall_seconds:>8}")


if __name__ == "__main__":
    main()
