"""How the steps of a pass are shown, and what they come to for a script."""

from ckpt_archive.cli.columns import number_column, text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.output import Screen
from ckpt_archive.maintain.report import MaintainReport

_COLUMNS = (text_column("step"), text_column("state"), text_column("did"))
_SELDOM = (text_column("left"), text_column("problem"), number_column("findings"))


def show_steps(screen: Screen, report: MaintainReport) -> int:
    """Print a row for each step, with ``--quiet`` only for those that somebody should look at; the exit code.

    Raises:
        CkptArchiveError: The worst that a step has met. It goes before findings: what was found will be found again.
    """
    rows = [
        {
            "step": step.step,
            "state": step.state.value,
            "did": step.did,
            "left": step.left,
            "problem": step.problem,
            "findings": step.findings,
        }
        for step in report.steps
    ]
    if screen.verbosity < 0:
        rows = [row for row in rows if any(row[column.name] for column in _SELDOM)]
    # On a terminal what no step has is left out; whoever reads fields by their place always finds them there.
    seldom = [column for column in _SELDOM if not screen.is_terminal or any(row[column.name] for row in rows)]
    screen.rows((*_COLUMNS, *seldom), rows)
    error = report.worst_error()
    if error is not None:
        raise error
    return FINDINGS if report.findings else 0
