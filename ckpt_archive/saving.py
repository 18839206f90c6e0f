"""Saving, as far as it happens in the training process: a folder to write into, its seal, and a word about the uploader."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from ckpt_archive.contribution import Contribution
from ckpt_archive.errors import CapacityError, IntegrityError
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.capacity import check_room
from ckpt_archive.local.launches import LiveLaunch, read_resume
from ckpt_archive.local.ring import evict, least_kept, saves_count, scan
from ckpt_archive.local.seal import Draft, SealOutcome, open_draft
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.participant import RunSettings
from ckpt_archive.retention.money.forecast import Forecaster
from ckpt_archive.settings import reused_key
from ckpt_archive.strictjson import Json

_log = logging.getLogger(__name__)

_LATE = timedelta(minutes=15)


class Saver:
    """Seals the shares of this process.

    Args:
        run: The run's staging.
        settings: What the run was told.
        start_agent: Starts the node's uploader for a staging directory, if none runs.
    """

    def __init__(self, run: RunStaging, settings: RunSettings, start_agent: Callable[[str], None]) -> None:
        self._run = run
        self._settings = settings
        self._start_agent = start_agent
        self._last_size_bytes: int | None = None
        self._saved: set[int] = set()
        self._counts: dict[int, int] = {}
        self._told: set[str] = set()
        self._forecaster = Forecaster(run.machine, run.name, settings.writers, settings.promote.count)

    def open_draft(self, rank: int) -> Draft:
        """A folder to write into.

        Raises:
            CapacityError: If the next checkpoint would not fit, even after the ring gave up what it need not hold.
            InvalidInputError, UnavailableError: If the disk does not do it.
        """
        expected_bytes = self._expected_bytes(rank)
        try:
            check_room(self._run.staging, expected_bytes, self._settings.quota_bytes)
        except CapacityError:
            # A place for the next checkpoint is worth more than older ones that need not stay.
            evict(self._run, least_kept(self._settings.writers))
            check_room(self._run.staging, expected_bytes, self._settings.quota_bytes)
        return open_draft(self._run)

    def _expected_bytes(self, rank: int) -> int:
        """Checkpoints of a writer are of much the same size, also those of the process before this one."""
        if self._last_size_bytes is None:
            shares = scan(self._run)
            self._forecaster.found(shares)
            sizes = [share.size_bytes for share in shares if share.rank == rank]
            self._last_size_bytes = sizes[-1] if sizes else 0
        return self._last_size_bytes

    def seal(
        self,
        live: LiveLaunch,
        draft: Draft,
        step: int,
        rank: int,
        metrics: Mapping[str, Json],
        facts: Mapping[str, Json],
        *,
        milestone: str = "",
        retention_class: str = "",
    ) -> SealOutcome:
        """Seal what was written, and see to it that somebody archives it.

        Raises:
            CkptArchiveError: If it is not saved.
        """
        self._check_alone(live, rank)
        saves = self._count(live, rank) + 1
        contribution = Contribution(
            launch_key=live.launch.launch_key,
            writers=self._settings.writers,
            staged_at=self._run.machine.clock.now(),
            promotion=self._settings.promote.to_json(step, saves, milestone),
            metrics=metrics,
            labels=dict(self._settings.labels),
            lineage={**facts, **self._resumed_from(live)},
            retention_class=retention_class,
        )
        outcome = draft.seal(live.ordinal, step, rank, contribution, saves)
        self._saved.add(rank)
        self._counts[rank] = max(self._counts.get(rank, 0), outcome.share.seal.saves)
        self._last_size_bytes = outcome.share.size_bytes
        self.ensure_agent()
        self._pass_on_troubles()
        self._forecaster.sealed(outcome.share)
        return outcome

    def _count(self, live: LiveLaunch, rank: int) -> int:
        """How often this writer has saved.

        It orders the saves of a launch, so none of them may be passed over because the disk does not give it back just now:
        this process knows its own.
        """
        mine = self._counts.get(rank)
        if mine is None:
            return saves_count(self._run, rank, launch=live.ordinal)
        return max(mine, saves_count(self._run, rank))

    def _check_alone(self, live: LiveLaunch, rank: int) -> None:
        """Two generations of processes with one key would mix their shares in one checkpoint."""
        if self._settings.writers == 1 or rank in self._saved:
            return
        if any((share.launch, share.rank) == (live.ordinal, rank) for share in scan(self._run)):
            raise reused_key(self._run.name, live.launch.launch_key)

    def _resumed_from(self, live: LiveLaunch) -> dict[str, Json]:
        try:
            resume = read_resume(self._run, live.ordinal)
        except IntegrityError as error:
            _log.warning("where the launch of %s went on from is not recorded: %s", self._run.name, error)
            return {}
        if resume is None or resume.resume_from is None:
            return {}
        return {"resumed_from": resume.resume_from.to_json()}

    def ensure_agent(self) -> None:
        """Start the node's uploader, if that is left to us and none runs."""
        if self._settings.agent == "auto":
            self._start_agent(self._run.staging.root)

    def _pass_on_troubles(self) -> None:
        """What keeps the agent from archiving is told to the trainer's log: when it begins, and when it is late."""
        status = read_status(self._run.staging)
        if status is None:
            return
        late = status.oldest_staged_at is not None and self._run.machine.clock.now() - status.oldest_staged_at > _LATE
        now = {kind for kind, is_so in (("denied", status.denied), ("late", late)) if is_so}
        if now - self._told:
            why = status.troubles[0] if status.troubles else f"the oldest promotion waits for more than {_LATE}"
            _log.warning("nothing of run %s is being archived: %s", self._run.name, why)
        self._told = now
