"""`ckpt-archive index rebuild`."""

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.maintain.indexing import require_installed


@verb("rebuild", example="ckpt-archive index rebuild", exits=(3, 4, 5, 6))
def command(frame: Frame, /) -> None:
    """Make the index anew from the log.

    Reads every record that the log names. Readers see the old tables until each new one is whole.
    """
    require_installed("index rebuild")
    from ckpt_archive.index.rebuild import rebuild  # noqa: PLC0415  (its libraries may be missing)

    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    with frame.screen.progress() as progress:
        report = rebuild(machine, connection, progress=progress)
    frame.screen.result(str(report), {})
