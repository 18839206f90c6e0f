"""Lets every call of every operation fail, and prints what came of it: ``python -m ckpt_archive.testing.failing``.

The table of `docs/failures.md` is what this prints; ``--write docs/failures.md`` puts it there.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from ckpt_archive.testing.simulation.failing import Sweep, sweep
from ckpt_archive.testing.simulation.faults import CANDIDATES, Fault
from ckpt_archive.testing.simulation.operations import MEANINGS, OPERATIONS, Operation

_STORE = tuple(fault for fault in Fault if any(fault in CANDIDATES[k] for k in CANDIDATES if k.startswith("store.")))
_DISK = tuple(fault for fault in Fault if any(fault in CANDIDATES[k] for k in CANDIDATES if k.startswith("disk.")))

BEGINS = "<!-- python -m ckpt_archive.testing.failing writes what follows -->"
ENDS = "<!-- to here -->"


def tables(found: Sweep, operations: Sequence[Operation] = OPERATIONS, *, counts: bool = False) -> str:
    """What came of each fault in each operation, as Markdown: outcomes, the most frequent first in what is counted.

    Args:
        found: What came of what.
        operations: The columns.
        counts: Whether to say how many places came to each outcome.
    """
    return "\n\n".join(
        f"### {title}\n\n{_table(found, operations, side, faults, counts=counts)}"
        for title, side, faults in (
            ("What the network and the store do", "store.", _STORE),
            ("What the disk does", "disk.", _DISK),
        )
    )


def legend() -> str:
    """What the words of the table mean, as a Markdown list."""
    return "\n".join(f"- **{word}**: {meaning}" for word, meaning in MEANINGS.items())


def written(document: str, text: str) -> str:
    """The document with `text` where the table stands."""
    before, _, rest = document.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n\n{text}\n\n{ENDS}{after}"


def _table(found: Sweep, operations: Sequence[Operation], side: str, faults: Sequence[Fault], *, counts: bool) -> str:
    names = [operation.name for operation in operations]
    lines = [f"| fault | | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for fault in faults:
        for lasts in (False, True):
            cells = [_cell(found.cell(name, fault, lasts=lasts, side=side), counts=counts) for name in names]
            title = "" if lasts else f"{fault.name}: {fault.value}"
            lines.append(f"| {title} | {'for good' if lasts else 'once'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(outcomes: Counter[str], *, counts: bool) -> str:
    if not outcomes:
        return "-"
    if counts:
        return ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    ours = [outcome for outcome in MEANINGS if outcome in outcomes]
    return ", ".join((*ours, *sorted(set(outcomes) - set(ours))))


def summary(found: Sweep, operations: Sequence[Operation] = OPERATIONS) -> str:
    """How much that was."""
    cells = {(name, fault, kind.startswith("store."), lasts) for name, fault, lasts, kind in found.outcomes}
    return (
        f"{len(operations)} operations, {len(cells)} cells (fault in operation, once or for good), {found.runs} places, "
        f"{found.runs + len(operations)} runs, {found.ios} I/Os; the longest took {found.longest_seconds:.0f} s of "
        f"simulated time; {len(found.broken)} promises broken"
    )


@click.command()
@click.option("--most", type=click.IntRange(min=2), help="At most so many calls of each kind; all by default.")
@click.option("--operation", "names", multiple=True, help="Only this one; may be repeated.")
@click.option("--write", type=click.Path(dir_okay=False, exists=True), help="The document to put the table into.")
def main(most: int | None, names: tuple[str, ...], write: str | None) -> None:
    """Let every call of every operation fail in every way, once and for good."""
    logging.disable(logging.CRITICAL)
    operations = [operation for operation in OPERATIONS if not names or operation.name in names]
    began = time.perf_counter()
    found = sweep(operations, most=most)
    click.echo(tables(found, operations, counts=True))
    for broken in found.broken:
        click.echo(f"\nBROKEN  {broken.place}\n  {broken.what}\n{broken.story}")
    click.echo(f"\n{summary(found, operations)}; {time.perf_counter() - began:.0f} s")
    if write is not None:
        path = Path(write)
        text = f"{legend()}\n\n{tables(found, operations)}"
        path.write_text(written(path.read_text(encoding="utf-8"), text), encoding="utf-8")
    sys.exit(bool(found.broken))


if __name__ == "__main__":
    main()
