"""`ckpt-archive drop`."""

from datetime import datetime

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.asking import go_on
from ckpt_archive.cli.columns import number_column, text_column, time_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.parameters import run_argument
from ckpt_archive.cli.progress import size_text
from ckpt_archive.cli.retention_parameters import counting_policy, reason_option, steps_option
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand import dropping
from ckpt_archive.retention.by_hand.selection import Selection
from ckpt_archive.settings import Environment

_COLUMNS = (
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    text_column("outcome"),
    time_column("ends_at"),
)


@verb(
    "drop",
    example=(
        'ckpt-archive drop llama-7b --steps 100-900 --reason "diverged at step 80"\n'
        'ckpt-archive drop llama-7b-test --whole-run --reason "a test" --yes'
    ),
    exits=(1, 3, 4, 5, 6),
)
@run_argument
@steps_option
@click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="Only those of this attempt; else of all.")
@reason_option
@click.option("--whole-run", is_flag=True, help="All of the run, its newest ones too.")
@click.option("--yes", is_flag=True, help="Do it without a question.")
def command(
    frame: Frame,
    /,
    *,
    run: str,
    steps: tuple[int, int] | None,
    attempt: int | None,
    reason: str,
    whole_run: bool,
    yes: bool,
) -> int:
    """Let checkpoints end that nobody wants any more.

    They get the class 'trash': their data ends in seven days, or as the policy in force says, and until an hour before that
    'ckpt-archive undrop' takes it back. Their records stay for good. What is held is refused, and so are the newest ones of
    the run and the one that a launch would go on from, unless the whole run is dropped; then nothing at all is dropped.

    Nothing is deleted now. The bucket's rules do that when 'ckpt-archive maintain' has tagged what is dropped, and
    'ckpt-archive retention run' does where the store has no rules.
    """
    archive = Archive.open(frame.archive_url)
    connection = archive.connection
    machine = compose.system_machine()
    first, last = steps or (None, None)
    selection = Selection(run, first, last, attempt, whole_run=whole_run)
    policy, in_force = counting_policy(connection)
    found = dropping.look(machine, connection, policy, selection)
    if found.places:
        when = f" on {found.ends_at:%Y-%m-%d}" if found.ends_at else ""
        many = "1 checkpoint" if len(found.places) == 1 else f"{len(found.places)} checkpoints"
        question = f"The data of {many} of {run} ({size_text(found.size_bytes)}) will end{when}. Drop?"
        if not go_on(frame.screen, question, yes=yes):
            return FINDINGS
    dropped = dropping.drop(machine, connection, policy, selection, reason=reason, actor=Environment.read().actor)
    ends: list[tuple[Place, str, datetime | None]] = [
        (place, "dropped" if place in found.places else "dropped before", ends_at) for place, ends_at in dropped.places
    ]
    ends += [(place, "not yet", None) for place in dropped.left]
    rows = [
        {"run": place.run, "attempt": place.attempt, "step": place.step, "outcome": outcome, "ends_at": ends_at}
        for place, outcome, ends_at in ends
    ]
    frame.screen.rows(_COLUMNS, rows, nothing="All that is meant has ended already.")
    if dropped.left:
        frame.screen.note("Somebody else is busy with what is not dropped yet, or it has no data: say it again.")
    if dropped.places and not in_force:
        frame.screen.note(
            "No policy is in force here, so nobody will remove this data: ckpt-archive retention apply puts one into force."
        )
    return FINDINGS if dropped.left else 0
