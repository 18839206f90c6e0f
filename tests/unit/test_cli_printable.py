"""What others wrote may be anything; what a terminal and a program get of it may not."""

import json
import logging

import pytest

from ckpt_archive.cli import exits, printable
from ckpt_archive.cli.columns import text_column
from ckpt_archive.cli.output import Screen
from ckpt_archive.errors import IntegrityError

HOSTILE = "\x1b]0;title\x07 \x9b31m \u202e \x7f a\nb\tc \udcff"
SPELLED = r"\x1b]0;title\x07 \x9b31m \u202e \x7f a\nb\tc \udcff"


def test_can_a_stored_name_steer_the_terminal_or_make_a_second_row(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.rows([text_column("name"), text_column("other")], [{"name": HOSTILE, "other": "x"}])
    screen.note(HOSTILE)
    seen = capsys.readouterr()
    assert seen.out == f"{SPELLED}\tx\n"
    assert seen.err == f"{SPELLED}\n"


def test_can_an_error_or_a_warning_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits.describe(IntegrityError(HOSTILE, hint="Do."), as_json=False) == f"error: {SPELLED}\n       Do.\n"
    Screen().prepare_logging()
    handler = logging.getLogger("ckpt_archive").handlers[-1]
    shown = handler.format(logging.LogRecord("ckpt_archive", logging.WARNING, "", 0, "%s", ("\x1b[2J",), None))
    assert shown == r"WARNING \x1b[2J"
    capsys.readouterr()


def test_does_a_program_read_exactly_what_was_meant() -> None:
    text = printable.document({"name": HOSTILE, "é": "\U000e0001"})
    assert json.loads(text) == {"name": HOSTILE, "é": "\U000e0001"}
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert json.loads(exits.describe(IntegrityError(HOSTILE), as_json=True))["error"]["message"] == HOSTILE


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert printable.line("Größe 7 µs, 東京 🙂") == "Größe 7 µs, 東京 🙂"
    assert printable.lines("a\nb\x1b") == "a\nb\\x1b"
