"""What commands print: a table on a terminal, tab-separated lines otherwise, one JSON document with ``--json``.

Results go to stdout, everything else to stderr. With ``--json`` stdout carries exactly one document and stderr nothing
but an error, so that both can be parsed.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ckpt_archive import clock
from ckpt_archive.cli import printable
from ckpt_archive.cli.columns import Column, Value
from ckpt_archive.cli.progress import PlainProgress
from ckpt_archive.clock import SystemClock
from ckpt_archive.progress import Progress
from ckpt_archive.strictjson import Json

if TYPE_CHECKING:
    from ckpt_archive.cli.terminal import Terminal

_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class Screen:
    """Where a command prints to.

    Args:
        as_json: One document on stdout.
        verbosity: -1 quiet, 0, 1 or more.
    """

    def __init__(self, *, as_json: bool = False, verbosity: int = 0) -> None:
        self.as_json = as_json
        self.verbosity = verbosity

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads the result on a terminal."""
        return not self.as_json and sys.stdout.isatty()

    def rows(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]], *, nothing: str = "") -> None:
        """Print a table; `nothing` is said to a person when it is empty."""
        if self.as_json:
            self.document(rows)
        elif not rows:
            self.note(nothing)
        elif sys.stdout.isatty():
            _terminal().table(columns, rows)
        else:
            for row in rows:
                click.echo("\t".join(_plain(row.get(column.name)) for column in columns))

    def document(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Print the one JSON document: a list of objects."""
        click.echo(printable.document([{name: _json(value) for name, value in row.items()} for row in rows]), nl=False)

    def result(self, text: str, row: Mapping[str, Value]) -> None:
        """Print what was done: a sentence for a person, `row` with ``--json``."""
        if self.as_json:
            self.document([row])
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """A line of the result, or several, for a person."""
        if not self.as_json:
            click.echo(printable.lines(text))

    def note(self, text: str) -> None:
        """Something a person wants to know, beside the result."""
        if text and not self.as_json and self.verbosity >= 0:
            click.echo(printable.line(text), err=True)

    @contextmanager
    def progress(self, unit: str = "") -> Iterator[Progress | None]:
        """A callback for long work: a bar on a terminal, a line now and then otherwise, None where nobody reads it.

        Args:
            unit: What is counted; "" for bytes.
        """
        if self.as_json or self.verbosity < 0:
            yield None
        elif sys.stderr.isatty():
            with _terminal().progress(unit) as callback:
                yield callback
        else:
            yield PlainProgress(SystemClock(), self.note, unit)

    def prepare_logging(self) -> None:
        """Let what this package logs go to stderr; others' logs could hold credentials and stay off."""
        logger = logging.getLogger("ckpt_archive")
        logger.setLevel(_LEVELS[max(-1, min(self.verbosity, 2))])
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(_PrintableLog("%(levelname)s %(message)s"))
            logger.addHandler(handler)


class _PrintableLog(logging.Formatter):
    """A message of the log may quote what others wrote."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return printable.lines(super().format(record))


def _terminal() -> "Terminal":
    from ckpt_archive.cli.terminal import Terminal  # noqa: PLC0415  (rich takes longer to load than most commands run)

    return Terminal()


def _json(value: Value) -> Json:
    if isinstance(value, datetime):
        return clock.to_text(value)
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _plain(value: Value) -> str:
    value = _json(value)
    if value is None:
        return ""
    return printable.line(value) if isinstance(value, str) else printable.document(value).rstrip("\n")
