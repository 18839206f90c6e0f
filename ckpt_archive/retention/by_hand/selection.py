"""Which checkpoints of a run somebody means."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive.commit import catalog
from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checkpoints of a run are meant.

    Attributes:
        run: The run.
        first: From this step on; None: from the first.
        last: Up to this step; None: to the last.
        attempt: Of this attempt alone; None: of all.
        whole_run: All of them, the newest too.
    """

    run: str
    first: int | None = None
    last: int | None = None
    attempt: int | None = None
    whole_run: bool = False

    def __post_init__(self) -> None:
        if self.whole_run and (self.first, self.last, self.attempt) != (None, None, None):
            raise InvalidInputError(
                "the whole run and a part of it can not be meant at once", hint="Leave out --whole-run, or the other."
            )
        if self.first is not None and self.last is not None and self.first > self.last:
            raise InvalidInputError(
                f"there are no steps from {self.first} to {self.last}", hint=f"Write {self.last}-{self.first}."
            )

    def has(self, place: Place) -> bool:
        """Whether a checkpoint of the run is meant."""
        return (
            (self.first is None or place.step >= self.first)
            and (self.last is None or place.step <= self.last)
            and (self.attempt is None or place.attempt == self.attempt)
        )


def committed_places(store: Store, run: str) -> list[Place]:
    """The committed checkpoints of a run, oldest first.

    Raises:
        NotFoundError: If there is none.
    """
    found = sorted(catalog.places(store, run))
    if not found:
        raise NotFoundError(f"the run {run!r} has no committed checkpoint", hint="List runs: ckpt-archive ls")
    return found


def selected(committed: Sequence[Place], selection: Selection) -> list[Place]:
    """Those that are meant.

    Raises:
        NotFoundError: If there is none.
    """
    found = [place for place in committed if selection.has(place)]
    if not found:
        raise NotFoundError(
            f"no checkpoint of {selection.run} is meant", hint=f"List them: ckpt-archive ls {selection.run} --all"
        )
    return found
