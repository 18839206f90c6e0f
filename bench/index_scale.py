"""Everything that docs/performance.md tells: generate three archives, ask, look up over S3, sync, compact, plot.

    python bench/index_scale.py --folder /some/disk [--largest 10000000] [--rounds 3]

Takes half an hour and 10 GB at full size. Results lie in the folder; the picture in docs/.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ARCHIVES = {"100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, str(HERE / f"{script}.py"), *map(str, arguments)]
    print("$", *command, flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", required=True, help="where archives and results lie; archives that are there are used"
    )
    parser.add_argument("--largest", type=int, default=10_000_000, help="leave larger archives out")
    parser.add_argument("--rounds", type=int, default=3, help="how often each question is asked by a new process")
    chosen = parser.parse_args()
    folder = Path(chosen.folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, checkpoints in ARCHIVES.items() if checkpoints <= chosen.largest]
    for name in names:
        made = folder / f"{name}-made.json"
        if not made.exists():
            run("index_generate", "--checkpoints", ARCHIVES[name], "--out", folder / name, "--columns", "--json", made)
    asked = [folder / f"{name}-asked.json" for name in names]
    for name, result in zip(names, asked, strict=True):
        run(
            "index_query",
            folder / name,
            "--rounds",
            chosen.rounds,
            "--json",
            result,
            "--markdown",
            result.with_suffix(".md"),
        )
    run("index_s3", folder / names[min(1, len(names) - 1)], "--folder", folder, "--json", folder / "s3.json")
    run("index_sync", "--source", folder / names[-1], "--folder", folder, "--json", folder / "sync.json")
    run("index_plot", *asked, "--out", HERE.parent / "docs" / "performance.png", "--markdown", folder / "growth.md")


if __name__ == "__main__":
    main()
