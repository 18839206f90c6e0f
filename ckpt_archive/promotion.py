"""Which checkpoints go to the archive: a pure function of the step, or of the persisted number of saves of one writer.

Where there are many writers the rule must see nothing but the step: a writer that misses one save would otherwise promote
other steps than its peers for ever, and no checkpoint would ever be complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class Every:
    """Promote every `count`-th checkpoint.

    Args:
        count: 1 promotes all of them.
        save_every_steps: The trainer's save interval in steps. With it the rule is ``step // save_every_steps % count ==
            0``, the same on every writer; without it saves are counted, which one writer alone may do.

    Raises:
        InvalidInputError: If a number is not a positive integer.
    """

    count: int
    save_every_steps: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("count", self.count), ("save_every_steps", self.save_every_steps)):
            if value is None and name == "save_every_steps":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInputError(f"Every({name}={value!r}) is not allowed", hint="Use an integer from 1 on.")

    def check_writers(self, writers: int) -> None:
        """Refuse counting where there are several writers.

        Raises:
            InvalidInputError: If `writers` is above 1 and the rule counts saves; the hint shows what to write.
        """
        if writers > 1 and self.save_every_steps is None and self.count > 1:
            raise InvalidInputError(
                f"Every({self.count}) counts saves, which {writers} writers can not do alike",
                hint=f"Write Every({self.count}, save_every_steps=…) with your save interval in steps.",
            )

    def ordinal(self, step: int, saves: int) -> int:
        """Which promotion this is, counted from 0 or 1; only meaningful where `promotes` says yes."""
        number = saves if self.save_every_steps is None else step // self.save_every_steps
        return number // self.count

    def promotes(self, step: int, saves: int) -> bool:
        """Whether the checkpoint of `step`, the `saves`-th save of the run (from 1), goes to the archive."""
        if self.save_every_steps is None:
            return saves % self.count == 0
        return step % self.save_every_steps == 0 and step // self.save_every_steps % self.count == 0

    def to_json(self, step: int, saves: int, milestone: str = "") -> Mapping[str, Json]:
        """The reason as it stands in seals and receipts; empty if the checkpoint stays local.

        Args:
            step: Training step.
            saves: Which save of the run it is, from 1.
            milestone: Its name, if it is one: then it is promoted whatever this rule says.
        """
        members: dict[str, Json] = {}
        if self.promotes(step, saves):
            members = {"rule": "every", "count": self.count, "ordinal": self.ordinal(step, saves)}
            if self.save_every_steps is not None:
                members["save_every_steps"] = self.save_every_steps
        return {**members, **milestone_reason(milestone)} if milestone else members


def milestone_reason(name: str) -> Mapping[str, Json]:
    """Why a milestone goes to the archive, as it stands in seals and receipts."""
    return {"rule": "milestone", "name": name}
