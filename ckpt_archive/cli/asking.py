"""Asking before something is done that costs money or can not be undone."""

import sys

import click

from ckpt_archive.cli.output import Screen
from ckpt_archive.errors import InvalidInputError


def go_on(screen: Screen, question: str, *, yes: bool) -> bool:
    """Whether to go on: what ``--yes`` says, else the person at the terminal; no is a good answer.

    Raises:
        InvalidInputError: If there is neither.
    """
    if yes:
        return True
    if screen.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInputError(
            f"{question} Nobody is there to answer, so nothing was done", hint="Say --yes to do it without a question."
        )
    if click.confirm(question, default=False, err=True):
        return True
    screen.note("Nothing was done.")
    return False
