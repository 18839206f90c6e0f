"""What the verbs `retention hold` and `retention release` share."""

from collections.abc import Mapping

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import Value
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import Report

case_option = click.option(
    "--case", required=True, metavar="ID", help="The case: 1 to 64 letters, digits, '.', '_' and '-'."
)
reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why, for whoever asks in some years.")


def held_place(archive: Archive, run: str, step: int | None, attempt: int | None) -> Place | None:
    """The checkpoint that is meant; None for the whole run.

    Raises:
        InvalidInputError: If an attempt is given and no step.
        NotFoundError: If it is not committed.
    """
    if step is None:
        if attempt is not None:
            raise InvalidInputError("an attempt can not be held as a whole", hint="Give a STEP, or hold the run.")
        return None
    return archive.find(run, step, attempt=attempt)


def what(report: Report) -> str:
    """What was held or released."""
    if report.place is not None:
        return str(report.place)
    return f"the run {report.run} with {report.checkpoints} checkpoints"


def row_of(report: Report) -> Mapping[str, Value]:
    """For ``--json``."""
    place = report.place
    return {
        "run": report.run,
        "attempt": None if place is None else place.attempt,
        "step": None if place is None else place.step,
        "case": report.case,
        "checkpoints": report.checkpoints,
        "objects": report.objects,
        "native": report.is_native,
        "taken_back": [item.to_json() for item in report.taken_back],
        "over": [item.to_json() for item in report.over],
        "gone": [
            {**item.place.to_json(), "missing": item.missing, "objects": item.objects, "reason": item.reason}
            for item in report.gone
        ],
        "others": report.others,
    }
