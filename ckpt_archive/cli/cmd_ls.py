"""`ckpt-archive ls`."""

from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import (
    digest_column,
    flag_column,
    mapping_column,
    number_column,
    size_column,
    spare,
    text_column,
    time_column,
)
from ckpt_archive.cli.verb import Frame, verb

_RUNS = (
    text_column("run"),
    number_column("newest_attempt"),
    number_column("newest_step"),
    time_column("committed_at"),
    size_column("size_bytes"),
)
_CHECKPOINTS = (
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    time_column("committed_at"),
    size_column("size_bytes"),
    spare(mapping_column("metrics")),
    spare(text_column("state")),
    spare(time_column("ends_at")),
    spare(text_column("retention_class")),
    spare(flag_column("held")),
    spare(number_column("writers")),
    spare(number_column("files")),
    spare(mapping_column("labels")),
    spare(digest_column("manifest_sha256")),
)


# On a terminal that is too narrow for all, what ends or is held is more than how good it is.
_ENDING_FIRST = tuple(sorted(_CHECKPOINTS, key=lambda column: column.name == "metrics"))


@verb("ls", example="ckpt-archive ls llama-7b", exits=(3, 4, 6))
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="Only this attempt.")
@click.option("--all", "ended", is_flag=True, help="Also those whose data has ended, as announced.")
def command(frame: Frame, /, run: str | None, attempt: int | None, ended: bool) -> None:
    """List runs, or the checkpoints of a run.

    Only what is committed is listed, the newest first; 'state' says whether its end is announced, 'ends_at' when that is.
    Where the output is no terminal, each row is one line, its columns separated by tabs, sizes in bytes.
    """
    if run is None and (attempt is not None or ended):
        raise click.UsageError(f"{'--all' if ended else '--attempt'} needs a RUN")
    archive = Archive.open(frame.archive_url)
    if run is None:
        runs = [asdict(summary) for summary in archive.runs()]
        frame.screen.rows(_RUNS, runs, nothing=f"{archive.url} holds no checkpoints yet.")
    else:
        listed = archive.checkpoints(run, attempt=attempt, ended=ended)
        marked = frame.screen.is_terminal and any(info.ends_at is not None or info.held for info in listed)
        frame.screen.rows(_ENDING_FIRST if marked else _CHECKPOINTS, [asdict(info) for info in listed])
        ends = [info.ends_at for info in listed if info.state == "ending" and info.ends_at is not None]
        if ends:
            frame.screen.note(
                f"{len(ends)} of these end{'s' if len(ends) == 1 else ''}, the first on {min(ends):%Y-%m-%d}"
            )
