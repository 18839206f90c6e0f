"""What found which mutant, kept as data, and as a table for people: `docs/mutants.md`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ckpt_archive.testing.simulation.mutants.mutant import CALM, PACKAGE, USUAL, WORDS, Mutant, load_all

FOUND = Path(__file__).parent / "found.json"
TESTS = "tests"
"""The judge of what tests have found."""

DOCUMENT = PACKAGE.parent / "docs" / "mutants.md"


@dataclass(frozen=True, slots=True)
class Finding:
    """What found a mutant.

    Attributes:
        seed: Of the life that broke a promise.
        lives: How many lives were run until then.
        judge: Which part of the simulation said so; "tests" if a test did.
        says: What it said, without names and numbers; of tests, their names.
    """

    seed: int
    lives: int
    judge: str
    says: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From what a worker answers, or from the record."""
        return cls(fields["seed"], fields["lives"], fields["judge"], fields["says"])

    def __str__(self) -> str:
        return f"seed {self.seed}, life {self.lives}, {self.judge}: {self.says}"


def load_found() -> dict[str, Finding]:
    """What is recorded, by the mutant's name."""
    if not FOUND.exists():
        return {}
    return {name: Finding.of(fields) for name, fields in json.loads(FOUND.read_text(encoding="utf-8")).items()}


def record(looked_for: Sequence[Mutant], found: Mapping[str, Finding]) -> None:
    """Write down what was found of the mutants that were looked for, those of others stay; and the document anew."""
    stay = {mutant.name for mutant in load_all()} - {mutant.name for mutant in looked_for}
    known = {name: finding for name, finding in load_found().items() if name in stay}
    merged = {name: asdict(finding) for name, finding in sorted({**known, **found}.items())}
    FOUND.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(), encoding="utf-8")


def document() -> str:
    """The text of `docs/mutants.md`."""
    mutants, found = load_all(), load_found()
    by_lives = [mutant for mutant in mutants if mutant.name in found and found[mutant.name].judge != TESTS]
    by_tests = [mutant for mutant in mutants if mutant.name in found and found[mutant.name].judge == TESTS]
    equivalent = [mutant for mutant in mutants if mutant.equivalent]
    median = sorted(found[mutant.name].lives for mutant in by_lives)[len(by_lives) // 2] if by_lives else 0
    counts = (
        f"{len(mutants)} mutants: {len(by_lives)} found by the simulation, {len(by_tests)} by tests alone, "
        f"{len(equivalent)} equivalent.\nHalf of those that the simulation finds are found by life {median}.\n"
    )
    lines = [_HEAD, counts]
    for room in dict.fromkeys(mutant.room for mutant in mutants):
        lines.append(f"## {room}\n\n| mutant | what somebody would do | found by | after |\n|---|---|---|---|")
        lines += [_row(mutant, found.get(mutant.name)) for mutant in mutants if mutant.room == room]
        lines.append("")
    return "\n".join(lines)


def _row(mutant: Mutant, finding: Finding | None) -> str:
    name = mutant.name.partition("/")[2]
    if mutant.equivalent:
        by, after = f"equivalent: {mutant.equivalent}", ""
    elif finding is None:
        by, after = "**not found**", ""
    elif finding.judge == TESTS:
        tests = ", ".join(f"`{test.rpartition('::')[2]}`" for test in mutant.tests)
        by, after = f"{tests}; lives: {mutant.why_not_lives}", "tests"
    else:
        by = f"{finding.judge}: {finding.says}"
        after = f"{finding.lives} {'life' if finding.lives == 1 else 'lives'}{_KINDS[mutant.lives]}"
        after += " with other faults" if mutant.options else ""
    return f"| {name} | {mutant.mistake} | {by.replace('|', '¦')} | {after} |"


_KINDS = {USUAL: "", CALM: " without faults", WORDS: " of words"}

_HEAD = """# Mutants

What would the simulation find? Each row is a mistake that somebody could make, kept as a small patch in
`ckpt_archive/testing/simulation/mutants/catalog/`, put into the real code in memory, and looked for in simulated lives, one
seed after the other. "After" says how many lives were needed. The code as it is breaks no promise in the life that found it.

    python -m ckpt_archive.testing.simulation.mutants seal/files-not-synced    # look for one, or for all
    python -m ckpt_archive.testing.simulation.mutants --record                 # look for all and write this page anew

`tests/simulation/test_planted.py` looks for every one of them in each run of the tests. What found it: `shelf` judges the
disks, `oracle` the store, `feed` the markers and events in it, `audit` how everything ends, `job`, `pushing` and `memory`
what people are told; `words` are workloads of up to three operations that break off everywhere; "a process" is one that
broke in the middle of its work.
What tests find anyway is looked for in 150 lives only; where those did not find it, the row says why.
"""
