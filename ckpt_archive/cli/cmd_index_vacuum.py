"""`ckpt-archive index vacuum`."""

from datetime import timedelta

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, size_column, text_column
from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed

_COLUMNS = (text_column("table"), number_column("files"), size_column("size_bytes"))


@verb("vacuum", example="ckpt-archive index vacuum --dry-run", exits=(3, 4, 6))
@click.option(
    "--older-than",
    type=duration,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Only files that are older, at least an hour: questions and syncs under way may still need younger ones.",
)
@click.option("--force", is_flag=True, help="Allow less than an hour: nobody reads, syncs or rebuilds the index now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def command(frame: Frame, /, older_than: float, force: bool, dry_run: bool) -> None:
    """Remove files that the index does not name any more.

    Touches nothing but files of the index.
    """
    require_installed("index vacuum")
    from ckpt_archive.index.vacuum import check_margin, vacuum  # noqa: PLC0415  (loads the libraries)

    margin = check_margin(timedelta(seconds=older_than), force=force)
    connection = Archive.open(frame.archive_url).connection
    rows: list[dict[str, str | int]] = []
    for name, opened in compose.open_tables(connection).items():
        done = vacuum(connection.store, opened, margin, dry_run=dry_run)
        if done.files:
            rows.append({"table": name, "files": done.files, "size_bytes": done.bytes})
    frame.screen.rows(_COLUMNS, rows, nothing="there is nothing to remove")
    if rows and dry_run:
        frame.screen.note("nothing was removed: that is what would be")
