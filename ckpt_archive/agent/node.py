"""One pass over a staging directory: everything the agent does, as a step that a test or a simulation can take.

Theory of operation. A pass begins with what lies on the disk and keeps nothing that it could not find out again. Per run it

1. removes what dead writers left, and sets aside what can not be trusted;
2. tells the archive of gaps, and follows what other writers decided;
3. brings promoted shares into the archive, oldest first: number of the launch, digests, objects, receipt, commit;
4. digests the other shares, so that a restart can prove them;
5. evicts what the ring need not hold, and under pressure gives promotions up, each with a record that says so.

An error of one share stops that share for a while, one of a run that run, an archive that does not answer stops everything
that goes there; nothing stops the rest. What is remembered between passes only saves work: when to try again, and what need
not be looked at again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ckpt_archive.agent import outbox
from ckpt_archive.agent.archives import Archives
from ckpt_archive.agent.pauses import Pauses
from ckpt_archive.agent.quota import Quotas
from ckpt_archive.agent.relief import relieve
from ckpt_archive.agent.settings import AgentSettings
from ckpt_archive.agent.shipping import Archived, Shipper
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import CkptArchiveError, IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.local.gaps import MissedSave
from ckpt_archive.local.launches import LocalLaunch, has_ended, load_launches, read_resume
from ckpt_archive.local.ring import SealedShare, scan
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.local.tidy import clean
from ckpt_archive.machine import Machine
from ckpt_archive.progress import Progress, ProgressEvent
from ckpt_archive.ship.numbering import number_launch
from ckpt_archive.ship.sealed import digest_sealed, forget_other_archive

__all__ = ["Agent", "Archived", "Pass"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pass:
    """What a pass did and left.

    Attributes:
        archived: What was archived.
        archives: The URLs of the archives to which it went.
        pending: Promoted shares that are still not archived.
        untold: How many gaps the archive does not know of yet.
        troubles: What stands in the way, one sentence each.
        denied: Whether one of them is about credentials or rights.
        live: Whether a launch of this staging directory lives.
    """

    archived: list[Archived] = field(default_factory=list)
    archives: set[str] = field(default_factory=set)
    pending: list[SealedShare] = field(default_factory=list)
    untold: int = 0
    troubles: list[str] = field(default_factory=list)
    denied: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class _Visit:
    """A launch as it was found at the beginning of a pass."""

    run: RunStaging
    launch: LocalLaunch
    shares: Sequence[SealedShare]
    missed: Sequence[MissedSave]
    all_shares: Sequence[SealedShare]

    @property
    def key(self) -> str:
        return f"{self.run.folder} launch {self.launch.ordinal}"

    @property
    def decisions_key(self) -> str:
        return f"{self.key} decisions"

    def missed_key(self, missed: MissedSave) -> str:
        return f"{self.key} step {missed.step} rank {missed.rank}"

    def keys(self) -> set[str]:
        """What is remembered about it by."""
        return {self.launch.archive_url, self.key, self.decisions_key, *map(self.missed_key, self.missed)}


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
        self._settings = settings
        self._progress = progress
        self._archives = Archives(machine.clock, connect)
        self._pauses = Pauses(machine.clock, settings.recheck_seconds)
        self._shipper = Shipper(machine, settings)
        self._quotas = Quotas(machine)
        self._compared: set[str] = set()
        self._digested: set[str] = set()
        self._settled: set[str] = set()
        self._relieved_at_seconds = 0.0
        self._should_stop: Callable[[], bool] = lambda: False

    @property
    def staging(self) -> Staging:
        """The staging directory."""
        return self._staging

    def step(self, should_stop: Callable[[], bool] = lambda: False) -> Pass:
        """One pass.

        Args:
            should_stop: Asked before a share is archived; once it says so, nothing more is begun.

        Raises:
            UnavailableError: If the staging directory itself can not be read.
        """
        done = Pass()
        self._should_stop = should_stop
        # A pass relieves at its end.
        self._relieved_at_seconds = self._machine.clock.monotonic()
        seen: set[str] = set()
        for name in self._staging.runs():
            run = self._staging.run(name)
            seen.add(run.folder)
            try:
                seen |= self._visit_run(run, done)
            except CkptArchiveError as error:
                self._note(run.folder, error)
            else:
                self._pauses.succeeded(run.folder)
        self._pauses.keep(seen)
        self._shipper.keep(seen)
        self._quotas.keep(seen)
        self._compared &= seen
        self._digested &= seen
        self._settled &= seen
        done.troubles = self._pauses.troubles()
        done.denied = self._pauses.denied
        return done

    def _visit_run(self, run: RunStaging, done: Pass) -> set[str]:
        """All that a run wants; the keys of what is to be remembered."""
        clean(run)
        launches = load_launches(run)
        # Before the ring is looked at: what a launch seals last must be seen by a pass that finds it ended.
        done.live = done.live or any(not has_ended(run, launch.ordinal) for launch in reversed(launches))
        shares = scan(run)
        missed = outbox.missed_launches(run)
        seen = {share.folder for share in shares}
        for launch in launches:
            own = [share for share in shares if share.launch == launch.ordinal]
            visit = _Visit(run, launch, own, missed.get(launch.ordinal, []), shares)
            seen |= visit.keys()
            self._guarded(launch.archive_url, visit.key, partial(self._serve, visit, done))
        for share in _strangers(run, launches, shares):
            self._guarded("", share.folder, partial(_refuse_unknown, share))
        for share in reversed(shares):
            # The newest first: it is what a restart will ask for.
            if share.folder not in self._digested and not self._should_stop():
                self._guarded("", share.folder, partial(self._digest, share))
        if relieve(run, launches, shares, self._settings, under_way=None):
            shares = scan(run)
        done.pending += [share for share in shares if share.is_pinned]
        done.untold += sum(map(len, outbox.missed_launches(run).values()))
        return seen

    def _wants_nothing(self, visit: _Visit, *, busy: bool) -> bool:
        if busy:
            return self._may_still_decide(visit)
        return visit.key in self._settled or read_resume(visit.run, visit.launch.ordinal) is None

    def _may_still_decide(self, visit: _Visit) -> bool:
        """Whether a writer alone has failed to save and not yet written down where it went on from.

        Its record in the archive would say "from nothing" for ever. Nobody awaits its gaps; those of many writers are told
        at once.
        """
        run, launch = visit.run, visit.launch
        if launch.writers > 1 or visit.shares or read_resume(run, launch.ordinal) is not None:
            return False
        return not has_ended(run, launch.ordinal)

    def _serve(self, visit: _Visit, done: Pass) -> None:
        """All that a launch wants from its archive. A launch that has decided, saved and missed nothing wants nothing."""
        run, launch = visit.run, visit.launch
        busy = bool(visit.shares or visit.missed)
        if not launch.archive_url or self._wants_nothing(visit, busy=busy):
            return
        connection, is_new = self._archives.at(launch.archive_url)
        if is_new:
            self._compared.clear()
            self._settled.clear()
        for share in visit.shares:
            if share.folder not in self._compared:
                forget_other_archive(connection, share)
                self._compared.add(share.folder)
        attempt = number_launch(connection, run, launch)
        if not busy:
            if has_ended(run, launch.ordinal):
                self._settled.add(visit.key)
            return
        by_place = {(share.step, share.rank): share for share in visit.shares}
        for missed in visit.missed:
            share_of = by_place.get((missed.step, missed.rank))
            report = partial(outbox.report_gap, connection, run, attempt, missed, share_of)
            self._guarded(launch.archive_url, visit.missed_key(missed), report)
        if launch.writers > 1:
            self._guarded(
                launch.archive_url,
                visit.decisions_key,
                partial(self._follow_promotions, visit, connection, attempt),
            )
        for share in visit.shares:
            if share.is_pinned and not self._should_stop():
                archive = partial(self._archive, visit, connection, share, attempt, done)
                self._guarded(launch.archive_url, share.folder, archive)

    def _follow_promotions(self, visit: _Visit, connection: Connection, attempt: int) -> None:
        outbox.follow_promotions(connection, visit.run, attempt, visit.shares)
        self._pauses.postpone(visit.decisions_key)

    def _archive(self, visit: _Visit, connection: Connection, share: SealedShare, attempt: int, done: Pass) -> None:
        if not self._quotas.admits(connection, share, attempt):
            return
        archived = self._shipper.archive(connection, share, attempt, visit.all_shares, self._watch(share))
        if archived is not None:
            done.archived.append(archived)
            done.archives.add(visit.launch.archive_url)
        elif share.is_pinned:
            self._pauses.postpone(share.folder)

    def _digest(self, share: SealedShare) -> None:
        try:
            digest_sealed(share, self._settings.transfer, self._archives.limits)
        except NotFoundError as error:
            _log.info("%s", error)
        else:
            self._digested.add(share.folder)

    def _guarded(self, url: str, key: str, action: Callable[[], None]) -> None:
        """Do something if it is due; an error stops it for a while, and all of its archive if that does not answer."""
        if not (self._pauses.is_due(key) and self._pauses.is_due(url)):
            return
        try:
            action()
        except UnavailableError as error:
            self._note(url or key, error)
        except CkptArchiveError as error:
            self._note(key, error)
        else:
            # Unless what it did inside has failed, or it said itself when it wants to be tried again.
            for name in (key, url):
                if self._pauses.is_due(name):
                    self._pauses.succeeded(name)

    def _note(self, key: str, error: CkptArchiveError) -> None:
        self._pauses.postpone(key, error)
        _log.warning("%s: %s", key, error)

    def _watch(self, share: SealedShare) -> Progress:
        """While a long upload is under way the rings must not fill the disk."""

        def told(event: ProgressEvent) -> None:
            now_seconds = self._machine.clock.monotonic()
            if now_seconds >= self._relieved_at_seconds + self._settings.poll_seconds:
                self._relieved_at_seconds = now_seconds
                self._relieve_all(share)
            if self._progress is not None:
                self._progress(event)

        return told

    def _relieve_all(self, under_way: SealedShare) -> None:
        for name in self._staging.runs():
            run = self._staging.run(name)
            try:
                going_up = under_way if name == under_way.run else None
                relieve(run, load_launches(run), scan(run), self._settings, under_way=going_up)
            except CkptArchiveError as error:
                _log.warning("%s: %s", run.folder, error)


def _strangers(run: RunStaging, launches: Sequence[LocalLaunch], shares: Sequence[SealedShare]) -> list[SealedShare]:
    """Promoted shares of launches of which there is no record."""

    def of_others(launches: Sequence[LocalLaunch]) -> list[SealedShare]:
        known = {launch.ordinal for launch in launches}
        return [share for share in shares if share.launch not in known and share.is_pinned]

    # One may have begun since its launch's records were looked at.
    return of_others(load_launches(run)) if of_others(launches) else []


def _refuse_unknown(share: SealedShare) -> None:
    """Nobody can tell which launch a share is of, so it can not be archived as that launch's."""
    raise IntegrityError(
        f"the record of the launch of {share} is damaged, gone or can not be read, so it is not archived",
        hint=f"Its files stay. If that lasts: ckpt-archive push {share.folder}/files --run {share.run} --step {share.step}",
    )
