"""Peak memory, processor time and wall time of the command line's push, verify --deep and restore, on a local server.

    python bench/push_memory.py [--gib 2] [--folder /some/disk] [--json]

The server works on the same machine; its own processor time is not counted, but it takes its share of the wall time. As a
floor, the same bytes are read and hashed, and copied, in this process.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ckpt_archive.clock import SystemClock
from ckpt_archive.devserver import DevServer
from ckpt_archive.testing.usage import run_measured

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


def floor(name: str, work: Callable[[], object]) -> dict[str, object]:
    def cpu_seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    cpu, wall = cpu_seconds(), CLOCK.monotonic()
    work()
    return {
        "what": name,
        "peak_mb": None,
        "cpu_seconds": round(cpu_seconds() - cpu, 2),
        "wall_seconds": round(CLOCK.monotonic() - wall, 2),
    }


def measure(folder: Path, gib: float) -> list[dict[str, object]]:
    size_bytes = int(gib * 1024) * MIB // (8 * FILES * MIB) * (8 * FILES * MIB)
    checkpoint, copy, back = folder / "checkpoint", folder / "copy", folder / "back"
    write_checkpoint(checkpoint, size_bytes)
    rows = [
        floor("floor: read and SHA-256", lambda: hash_all(checkpoint)),
        floor("floor: copy on the disk", lambda: shutil.copytree(checkpoint, copy)),
    ]
    shutil.rmtree(copy)
    with DevServer(str(folder / "server")) as server:
        environment = {"PATH": os.defpath, **server.environment()}
        for verb in (
            ["init"],
            ["push", str(checkpoint), "--run", "bench", "--step", "1"],
            ["push", str(checkpoint), "--run", "bench", "--step", "1"],
            ["verify", "bench", "--deep"],
            ["restore", "bench", "--to", str(back)],
        ):
            command = [sys.executable, "-m", "ckpt_archive", *verb, "--json"]
            used = run_measured(command, str(folder / "out"), environment)
            if used.code:
                sys.exit(f"{' '.join(verb)} failed: {used.errors}")
            rows.append(
                {
                    "what": verb[0] + (" again" if any(row["what"] == verb[0] for row in rows) else ""),
                    "peak_mb": round(used.peak_bytes / 10**6, 1),
                    "cpu_seconds": round(used.cpu_seconds, 2),
                    "wall_seconds": round(used.wall_seconds, 2),
                }
            )
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
    print(f"{'what':26} {'peak MB':>8} {'CPU s':>8} {'CPU s/GiB':>10} {'wall s':>8}")
    for row in rows:
        per_gib = round(float(str(row["cpu_seconds"])) / chosen.gib, 2)
        cells = (row["peak_mb"] or "", row["cpu_seconds"], per_gib, row["wall_seconds"])
        print(f"{row['what']!s:26} {cells[0]!s:>8} {cells[1]!s:>8} {cells[2]!s:>10} {cells[3]!s:>8}")


if __name__ == "__main__":
    main()
