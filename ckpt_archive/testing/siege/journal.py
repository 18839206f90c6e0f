"""What trainers said, and when: the record by which acknowledged checkpoints and right resumes are told.

A trainer writes a line *before* it begins a save and another *after* the block has returned, each synced to disk at once. So
what has a second line was acknowledged; what has only the first may be there or not.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

LAUNCH = "launch"
RESUMED = "resumed"
BEGUN = "begun"
ACKNOWLEDGED = "acknowledged"
NOT_STAGED = "not-staged"
WRONG = "wrong"

Line = dict[str, Any]
Save = tuple[str, int]
"""Launch and step."""


class Journal:
    """The lines of all trainers of a site.

    Args:
        path: Where they are.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def say(self, event: str, launch: str, **more: object) -> None:
        """Write a line, durable when this returns, and tell it to whoever listens on standard output."""
        line = json.dumps({"event": event, "launch": launch, **more}).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
            os.fsync(file)
        finally:
            os.close(file)
        os.write(1, line)

    def lines(self) -> list[Line]:
        """All of them; a last one that was torn is none."""
        try:
            with open(self.path, "rb") as file:
                return [json.loads(line) for line in file if line.endswith(b"\n")]
        except FileNotFoundError:
            return []


@dataclass(slots=True)
class Known:
    """What a number of lines say.

    Attributes:
        launches: In the order in which they began.
        acknowledged: In the order in which they were.
        open: Begun, and neither acknowledged nor refused so far.
    """

    launches: list[str] = field(default_factory=list)
    acknowledged: list[Save] = field(default_factory=list)
    open: set[Save] = field(default_factory=set)

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Known":
        """What these lines say."""
        known = cls()
        for line in lines:
            known.add(line)
        return known

    def add(self, line: Line) -> None:
        """One more line."""
        match line["event"]:
            case "launch":
                self.launches.append(line["launch"])
            case "begun":
                self.open.add((line["launch"], line["step"]))
            case "acknowledged" | "not-staged":
                save = (line["launch"], line["step"])
                self.open.discard(save)
                if line["event"] == ACKNOWLEDGED:
                    self.acknowledged.append(save)

    def newest(self, there: Iterable[Save] | None = None) -> Save | None:
        """The checkpoint that answers: the newest of the newest launch that has any, of `there` if given."""
        saves = set(self.acknowledged if there is None else there)
        for launch in reversed(self.launches):
            steps = [step for by, step in saves if by == launch]
            if steps:
                return launch, max(steps)
        return None

    def acceptable(self) -> set[Save | None]:
        """What a launch that looks now may go on from: what answers, or a save of which nobody was told that is newer."""
        answer = self.newest()
        order = {launch: at for at, launch in enumerate(self.launches)}
        age = (-1, -1) if answer is None else (order[answer[0]], answer[1])
        return {answer, *(save for save in self.open if (order[save[0]], save[1]) > age)}


def wrong_resumes(lines: Sequence[Line]) -> list[str]:
    """Every resume that did not go on from where it had to, told in words."""
    wrong = []
    began: dict[str, int] = {}
    for at, line in enumerate(lines):
        if line["event"] == LAUNCH:
            began[line["launch"]] = at
        elif line["event"] == RESUMED:
            # Others may have saved while it looked: whatever was right at some moment of that is.
            known = Known.of(lines[: began[line["launch"]]])
            known.launches.append(line["launch"])
            right = known.acceptable()
            for meanwhile in lines[began[line["launch"]] + 1 : at]:
                known.add(meanwhile)
                right |= known.acceptable()
            got = None if line["step"] is None else (line["from"], line["step"])
            if got not in right:
                wrong.append(f"launch {line['launch']} went on from {got}, right would have been one of {right}")
    return wrong
