"""Exit codes, and how a failure is told: what happened, to what, what to do next."""

import errno
from collections.abc import Mapping
from types import MappingProxyType

import click

from ckpt_archive.cli import printable
from ckpt_archive.errors import CapacityError, CkptArchiveError, InvalidInputError, MistakesError
from ckpt_archive.strictjson import Json

FINDINGS = 1
USAGE = 2
CAPACITY = 7
# What a shell reports for a process ended by SIGINT or SIGPIPE.
INTERRUPTED = 130
READER_GONE = 141

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        0: "fine",
        1: "something was found",
        2: "usage: the request itself is wrong",
        3: "the store is unavailable or denies",
        4: "integrity: bytes are not what they should be",
        5: "conflict: something else stands there already",
        6: "not found",
        7: "no room or no time left",
    }
)

KINDS: Mapping[int, str] = MappingProxyType(
    {
        1: "error",
        2: "usage",
        3: "unavailable",
        4: "integrity",
        5: "conflict",
        6: "not-found",
        7: "capacity",
    }
)


def from_click(error: click.ClickException) -> CkptArchiveError:
    """A misuse of the command line in our own words."""
    command = (
        error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "ckpt-archive"
    )
    return InvalidInputError(error.format_message().rstrip("."), hint=f"See '{command} --help'.")


def from_os(error: OSError) -> CkptArchiveError:
    """What the operating system refused, where nobody closer knew what to make of it."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CapacityError(what, hint="Free space there, or use another folder.")
    return InvalidInputError(what, hint="Check the path and its permissions.")


def describe(error: CkptArchiveError, *, as_json: bool) -> str:
    """The lines that go to stderr."""
    if as_json:
        members: dict[str, Json] = {
            "kind": KINDS[error.exit_code],
            "message": error.message,
            "hint": error.hint,
        }
        return printable.document({"error": members})
    if isinstance(error, MistakesError):
        lines = [f"error: {printable.lines(error.message)}"]
    else:
        lines = [f"error: {printable.line(error.message)}"]
    if error.hint:
        lines.append(f"       {printable.line(error.hint)}")
    return "\n".join(lines) + "\n"
