"""The record of a launch: written once when a launch begins, it numbers the attempt and says where it goes on from.

A value and its spelling. How a number is won is in `launch`, what the newest one answers in `latest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.errors import IntegrityError
from ckpt_archive.names import check_attempt, check_run_name, check_step, check_writers
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers "latest" while an attempt has no checkpoint of its own.

    Attributes:
        attempt: An earlier attempt.
        step: The step somebody chose; None for the newest one of that attempt.
    """

    attempt: int
    step: int | None


@dataclass(frozen=True, slots=True)
class Launch:
    """The record of a launch.

    Attributes:
        archive_id: The archive it belongs to.
        run: Run name.
        attempt: Its number, counted from 0.
        launch_key: Shared by all writers of the launch, and by no other launch.
        writers: How many writers it has.
        started_at: When it began, by its own clock; it may have been recorded much later.
        resume_from: Where it went on from, perhaps a checkpoint that only a local disk had; None from nothing.
        explicit: Whether somebody chose that (a roll-back), rather than taking the latest.
        falls_back_to: What answered "latest" when it was recorded: the explicit choice, or the newest attempt that had a
            checkpoint then; None for nothing. Of a late launch: the newest attempt that was not late, which answers instead.
        late: Whether it was recorded after it had ended while a later launch was there: it never answers "latest".
        policy: SHA-256 of the retention policy in force; "" for none.
        labels: Texts the run was given.
        branch: The newest attempt, up to this one, whose start was chosen explicitly; 0 if none was. No attempt before it
            answers "latest" any more.
        unknown: Members written by a newer release.
    """

    archive_id: str
    run: str
    attempt: int
    launch_key: str
    writers: int
    started_at: datetime
    resume_from: Place | None
    explicit: bool
    falls_back_to: Fallback | None
    late: bool
    policy: str = ""
    labels: Mapping[str, Json] = field(default_factory=dict)
    branch: int = 0
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "run": self.run,
            "attempt": self.attempt,
            "launch_key": self.launch_key,
            "writers": self.writers,
            "started_at": clock.to_text(self.started_at),
            "resume_from": None if self.resume_from is None else self.resume_from.to_json(),
            "explicit": self.explicit,
            "falls_back_to": _fallback_to_json(self.falls_back_to),
            "late": self.late,
            "policy": self.policy,
            "labels": dict(self.labels),
            "branch": self.branch,
        }
        return record.encode("launch", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Launch":
        """Read a record that may come from anybody.

        Raises:
            IntegrityError: If it is malformed or inconsistent in itself.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("launch", data, what)
        launch = cls(
            archive_id=fields.text("archive"),
            run=fields.text("run", check_run_name),
            attempt=fields.number("attempt", check_attempt),
            launch_key=fields.text("launch_key"),
            writers=fields.number("writers", check_writers),
            started_at=fields.time("started_at"),
            resume_from=Place.from_json(Fields(fields.mapping("resume_from"), f"{what}: resume_from"))
            if fields.has("resume_from")
            else None,
            explicit=fields.flag("explicit"),
            falls_back_to=_fallback_from_json(Fields(fields.mapping("falls_back_to"), f"{what}: falls_back_to"))
            if fields.has("falls_back_to")
            else None,
            late=fields.flag("late"),
            policy=fields.text("policy"),
            labels=fields.mapping("labels"),
            branch=fields.number("branch", check_attempt),
        )
        problem = launch._problem()
        if problem:
            fields.refuse(problem)
        return replace(launch, unknown=fields.rest())

    def check_key(self, run: str, attempt: int) -> "Launch":
        """Itself, if it is the record of that attempt.

        Raises:
            IntegrityError: If it says that it is another one.
        """
        if (self.run, self.attempt) != (run, attempt):
            raise IntegrityError(
                f"the record of {run} attempt {attempt} says that it is of {self.run} attempt {self.attempt}",
                hint="Somebody copied or renamed objects of the archive: put them back.",
            )
        return self

    def _problem(self) -> str:
        if self.writers < 1 or not self.launch_key:
            return "a launch has a key and at least one writer"
        fallback = self.falls_back_to
        # Every step back leads to an earlier attempt, so looking for the latest always ends.
        if fallback is not None and fallback.attempt >= self.attempt:
            return f"attempt {self.attempt} falls back to attempt {fallback.attempt}, which is not an earlier one"
        if self.branch > self.attempt:
            return (
                f"attempt {self.attempt} lies on a branch that begins with attempt {self.branch}, which is a later one"
            )
        if self.late and (fallback is None or fallback.step is not None):
            return "it is late and does not name the attempt that answers instead"
        return ""


def _fallback_to_json(fallback: Fallback | None) -> Json:
    if fallback is None:
        return None
    return {"attempt": fallback.attempt, **({} if fallback.step is None else {"step": fallback.step})}


def _fallback_from_json(fields: Fields) -> Fallback:
    step = fields.number("step", check_step) if fields.has("step") else None
    return Fallback(fields.number("attempt", check_attempt), step)
