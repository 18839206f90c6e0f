"""How the demo speaks: chapters, what happens in them, and what was checked."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

_CURVE_ROWS = 10
_MARKS = "ox+*"
_INDENT = "    "


class Teller:
    """Prints the story, and remembers whether everything in it was as it should be.

    Args:
        console: Prints to it.

    Attributes:
        checks: What was claimed, and whether it held.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapters = 0
        self.checks: list[tuple[str, bool]] = []

    @property
    def failures(self) -> list[str]:
        """What was not as it should be."""
        return [claim for claim, holds in self.checks if not holds]

    def chapter(self, title: str) -> None:
        """A new chapter."""
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters}. {title}", style="bold cyan"))

    def say(self, text: str) -> None:
        """A paragraph of the story."""
        self._console.print(Text(text), soft_wrap=True)

    def event(self, who: str, text: str) -> None:
        """Something that a process did."""
        self._console.print(Text(f"  {who:>8} | ", style="dim").append(Text(text, style="default")), soft_wrap=True)

    @property
    def width(self) -> int:
        """Columns that are left for what commands print."""
        return self._console.width - len(_INDENT)

    def command(self, line: str) -> None:
        """A command as a user would type it."""
        self._console.print(Text(f"  $ {line}", style="bold"), soft_wrap=True)

    def output(self, output: str, *, most_lines: int = 24) -> None:
        """What it printed."""
        lines = [text.rstrip() for text in output.rstrip().splitlines()]
        for text in lines[:most_lines]:
            self._console.print(Text(_INDENT + text), soft_wrap=True)
        if len(lines) > most_lines:
            self._console.print(Text(f"    ... {len(lines) - most_lines} more lines", style="dim"))

    def check(self, claim: str, holds: bool) -> None:
        """Something that must be so."""
        mark = Text("  ok   ", style="bold green") if holds else Text("  WRONG ", style="bold red")
        self._console.print(mark.append(Text(claim, style="default")), soft_wrap=True)
        self.checks.append((claim, holds))

    def curve(self, launches: Sequence[Mapping[int, float]]) -> None:
        """The loss by step, each launch with a mark of its own."""
        for line in curve_lines(launches):
            self._console.print(Text(f"    {line}"), soft_wrap=True)


def curve_lines(launches: Sequence[Mapping[int, float]]) -> list[str]:
    """A plot in text; a step that two launches took with the same loss is marked ``#``."""
    points = [(step, loss, index) for index, launch in enumerate(launches) for step, loss in launch.items()]
    steps = sorted({step for step, _, _ in points})
    top = max(loss for _, loss, _ in points)
    grid = [[" "] * (2 * len(steps)) for _ in range(_CURVE_ROWS)]
    seen: dict[int, float] = {}
    for step, loss, index in points:
        row = _CURVE_ROWS - 1 - min(_CURVE_ROWS - 1, int(loss / top * _CURVE_ROWS)) if top else _CURVE_ROWS - 1
        mark = "#" if seen.get(step) == loss else _MARKS[index % len(_MARKS)]
        grid[row][2 * steps.index(step)] = mark
        seen[step] = loss
    lines = [f"{top * (_CURVE_ROWS - row) / _CURVE_ROWS:5.2f} |{''.join(cells)}" for row, cells in enumerate(grid)]
    lines.append(f"      +{'-' * (2 * len(steps))}")
    lines.append(f"       step {steps[0]} to {steps[-1]}; " + ", ".join(_legend(len(launches))))
    return lines


def _legend(launches: int) -> list[str]:
    return [f"{_MARKS[index]} launch {index + 1}" for index in range(launches)] + ["# the same loss in two launches"]
