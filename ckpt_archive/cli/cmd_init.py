"""`ckpt-archive init`."""

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import text_column
from ckpt_archive.cli.parameters import archive_url
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.strictjson import Json

_COLUMNS = (text_column("name"), text_column("state"), text_column("meaning"))


@verb(
    "init", example="ckpt-archive init s3://bucket/prefix\nckpt-archive init file:///mnt/hdd/archive", exits=(3, 4, 5)
)
@click.argument("url", metavar="[URL]", required=False)
def command(frame: Frame, /, url: str | None) -> None:
    """Create an archive, and see what its store can do.

    May be repeated: an archive that is there stays as it is. The probe takes some seconds and leaves nothing behind.
    """
    archive = Archive.create(archive_url(url or frame.archive_url))
    report = archive.probe()
    rows: list[dict[str, Json]] = [
        {"name": item.name, "state": item.state.value, "meaning": item.meaning} for item in report.capabilities
    ]
    if frame.as_json:
        frame.screen.document([{"url": archive.url, "id": archive.id, "capabilities": rows}])
        return
    frame.screen.line(f"archive {archive.id} at {archive.url}")
    frame.screen.rows(_COLUMNS, rows)
    frame.screen.note(f"Next: export CKPT_ARCHIVE_URL={archive.url}")
