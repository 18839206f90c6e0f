"""Where in a TOML text each key and value stands. `tomllib` reads the values, but does not say where it found them.

The text was read by `tomllib` before, so nothing is checked here that it has checked.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys, and positions in arrays: ``("classes", "daily", "transitions", 0, "after")``."""

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]*")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a key or value stands.

    Attributes:
        line: Counted from 1.
        raw: The value as it is written there; "" for a table's head.
    """

    line: int
    raw: str


def find_spots(text: str) -> Mapping[Path, Spot]:
    """The spot of every key of a valid TOML text: tables, arrays of tables, inline ones, dotted keys.

    Args:
        text: As it was given to `tomllib.loads`.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.scan()
    return scanner.spots


class _Scanner:
    def __init__(self, text: str) -> None:
        self.spots: dict[Path, Spot] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._lengths: dict[Path, int] = {}  # of arrays of tables

    def scan(self) -> None:
        table: Path = ()
        self._blank()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._head()
            else:
                self._pair(table)
            self._blank()

    def _head(self) -> Path:
        """The path of ``[a.b]`` or ``[[a.b]]``."""
        line = self._line_here()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        keys = self._key()
        self._at = self._text.index("]", self._at) + (2 if is_array else 1)
        path: Path = ()
        for number, key in enumerate(keys, start=1):
            path = (*path, key)
            self.spots.setdefault(path, Spot(line, ""))
            if is_array and number == len(keys):
                self._lengths[path] = self._lengths.get(path, 0) + 1
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
                self.spots.setdefault(path, Spot(line, ""))
        return path

    def _pair(self, table: Path) -> None:
        """``key = value``, wherever it stands."""
        line = self._line_here()
        keys = self._key()
        for number in range(1, len(keys)):
            self.spots.setdefault((*table, *keys[:number]), Spot(line, ""))
        path: Path = (*table, *keys)
        self._at = self._text.index("=", self._at) + 1
        self._blank()
        begin = self._at
        self._value(path)
        self.spots[path] = Spot(line, self._text[begin : self._at].strip())

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._blank()
            if found := _BARE_KEY.match(self._text, self._at):
                keys.append(found[0])
            else:
                found = self._quoted()
                keys.append(tomllib.loads(f"key = {found[0]}")["key"])
            self._at = found.end()
            self._blank()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        elif first in "\"'":
            self._at = self._quoted().end()
        else:
            found = _PLAIN.match(self._text, self._at)
            assert found is not None
            self._at = found.end()

    def _array(self, path: Path) -> None:
        self._at += 1
        self._blank()
        number = 0
        while self._text[self._at] != "]":
            line, begin = self._line_here(), self._at
            self._value((*path, number))
            self.spots[(*path, number)] = Spot(line, self._text[begin : self._at].strip())
            number += 1
            self._blank()
            if self._text[self._at] == ",":
                self._at += 1
                self._blank()
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        self._blank()
        while self._text[self._at] != "}":
            self._pair(path)
            self._blank()
            if self._text[self._at] == ",":
                self._at += 1
                self._blank()
        self._at += 1

    def _quoted(self) -> re.Match[str]:
        found = _TEXT.match(self._text, self._at)
        assert found is not None
        return found

    def _blank(self) -> None:
        """Go on to what is neither white space nor a comment."""
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line
