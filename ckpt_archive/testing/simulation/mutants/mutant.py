"""A mutant: a mistake as a patch of the product's sources, read from its file below `catalog/`. No product code is imported.

A patch is old text and new text. Old text that does not stand in its file exactly once is an error, so that patches are kept
up with the code.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[3]
"""The folder of the package `ckpt_archive`."""

CATALOG = Path(__file__).parent / "catalog"
"""One folder for each room of the product, one file for each mutant."""

USUAL, CALM, WORDS = "usual", "calm", "words"
LIVES = (USUAL, CALM, WORDS)
"""Lives as the soak draws them; those in which nothing goes wrong, so that nobody may be told of an error; words of up to
three operations, each broken off everywhere."""


class PatchError(Exception):
    """A patch does not fit the sources."""


@dataclass(frozen=True, slots=True)
class Change:
    """`old` becomes `new` in one file.

    Attributes:
        file: Relative to the package.
        old: Stands there exactly once.
        new: What takes its place.
    """

    file: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """The module's full name."""
        return ".".join([PACKAGE.name, *self.file.removesuffix(".py").split("/")])


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake.

    Attributes:
        name: Room and file, such as ``seal/files-not-synced``.
        mistake: What a careless engineer would do.
        cost: What would come of it.
        changes: The patch.
        lives: In which lives it is looked for: one of `LIVES`; "" if by tests alone.
        options: What goes wrong in those lives, where they differ from the usual ones; by name.
        tests: Tests that find it, where lives do not, or only seldom.
        why_not_lives: Why they do not.
        equivalent: Why it breaks no promise, if it breaks none.
    """

    name: str
    mistake: str
    cost: str
    changes: tuple[Change, ...]
    lives: str = USUAL
    options: Mapping[str, Any] = field(default_factory=dict)
    tests: tuple[str, ...] = ()
    why_not_lives: str = ""
    equivalent: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def room(self) -> str:
        """The part of the product that it is in."""
        return self.name.partition("/")[0]

    @property
    def path(self) -> Path:
        """Its file."""
        return CATALOG / f"{self.name}.toml"

    def sources(self) -> dict[str, str]:
        """The patched source of every module that it changes, by the module's name.

        Raises:
            PatchError: If old text does not stand in its file exactly once.
        """
        patched: dict[str, str] = {}
        for change in self.changes:
            before = patched.get(change.module) or (PACKAGE / change.file).read_text(encoding="utf-8")
            count = before.count(change.old)
            if count != 1 or change.old == change.new:
                raise PatchError(
                    f"{self.name}: its old text stands {count} times in {change.file}, not once: keep {self.path} up with "
                    f"the code\n{change.old}"
                )
            patched[change.module] = before.replace(change.old, change.new)
        return patched


def load(name: str) -> Mutant:
    """The mutant of that name."""
    with (CATALOG / f"{name}.toml").open("rb") as file:
        fields = tomllib.load(file)
    look = fields.pop("look", {})
    changes = tuple(Change(**change) for change in fields.pop("change"))
    tests = tuple(look.pop("tests", ()))
    lives = look.pop("lives", "" if tests or "equivalent" in fields else USUAL)
    mutant = Mutant(name, changes=changes, tests=tests, lives=lives, **look, **fields)
    if lives not in ("", *LIVES) or bool(lives or tests) == bool(mutant.equivalent):
        raise PatchError(f"{name}: it is looked for in one kind of lives, or by tests, or is equivalent")
    if bool(tests) != bool(mutant.why_not_lives):
        raise PatchError(f"{name}: what tests find says why lives do not")
    return mutant


def load_all() -> list[Mutant]:
    """All mutants, by room and name."""
    return [load(f"{path.parent.name}/{path.stem}") for path in sorted(CATALOG.glob("*/*.toml"))]
