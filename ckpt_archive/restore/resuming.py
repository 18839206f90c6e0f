"""A launch finds out where it goes on from, records it, and gets the bytes: once per launch, the same for all its ranks.

A single writer proves what it was given before it records that it goes on from there, so a damaged checkpoint never becomes
the recorded one. Many writers record first: the launch's record in the archive is the one answer they all follow; or they
exchange what their nodes hold (`agree`), compute the same answer, and tell each other whether it could be had.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import Standing, standing
from ckpt_archive.commit.launch import Launch, LaunchRequest, Resumption, open_launch
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import (
    LocalLaunch,
    Resume,
    load_launches,
    read_resume,
    record_attempt,
    record_resume,
)
from ckpt_archive.local.ring import scan
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, choose, choose_offline
from ckpt_archive.restore.delivery import Delivery
from ckpt_archive.restore.exchange import Agree, CommonPoint, Offer, OfferedPoint, agreed, settle, together
from ckpt_archive.restore.local_view import past_launches, rank_points, ring_points
from ckpt_archive.restore.result import Restored
from ckpt_archive.settings import reused_key
from ckpt_archive.ship.numbering import number_launch, ring_place

_log = logging.getLogger(__name__)

Asked = tuple[Connection, Standing]
"""The archive, and what it said about the run."""

_DAMAGED = (IntegrityError, NotFoundError)


@dataclass(frozen=True, slots=True)
class Resumer:
    """What a resume needs to know.

    Attributes:
        run: The run's staging.
        launch: The launch that resumes.
        connect: Connects to the archive, not patiently.
        delivery: Brings the bytes.
        is_new: Whether this process has begun the launch and has not saved yet.
        fallback: Whether an older checkpoint may be taken if the newest is damaged.
    """

    run: RunStaging
    launch: LocalLaunch
    connect: Callable[[], Connection]
    delivery: Delivery
    is_new: bool = False
    fallback: bool = False

    def resume(self) -> Restored | None:
        """The checkpoint that this launch goes on from; None if there is none yet. For a single writer.

        Raises:
            IntegrityError: If it is damaged, and no older one may be taken.
            UnavailableError: If the archive does not answer and this node can not tell alone.
        """
        decided = read_resume(self.run, self.launch.ordinal)
        damaged: set[LocalPoint] = set()
        own = self._own(damaged)
        if decided is not None and own is None:
            return self._follow(decided)
        asked = None if own is not None else self._ask()
        choice = own if own is not None else self._choose(asked, damaged)
        restored: Restored | None = None
        while isinstance(choice, LocalPoint):
            try:
                restored = self.delivery.from_point(choice)
                break
            except NotFoundError:
                if choice in ring_points(self.run):
                    raise
                # Evicted just now, so there is a newer one.
            except IntegrityError as error:
                _log.error("step %d in the ring is damaged and not used: %s", choice.step, error)
                damaged.add(choice)
                copy = self._copy_of(choice, asked)
                if copy is not None:
                    choice = copy
                    break
                if not self.fallback:
                    raise
            asked = asked or (self._ask() if own is not None else None)
            choice = self._own(damaged) or self._choose(asked, damaged)
        if isinstance(choice, Place):
            restored = self.delivery.from_archive(choice, fallback=self.fallback)
            # Another one, of this attempt or of the one it went on from, if that was damaged.
            choice = Place(choice.run, restored.attempt or 0, restored.step)
        if restored is not None:
            self.delivery.forget_others(restored)
        if decided is None and own is None:
            self._record_choice(choice, None if asked is None else asked[0])
        return restored

    def resume_recorded(self, rank: int) -> Restored | None:
        """The archive's answer, written into the launch's record by whoever is first; for many writers that do not talk.

        Raises:
            InvalidInputError: If an older one may be taken: each rank would choose for itself.
            ConflictError: If this rank has saved in this launch before: a new one needs a new key.
            IntegrityError: If it is damaged.
            UnavailableError: If the archive does not answer.
        """
        if self.fallback:
            raise InvalidInputError(
                f"{self.launch.writers} writers can not each fall back by themselves",
                hint="Give resume() agree=, or restore an older step on all of them.",
            )
        if any((share.launch, share.rank) == (self.launch.ordinal, rank) for share in scan(self.run)):
            raise reused_key(self.run.name, self.launch.launch_key)
        decided = read_resume(self.run, self.launch.ordinal)
        if decided is not None:
            return self._follow(decided)
        connection = self.connect()
        self._number_earlier(connection)
        head = standing(connection.store, self.run.name).head
        place = self.record(connection, head, None, explicit=False).resume_from
        return None if place is None else self._delivered(place)

    def resume_agreed(self, agree: Agree, rank: int) -> Restored | None:
        """For many ranks at once: what every rank's node holds counts, and all compute the same answer.

        Args:
            agree: Exchanges one value of each rank.
            rank: Which one this is.

        Raises:
            IntegrityError: On every rank, if what they go on from is damaged on one, and no older one may be taken.
            UnavailableError: On every rank, if the archive does not answer and the ranks have nothing in common.
        """
        ranks = self.launch.writers
        offers = agreed(together(agree, ranks, lambda: self._offer(rank)))
        damaged: list[CommonPoint] = []
        while True:
            answer = settle(offers, damaged)
            outcomes = together(agree, ranks, partial(self._take, answer, offers[rank]))
            if not isinstance(answer, CommonPoint) or not any(isinstance(item.error, _DAMAGED) for item in outcomes):
                break
            damaged.append(answer)
            point = answer.among(offers[0])
            # Rank 0 alone asks, so that all hear the same.
            copies = agreed(together(agree, ranks, partial(self._copy_of, point if rank == 0 else None)))
            if copies[0] is not None:
                answer = copies[0]
                outcomes = together(agree, ranks, partial(self._take, answer, offers[rank]))
                break
            if not self.fallback:
                break
        restored = agreed(outcomes)[rank]
        if isinstance(answer, CommonPoint):
            mine = answer.among(offers[rank])
            known = None if mine.attempt is None else Place(self.run.name, mine.attempt, mine.step)
            record_resume(self.run, self.launch.ordinal, known, False, "ring", (mine.launch, mine.step))
        else:
            record_resume(self.run, self.launch.ordinal, answer, False, "archive" if answer else "")
        return restored

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
                # A single writer's key is its own: nobody can have recorded a launch that has said nothing yet.
                maybe_recorded=self.launch.writers > 1 or not self.is_new,
                now=self.run.machine.clock.now,
            ),
            lambda _: Resumption(place, explicit=explicit),
        )
        ring = None if point is None else (point.launch, point.step)
        source = "ring" if ring is not None else ("" if launch.resume_from is None else "archive")
        record_resume(self.run, self.launch.ordinal, launch.resume_from, launch.explicit, source, ring)
        record_attempt(self.run, self.launch.ordinal, connection.archive_id, launch.attempt, launch.late)
        return launch

    def _ask(self) -> Asked | None:
        """What the archive says; None, loudly, if it says nothing."""
        try:
            connection = self.connect()
            self._number_earlier(connection)
            return connection, standing(connection.store, self.run.name)
        except UnavailableError as error:
            _log.warning("the archive does not answer, this node decides alone: %s", error)
            return None

    def _points(self, connection: Connection | None = None) -> list[LocalPoint]:
        """What the ring holds; who may not take an older one must not pass over what the disk does not give back now."""
        archive_id = None if connection is None else connection.archive_id
        return ring_points(self.run, archive_id, strict=not self.fallback, whole=True)

    def _own(self, damaged: set[LocalPoint]) -> LocalPoint | None:
        """The newest checkpoint of this very launch: an earlier process with its key has saved it."""
        own = [point for point in self._points() if point.launch == self.launch.ordinal and point not in damaged]
        return own[-1] if own else None

    def _choose(self, asked: Asked | None, damaged: set[LocalPoint]) -> LocalPoint | Place | None:
        past = past_launches(self.run, self.launch.ordinal)
        everything = [point for point in self._points() if point not in damaged]
        if asked is None:
            return choose_offline(everything, past)
        connection, stands = asked
        archived = [point for point in self._points(connection) if point not in damaged]
        choice = choose(archived, stands)
        if choice is None and everything and not (stands.newest is not None and stands.newest.explicit):
            # The run is new to this archive, not to this node.
            try:
                return choose_offline(everything, past)
            except UnavailableError:
                return everything[-1]
        return choice

    def _copy_of(self, point: LocalPoint | None, asked: Asked | None = None) -> Place | None:
        """The archive's copy of a checkpoint of the ring, if it has one and answers."""
        if point is None:
            return None
        try:
            connection = self.connect() if asked is None else asked[0]
            place = ring_place(connection, self.run, self.launch.archive_url, point.launch, point.step)
            if place is not None:
                load_manifest(connection.store, place)
        except (UnavailableError, NotFoundError, IntegrityError) as error:
            _log.warning("step %d can not be had from the archive instead: %s", point.step, error)
            return None
        return place

    def _record_choice(self, choice: LocalPoint | Place | None, connection: Connection | None) -> None:
        point = choice if isinstance(choice, LocalPoint) else None
        place = choice if isinstance(choice, Place) else None
        try:
            if connection is not None:
                if point is not None:
                    place = ring_place(connection, self.run, self.launch.archive_url, point.launch, point.step)
                self.record(connection, place, point, explicit=False)
                return
        except UnavailableError as error:
            _log.warning("the launch is recorded later, by the agent: %s", error)
        source = "" if choice is None else ("ring" if point is not None else "archive")
        ring = None if point is None else (point.launch, point.step)
        record_resume(self.run, self.launch.ordinal, place, False, source, ring)

    def _follow(self, decided: Resume) -> Restored | None:
        """What this launch decided before, here or in another rank."""
        place = decided.resume_from
        if decided.from_ring is not None:
            point = next(
                (item for item in ring_points(self.run) if (item.launch, item.step) == decided.from_ring), None
            )
            if point is not None:
                try:
                    return self._delivered(point)
                except IntegrityError as error:
                    _log.error("step %d in the ring is damaged and not used: %s", point.step, error)
            place = ring_place(self.connect(), self.run, self.launch.archive_url, *decided.from_ring) or place
            if place is None:
                raise IntegrityError(
                    f"step {decided.from_ring[1]}, from which this launch of {self.run.name} goes on, is damaged or gone",
                    hint="Begin a new launch, which chooses anew.",
                )
        return None if place is None else self._delivered(place)

    def _delivered(self, chosen: LocalPoint | Place) -> Restored:
        """What many ranks go on from; none of them falls back by itself."""
        delivery = self.delivery
        restored = delivery.from_point(chosen) if isinstance(chosen, LocalPoint) else delivery.from_archive(chosen)
        delivery.forget_others(restored)
        return restored

    def _offer(self, rank: int) -> Offer:
        asked = self._ask() if rank == 0 else None
        keys = {launch.ordinal: launch.launch_key for launch in load_launches(self.run)}
        archive_id = None if asked is None else asked[0].archive_id
        points = rank_points(self.run, rank, self.launch.writers, archive_id, strict=not self.fallback)
        offered = tuple(OfferedPoint(keys[point.launch], point) for point in points if point.launch in keys)
        past = tuple(past_launches(self.run, self.launch.ordinal))
        return Offer(offered, past, None if asked is None else asked[1])

    def _take(self, answer: CommonPoint | Place | None, offer: Offer) -> Restored | None:
        if answer is None:
            return None
        return self._delivered(answer.among(offer) if isinstance(answer, CommonPoint) else answer)

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
