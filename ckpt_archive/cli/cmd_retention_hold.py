"""`ckpt-archive retention hold`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.holds import case_option, held_place, reason_option, row_of, what
from ckpt_archive.cli.parameters import attempt_option, run_argument
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.retention.by_hand.holding import Report, hold
from ckpt_archive.settings import Environment

_MOST_SHOWN = 10


@verb(
    "retention hold",
    example="ckpt-archive retention hold llama-7b 1500 --case ABC-1 --reason 'claim of Smith'\n"
    "ckpt-archive retention hold llama-7b --case ABC-1 --reason 'claim of Smith'",
    exits=(1, 3, 4, 6),
)
@run_argument
@click.argument("step", metavar="[STEP]", required=False, type=click.IntRange(min=0))
@attempt_option
@case_option
@reason_option
def command(frame: Frame, /, run: str, step: int | None, attempt: int | None, case: str, reason: str) -> int:
    """Keep a run or a checkpoint, whatever its class, until it is released.

    Without STEP the run is held, with all checkpoints that it has and will have. An end that was announced is taken back.
    Where the bucket has Object Lock, every object gets a legal hold too, against everybody; what is committed to the run
    later gets it within a day. Several cases may hold the same; doing it again does no harm.

    Costs a small object and an event, a few requests per checkpoint, with Object Lock one per object; and up to a minute
    where somebody is tagging the run. Exits 1 if the hold came too late for something, or something is missing.
    """
    archive = Archive.open(frame.archive_url)
    place = held_place(archive, run, step, attempt)
    machine = compose.system_machine()
    report = hold(machine, archive.connection, run, place, case, reason, Environment.read().actor)
    frame.screen.result(_sentence(report), row_of(report))
    for place in report.over[:_MOST_SHOWN]:
        frame.screen.note(f"{place}: its end had come before: what is left stays, and it is not listed")
    for item in report.gone[:_MOST_SHOWN]:
        missing = f"{item.missing} of {item.objects} objects are missing: " if item.missing else ""
        frame.screen.note(f"{item.place}: {missing}{item.reason}")
    return FINDINGS if report.gone or report.over else 0


def _sentence(report: Report) -> str:
    native = (
        f", {report.objects} objects by the bucket itself"
        if report.is_native
        else "; the bucket has no Object Lock, so nobody else is kept from deleting it"
    )
    taken_back = f"; {len(report.taken_back)} announced ends were taken back" if report.taken_back else ""
    late = f"; {len(report.over)} had ended before" if report.over else ""
    gone = f"; of {len(report.gone)} something is missing" if report.gone else ""
    return f"{what(report)} is held for {report.case}{native}{taken_back}{late}{gone}"
