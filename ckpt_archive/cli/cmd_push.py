"""`ckpt-archive push`."""

import os
from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.parameters import named_number, named_text
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb


@verb("push", example="ckpt-archive push out/checkpoint-1500 --run llama-7b --step 1500", exits=(3, 4, 5, 6))
@click.argument("directory", metavar="DIR")
@click.option("--run", required=True, metavar="RUN", help="The run it belongs to.")
@click.option("--step", required=True, type=click.IntRange(min=0), metavar="STEP", help="Its training step.")
@click.option("--rank", type=click.IntRange(min=0), default=0, metavar="N", help="Which writer this is, from 0.")
@click.option(
    "--writers", type=click.IntRange(min=1), default=1, metavar="N", help="How many writers contribute to it."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=named_number,
    metavar="NAME=NUMBER",
    help="A number to record; may be repeated.",
)
@click.option(
    "--label", "labels", multiple=True, type=named_text, metavar="NAME=TEXT", help="A text to record; may be repeated."
)
@click.option("--milestone", metavar="NAME", help="It is a milestone of that name, such as v1-rc1.")
@click.option("--class", "retention_class", metavar="CLASS", help="Its retention class; else the policy chooses.")
@click.option("--new-attempt", is_flag=True, help="Begin a new attempt of the run instead of going on with the last.")
def command(
    frame: Frame,
    /,
    directory: str,
    run: str,
    step: int,
    rank: int,
    writers: int,
    metrics: tuple[tuple[str, float], ...],
    labels: tuple[tuple[str, str], ...],
    milestone: str | None,
    retention_class: str | None,
    new_attempt: bool,
) -> None:
    """Archive one directory now.

    DIR is read in place. A push that was broken off goes on where it stopped; a repeated one sends nothing. With several
    writers the last one commits the checkpoint, and the others say which are awaited.
    """
    archive = Archive.open(frame.archive_url)
    with frame.screen.progress() as progress:
        report = archive.push(
            os.path.abspath(directory),
            run,
            step,
            rank=rank,
            writers=writers,
            metrics=dict(metrics),
            labels=dict(labels),
            new_attempt=new_attempt,
            milestone=milestone,
            retention_class=retention_class,
            progress=progress,
        )
    where = f"{report.run} step {report.step} (attempt {report.attempt})"
    if report.state == "awaiting":
        ranks = ", ".join(str(awaited) for awaited in report.awaiting)
        outcome = f"{where}: this share is archived; awaiting {'ranks' if len(report.awaiting) > 1 else 'rank'} {ranks}"
    else:
        outcome = f"{where}: {report.state.replace('-', ' ')}"
    sent = f"{report.files} files, {size_text(report.size_bytes)}; sent {size_text(report.bytes_sent)}"
    resumed = f", found {size_text(report.bytes_resumed)} from before" if report.bytes_resumed else ""
    frame.screen.result(f"{outcome} ({sent}{resumed} in {report.seconds:.1f} s)", asdict(report))
