"""`ckpt-archive index vacuum`."""

import click

from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed


@verb("vacuum", example="ckpt-archive index vacuum --dry-run", exits=(3, 4, 6))
@click.option(
    "--older-than",
    type=duration,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Only files that are older: whoever reads the index as it was then may still need younger ones.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def command(frame: Frame, /, older_than: float, dry_run: bool) -> None:
    """Remove files that the index does not name any more.

    Touches nothing but files of the index.
    """
    require_installed("index vacuum")
