"""`ckpt-archive undrop`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, text_column, time_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.parameters import run_argument
from ckpt_archive.cli.retention_parameters import steps_option
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.retention.by_hand.selection import Selection
from ckpt_archive.retention.by_hand.undropping import undrop
from ckpt_archive.settings import Environment

_COLUMNS = (
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    text_column("outcome"),
    time_column("ended_at"),
)


@verb("undrop", example='ckpt-archive undrop llama-7b --steps 100-900 --reason "it was the data"', exits=(1, 3, 4, 6))
@run_argument
@steps_option
@click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="Only those of this attempt; else of all.")
@click.option("--reason", default="", metavar="TEXT", help="Why: it is recorded for good.")
def command(
    frame: Frame,
    /,
    *,
    run: str,
    steps: tuple[int, int] | None,
    attempt: int | None,
    reason: str,
) -> int:
    """Take a drop back while there is time.

    All of the run that was dropped is wanted again, or what is named of it. What somebody had given a class before has that
    again; of all others the policy chooses. What has ended can not be taken back: it is named, and the exit code is 1.
    """
    archive = Archive.open(frame.archive_url)
    first, last = steps or (None, None)
    selection = Selection(run, first, last, attempt)
    undropped = undrop(
        compose.system_machine(), archive.connection, selection, reason=reason, actor=Environment.read().actor
    )
    rows = [
        {"run": place.run, "attempt": place.attempt, "step": place.step, "outcome": outcome, "ended_at": ended_at}
        for place, outcome, ended_at in [
            *((place, "wanted again", None) for place in undropped.places),
            *((place, "too late", ended_at) for place, ended_at in undropped.too_late),
        ]
    ]
    frame.screen.rows(_COLUMNS, rows, nothing="Nothing of it is dropped.")
    return FINDINGS if undropped.too_late else 0
