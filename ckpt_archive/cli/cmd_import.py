"""`ckpt-archive import`."""

from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, size_column, text_column
from ckpt_archive.cli.verb import Frame, verb

_COLUMNS = (
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    text_column("state"),
    number_column("files"),
    size_column("size_bytes"),
    text_column("folder"),
)


@verb(
    "import",
    example="ckpt-archive import s3://bucket/old/llama --run llama-7b --steps 'checkpoint-{step}' --dry-run",
    exits=(3, 4, 5, 6),
)
@click.argument("url", metavar="URL")
@click.option("--run", required=True, metavar="RUN", help="The run they go to.")
@click.option(
    "--steps",
    default="checkpoint-{step}",
    show_default=True,
    metavar="PATTERN",
    help="What the folders are called; {step} stands for the step.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the log.")
@click.option("--dry-run", is_flag=True, help="Show what there is, and do nothing.")
def command(frame: Frame, /, url: str, run: str, steps: str, reason: str, dry_run: bool) -> None:
    """Adopt objects that are in the bucket already, in place.

    URL is the folder in which they lie, in the archive's own bucket (of a file archive: below its folder). Every byte is
    read once for its digest; nothing is copied, moved or tagged, and retention leaves it alone. From then on 'restore' and
    'verify' treat it as any other checkpoint. Repeating goes on where it stopped, and reads nothing again that is archived.
    """
    archive = Archive.open(frame.archive_url)
    with frame.screen.progress() as progress:
        adopted = [
            asdict(item)
            for item in archive.adopt(url, run, steps=steps, reason=reason, dry_run=dry_run, progress=progress)
        ]
    frame.screen.rows(_COLUMNS, adopted)
