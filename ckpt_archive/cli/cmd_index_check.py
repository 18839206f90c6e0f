"""`ckpt-archive index check`."""

from dataclasses import asdict

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed

_COLUMNS = (text_column("kind"), text_column("table"), text_column("key"), text_column("what"))
_SAMPLE = 16


@verb("check", example="ckpt-archive index check --all", exits=(1, 3, 4, 6))
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Compare so many batches of the log, the newest among them; {_SAMPLE} by default.",
)
@click.option("--all", "everything", is_flag=True, help="Compare all of them.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides which ones.")
def command(frame: Frame, /, sample: int | None, everything: bool, seed: int) -> int:
    """Compare the index with the records of the archive.

    The rows are made anew from the log and the records that it names, and held against those of the tables, both ways.
    Prints every difference, and exits 1 if there is any.
    """
    if everything and sample is not None:
        raise click.UsageError("--sample and --all exclude each other")
    require_installed("index check")
    from ckpt_archive.index.check import check  # noqa: PLC0415  (loads the libraries)

    connection = Archive.open(frame.archive_url).connection
    tables = compose.open_tables(connection)
    with frame.screen.progress("batches") as progress:
        report = check(
            connection.store,
            compose.system_machine(),
            connection.archive_id,
            tables,
            sample=None if everything else sample or _SAMPLE,
            seed=seed,
            progress=progress,
        )
    frame.screen.rows(_COLUMNS, [asdict(difference) for difference in report.differences])
    looked = f"{report.batches} of {report.number} batches, {sum(report.rows.values())} rows"
    frame.screen.note(f"{looked}: {report.count or 'no'} differences")
    return FINDINGS if report.count else 0
