"""`ckpt-archive index compact`."""

import click

from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed


@verb("compact", example="ckpt-archive index compact", exits=(3, 4, 5, 6))
@click.option("--force", is_flag=True, help="Also where there are few small files.")
def command(frame: Frame, /, force: bool) -> None:
    """Join the small files of the index.

    Readers and a sync may go on meanwhile. The files that were joined stay until a vacuum removes them.
    """
    require_installed("index compact")
