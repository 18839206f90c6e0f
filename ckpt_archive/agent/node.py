"""One pass over a staging directory: everything the agent does, as a step that a test or a simulation can take.

Theory of operation. A pass begins with what lies on the disk and keeps nothing that it could not find out again. Per run it

1. removes what dead writers left, and sets aside what can not be trusted;
2. brings promoted shares into the archive, oldest first: number of the launch, digests, objects, receipt, commit;
3. tells the archive of gaps, and follows what other writers decided;
4. digests the other shares, so that a restart can prove them;
5. evicts what the ring need not hold, and under pressure gives promotions up, each with a record that says so.

An error of one share stops that share for a while, an archive that does not answer stops everything that goes there; nothing
stops the rest. What is remembered between passes is only when to try again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from ckpt_archive.agent import outbox
from ckpt_archive.agent.relief import relieve
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import (
    CkptArchiveError,
    ConflictError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from ckpt_archive.local.launches import LocalLaunch, has_ended, load_launches, read_resume
from ckpt_archive.local.ring import SealedShare, scan, still_same
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.tidy import clean
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress, ProgressEvent
from ckpt_archive.ship.numbering import number_launch
from ckpt_archive.ship.sealed import Shipped, digest_sealed, forget_other_archive, ship
from ckpt_archive.store.protocol import StoreLimits

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Archived:
    """A share that is now in the archive, its checkpoint committed."""

    run: str
    attempt: int
    step: int
    rank: int
    bytes_sent: int
    bytes_resumed: int


@dataclass(slots=True)
class Pass:
    """What a pass did and left.

    Attributes:
        archived: What was archived.
        pending: Promoted shares that are still not archived.
        troubles: What stood in the way, one sentence each.
        denied: Whether one of them is about credentials or rights.
        live: Whether a launch of this staging directory lives.
    """

    archived: list[Archived] = field(default_factory=list)
    pending: list[SealedShare] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    denied: bool = False
    live: bool = False


class Agent:
    """The uploader of one staging directory.

    Args:
        machine: The machine it runs on.
        staging: The staging directory.
        connect: Connects to the archive at a URL; its store gives up within seconds, for there is other work.
        settings: How it works.
        progress: Told how far it is.
    """

    def __init__(
        self,
        machine: Machine,
        staging: Staging,
        connect: Callable[[str], Connection],
        settings: AgentSettings,
        progress: Progress | None = None,
    ) -> None:
        self._machine = machine
        self._staging = staging
        self._connect = connect
        self._settings = settings
        self._progress = progress
        self._connections: dict[str, Connection] = {}
        self._not_before_seconds: dict[str, float] = {}
        self._known_archive: set[str] = set()
        self._relieved_at_seconds = float("-inf")

    @property
    def staging(self) -> Staging:
        """The staging directory."""
        return self._staging

    def step(self) -> Pass:
        """One pass.

        Raises:
            UnavailableError: If the staging directory itself can not be read.
        """
        done = Pass()
        for name in self._staging.runs():
            run = self._staging.run(name)
            clean(run)
            launches = load_launches(run)
            shares = scan(run)
            done.live = done.live or any(not has_ended(run, launch.ordinal) for launch in launches)
            for launch in launches:
                self._serve(run, launch, [share for share in shares if share.launch == launch.ordinal], done)
            self._digest(shares, done)
            relieve(run, launches, self._settings, under_way=None)
            done.pending += [share for share in scan(run) if share.is_pinned]
        return done

    def _serve(self, run: RunStaging, launch: LocalLaunch, shares: Sequence[SealedShare], done: Pass) -> None:
        """All that a launch wants from its archive. A launch that has decided or saved nothing wants nothing."""
        if not launch.archive_url or not (shares or read_resume(run, launch.ordinal) is not None):
            return
        connection = self._connection(launch.archive_url, done)
        if connection is None:
            return
        self._start_over_if_new(connection, shares)
        key = f"{run.folder}#{launch.ordinal}"
        attempt = self._guarded(done, launch, key, partial(number_launch, connection, run, launch))
        if attempt is None:
            return
        if launch.writers > 1:
            follow = partial(outbox.follow_promotions, connection, run, attempt, shares)
            self._guarded(done, launch, f"{key}#decisions", follow, pause_seconds=self._settings.recheck_seconds)
        for share in shares:
            if share.is_pinned:
                archive = partial(self._archive, run, launch, connection, share, attempt, done)
                self._guarded(done, launch, share.folder, archive)
        by_place = {(share.step, share.rank): share for share in shares}
        for missed in outbox.missed_launches(run).get(launch.ordinal, []):
            share_of = by_place.get((missed.step, missed.rank))
            report = partial(outbox.report_gap, connection, run, attempt, missed, share_of)
            self._guarded(done, launch, f"{key}#{missed.step}#{missed.rank}", report)

    def _archive(
        self,
        run: RunStaging,
        launch: LocalLaunch,
        connection: Connection,
        share: SealedShare,
        attempt: int,
        done: Pass,
    ) -> None:
        if launch.writers > 1 and outbox.follow_decision(connection, share, attempt):
            return
        try:
            report = ship(self._machine, connection, share, attempt, self._watch(run, launch, share))
        except (IntegrityError, ConflictError) as error:
            self._give_up_if_hopeless(share, error)
            raise
        if report.state is Shipped.AWAITING:
            self._not_before_seconds[share.folder] = self._machine.clock.monotonic() + self._settings.recheck_seconds
            return
        sent, resumed = (report.upload.bytes_sent, report.upload.bytes_resumed) if report.upload else (0, 0)
        done.archived.append(Archived(share.run, attempt, share.step, share.rank, sent, resumed))
        _log.info("archived %s as attempt %d: %d bytes sent, %d found there", share, attempt, sent, resumed)

    def _give_up_if_hopeless(self, share: SealedShare, error: CkptArchiveError) -> None:
        """A share whose files changed under us, or whose place in the archive is taken, can never be archived."""
        reason = error.message if isinstance(error, ConflictError) else ""
        try:
            still_same(share)
        except IntegrityError as changed:
            reason = changed.message
        except NotFoundError:
            return
        if reason and not share.has_receipt:
            outbox.give_up(share, reason)

    def _connection(self, url: str, done: Pass) -> Connection | None:
        """The archive at `url`; None while it does not answer."""
        if not self._is_due(url):
            done.troubles.append(f"{url} did not answer; the next try is due soon")
            return None
        if url not in self._connections:
            try:
                self._connections[url] = self._connect(url)
            except CkptArchiveError as error:
                self._note(done, error, url)
                self._postpone(url)
                return None
        return self._connections[url]

    def _start_over_if_new(self, connection: Connection, shares: Sequence[SealedShare]) -> None:
        for share in shares:
            if share.folder not in self._known_archive:
                forget_other_archive(connection, share)
                self._known_archive.add(share.folder)

    def _guarded(
        self,
        done: Pass,
        launch: LocalLaunch,
        key: str,
        action: Callable[[], T],
        *,
        pause_seconds: float = 0.0,
    ) -> T | None:
        """Do something if it is due; an error stops it for a while, and all of its archive if that does not answer."""
        if not self._is_due(key) or not self._is_due(launch.archive_url):
            return None
        try:
            result = action()
        except UnavailableError as error:
            self._note(done, error, launch.archive_url)
            self._postpone(launch.archive_url)
        except NotFoundError as error:
            # Evicted, replaced or given up meanwhile: the next pass sees what is there.
            _log.info("%s", error)
        except CkptArchiveError as error:
            self._note(done, error, key)
            self._postpone(key)
        else:
            if pause_seconds:
                self._not_before_seconds[key] = self._machine.clock.monotonic() + pause_seconds
            return result
        return None

    def _note(self, done: Pass, error: CkptArchiveError, what: str) -> None:
        done.troubles.append(str(error))
        done.denied = done.denied or isinstance(error, DeniedError)
        _log.warning("%s: %s", what, error)

    def _is_due(self, key: str) -> bool:
        return self._machine.clock.monotonic() >= self._not_before_seconds.get(key, float("-inf"))

    def _postpone(self, key: str) -> None:
        self._not_before_seconds[key] = self._machine.clock.monotonic() + self._settings.recheck_seconds

    def _digest(self, shares: Sequence[SealedShare], done: Pass) -> None:
        """Digests of what is not promoted, newest first: the newest is what a restart will ask for."""
        limits = self._limits()
        for share in reversed(shares):
            try:
                digest_sealed(share, self._settings.transfer, limits)
            except NotFoundError:
                continue
            except CkptArchiveError as error:
                self._note(done, error, share.folder)

    def _limits(self) -> StoreLimits:
        return next((connection.store.limits for connection in self._connections.values()), StoreLimits())

    def _watch(self, run: RunStaging, launch: LocalLaunch, share: SealedShare) -> Progress:
        """While a long upload is under way the ring must not fill the disk."""

        def told(event: ProgressEvent) -> None:
            now_seconds = self._machine.clock.monotonic()
            if now_seconds >= self._relieved_at_seconds + self._settings.poll_seconds:
                self._relieved_at_seconds = now_seconds
                relieve(run, [launch], self._settings, under_way=share)
            if self._progress is not None:
                self._progress(event)

        return told
