"""What DuckDB says went wrong, in our words: whose fault it is, and what to do next."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

import duckdb

from ckpt_archive.errors import CapacityError, CkptArchiveError, IntegrityError, InvalidInputError, UnavailableError

Columns = Mapping[str, Collection[str]]
"""Names of columns by table."""

_PREFIX = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
_NO_COLUMN = re.compile(
    r"""(?:Referenced column|Column with name|(?:Values list|Table) "?\w*"? does not have a column named) "?([^" ]+)"?"""
)
_NO_TABLE = re.compile(r"(?:Table with name|Referenced table) \"?([^\" ]+)\"? ")
# The one thing that it says about a file without its name: what is at its end can not be understood.
_DAMAGED = "TProtocolException"
_NO_ROOM = "No space left on device"
_SEVERAL = 3


class VanishedError(UnavailableError):
    """Files of the index were replaced while they were read: the next snapshot has others."""


def vanished() -> VanishedError:
    """The error for files that are not there any more."""
    return VanishedError(
        "files of the index were removed while they were read",
        hint="Ask again. If this happens often, let `ckpt-archive index vacuum` keep files for longer; if it always does, "
        "run `ckpt-archive index rebuild`.",
    )


def converted(error: duckdb.Error, paths: Iterable[str], columns: Columns) -> CkptArchiveError:
    """Our error for one of DuckDB's.

    Args:
        error: DuckDB's.
        paths: What it calls the files of the index.
        columns: Of the tables that can be asked.
    """
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return CapacityError(
            "the question takes more memory than it may have", hint="Give it more with --memory, or ask for less."
        )
    if _NO_ROOM in text:
        return CapacityError("there is no room left for the file", hint="Free space there, or use another folder.")
    if _DAMAGED in text or any(path in text for path in paths):
        return IntegrityError(
            f"the index can not be read: {_first_line(text)}",
            hint="It can be made anew at any time: run `ckpt-archive index rebuild`.",
        )
    return InvalidInputError(_message(text), hint=_hint(text, columns))


def no_table(name: str, tables: Iterable[str]) -> InvalidInputError:
    """The error for a table that the index does not have."""
    near = _near(name, tables)
    guess = f"Did you mean {near}? " if near else ""
    return InvalidInputError(f"the index has no table {name!r}", hint=f"{guess}Tables: {', '.join(tables)}.")


def _hint(text: str, columns: Columns) -> str:
    if match := _NO_COLUMN.search(text):
        near = _near(match[1].rpartition(".")[2], sorted({name for names in columns.values() for name in names}))
        guess = f"Did you mean {near}? " if near else ""
        known = "; ".join(f"{table}: {', '.join(names)}" for table, names in columns.items())
        return f"{guess}Columns of {known}." if known else guess.strip()
    if match := _NO_TABLE.search(text):
        return no_table(match[1], columns).hint
    return "Tables and columns: `ckpt-archive index ddl`; questions that are ready to ask: `ckpt-archive query --list`."


def _near(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name.lower(), names, n=_SEVERAL, cutoff=0.5)
    return " or ".join(found)


def _message(text: str) -> str:
    """What DuckDB says, with the line at fault, without its guesses among its own tables."""
    kept = [
        line
        for line in _PREFIX.sub("", text).splitlines()
        if line.strip() and not line.startswith(("Candidate bindings:", "Did you mean", "Traceback", "  File"))
    ]
    return " ".join(" ".join(line.split()) for line in kept if set(line.strip()) != {"^"}).rstrip(".")


def _first_line(text: str) -> str:
    return _PREFIX.sub("", text.strip().splitlines()[0]).rstrip(".") if text.strip() else "no reason is given"
