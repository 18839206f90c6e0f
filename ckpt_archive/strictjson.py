"""JSON for stored records: one canonical spelling out, one strict and bounded reading in.

Python's own reader accepts duplicate keys, NaN and 1e999; a record that two readers understand differently could be
signed as one thing and restored as another, so all three are refused here. `Fields` reads members with checked types
and remembers which ones nobody asked for, so that unknown fields survive a round trip.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from ckpt_archive import clock
from ckpt_archive.errors import IntegrityError, InvalidInputError

Json = Any  # a JSON value: None, bool, int, float, str, list or dict with string keys
T = TypeVar("T")

MAX_RECORD_BYTES = 64 << 20
MAX_DEPTH = 16


def encode(value: Json) -> bytes:
    """The canonical bytes of a record: UTF-8, keys sorted, no spaces, a final newline.

    Raises:
        ValueError: If `value` holds NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def decode(data: bytes, what: str, *, limit_bytes: int = MAX_RECORD_BYTES) -> dict[str, Json]:
    """The JSON object in `data`.

    Args:
        data: UTF-8 bytes of one JSON object.
        what: What this is, for the error message: a key or a path.
        limit_bytes: Longer input is refused unread.

    Raises:
        IntegrityError: If it is not exactly one JSON object, has duplicate keys, numbers that are not finite, lone
            surrogates, more than 16 levels of nesting, or is too long.
    """
    if len(data) > limit_bytes:
        _refuse(what, f"it has {len(data)} bytes, more than the {limit_bytes} that such a record may have")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_finite
        )
    except RecursionError:
        _refuse(what, f"it is nested deeper than {MAX_DEPTH} levels")
    except ValueError as error:
        raise IntegrityError(f"{what} is not a valid record: {error}", hint=_HINT) from error
    if not isinstance(value, dict):
        _refuse(what, "it is not a JSON object")
    _check_value(value, what, MAX_DEPTH)
    return value


_HINT = "It was damaged or was not written by ckpt-archive."


def _refuse(what: str, problem: str) -> NoReturn:
    raise IntegrityError(f"{what} is not a valid record: {problem}", hint=_HINT)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(name for name in names if names.count(name) > 1)!r}")
    return members


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"the number {text} is not finite")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is not finite")
    return number


def _check_value(value: Json, what: str, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                _refuse(what, "a text holds half of a surrogate pair")
        return
    if not isinstance(value, (dict, list)):
        return
    if depth == 0:
        _refuse(what, f"it is nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        _check_value(item, what, depth - 1)
    if isinstance(value, dict):
        for name in value:
            _check_value(name, what, depth - 1)


class Fields:
    """Checked access to the members of one JSON object.

    Args:
        members: The object.
        what: Where it stands, for error messages.
    """

    def __init__(self, members: Json, what: str) -> None:
        if not isinstance(members, dict):
            _refuse(what, "expected an object")
        self._members: dict[str, Json] = members
        self._what = what
        self._read: set[str] = set()

    def text(self, name: str, check: Callable[[str], str] | None = None) -> str:
        """The text `name`, passed through `check` if given."""
        value: str = self._typed(name, str)
        return self._checked(name, value, check)

    def number(self, name: str, check: Callable[[int], int] | None = None) -> int:
        """The non-negative integer `name`, passed through `check` if given."""
        value: int = self._typed(name, int)
        if isinstance(value, bool) or not 0 <= value < 2**63:
            _refuse(self._what, f"{name!r} is not an integer from 0 to 2^63 - 1")
        return self._checked(name, value, check)

    def time(self, name: str) -> datetime:
        """The moment `name`, in the spelling of `clock.to_text`."""
        text = self.text(name)
        try:
            return clock.from_text(text)
        except ValueError as error:
            raise IntegrityError(f"{self._what}: {name!r}: {text!r} is not a time in UTC", hint=_HINT) from error

    def flag(self, name: str) -> bool:
        """The boolean `name`."""
        value: bool = self._typed(name, bool)
        return value

    def mapping(self, name: str) -> dict[str, Json]:
        """The object `name`, as it is."""
        value: dict[str, Json] = self._typed(name, dict)
        return value

    def items(self, name: str) -> list[Json]:
        """The array `name`, as it is."""
        value: list[Json] = self._typed(name, list)
        return value

    def objects(self, name: str) -> Iterator["Fields"]:
        """The array of objects `name`, each as `Fields`."""
        for index, item in enumerate(self.items(name)):
            yield Fields(item, f"{self._what}: {name}[{index}]")

    def has(self, name: str) -> bool:
        """Whether the member is there and not null; asking counts as knowing it."""
        self._read.add(name)
        return self._members.get(name) is not None

    def rest(self) -> Mapping[str, Json]:
        """The members that nobody asked for: fields of a newer writer, to be kept as they are."""
        return {name: value for name, value in self._members.items() if name not in self._read}

    def refuse(self, problem: str) -> NoReturn:
        """Raise `IntegrityError` for this object."""
        _refuse(self._what, problem)

    def _typed(self, name: str, kind: type) -> Json:
        if not self.has(name):
            _refuse(self._what, f"the field {name!r} is missing")
        value = self._members[name]
        if not isinstance(value, kind):
            _refuse(self._what, f"the field {name!r} is not of type {kind.__name__}")
        return value

    def _checked(self, name: str, value: T, check: Callable[[T], T] | None) -> T:
        if check is None:
            return value
        try:
            return check(value)
        except (InvalidInputError, ValueError) as error:
            raise IntegrityError(f"{self._what}: {name!r}: {error}", hint=_HINT) from error
