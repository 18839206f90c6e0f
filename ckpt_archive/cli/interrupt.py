"""Ctrl-C ends a command at once: everything it does may be killed at any time, so there is nothing to wait for."""

import os
import signal
import sys
from types import FrameType

import click

from ckpt_archive import strictjson
from ckpt_archive.cli.exits import INTERRUPTED
from ckpt_archive.cli.verb import Frame

_GO_ON = ("agent", "drain", "push", "restore")
_GOES_ON = "run the same command again, it goes on where it was"
# It has processes to end and a folder to remove.
_CLEAN_UP = ("demo",)
_SHOW_CURSOR = b"\x1b[?25h"  # a bar has hidden it


def leave_at_once() -> None:
    """From now on, Ctrl-C says a line and ends the process, whatever its threads are waiting for."""
    # A shell that starts a job in the background lets it ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    context = click.get_current_context(silent=True)
    verb = context.info_name if context is not None else ""
    if verb in _CLEAN_UP:
        signal.default_int_handler(number, frame)
    hint = _GOES_ON if verb in _GO_ON else ""
    said = context.obj if context is not None else None
    if isinstance(said, Frame) and said.as_json:
        text = strictjson.encode({"error": {"kind": "interrupted", "message": "interrupted", "hint": hint}})
    else:
        text = b"interrupted" + (f": {hint}" if hint else "").encode() + b"\n"
        if sys.stderr.isatty():
            text = _SHOW_CURSOR + b"\n" + text
    # Not through `sys.stderr`, in which the signal may have met somebody; and no leave is taken of threads at work.
    os.write(2, text)
    os._exit(INTERRUPTED)
