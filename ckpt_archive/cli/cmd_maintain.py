"""`ckpt-archive maintain`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.steps import show_steps
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop
from ckpt_archive.maintain.report import StepReport


@verb("maintain", example="ckpt-archive maintain --budget 10m", exits=(1, 3, 4, 5, 6))
@click.option(
    "--budget",
    type=duration,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="When it is over, nothing more is begun: 90s, 10m, 1.5h.",
)
def command(frame: Frame, /, budget: float) -> int:
    """Do all that is to be done periodically, within a budget.

    Seals the log, finishes commits whose committer died, brings the index up to date, joins its small files and removes
    those that it does not name any more. Run it every few minutes, from cron, a timer or a CronJob. Any number may run at
    once, be killed anywhere, and be run again; what the budget does not reach is left for the next pass.
    """
    archive = Archive.open(frame.archive_url)
    machine = compose.system_machine()

    def told(step: StepReport) -> None:
        if frame.verbosity > 0:
            frame.screen.note(f"{step.step}: {step.did or step.problem or step.left or step.state.value}")

    with Stop() as stop:
        report = compose.maintain_once(
            machine,
            archive.connection,
            budget_seconds=budget,
            should_stop=stop,
            on_step=told,
        )
    return show_steps(frame.screen, report)
