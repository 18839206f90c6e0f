"""`ckpt-archive retention assign`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.parameters import attempt_option, run_argument
from ckpt_archive.cli.retention_parameters import counting_policy, policy_option, reason_option
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.retention.by_hand.assigning import NO_CLASS, assign
from ckpt_archive.settings import Environment


@verb(
    "assign",
    example=(
        'ckpt-archive retention assign llama-7b 1500 milestone --reason "released as v1"\n'
        f'ckpt-archive retention assign llama-7b 1500 {NO_CLASS} --reason "not released after all"'
    ),
    exits=(3, 4, 5, 6),
)
@run_argument
@click.argument("step", metavar="STEP", type=click.IntRange(min=0))
@click.argument("class_name", metavar="CLASS")
@attempt_option
@reason_option
@policy_option
def command(
    frame: Frame,
    /,
    *,
    run: str,
    step: int,
    class_name: str,
    attempt: int | None,
    reason: str,
    policy: str | None,
) -> None:
    """Give a checkpoint a class.

    CLASS is one of the policy's: of the one that --policy names, else of the one in force. It counts more than what the
    checkpoint was saved as, and than what the policy would choose; 'none' lets the policy choose again. An end that was
    announced for another class is taken back at once; what the new class means, the next 'ckpt-archive maintain' announces.
    """
    archive = Archive.open(frame.archive_url)
    connection = archive.connection
    said, _ = counting_policy(connection, policy)
    place = archive.find(run, step, attempt=attempt)
    assigned = assign(
        compose.system_machine(),
        connection,
        said,
        place,
        class_name,
        reason=reason,
        actor=Environment.read().actor,
    )
    now = f"class {assigned.after}" if assigned.after else "as the policy chooses"
    before = f" (before: {assigned.before})" if assigned.before not in ("", assigned.after) else ""
    ends = "; the end that was announced is taken back" if assigned.taken_back else ""
    row = {
        "run": place.run,
        "attempt": place.attempt,
        "step": place.step,
        "before": assigned.before,
        "class": assigned.after,
        "taken_back": assigned.taken_back,
    }
    frame.screen.result(f"{place}: {now}{before}{ends}", row)
