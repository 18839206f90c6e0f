"""Plot how the processor time of every saved question grows with the archive, from what `index_query.py --json` wrote.

    python bench/index_plot.py 100k.json 1m.json 10m.json --out docs/performance.png [--markdown FILE]

Needs matplotlib.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

SIZES = {"100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
NAMED = 9
GOAL = 1.0

Series = dict[str, list[tuple[int, float]]]


def read(files: list[str], kind: str) -> Series:
    """By question: size of the archive, seconds; of wall times the best."""
    series: Series = {}
    for name in files:
        told: dict[str, Any] = json.loads(Path(name).read_text())
        for row in told["results"]:
            if kind in row:
                seconds = row[kind] if kind == "processor" else row[kind][0]
                series.setdefault(row["name"], []).append((SIZES[told["folder"]], seconds))
    return {name: sorted(points) for name, points in series.items()}


def draw(axes: Any, series: Series) -> None:
    slowest = sorted(series, key=lambda name: -series[name][-1][1])
    colours = plt.get_cmap("tab10")
    lowest = 0.0
    for rank, name in enumerate(slowest):
        sizes, seconds = zip(*series[name], strict=True)
        colour = colours(rank) if rank < NAMED else "0.75"
        axes.plot(
            sizes, seconds, marker="o", markersize=3, linewidth=1.2, color=colour, zorder=3 if rank < NAMED else 2
        )
        if rank < NAMED:
            # Names stand one below the other, however near their lines end.
            place = seconds[-1] if not lowest else min(seconds[-1], lowest / 1.22)
            lowest = place
            axes.annotate(
                name,
                (sizes[-1], place),
                xytext=(6, 0),
                textcoords="offset points",
                color=colour,
                va="center",
                fontsize=8,
            )
    axes.axhline(GOAL, color="0.3", linewidth=0.8, linestyle="--")
    axes.annotate(f"goal {GOAL:.0f} s", (SIZES["100k"], GOAL * 1.08), color="0.3", fontsize=8)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(8e4, 6e7),
        xlabel="checkpoints (ten files each)",
        ylabel="processor seconds, warm",
    )
    axes.set_xticks(list(SIZES.values()), ["0.1 M", "1 M", "10 M"])
    axes.minorticks_off()
    axes.grid(visible=True, which="major", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def table(files: list[str]) -> str:
    processor, warm, cold = (read(files, kind) for kind in ("processor", "warm", "cold"))
    sizes = ["0.1 M", "1 M", "10 M"][-len(files) :]
    heads = [f"{kind} {size}" for kind in ("CPU", "warm", "cold") for size in sizes]
    lines = [f"| question | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for name in sorted(warm):
        cells = [f"{seconds:.2f}" for series in (processor, warm, cold) for _, seconds in series[name]]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="files of index_query.py --json, by size")
    parser.add_argument("--out", required=True, help="the picture")
    parser.add_argument("--markdown", help="write the figures as a table to this file")
    chosen = parser.parse_args()
    mpl.use("Agg")
    # Processor time, because it suffers least from whatever else the machine does.
    figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    draw(axes, read(chosen.results, "processor"))
    figure.savefig(chosen.out, dpi=90, metadata={"Software": None})
    if chosen.markdown:
        Path(chosen.markdown).write_text(table(chosen.results))


if __name__ == "__main__":
    main()
