"""A launch finds out where it goes on from, records it, and gets the bytes: once per launch, the same for all its ranks.

A single writer proves what it was given before it records that it goes on from there, so a damaged checkpoint never becomes
the recorded one. Many writers record first: the launch's record in the archive is the one answer they all follow; or they
exchange what their nodes hold (`agree`) and compute the same answer.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import Standing, standing
from ckpt_archive.commit.launch import Launch, LaunchRequest, Resumption, open_launch
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, join
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import (
    LocalLaunch,
    Resume,
    load_launches,
    read_attempt,
    read_resume,
    record_attempt,
    record_resume,
)
from ckpt_archive.local.ring import SealedShare, complete_groups, scan
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Progress
from ckpt_archive.restore.archived import restore_archived, restore_newest_good
from ckpt_archive.restore.choice import LocalPoint, Origin, PastLaunch, choose, choose_offline
from ckpt_archive.restore.exchange import CommonPoint, Offer, OfferedPoint, settle
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.ringed import restore_from_ring, serve_in_place
from ckpt_archive.restore.selection import Selection
from ckpt_archive.ship.numbering import number_launch, resume_place
from ckpt_archive.transfer.settings import TransferSettings

Find = Callable[[int | str, int | None], Place]
"""Finds a committed checkpoint by step or name, and attempt."""

_log = logging.getLogger(__name__)

Agree = Callable[[list[Any], Any], object]
"""As ``torch.distributed.all_gather_object``: fills the list with what every rank gave, in the order of ranks."""


@dataclass(frozen=True, slots=True)
class Resumer:
    """What a resume needs to know.

    Attributes:
        machine: The machine it runs on.
        run: The run's staging.
        launch: The launch that resumes.
        connect: Connects to the archive, not patiently.
        transfer: Sizes and limits.
        to: The folder in which the checkpoint's folder is made; None to use the ring in place, or a folder beside it.
        selection: Which files.
        fallback: Whether an older checkpoint may be taken if the newest is damaged.
        progress: Told how far it is.
    """

    machine: Machine
    run: RunStaging
    launch: LocalLaunch
    connect: Callable[[], Connection]
    transfer: TransferSettings
    to: str | None = None
    selection: Selection = field(default_factory=Selection)
    fallback: bool = False
    progress: Progress | None = None

    def resume(self) -> Restored | None:
        """The checkpoint that this launch goes on from; None if there is none yet.

        Raises:
            IntegrityError: If it is damaged, and no older one may be taken.
            UnavailableError: If the archive does not answer and this node can not tell alone.
        """
        decided = read_resume(self.run, self.launch.ordinal)
        if decided is not None:
            return self._follow(decided)
        if self.launch.writers > 1:
            return self._resume_together()
        try:
            connection = self.connect()
            self._number_earlier(connection)
            stands = standing(connection.store, self.run.name)
        except UnavailableError as error:
            _log.warning("the archive does not answer, resuming from this node alone: %s", error)
            return self._resume_alone(choose_offline(self.points(), self._past()), None)
        return self._resume_alone(choose(self.points(), stands), (connection, stands))

    def resume_agreed(self, agree: Agree, rank: int) -> Restored | None:
        """As `resume`, for many ranks at once: what every rank's node holds counts, and all compute the same answer.

        Args:
            agree: Exchanges one value of each rank.
            rank: Which one this is.

        Raises:
            UnavailableError: If rank 0 can not reach the archive, and the ranks have nothing in common.
        """
        mine = self._offer(rank)
        offers: list[Any] = [None] * self.launch.writers
        agree(offers, mine)
        answer = settle(offers)
        if isinstance(answer, CommonPoint):
            point = answer.among(mine)
            place = None if point.attempt is None else Place(self.run.name, point.attempt, point.step)
            record_resume(self.run, self.launch.ordinal, place, False, "ring", (point.launch, point.step))
            return self.from_point(point)
        record_resume(self.run, self.launch.ordinal, answer, False, "archive" if answer else "")
        return None if answer is None else self.from_archive(self.connect(), answer)

    def _offer(self, rank: int) -> Offer:
        keys = {launch.ordinal: launch.launch_key for launch in load_launches(self.run)}
        held = {(share.launch, share.step) for share in scan(self.run) if share.rank == rank}
        points = tuple(
            OfferedPoint(keys[point.launch], point)
            for point in self.points()
            if (point.launch, point.step) in held and point.launch in keys
        )
        stands: Standing | None = None
        if rank == 0:
            try:
                connection = self.connect()
                self._number_earlier(connection)
                stands = standing(connection.store, self.run.name)
            except UnavailableError as error:
                _log.warning("the archive does not answer, the ranks decide alone: %s", error)
        return Offer(points, tuple(self._past()), stands)

    def fetch(self, step: int | str, attempt: int | None, find: Find) -> Restored:
        """A checkpoint by step or by name; a launch that has neither saved nor resumed yet goes on from it.

        Args:
            step: A step, "latest" or "latest-archived".
            attempt: Which attempt; None for the newest that has the step.
            find: Finds it in the archive.

        Raises:
            NotFoundError: If there is none.
            InvalidInputError: If `step` is neither.
        """
        if isinstance(step, int):
            restored, place, point = self.choose_step(step, attempt, find)
        elif step == "latest" and attempt is None:
            own = [point for point in self.points(own=True) if point.launch == self.launch.ordinal]
            if own:
                return self.from_point(own[-1])
            found = self.resume()
            if found is None:
                raise NotFoundError(
                    f"the run {self.run.name!r} has no checkpoint yet", hint="Use resume(), which says None."
                )
            return found
        elif step in ("latest", "latest-archived"):
            place, point = find(step, attempt), None
            restored = self.from_archive(self.connect(), place)
        else:
            raise InvalidInputError(
                f"the step {step!r} is not allowed", hint='Give a number, "latest" or "latest-archived".'
            )
        if self._has_not_begun():
            self._record_choice(point or place, self._connection_if_any(), explicit=isinstance(step, int))
        return restored

    def choose_step(
        self, step: int, attempt: int | None, find: Find
    ) -> tuple[Restored, Place | None, LocalPoint | None]:
        """A checkpoint by its step, from the ring if it is there and good; also where it stands there and in the archive."""
        local = [
            point
            for point in self.points(own=True)
            if point.step == step and (attempt is None or point.attempt == attempt)
        ]
        for point in reversed(local):
            try:
                return self.from_point(point), self._place_of(point), point
            except (IntegrityError, NotFoundError) as error:
                _log.error("step %d in the ring is damaged and not used: %s", step, error)
        place = find(step, attempt)
        return self.from_archive(self.connect(), place), place, None

    def from_point(self, point: LocalPoint) -> Restored:
        """A checkpoint of the ring.

        Raises:
            IntegrityError: If it is damaged.
            NotFoundError: If it was evicted meanwhile.
        """
        with self.run.reading():
            shares = self._shares(point)
            if not shares:
                raise NotFoundError(f"step {point.step} is not in the ring any more", hint="Resume again.")
            if self.to is None and len(shares) == 1 and self.selection.everything:
                return serve_in_place(self.machine, shares, point)
            name = (
                f"{self.run.name}-{point.attempt if point.attempt is not None else f'local{point.launch}'}-{point.step}"
            )
            path = join(self._folder(), name + self.selection.suffix)
            return restore_from_ring(self.machine, shares, point, path, self.selection, self.transfer)

    def from_archive(self, connection: Connection, place: Place) -> Restored:
        """A checkpoint of the archive."""

        def path_of(chosen: Place) -> str:
            return join(self._folder(), f"{chosen.run}-{chosen.attempt}-{chosen.step}{self.selection.suffix}")

        restore = restore_newest_good if self.fallback else restore_archived
        restored = restore(self.machine, connection, place, path_of, self.selection, self.progress)
        if self.to is None:
            self._remove_older(restored.path)
        return restored

    def points(self, *, own: bool = False) -> list[LocalPoint]:
        """Complete checkpoints of earlier launches in the ring, oldest first; late launches have none that count.

        Args:
            own: Also those of this launch.
        """
        shares = scan(self.run)
        found = []
        for launch, step in reversed(complete_groups(shares, keep_local=len(shares) + 1)):
            known = read_attempt(self.run, launch)
            earlier = launch < self.launch.ordinal or (own and launch == self.launch.ordinal)
            if earlier and not (known is not None and known.late):
                found.append(LocalPoint(launch, None if known is None else known.attempt, step))
        return found

    def record(
        self, connection: Connection, place: Place | None, point: LocalPoint | None, *, explicit: bool
    ) -> Launch:
        """Make the launch's record in the archive, and note beside the ring what it says."""
        launch = open_launch(
            connection.store,
            LaunchRequest(
                archive_id=connection.archive_id,
                run=self.run.name,
                launch_key=self.launch.launch_key,
                writers=self.launch.writers,
                started_at=self.launch.started_at,
                labels=self.launch.labels,
                policy=self.launch.policy,
                ended=False,
                # A single writer's key is its own, and this is its first word: nobody can have recorded it before.
                maybe_recorded=self.launch.writers > 1,
            ),
            lambda _: Resumption(place, explicit=explicit),
        )
        source = "" if place is None else ("archive" if point is None else "ring")
        ring = None if point is None else (point.launch, point.step)
        record_resume(self.run, self.launch.ordinal, launch.resume_from, launch.explicit, source, ring)
        record_attempt(self.run, self.launch.ordinal, connection.archive_id, launch.attempt, launch.late)
        return launch

    def _resume_alone(
        self, choice: LocalPoint | Place | None, asked: tuple[Connection, Standing] | None
    ) -> Restored | None:
        """Prove the choice, then record it; what is damaged is said loudly, and passed over only where that is allowed."""
        damaged: set[LocalPoint] = set()
        restored: Restored | None = None
        while isinstance(choice, LocalPoint):
            try:
                restored = self.from_point(choice)
                break
            except (IntegrityError, NotFoundError) as error:
                _log.error("step %d in the ring is damaged and not used: %s", choice.step, error)
                damaged.add(choice)
                choice = self._instead(choice, damaged, asked, error)
        if isinstance(choice, Place):
            assert asked is not None
            restored = self.from_archive(asked[0], choice)
            # Another one, of this attempt or of the one it went on from, if that was damaged.
            choice = replace(choice, attempt=restored.attempt or 0, step=restored.step)
        self._record_choice(choice, None if asked is None else asked[0], explicit=False)
        return restored

    def _instead(
        self,
        choice: LocalPoint,
        damaged: set[LocalPoint],
        asked: tuple[Connection, Standing] | None,
        error: IntegrityError | NotFoundError,
    ) -> LocalPoint | Place | None:
        """The archive's copy of a damaged checkpoint, or an older one if that is allowed."""
        if asked is not None and choice.attempt is not None:
            place = Place(self.run.name, choice.attempt, choice.step)
            if self._is_archived(asked[0], place):
                return place
        if not self.fallback:
            raise error
        left = [point for point in self.points() if point not in damaged]
        return choose_offline(left, self._past()) if asked is None else choose(left, asked[1])

    def _is_archived(self, connection: Connection, place: Place) -> bool:
        try:
            load_manifest(connection.store, place)
        except NotFoundError:
            return False
        return True

    def _record_choice(
        self, choice: LocalPoint | Place | None, connection: Connection | None, *, explicit: bool
    ) -> None:
        point = choice if isinstance(choice, LocalPoint) else None
        place = choice if isinstance(choice, Place) else None
        try:
            if connection is not None:
                if point is not None:
                    place = place_of(connection, self.run, point)
                self.record(connection, place, point, explicit=explicit)
                return
        except UnavailableError as error:
            _log.warning("the launch is recorded later, by the agent: %s", error)
        source = "" if choice is None else ("ring" if point is not None else "archive")
        ring = None if point is None else (point.launch, point.step)
        record_resume(self.run, self.launch.ordinal, place, explicit, source, ring)

    def _has_not_begun(self) -> bool:
        if read_resume(self.run, self.launch.ordinal) is not None:
            return False
        return not any(share.launch == self.launch.ordinal for share in scan(self.run))

    def _connection_if_any(self) -> Connection | None:
        try:
            return self.connect()
        except UnavailableError:
            return None

    def _place_of(self, point: LocalPoint) -> Place | None:
        connection = self._connection_if_any()
        return None if connection is None else place_of(connection, self.run, point)

    def _resume_together(self) -> Restored | None:
        """Several writers without `agree`: the archive's answer, written into the launch's record by whoever is first."""
        connection = self.connect()
        stands = standing(connection.store, self.run.name)
        launch = self.record(connection, stands.head, None, explicit=False)
        if launch.resume_from is None:
            return None
        return self.from_archive(connection, launch.resume_from)

    def _follow(self, decided: Resume) -> Restored | None:
        """What this launch decided before, here or in another rank."""
        if decided.from_ring is not None:
            point = next((point for point in self.points() if (point.launch, point.step) == decided.from_ring), None)
            if point is not None:
                return self.from_point(point)
        if decided.resume_from is None:
            return None
        return self.from_archive(self.connect(), decided.resume_from)

    def _number_earlier(self, connection: Connection) -> None:
        """Earlier launches of this node that saved or decided something need their numbers before one can be compared."""
        saved = {share.launch for share in scan(self.run)}
        for launch in load_launches(self.run):
            if (
                launch.ordinal < self.launch.ordinal
                and launch.archive_url == self.launch.archive_url
                and (launch.ordinal in saved or read_resume(self.run, launch.ordinal) is not None)
            ):
                number_launch(connection, self.run, launch)

    def _past(self) -> list[PastLaunch]:
        past = []
        for launch in load_launches(self.run):
            if launch.ordinal >= self.launch.ordinal:
                continue
            resume = read_resume(self.run, launch.ordinal)
            origin = None
            if resume is not None and (resume.from_ring is not None or resume.resume_from is not None):
                place = resume.resume_from
                ordinal, step = resume.from_ring or (None, place.step if place is not None else 0)
                origin = Origin(ordinal, None if place is None else place.attempt, step, resume.explicit)
            past.append(PastLaunch(launch.ordinal, origin))
        return past

    def _shares(self, point: LocalPoint) -> list[SealedShare]:
        return [share for share in scan(self.run) if (share.launch, share.step) == (point.launch, point.step)]

    def _folder(self) -> str:
        return self.to if self.to is not None else join(self.run.folder, "resumed")

    def _remove_older(self, kept: str) -> None:
        """What earlier launches resumed from is not needed twice."""
        fs = self.machine.fs
        for entry in fs.list(self._folder()):
            path = join(self._folder(), entry.name)
            if path != kept and entry.kind is Kind.DIRECTORY and not entry.name.startswith("."):
                durable.remove_tree(fs, path)


def place_of(connection: Connection, run: RunStaging, point: LocalPoint) -> Place | None:
    """Where a checkpoint of the ring stands, or will stand, in the archive; its launch is numbered if need be."""
    return resume_place(
        connection, run, Resume(None, explicit=False, source="ring", from_ring=(point.launch, point.step))
    )
