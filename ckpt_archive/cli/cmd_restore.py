"""`ckpt-archive restore`."""

import os
from dataclasses import asdict

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.parameters import attempt_option, run_argument, step_choice
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.errors import EndedError, NotFoundError


@verb("restore", example="ckpt-archive restore llama-7b 1500 --to /nvme/resume", exits=(3, 4, 5, 6, 7))
@run_argument
@click.argument("step", metavar="[STEP]", required=False, type=step_choice)
@click.option(
    "--to", required=True, metavar="DIR", help="Becomes exactly the checkpoint's tree; must be empty or hold it."
)
@attempt_option
@click.option("--include", multiple=True, metavar="PATTERN", help="Only files whose path matches; may be repeated.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="Only what this writer contributed.")
@click.option("--staging", metavar="DIR", help="Use this node's ring where it holds all that is wanted.")
@click.option("--if-any", is_flag=True, help="Where the run has no checkpoint yet: print nothing, exit 0.")
@click.option("--fallback", is_flag=True, help="If the newest one is damaged, take the newest one that is not.")
def command(
    frame: Frame,
    /,
    run: str,
    step: int | str | None,
    to: str,
    attempt: int | None,
    include: tuple[str, ...],
    rank: int | None,
    staging: str | None,
    if_any: bool,
    fallback: bool,
) -> None:
    """Fetch a checkpoint and verify every byte.

    STEP is a number, 'latest' (the default) or 'latest-archived'. A restore that was broken off goes on where it stopped;
    DIR appears when everything in it was verified.
    """
    archive = Archive.open(frame.archive_url)
    try:
        with frame.screen.progress() as progress:
            restored = archive.restore(
                run,
                step,
                to=os.path.abspath(to),
                attempt=attempt,
                include=include,
                rank=rank,
                staging=staging,
                fallback=fallback,
                exact_folder=True,
                progress=progress,
            )
    except EndedError:
        # Not "no checkpoint yet": whoever begins anew over a run that had some is to know it.
        raise
    except NotFoundError:
        if not if_any or _has_any(archive, run):
            raise
        if frame.as_json:
            frame.screen.document([])
        return
    attempt_text = "" if restored.attempt is None else f" (attempt {restored.attempt})"
    kept = f", {size_text(restored.bytes_kept)} was there" if restored.bytes_kept else ""
    frame.screen.result(
        f"{restored.run} step {restored.step}{attempt_text} from the {restored.source} in {restored.path}: {restored.files}"
        f" files, {size_text(restored.size_bytes)}{kept}, {'verified' if restored.verified else 'not verified yet'}",
        asdict(restored),
    )


def _has_any(archive: Archive, run: str) -> bool:
    try:
        return bool(archive.checkpoints(run))
    except NotFoundError:
        return False
