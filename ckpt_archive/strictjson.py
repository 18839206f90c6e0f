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

NOTHING: Mapping[str, Json] = {}
"""The unknown members of an object that has none: one value for all, as there may be a million of them."""

MAX_RECORD_BYTES = 64 << 20
MAX_DEPTH = 16


def encode(value: Json) -> bytes:
    """The canonical bytes of a record: UTF-8, keys sorted, no spaces, a final newline.

    Raises:
        ValueError: If `value` holds NaN, an infinity, or half of a surrogate pair.
        TypeError: If it holds what JSON does not know.
    """
    return _ENCODER.encode(value).encode("utf-8") + b"\n"


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def check(value: Json) -> None:
    """Check that `decode` would take what `encode` makes of a record.

    Raises:
        ValueError: If it is nested too deeply, or holds half of a surrogate pair or a name that is no text.
    """
    _check_value(value, MAX_DEPTH)


def decode(data: bytes, what: str, *, limit_bytes: int = MAX_RECORD_BYTES) -> dict[str, Json]:
    """The JSON object in `data`.

    Args:
        data: UTF-8 bytes of one JSON object.
        what: What this is, for the error message: a key or a path.
        limit_bytes: Longer input is refused unread.

    Raises:
        IntegrityError: If it is not exactly one JSON object, has duplicate keys, numbers that are not finite, halves of
            surrogate pairs, more than 16 levels of nesting, or is too long.
    """
    if len(data) > limit_bytes:
        _refuse(what, f"it has {len(data)} bytes, more than the {limit_bytes} that such a record may have")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        check(value)
    except RecursionError:
        _refuse(what, _TOO_DEEP)
    except ValueError as error:
        raise IntegrityError(f"{what} is not a valid record: {brief(error)}", hint=_HINT) from error
    if not isinstance(value, dict):
        _refuse(what, "it is not a JSON object")
    return value


def parse(data: bytes) -> dict[str, Json]:
    """The JSON object in `data`, for whoever has to read very many: without the checks of `check`, which are his affair.

    Raises:
        ValueError: If it is not exactly one JSON object, has duplicate keys, or numbers that are not finite.
        RecursionError: If it is nested very deeply.
    """
    value = _DECODER.decode(data.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the value is wrong, not its use
    return value


_HINT = "It was damaged or was not written by ckpt-archive."
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
# What a record says is quoted in messages; two file names have room in them, megabytes have not.
_QUOTED_CHARACTERS = 3_000


def _refuse(what: str, problem: str) -> NoReturn:
    raise IntegrityError(f"{what} is not a valid record: {brief(problem)}", hint=_HINT)


def brief(problem: object) -> str:
    """As it may stand in a message."""
    text = str(problem)
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"duplicate key {name!r}")
            seen.add(name)
    return members


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"the number {text} is not finite")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _not_finite(text)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_finite)


def _check_value(value: Json, depth: int) -> None:
    """Raise `ValueError` for a value that is nested too deeply, or holds a text or a name that can not be written."""
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
        return
    if not isinstance(value, (dict, list, tuple)):
        return
    if depth == 0:
        raise ValueError(_TOO_DEEP)
    for item in value.values() if isinstance(value, dict) else value:
        _check_value(item, depth - 1)
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"the name {name!r} is not a text")  # noqa: TRY004 - the value is wrong, not its use
            _check_text(name)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half of a surrogate pair") from error


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
            raise IntegrityError(
                f"{self._what}: {name!r}: {brief(repr(text))} is not a time in UTC", hint=_HINT
            ) from error

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
        if self._members.keys() <= self._read:
            return NOTHING
        return {name: value for name, value in self._members.items() if name not in self._read}

    def peek(self, name: str) -> Json:
        """The member as it is, None if it is not there; unlike `has` this leaves it among the unknown ones."""
        return self._members.get(name)

    def refuse(self, problem: str) -> NoReturn:
        """Raise `IntegrityError` for this object."""
        _refuse(self._what, problem)

    def refuse_newer(self, problem: str) -> NoReturn:
        """Raise `InvalidInputError` for an object that only a newer release can read."""
        raise InvalidInputError(f"{self._what} needs a newer release: {problem}", hint="Upgrade ckpt-archive.")

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
            raise IntegrityError(f"{self._what}: {name!r}: {brief(error)}", hint=_HINT) from error
