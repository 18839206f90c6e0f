"""`ckpt-archive retention drift`."""

from dataclasses import asdict

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.retention_parameters import policy_option, read_policy
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.retention.plans.drift import What, find_drift
from ckpt_archive.retention.plans.lacking import lacking

_COLUMNS = (text_column("what"), text_column("subject"), text_column("text"))


@verb(
    "retention drift",
    example="ckpt-archive retention drift\nckpt-archive retention drift --tags",
    exits=(1, 3, 4, 6),
)
@policy_option
@click.option("--tags", is_flag=True, help="Read the tags of all objects that are said to be tagged: a request each.")
def command(frame: Frame, /, policy: str | None, tags: bool) -> int:
    """Compare the bucket with the policy, both ways.

    Prints what is not as the policy says: rules that are missing, changed, broader or left over; another policy in force;
    checkpoints that were announced as what they are not, or are held and announced all the same. Rules of others are named
    and left alone; what the store can not do is told and is no drift. Exits 1 if anything is printed.

    Reads the manifest of every checkpoint that has not ended.
    """
    connection = Archive.open(frame.archive_url).connection
    chosen = read_policy(policy)
    report = find_drift(compose.system_machine(), connection, chosen, tags=tags)
    frame.screen.rows(_COLUMNS, [asdict(item) for item in report.differences])
    if report.foreign:
        frame.screen.note(f"not ours, and left alone: {', '.join(report.foreign)}")
    for text in (*report.limits, *lacking(chosen, connection.bucket)):
        frame.screen.note(text)
    if report.due:
        # Maintenance carries out the policy in force, and nothing where there is none.
        other = any(item.what is What.POLICY for item in report.differences)
        who = "`ckpt-archive retention apply`" if other else "the next pass of maintenance"
        frame.screen.note(f"{_count(report.due, 'checkpoint')} will be announced, tagged or ended by {who}")
    objects = f", the tags of {_count(report.objects, 'object')}" if tags else ""
    found = _count(len(report.differences), "difference") if report.differences else "no differences"
    frame.screen.note(f"{_count(report.checkpoints, 'checkpoint')}{objects}: {found}")
    return FINDINGS if report.differences else 0


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
