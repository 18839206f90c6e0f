"""The columns of tables: one name for heading and JSON key, and how a person reads the values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from ckpt_archive.cli.progress import size_text

Value = Any  # what a record may hold: a JSON value, a datetime, a tuple of them


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: The key with ``--json``, and the heading.
        show: How a person reads a value.
        numeric: Aligned to the right.
        spare: Left out where the terminal is too narrow for all columns; with ``--json`` and in a pipe it is always there.
    """

    name: str
    show: Callable[[Value], str] = str
    numeric: bool = False
    spare: bool = False


def text_column(name: str) -> Column:
    """Texts; nothing where there is none."""
    return Column(name, _or_nothing(str))


def digest_column(name: str) -> Column:
    """Digests; a person sees the first digits."""
    return Column(name, _or_nothing(lambda digest: str(digest)[:12]))


def key_column(name: str) -> Column:
    """Keys that end in a digest; a person sees how that begins."""
    return Column(name, _or_nothing(lambda key: f"…/{key.rpartition('/')[2][:12]}" if key else ""))


def number_column(name: str) -> Column:
    """Counts."""
    return Column(name, _or_nothing(str), numeric=True)


def size_column(name: str) -> Column:
    """Bytes, shown in binary units."""
    return Column(name, _or_nothing(size_text), numeric=True)


def time_column(name: str) -> Column:
    """Moments, shown to the second in UTC."""
    return Column(name, _or_nothing(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")))


def flag_column(name: str) -> Column:
    """Whether something is so: its name where it is."""
    return Column(name, lambda value: name if value else "")


def mapping_column(name: str) -> Column:
    """A few names with values."""
    return Column(
        name, _or_nothing(lambda members: " ".join(f"{key}={_brief(members[key])}" for key in sorted(members)))
    )


def spare(column: Column) -> Column:
    """The same column, to be left out where the terminal is too narrow."""
    return replace(column, spare=True)


def _brief(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _or_nothing(show: Callable[[Value], str]) -> Callable[[Value], str]:
    return lambda value: "" if value is None else show(value)
