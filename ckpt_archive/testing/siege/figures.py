"""What a siege came to."""

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Figures:
    """Counts and findings.

    Attributes:
        kills: SIGKILLs that ended a living process, by victim.
        freezes: SIGSTOPs, each with a SIGCONT later, by victim.
        moments: What the kills were timed by.
        mid_upload: Kills while a client was known to be in the middle of a body it sent, by victim.
        starts: Processes started, by role; of servers, those that were started again.
        ends: How processes ended that nobody killed: role and exit code.
        counts: Acknowledged, promoted, archived, pushed, restored, resumed, gaps.
        lost: Acknowledged or committed checkpoints that are not there, nor on record as a gap.
        wrong: Loads that gave wrong bytes or the wrong step, and did not say so.
        findings: Everything else that should not be: not drained, orphans, verify, doctor.
        sites: How many sites were besieged.
        seconds: How long it took.
    """

    kills: Counter[str] = field(default_factory=Counter)
    freezes: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    mid_upload: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    sites: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        """All kills."""
        return self.kills.total()

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.wrong or self.findings)

    def count_kill(self, victim: str, moment: str, *, mid_upload: bool = False) -> None:
        """Somebody was killed."""
        self.kills[victim] += 1
        self.moments[moment] += 1
        if mid_upload:
            self.mid_upload[victim] += 1

    def encode(self) -> str:
        """As JSON."""
        members: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return json.dumps(
            members | {"killed": self.killed, "lost_count": len(self.lost), "wrong_count": len(self.wrong)}
        )

    def text(self) -> str:
        """For people."""
        rows = [
            ("kills", f"{self.killed}: {_listed(self.kills)}"),
            ("timed by", _listed(self.moments)),
            ("mid-upload", f"{self.mid_upload.total()}: {_listed(self.mid_upload)}"),
            ("frozen", f"{self.freezes.total()}: {_listed(self.freezes)}"),
            ("started", _listed(self.starts)),
            ("ended alone", _listed(self.ends)),
            ("checkpoints", _listed(self.counts)),
            ("lost", str(len(self.lost))),
            ("silently wrong", str(len(self.wrong))),
            ("findings", str(len(self.findings))),
        ]
        told = [*(f"LOST  {item}" for item in self.lost), *(f"WRONG  {item}" for item in self.wrong)]
        told += [f"FOUND  {item}" for item in self.findings]
        return "\n".join(
            [
                f"{self.sites} sites besieged in {self.seconds:.0f} s",
                *(f"{name:<16}{value}" for name, value in rows),
                *told,
            ]
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
