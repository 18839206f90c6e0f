"""`ckpt-archive retention release`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.holds import case_option, held_place, reason_option, row_of, what
from ckpt_archive.cli.parameters import attempt_option, run_argument
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.retention.by_hand.holding import release
from ckpt_archive.settings import Environment


@verb(
    "retention release",
    example="ckpt-archive retention release llama-7b 1500 --case ABC-1 --reason 'settled'",
    exits=(3, 6),
)
@run_argument
@click.argument("step", metavar="[STEP]", required=False, type=click.IntRange(min=0))
@attempt_option
@case_option
@reason_option
def command(frame: Frame, /, run: str, step: int | None, attempt: int | None, case: str, reason: str) -> None:
    """Take a hold back.

    Give the same RUN and STEP as when it was held. What is held for another case stays held. Nothing ends by this: from
    the next pass of maintenance on its class counts again, and an end is announced as always.
    """
    archive = Archive.open(frame.archive_url)
    place = held_place(archive, run, step, attempt)
    machine = compose.system_machine()
    report = release(machine, archive.connection, run, place, case, reason, Environment.read().actor)
    others = f"; it stays held for {' and '.join(report.others)}" if report.others else ""
    native = f", {report.objects} objects by the bucket itself" if report.is_native else ""
    frame.screen.result(f"{what(report)} is released for {report.case}{native}{others}", row_of(report))
