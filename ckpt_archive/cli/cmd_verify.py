"""`ckpt-archive verify`."""

from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import number_column, text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.parameters import attempt_option
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb

_COLUMNS = (
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    text_column("key"),
    text_column("path"),
    text_column("problem"),
)


@verb("verify", example="ckpt-archive verify llama-7b 1500 --deep", exits=(1, 3, 4, 6))
@click.argument("run", metavar="[RUN]", required=False)
@click.argument("step", metavar="[STEP]", required=False, type=click.IntRange(min=0))
@attempt_option
@click.option("--deep", is_flag=True, help="Read every byte; else records are read and objects looked up.")
def command(frame: Frame, /, run: str | None, step: int | None, attempt: int | None, deep: bool) -> int:
    """Check that what is archived is what was staged.

    Everything, one run, or one checkpoint. Prints what is wrong, and exits 1 if anything is. That data has ended as it was
    announced is not wrong.
    """
    if attempt is not None and run is None:
        raise click.UsageError("--attempt needs a RUN")
    archive = Archive.open(frame.archive_url)
    with frame.screen.progress() as progress:
        report = archive.verify(run, step=step, attempt=attempt, deep=deep, progress=progress)
    frame.screen.rows(_COLUMNS, [asdict(finding) for finding in report.findings])
    looked = f"{report.checkpoints} checkpoints, {report.objects} objects, {size_text(report.size_bytes)}"
    if report.ended:
        looked += f"; {report.ended} more have ended, of which the records alone were read"
    frame.screen.note(
        f"{looked}: {len(report.findings) or 'no'} findings"
        + ("" if deep else "; sizes and records were compared, use --deep to read every byte")
    )
    return FINDINGS if report.findings else 0
