"""`ckpt-archive index reconcile`."""

from dataclasses import asdict

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop
from ckpt_archive.log.reconcile import reconcile


@verb("reconcile", example="ckpt-archive index reconcile", exits=(1, 3, 4, 6))
def command(frame: Frame, /) -> int:
    """Look for records that no marker has told of.

    Lists every manifest, launch, decision and event, and seals in the log what it does not hold. Needed after markers have
    expired unseen, or were lost; the index has what was found after the next sync. Exits 1 if there was any.
    """
    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    with Stop() as stop:
        report = reconcile(
            connection.store,
            machine.executor,
            connection.archive_id,
            machine.node,
            go_on=lambda: not stop(),
            read_back=True,
        )
    frame.screen.result(
        f"{report.listed} records, {report.sealed} of them were not in the log, {report.findings} findings",
        asdict(report),
    )
    if not report.is_complete:
        frame.screen.note("it was stopped before the end: what was sealed stays, the next one begins anew")
    return FINDINGS if report.sealed or report.findings else 0
