"""`ckpt-archive index sync`."""

import math

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.steps import show_steps
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop


@verb("sync", example="ckpt-archive index sync --budget 5m", exits=(1, 3, 4, 5, 6))
@click.option(
    "--budget", type=duration, metavar="TIME", help="When it is over, nothing more is begun: 90s, 5m; else all is done."
)
def command(frame: Frame, /, budget: float | None) -> int:
    """Bring what is new into the log and the index.

    Costs one or two listings where nothing is new. Any number may run at once, be killed anywhere, and be run again. Where
    the libraries that make the index are not installed, the log is sealed all the same.
    """
    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    with Stop() as stop, frame.screen.progress("batches") as progress:
        report = compose.sync_once(
            machine,
            connection,
            budget_seconds=math.inf if budget is None else budget,
            should_stop=stop,
            progress=progress,
        )
    return show_steps(frame.screen, report)
