"""Looks for the mutant that this process runs: in lives, until one breaks a promise.

This module is imported after the mutant was planted, so all that it imports is the mutant's.
"""

import itertools
import logging
import re
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from ckpt_archive.testing.simulation.exhaustive import Plan, exhaust, words
from ckpt_archive.testing.simulation.faults import Fault, Options
from ckpt_archive.testing.simulation.lives import life, options_of
from ckpt_archive.testing.simulation.mutants.mutant import CALM, WORDS, Mutant
from ckpt_archive.testing.simulation.search import run_life

_LONGEST = 3
_PLAN = Plan(in_turns=True)
_SIMULATION = Path(__file__).parents[1]
# What people do wrong themselves, or ask for too early, is told them also where nothing goes wrong.
_ALLOWED = frozenset({"UserError", "NotFoundError", "ConflictError", "CapacityError", "IntegrityError"})


@dataclass(frozen=True, slots=True)
class Found:
    """A life that a mutant does not survive.

    Attributes:
        seed: Of the life; of a word its number.
        lives: How many lives were run, that one included.
        judge: Which module of the simulation found it, or "a process" if one broke in the middle of its work.
        message: What it said.
    """

    seed: int
    lives: int
    judge: str
    message: str

    @property
    def says(self) -> str:
        """The message without what is of this life alone."""
        return general(self.message)


def hunt(mutant: Mutant, first: int, seeds: int) -> Found | None:
    """Run the lives of seeds, from `first` on, until one breaks a promise; None if none does."""
    logging.disable(logging.CRITICAL)
    if mutant.lives == WORDS:
        return _hunt_in_words(first, seeds)
    for seed in range(first, first + seeds):
        try:
            _live(mutant, seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the mutant did not survive it
            return Found(seed, seed + 1 - first, _judge(error), f"{type(error).__name__}: {error}")
    return None


def _hunt_in_words(first: int, count: int) -> Found | None:
    lives = 0
    for number, word in enumerate(itertools.islice(words(_LONGEST), first, first + count), start=first):
        totals = exhaust(word, _PLAN)
        lives += totals.lives
        if totals.violations:
            return Found(number, lives, "words", totals.violations[0].what)
    return None


def is_fine(mutant: Mutant, seed: int) -> bool:
    """Whether the code that this process runs breaks no promise in that life; or in those of a word."""
    if mutant.lives == WORDS:
        return _hunt_in_words(seed, 1) is None
    try:
        _live(mutant, seed)
    except Exception:  # noqa: BLE001 - whatever it is, it is not the mutant's
        return False
    return True


def _live(mutant: Mutant, seed: int) -> None:
    if mutant.lives == CALM:
        _live_in_peace(seed)
    else:
        run_life(life, seed, _options(mutant, options_of(seed)))


def _options(mutant: Mutant, usual: Options) -> Options:
    changed = dict(mutant.options)
    if "faults" in changed:
        changed["faults"] = frozenset(Fault[name] for name in changed["faults"])
    return replace(usual, **changed)


def _live_in_peace(seed: int) -> None:
    world = run_life(life, seed, Options(), trace=True)
    for step in world.trace or ():
        told = step.kind.strip()
        if told.startswith("meets ") and told.split()[-1] not in _ALLOWED:
            raise AssertionError(f"nothing went wrong, and somebody {told}: {step.detail}")


def _judge(error: BaseException) -> str:
    """The module of the simulation that said so."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.parent == _SIMULATION and path.stem not in ("world", "scheduler", "process", "search"):
            return path.stem if isinstance(error, AssertionError) else "a process"
        if path.parent.name == "mutants":
            return "told of an error"
        if "ckpt_archive" in path.parts and path.parent != _SIMULATION:
            return "a process"
    return "a process"


_GENERAL = (
    (re.compile(r"Slot\([^)]*\)"), "a share"),
    (re.compile(r"\b(data|receipts|manifests|runs|log)/[^\s,;:]+"), r"\1/…"),
    (re.compile(r"/(nvme|home|out)\b[^\s,;:]*"), r"/\1/…"),
    (re.compile(r"\('run-[^)]*\)"), "a checkpoint"),
    (re.compile(r"\bRestored\(.*?\), (?=whose|from)"), "a checkpoint, "),
    (re.compile(r"\b(from|not from one of) [0-9a-f]{8}….*"), r"\1 what it should not"),
    (re.compile(r"\{.*\}|\[.*\]"), "…"),
    (re.compile(r"run-\d+(-\d+)?"), "a run"),
    (re.compile(r"'[^']*'"), "…"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "…"),
    (re.compile(r"\b\d+\b"), "n"),
)


def general(message: str) -> str:
    """A message without names and numbers, so that equal violations read alike."""
    message = message.removeprefix("AssertionError: ").partition("\n")[0]
    for pattern, instead in _GENERAL:
        message = pattern.sub(instead, message)
    return message if len(message) <= 110 else message[:109] + "…"
