"""One run in the process that trains it: resume, save, wait. Only `resume`, `restore` and `rollback` ask the archive."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckpt_archive.checkpoint import Checkpoint, plain_metrics
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import CapacityError, InvalidInputError
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.capacity import check_room
from ckpt_archive.local.gaps import record_missed
from ckpt_archive.local.launches import LiveLaunch, begin_launch, read_resume
from ckpt_archive.local.ring import evict, saves_count, scan
from ckpt_archive.local.seal import Draft, SealOutcome, open_draft
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_rank, check_run_name, check_step
from ckpt_archive.place import Place
from ckpt_archive.progress import Progress
from ckpt_archive.promotion import Every
from ckpt_archive.settings import LAUNCH_KEY, Environment
from ckpt_archive.strictjson import Json

if TYPE_CHECKING:
    from ckpt_archive.archive import Archive
    from ckpt_archive.restore.result import Restored
    from ckpt_archive.restore.resuming import Agree, Resumer

_log = logging.getLogger(__name__)

_LATE = timedelta(minutes=15)
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What `Archive.run` was told; see there.

    Raises:
        InvalidInputError: If a value is not allowed.
    """

    name: str
    staging: str
    keep_local: int
    promote: Every
    labels: Mapping[str, Json]
    sources: tuple[Mapping[str, Json], ...]
    rank: int | None
    writers: int
    launch_key: str | None
    quota_bytes: int | None
    on_error: str
    agent: str
    network_staging: bool

    def __post_init__(self) -> None:
        check_run_name(self.name)
        for name, value in (("keep_local", self.keep_local), ("writers", self.writers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInputError(f"{name} = {value!r} is not allowed", hint="Use an integer from 1 on.")
        for name, chosen, allowed in (
            ("on_error", self.on_error, ("log", "raise")),
            ("agent", self.agent, ("auto", "external")),
        ):
            if chosen not in allowed:
                raise InvalidInputError(f"{name} = {chosen!r} is not allowed", hint=f"Use {' or '.join(allowed)}.")
        self.promote.check_writers(self.writers)


class Run:
    """A run, in one process of one launch of it. Made by `Archive.run`.

    Args:
        archive: Where it is archived.
        settings: What it was told.
        machine: The machine it runs on.
        environment: What the launcher says.
        start_agent: Starts the node's uploader for a staging directory, if none runs.
    """

    def __init__(
        self,
        archive: "Archive",
        settings: RunSettings,
        machine: Machine,
        environment: Environment,
        start_agent: Callable[[str], None],
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._machine = machine
        self._environment = environment
        self._start_agent = start_agent
        self._staging = Staging(machine, settings.staging, allow_network=settings.network_staging)
        self._run = self._staging.run(settings.name)
        self._live: LiveLaunch | None = None
        self._last_size_bytes = 0
        self._warned: set[str] = set()

    @property
    def name(self) -> str:
        """Its name."""
        return self._settings.name

    def checkpoint(
        self,
        step: int,
        *,
        metrics: Mapping[str, Any] | None = None,
        rank: int | None = None,
        writers: int | None = None,
        lineage: Mapping[str, Json] | None = None,
    ) -> Checkpoint:
        """A checkpoint to write: ``with run.checkpoint(step=100) as ckpt: save(ckpt.path / "model.safetensors")``.

        Leaving the block seals it: it then survives the process and a power loss on this node.

        Args:
            step: Training step.
            metrics: Numbers to be recorded with it.
            rank: Which writer this is; by default as `Archive.run` was told, else 0.
            writers: How many writers this checkpoint has; must be what `Archive.run` was told.
            lineage: Further facts about where it came from.

        Raises:
            InvalidInputError: If an argument is not allowed.
        """
        check_step(step)
        settings = self._settings
        if writers is not None and writers != settings.writers:
            raise InvalidInputError(
                f"this checkpoint has {writers} writers, but the run was opened for {settings.writers}",
                hint=f"Write archive.run({self.name!r}, writers={writers}, …).",
            )
        number = self._rank(rank)
        plain = plain_metrics(metrics)
        facts = {
            **({"sources": [dict(item) for item in settings.sources]} if settings.sources else {}),
            **(lineage or {}),
        }

        def seal(draft: Draft) -> SealOutcome:
            return self._seal(draft, step, number, plain, facts)

        def missed(reason: str) -> None:
            record_missed(self._run, self._launch().ordinal, step, number, reason)

        return Checkpoint(
            step,
            self._open_draft,
            seal,
            missed,
            join(self._run.tmp, "no-room"),
            raises=settings.on_error == "raise",
        )

    def resume(
        self,
        *,
        agree: "Agree | None" = None,
        to: str | Path | None = None,
        include: str | Iterable[str] = (),
        fallback: bool = False,
        progress: Progress | None = None,
    ) -> "Restored | None":
        """The checkpoint that this launch goes on from, on the local disk and proved; None on a first launch.

        A checkpoint of the ring is served in place where that is possible; never write into the folder.

        Args:
            agree: ``torch.distributed.all_gather_object`` or alike: lets many ranks go on from what all their nodes hold.
                Without it, many ranks go on from what is archived.
            to: Where to make its folder.
            include: Shell patterns of the files wanted.
            fallback: If the newest is damaged, take the next older one that is not.
            progress: Told how far it is.

        Raises:
            IntegrityError: If it is damaged.
            UnavailableError: If the archive does not answer and this node can not tell alone.
        """
        from ckpt_archive.restore.selection import Selection

        resumer = self._resumer(to, Selection.of(include, None), fallback=fallback, progress=progress)
        restored = resumer.resume() if agree is None else resumer.resume_agreed(agree, self._rank(None))
        where = (
            "from nothing" if restored is None else f"from step {restored.step} ({restored.source}, {restored.path})"
        )
        _log.info("run %s goes on %s", self.name, where)
        return restored

    def restore(
        self,
        step: int | str = "latest",
        *,
        to: str | Path | None = None,
        include: str | Iterable[str] = (),
        rank: int | None = None,
        attempt: int | None = None,
        fallback: bool = False,
        progress: Progress | None = None,
    ) -> "Restored":
        """A checkpoint in a folder, from the ring or the archive, every byte verified.

        Args:
            step: A step; "latest" is what `resume` answers, "latest-archived" the archive's.
            to: Where to make its folder; by default in the staging directory.
            include: Shell patterns of the files wanted.
            rank: Only this writer's files.
            attempt: Which attempt; by default the newest one that has the step.
            fallback: If it is damaged, take the next older one that is not.
            progress: Told how far it is.

        Raises:
            NotFoundError: If there is none.
            IntegrityError: If it is damaged.
            UnavailableError: If it is not in the ring and the archive does not answer.
        """
        from ckpt_archive.restore.selection import Selection

        resumer = self._resumer(to, Selection.of(include, rank), fallback=fallback, progress=progress)
        return resumer.fetch(step, attempt, self._find)

    def rollback(self, step: int, *, attempt: int | None = None, to: str | Path | None = None) -> "Restored":
        """Go back: a new attempt that goes on from `step`. What was saved since stays, and answers "latest" no more.

        Raises:
            NotFoundError: If there is no such checkpoint.
            IntegrityError: If it is damaged.
            UnavailableError: If the archive does not answer.
        """
        from ckpt_archive.restore.selection import Selection

        check_step(step)
        resumer = self._resumer(to, Selection(), fallback=False, progress=None)
        restored, place, point = resumer.choose_step(step, attempt, self._find)
        self._begin_again()
        self._resumer(to, Selection(), fallback=False, progress=None).record(
            self._archive.connection, place, point, explicit=True
        )
        _log.warning("run %s goes back to step %d, as a new attempt", self.name, restored.step)
        return restored

    def flush(self, *, timeout_seconds: float = 120.0) -> None:
        """Wait until everything promoted on this node is archived or given up.

        Raises:
            CapacityError: If that takes longer.
        """
        self._ensure_agent()
        ends_at = self._machine.clock.monotonic() + timeout_seconds
        while waiting := [share for share in scan(self._run) if share.is_pinned]:
            if self._machine.clock.monotonic() >= ends_at:
                status = read_status(self._staging)
                why = f": {status.troubles[0]}" if status is not None and status.troubles else ""
                raise CapacityError(
                    f"{len(waiting)} promoted checkpoints of {self.name} are not archived after {timeout_seconds:g} s{why}",
                    hint=f"They are safe in {self._staging.root}: ckpt-archive drain --staging {self._staging.root}",
                )
            self._machine.clock.sleep(_POLL_SECONDS)

    def finish(self, *, timeout_seconds: float | None = None) -> None:
        """This process takes part in the launch no more; with a time, wait as `flush` does first.

        Raises:
            CapacityError: As `flush`.
        """
        if timeout_seconds is not None:
            self.flush(timeout_seconds=timeout_seconds)
        if self._live is not None:
            self._live.release()
            self._live = None

    def _find(self, step: int | str, attempt: int | None) -> Place:
        return self._archive.find(self.name, step, attempt=attempt)

    def _launch(self) -> LiveLaunch:
        """This process's part in the launch, begun when it is first needed."""
        if self._live is None:
            self._live = self._begin(self._launch_key())
        return self._live

    def _begin(self, key: str) -> LiveLaunch:
        settings = self._settings
        every: dict[str, Json] = {"rule": "every", "count": settings.promote.count}
        if settings.promote.save_every_steps is not None:
            every["save_every_steps"] = settings.promote.save_every_steps
        self._run.prepare()
        live = begin_launch(
            self._run,
            launch_key=key,
            archive_url=self._archive.url,
            writers=settings.writers,
            keep_local=settings.keep_local,
            labels=settings.labels,
            sources=[dict(item) for item in settings.sources],
            every=every,
            quota_bytes=settings.quota_bytes,
        )
        _log.info(
            "run %s: local launch %d, %d writers, keeps %d in %s, archives to %s",
            self.name, live.ordinal, settings.writers, settings.keep_local, self._run.folder, self._archive.url,
        )  # fmt: skip
        return live

    def _begin_again(self) -> None:
        self.finish()
        if self._settings.writers > 1:
            raise InvalidInputError(
                "several writers can not go back one by one",
                hint="Start the job again, with a new launch key, and let it restore that step.",
            )
        self._live = self._begin(self._machine.nonce())

    def _launch_key(self) -> str:
        settings, environment = self._settings, self._environment
        given = settings.launch_key or environment.launch_key
        if given:
            return given
        if settings.writers == 1:
            # Two processes are two launches, also where a job script starts them in a loop within one job.
            return (
                f"{environment.scheduler_key}/{self._machine.nonce()}"
                if environment.scheduler_key
                else self._machine.nonce()
            )
        if environment.scheduler_key:
            return environment.scheduler_key
        raise InvalidInputError(
            f"{settings.writers} writers have no launch key in common",
            hint=f"Set {LAUNCH_KEY} to the same new text for all processes of this launch, or give launch_key=.",
        )

    def _rank(self, given: int | None) -> int:
        rank = given if given is not None else self._settings.rank
        environment = self._environment
        if rank is None:
            if environment.rank not in (None, 0) and self._settings.writers == 1:
                raise InvalidInputError(
                    f"this is rank {environment.rank} of {environment.world_size or 'several'}, and nothing says what it "
                    "contributes",
                    hint=f"Save on rank 0 alone, or write archive.run({self.name!r}, rank={environment.rank}, "
                    f"writers={environment.world_size or '…'}, …).",
                )
            rank = environment.rank if environment.rank is not None and self._settings.writers > 1 else 0
        if check_rank(rank) >= self._settings.writers:
            raise InvalidInputError(
                f"rank {rank} of {self._settings.writers} writers is not possible", hint="Ranks count from 0."
            )
        return rank

    def _open_draft(self) -> Draft:
        self._launch()
        try:
            check_room(self._staging, self._last_size_bytes, self._settings.quota_bytes)
        except CapacityError:
            evict(self._run, self._settings.keep_local)
            check_room(self._staging, self._last_size_bytes, self._settings.quota_bytes)
        return open_draft(self._run)

    def _seal(
        self, draft: Draft, step: int, rank: int, metrics: Mapping[str, Json], facts: Mapping[str, Json]
    ) -> SealOutcome:
        live = self._launch()
        saves = saves_count(self._run, rank) + 1
        resume = read_resume(self._run, live.ordinal)
        lineage = dict(facts)
        if resume is not None and resume.resume_from is not None:
            lineage["resumed_from"] = resume.resume_from.to_json()
        contribution = Contribution(
            launch_key=live.launch.launch_key,
            writers=self._settings.writers,
            staged_at=self._machine.clock.now(),
            promotion=self._settings.promote.to_json(step, saves),
            metrics=metrics,
            labels=dict(self._settings.labels),
            lineage=lineage,
        )
        outcome = draft.seal(live.ordinal, step, rank, contribution, saves)
        self._last_size_bytes = outcome.share.size_bytes
        self._ensure_agent()
        self._pass_on_troubles()
        return outcome

    def _ensure_agent(self) -> None:
        if self._settings.agent == "auto":
            self._start_agent(self._staging.root)

    def _pass_on_troubles(self) -> None:
        """What keeps the agent from archiving is told to the trainer's log, each sentence once."""
        status = read_status(self._staging)
        if status is None:
            return
        late = status.oldest_staged_at is not None and self._machine.clock.now() - status.oldest_staged_at > _LATE
        if not (status.denied or late):
            return
        for trouble in status.troubles or (
            "the uploader is behind: its oldest promotion waits for more than 15 minutes",
        ):
            if trouble not in self._warned:
                self._warned.add(trouble)
                _log.warning("nothing of run %s is being archived: %s", self.name, trouble)

    def _resumer(
        self, to: str | Path | None, selection: Any, *, fallback: bool, progress: Progress | None
    ) -> "Resumer":
        from ckpt_archive.restore.resuming import Resumer

        return Resumer(
            machine=self._machine,
            run=self._run,
            launch=self._launch().launch,
            connect=self._archive.quick_connection,
            transfer=self._archive.transfer,
            to=None if to is None else str(Path(to).absolute()),
            selection=selection,
            fallback=fallback,
            progress=progress,
        )
