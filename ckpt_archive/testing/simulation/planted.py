"""A mistake that is put into the running code for a while, by replacing functions; whole ones are patches in `mutants`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Replacement = tuple[Any, str, Callable[[Any], Any]]
"""(owner, attribute, what makes the new value of the old one)."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake.

    Attributes:
        name: Of it.
        replaced: What of the code is replaced.
    """

    name: str
    replaced: tuple[Replacement, ...]

    def __str__(self) -> str:
        return self.name


@contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """While the context lasts, the code makes that mistake."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in mistake.replaced]
    for (owner, name, make), (_, _, value) in zip(mistake.replaced, before, strict=True):
        setattr(owner, name, make(value))
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
