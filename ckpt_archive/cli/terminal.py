"""Tables and bars for a terminal; loaded only where there is one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from ckpt_archive.cli import printable
from ckpt_archive.cli.columns import Column, Value
from ckpt_archive.cli.progress import amount_text
from ckpt_archive.progress import Progress, ProgressEvent

_GAP = 2  # blanks between columns
_LEAST_WIDTH = 16  # texts in narrower columns are no pleasure to read

_Shown = tuple[Column, list[str]]


class Terminal:
    """Prints to the terminals behind stdout and stderr."""

    def table(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]]) -> None:
        """A table with headings; where it is too wide a block of lines for each row.

        Spare columns are left out before, the last one first, until the others fit.
        """
        console = Console()
        shown = [(column, [printable.line(column.show(row.get(column.name))) for row in rows]) for column in columns]
        while sum(_width(*item) for item in shown) - _GAP > console.width:
            spare = next((item for item in reversed(shown) if item[0].spare), None)
            if spare is None:
                break
            shown.remove(spare)
        if sum(_least_width(*item) for item in shown) - _GAP > console.width:
            _print_blocks(console, shown, len(rows))
        else:
            _print_table(console, shown, len(rows))

    @contextmanager
    def progress(self, unit: str = "") -> Iterator[Progress]:
        """Bars on stderr, one for each phase, counting a unit, or bytes; they vanish when the work is done."""
        layout = (
            TextColumn("{task.description}"),
            BarColumn(),
            _Amount(unit),
            _Rate(unit),
            TimeRemainingColumn(),
        )
        with Bars(*layout, console=Console(stderr=True), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def callback(event: ProgressEvent) -> None:
                if event.phase not in tasks:
                    tasks[event.phase] = bars.add_task(event.phase, total=event.total_bytes)
                bars.update(tasks[event.phase], completed=event.done_bytes, total=event.total_bytes)

            yield callback


class _Counting(ProgressColumn):
    """Counts in the units of everything else we print."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit


class _Amount(_Counting):
    """How much of how much."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        return Text(f"{amount_text(task.completed, self._unit)} of {amount_text(task.total or 0, self._unit)}")


class _Rate(_Counting):
    """How much a second."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn.render`."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{amount_text(speed, self._unit)}/s")


def _width(column: Column, cells: Sequence[str]) -> int:
    return max(cell_len(text) for text in (column.name, *cells)) + _GAP


def _least_width(column: Column, cells: Sequence[str]) -> int:
    """What a column needs: a text may be folded, a number not."""
    width = _width(column, cells)
    return width if column.numeric else min(width, max(cell_len(column.name), _LEAST_WIDTH) + _GAP)


def _print_table(console: Console, shown: Sequence[_Shown], count: int) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column, _ in shown:
        table.add_column(column.name, justify="right" if column.numeric else "left", overflow="fold")
    for index in range(count):
        table.add_row(*(Text(cells[index]) for _, cells in shown))
    console.print(table)


def _print_blocks(console: Console, shown: Sequence[_Shown], count: int) -> None:
    """Each row as lines of name and value, without what is empty."""
    width = max(cell_len(column.name) for column, _ in shown)
    for index in range(count):
        console.print(Text(f"— {index + 1} —", style="dim"))
        for column, cells in shown:
            if cells[index]:
                name = Text(column.name.ljust(width + _GAP), style="bold")
                console.print(name.append(Text(cells[index], style="default")), soft_wrap=True)
