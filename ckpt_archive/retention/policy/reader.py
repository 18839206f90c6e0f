"""Reads tables of a policy file member by member, and gathers whatever is wrong: line, key, and what would be right."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ckpt_archive.retention.policy.lines import Path, Spot

T = TypeVar("T")

_QUOTED_CHARACTERS = 80

# In this order: what is true is an integer too.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a decimal number"),
    (str, "a text"),
    (dict, "a table"),
    (list, "an array"),
)


class Mistakes:
    """What is wrong in a file.

    Args:
        name: The file's, for messages.
        spots: Where its keys stand.
    """

    def __init__(self, name: str, spots: Mapping[Path, Spot]) -> None:
        self._name = name
        self._spots = spots
        self._found: list[tuple[int, str]] = []

    def add(self, path: Path, problem: str, right: str) -> None:
        """Note a mistake at a key."""
        spot = self._spot(path)
        key = _dotted(path)
        raw = " ".join(spot.raw.split())
        if len(raw) > _QUOTED_CHARACTERS:
            raw = f"{raw[:_QUOTED_CHARACTERS]}…"
        what = f"{key} = {raw}" if raw else key
        self._found.append((spot.line, f"{self._name}:{spot.line}: {f'{what}: ' if what else ''}{problem}; {right}"))

    def texts(self) -> tuple[str, ...]:
        """All of them in the order of the lines, each once."""
        return tuple(dict.fromkeys(text for _, text in sorted(self._found, key=lambda found: found[0])))

    def _spot(self, path: Path) -> Spot:
        while path and path not in self._spots:
            path = path[:-1]
        return self._spots.get(path, Spot(1, ""))


class Table:
    """The members of one table.

    Args:
        mistakes: Takes what is wrong.
        path: Where the table stands.
        members: It.
        known: The keys that it may have.
    """

    def __init__(self, mistakes: Mistakes, path: Path, members: Mapping[str, object], known: Sequence[str]) -> None:
        self.mistakes = mistakes
        self.path = path
        self._members = members
        for key in members:
            if key not in known:
                mistakes.add((*path, key), "this key is not known", f"write {nearest(key, known)}")

    def has(self, key: str) -> bool:
        """Whether the member is there."""
        return key in self._members

    def wrong(self, key: str, problem: str, right: str) -> None:
        """Note a mistake at a member, or at the table if the member is not there."""
        self.mistakes.add((*self.path, key) if key in self._members else self.path, problem, right)

    def text(self, key: str, right: str, fallback: str = "") -> str:
        """A text."""
        value = self._members.get(key, fallback)
        if isinstance(value, str):
            return value
        self.wrong(key, f"{kind(value)} stands where a text belongs", right)
        return fallback

    def choice(self, key: str, allowed: Sequence[str], fallback: str) -> str:
        """One of a few texts."""
        value = self._members.get(key, fallback)
        if isinstance(value, str) and value in allowed:
            return value
        if isinstance(value, str):
            self.wrong(key, "that is none of the possible values", f"write {nearest(value, allowed, quoted=True)}")
        else:
            self.wrong(key, f"{kind(value)} stands where a text belongs", f"write {nearest('', allowed, quoted=True)}")
        return fallback

    def count(self, key: str, fallback: T, right: str) -> int | T:
        """An integer from 1 on."""
        if key not in self._members:
            return fallback
        value = self._members[key]
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, f"{kind(value)} stands where an integer belongs", right)
        elif not 1 <= value <= 10**12:
            self.wrong(key, "the number must be from 1 to 10^12", right)
        else:
            return value
        return fallback

    def measured(self, key: str, read: Callable[[object], int], fallback: T) -> int | T:
        """A time or a size, as `read` understands it."""
        if key not in self._members:
            return fallback
        try:
            return read(self._members[key])
        except ValueError as error:
            problem, _, right = str(error).partition("; ")
            self.wrong(key, problem, right)
            return fallback

    def flag(self, key: str) -> bool:
        """Yes or no; no if it is not there."""
        value = self._members.get(key, False)
        if not isinstance(value, bool):
            self.wrong(key, f"{kind(value)} stands where true or false belongs", f"write {key} = true")
        return value is True

    def raw(self, key: str) -> object:
        """Whatever stands there; None for nothing."""
        return self._members.get(key)

    def table(self, key: str, known: Sequence[str], right: str) -> "Table | None":
        """A table within; None if there is none."""
        value = self._members.get(key)
        if value is None:
            return None
        return as_table(self.mistakes, (*self.path, key), value, known, right)


def as_table(mistakes: Mistakes, path: Path, value: object, known: Sequence[str], right: str) -> Table | None:
    """A value as a table; a mistake and None if it is something else."""
    if isinstance(value, dict):
        return Table(mistakes, path, value, known)
    mistakes.add(path, f"{kind(value)} stands where a table belongs", right)
    return None


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    return next((name for type_, name in _KINDS if isinstance(value, type_)), "a date or time")


def similar(word: str, allowed: Iterable[str]) -> str | None:
    """The most similar one of some words; None if none is similar."""
    by_folded = {item.casefold().replace("-", "_"): item for item in allowed}
    found = difflib.get_close_matches(word.casefold().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def nearest(word: str, allowed: Iterable[str], *, quoted: bool = False) -> str:
    """The most similar one of the words that are allowed; else all of them."""
    words = list(allowed)
    found = similar(word, words)
    texts = [f'"{item}"' if quoted else item for item in ([found] if found else words)]
    if not texts:
        return "nothing there"
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part if part and part.replace("-", "").replace("_", "").isalnum() and part.isascii() else f'"{part}"'
            text += f".{bare}" if text else bare
    return text
