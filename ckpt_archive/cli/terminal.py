"""Tables and bars for a terminal; loaded only where there is one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from ckpt_archive.cli.columns import Column, Value
from ckpt_archive.progress import Progress, ProgressEvent


class Terminal:
    """Prints to the terminals behind stdout and stderr."""

    def table(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]]) -> None:
        """A table with headings."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.name, justify="right" if column.numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(column.show(row.get(column.name))) for column in columns))
        Console().print(table)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Bars on stderr, one for each phase; they vanish when the work is done."""
        layout = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*layout, console=Console(stderr=True), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def callback(event: ProgressEvent) -> None:
                if event.phase not in tasks:
                    tasks[event.phase] = bars.add_task(event.phase)
                bars.update(tasks[event.phase], completed=event.done_bytes, total=event.total_bytes)

            yield callback
