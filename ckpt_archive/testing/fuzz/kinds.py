"""What a kind of input is: how one is made, and what is done with it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Input = Any  # bytes, text, or a JSON value: so that it can be kept in a file


class Wrong(AssertionError):  # noqa: N818 - what it is
    """What was made of an input is not what may be made of it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input.

    Attributes:
        name: Of the kind.
        make: An input, from chance.
        take: Does with it what the product does: True if it was accepted, False if it was refused as it should be. Whatever
            it raises is a finding.
        weight: How many of a thousand inputs are of this kind.
    """

    name: str
    make: Callable[[random.Random], Input]
    take: Callable[[Input], bool]
    weight: int


def require(true: object, what: object) -> None:
    """Raise `Wrong` unless something is true."""
    if not true:
        raise Wrong(str(what))
