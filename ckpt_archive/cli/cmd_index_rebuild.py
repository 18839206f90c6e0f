"""`ckpt-archive index rebuild`."""

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed


@verb("rebuild", example="ckpt-archive index rebuild", exits=(3, 4, 5, 6))
def command(frame: Frame, /) -> None:
    """Make the index anew from the log.

    Reads every record that the log names. Readers see each old table until the new one is whole; the old files stay until a
    vacuum removes them.
    """
    require_installed("index rebuild")
    from ckpt_archive.index.rebuild import rebuild  # noqa: PLC0415  (loads the libraries)

    connection = Archive.open(frame.archive_url).connection
    with frame.screen.progress("batches") as progress:
        report = rebuild(
            connection.store,
            compose.system_machine(),
            connection.archive_id,
            compose.location_of(connection),
            progress=progress,
        )
    rows = sum(report.rows.values())
    frame.screen.result(
        f"{report.entries} records of {report.number} batches: {rows} rows",
        {
            "number": report.number,
            "entries": report.entries,
            "rows": dict(report.rows),
            "renewed": list(report.renewed),
        },
    )
