"""`ckpt-archive index compact`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, text_column
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed

_COLUMNS = (text_column("table"), number_column("removed"), number_column("added"), number_column("rows"))


@verb("compact", example="ckpt-archive index compact", exits=(3, 4, 5, 6))
@click.option("--force", is_flag=True, help="Also where there are few small files.")
def command(frame: Frame, /, force: bool) -> None:
    """Join the small files of the index.

    Readers and syncs may go on meanwhile. The files that were joined stay until a vacuum removes them.
    """
    require_installed("index compact")
    from ckpt_archive.index.compaction import MANY_FILES, compact  # noqa: PLC0415  (loads the libraries)

    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    rows: list[dict[str, str | int]] = []
    for name, opened in compose.open_tables(connection).items():
        done = compact(connection.store, machine, opened, many=2 if force else MANY_FILES)
        if done.added:
            rows.append({"table": name, "removed": done.removed, "added": done.added, "rows": done.rows})
    frame.screen.rows(_COLUMNS, rows, nothing="no table has so many small files that joining them pays")
