"""The bytes of a checkpoint for this process, from the ring or from the archive; what is asked for was chosen before."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ckpt_archive.commit.connection import Connection
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.local.faults import converting
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Progress
from ckpt_archive.restore.archived import fetch_archived, fetch_newest_good, restore_archived, restore_newest_good
from ckpt_archive.restore.choice import LocalPoint
from ckpt_archive.restore.landing import OccupiedError, clear, names_in
from ckpt_archive.restore.local_view import ring_points, shares_of
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.ringed import restore_from_ring, serve_in_place
from ckpt_archive.restore.selection import Selection
from ckpt_archive.restore.step import candidates
from ckpt_archive.transfer.settings import TransferSettings

Find = Callable[[int | str, int | None], Place]
"""Finds a committed checkpoint by step or name, and attempt."""

_log = logging.getLogger(__name__)

_RESUMED = "resumed"
# Older ones may be in the way too, and others may be at it.
_MOST_CLEARED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that was restored, and where it was found: in the ring, the archive, or both.

    Attributes:
        restored: It.
        point: In the ring, if it came from there.
        place: In the archive, if it is known there.
    """

    restored: Restored
    point: LocalPoint | None
    place: Place | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """Brings checkpoints to where they are wanted.

    Attributes:
        machine: The machine it runs on.
        run: The run's staging.
        connect: Connects to the archive, patiently: bytes are worth waiting for.
        transfer: Sizes and limits.
        to: The folder in which the checkpoint's folder is made; None to use the ring in place, or a folder beside it.
        selection: Which files.
        progress: Told how far it is.
    """

    machine: Machine
    run: RunStaging
    connect: Callable[[], Connection]
    transfer: TransferSettings
    to: str | None = None
    selection: Selection = field(default_factory=Selection)
    progress: Progress | None = None

    def from_point(self, point: LocalPoint) -> Restored:
        """A checkpoint of the ring.

        Raises:
            IntegrityError: If it is damaged.
            NotFoundError: If it was evicted meanwhile, or no file matches.
        """
        with self.run.reading():
            shares = shares_of(self.run, point)
            if not shares:
                raise NotFoundError(f"step {point.step} is not in the ring any more", hint="Resume again.")
            if self.to is None and len(shares) == 1 and self.selection.everything:
                return serve_in_place(self.machine, shares[0], point)
            launch = f"local{point.launch}" if point.attempt is None else str(point.attempt)
            # What this node has of a checkpoint is another tree than the whole of it.
            part = "" if len(shares) == shares[0].seal.contribution.writers else "-here"
            path = join(self._folder, f"{self.run.name}-{launch}-{point.step}{part}{self.selection.suffix}")
            return self._in_own_folder(
                lambda: restore_from_ring(self.machine, shares, point, path, self.selection, self.transfer)
            )

    def from_archive(self, place: Place, *, fallback: bool = False) -> Restored:
        """What a launch goes on from, of the archive; with `fallback` the next older one that is not damaged, if it is.

        Whether it is over is only asked for if something is missing: a thousand ranks resume at once, and what answers
        "latest" does not end.

        Raises:
            NotFoundError: If it is not committed, or no file matches, or it is over.
            IntegrityError: If it is damaged.
            UnavailableError: If the store does not answer.
        """
        return self._bring(place, fetch_newest_good if fallback else fetch_archived)

    def _bring(self, place: Place, restore: Callable[..., Restored]) -> Restored:
        def path_of(chosen: Place) -> str:
            return join(self._folder, f"{chosen.run}-{chosen.attempt}-{chosen.step}{self.selection.suffix}")

        return self._in_own_folder(
            lambda: restore(self.machine, self.connect(), place, path_of, self.selection, self.progress)
        )

    def _in_own_folder(self, restore: Callable[[], Restored]) -> Restored:
        """Where nobody named a folder, what lies in the way is what was resumed from before, and something changed it."""
        for _ in range(_MOST_CLEARED):
            try:
                return restore()
            except OccupiedError as error:
                if self.to is not None:
                    raise
                _log.warning("%s: it is brought again", error.message)
                with converting(f"{error.path} can not be removed"):
                    clear(self.machine.fs, error.path)
        return restore()

    def find(
        self,
        step: int | str,
        attempt: int | None,
        find: Find,
        look: Callable[[], Connection],
        *,
        fallback: bool = False,
    ) -> Found:
        """A checkpoint by its step, of the newest attempt that has it, or "latest-archived".

        The ring's copy is preferred to the archive's of the same attempt; while the archive does not answer, the ring alone
        answers.

        Args:
            step: Step or name.
            attempt: Which attempt; None for the newest one.
            find: Asks the archive, patiently.
            look: Connects to it, not patiently: the ring has the step too.
            fallback: See `from_archive`.

        Raises:
            NotFoundError: If there is none, or it is over.
            InvalidInputError: If `step` is neither.
        """
        if not isinstance(step, int):
            if step not in ("latest", "latest-archived"):
                raise InvalidInputError(
                    f"the step {step!r} is not allowed", hint='Give a number, "latest" or "latest-archived".'
                )
            return self._found(find(step, attempt), fallback=fallback)
        # Nobody is given this node's part of a checkpoint as if it were the whole.
        here = ring_points(self.run, whole=self.selection.rank is None, late=True)
        points = [point for point in here if point.step == step and attempt in (None, point.attempt)]
        tried: list[LocalPoint | Place] = []
        if points:
            tried += candidates(self.run, points, step, look) if attempt is None else reversed(points)
        for choice in tried:
            if isinstance(choice, Place):
                return self._found(choice, fallback=fallback)
            try:
                return Found(self.from_point(choice), choice, None)
            except (IntegrityError, NotFoundError) as error:
                _log.error("step %d in the ring can not be used: %s", step, error)
        return self._found(find(step, attempt), fallback=fallback)

    def _found(self, place: Place, *, fallback: bool) -> Found:
        restored = self._bring(place, restore_newest_good if fallback else restore_archived)
        assert restored.attempt is not None
        return Found(restored, None, Place(place.run, restored.attempt, restored.step))

    def forget_others(self, kept: Restored) -> None:
        """Remove what was resumed from before, in our own folder: nobody needs it twice. Other ranks may be at it too."""
        if self.to is not None:
            return
        try:
            for name in names_in(self.machine.fs, self._folder):
                # Of the same step another rank may have other files.
                if name.removeprefix(f"{kept.run}-").split("-")[1:2] != [str(kept.step)]:
                    clear(self.machine.fs, join(self._folder, name))
        except OSError as error:
            _log.info("%s is tidied later: %s", self._folder, error)

    @property
    def _folder(self) -> str:
        return self.to if self.to is not None else join(self.run.folder, _RESUMED)
