"""The archive as its users see it. Delegates; decides nothing."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.keeping import Retention
from ckpt_archive.names import check_class_name, check_milestone
from ckpt_archive.patience import Patience
from ckpt_archive.place import Place
from ckpt_archive.progress import Progress
from ckpt_archive.promotion import Every
from ckpt_archive.settings import Environment
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.views import CheckpointDetails, CheckpointInfo, RunSummary

if TYPE_CHECKING:
    from datetime import datetime

    from ckpt_archive.audit.doctor_finding import DoctorFinding
    from ckpt_archive.audit.remembering import Memory
    from ckpt_archive.audit.verify import VerifyReport
    from ckpt_archive.commit.connection import Connection
    from ckpt_archive.index.query.answer import Answer
    from ckpt_archive.index.query.engine import Engine
    from ckpt_archive.machine import Machine
    from ckpt_archive.maintain.report import MaintainReport
    from ckpt_archive.restore.result import Restored
    from ckpt_archive.run import Run
    from ckpt_archive.ship.adopting import Adopted
    from ckpt_archive.ship.copying import CopyReport
    from ckpt_archive.ship.push import PushReport
    from ckpt_archive.store.probe import ProbeReport
    from ckpt_archive.store.protocol import Store

# Modules that bring in the AWS SDK are imported where they are first needed: importing this package must cost a training
# process nothing, and a trainer that only stages never needs them.


class Archive:
    """An archive: runs, their checkpoints, and the way in and out.

    Use `Archive.open` or `Archive.create`. Nothing is asked of the store before a method needs it.

    Args:
        url: Where it is.
        machine: The machine this runs on.
        connect: Connects to the archive, as patiently as told.
        start_agent: Starts the uploader of a staging directory, if none runs.
        environment: What the launcher says.
        settings: Sizes and limits of transfers.
    """

    def __init__(
        self,
        url: str,
        machine: "Machine",
        connect: "Callable[[Patience], Connection]",
        start_agent: Callable[[str], None],
        environment: Environment,
        settings: TransferSettings,
    ) -> None:
        self._url = url
        self._machine = machine
        self._connect = connect
        self._start_agent = start_agent
        self._environment = environment
        self._settings = settings
        self._connected: Connection | None = None
        self._engines: dict[tuple[str, int | None], Engine] = {}

    @classmethod
    def open(cls, url: str | None = None, *, transfer: TransferSettings | None = None) -> "Archive":
        """An archive that exists.

        Args:
            url: ``s3://bucket/prefix`` or ``file:///folder``; by default ``CKPT_ARCHIVE_URL``.
            transfer: Sizes and limits of transfers.

        Raises:
            InvalidInputError: If no URL is given, or it can not be an archive's.
        """
        from ckpt_archive import compose

        environment = Environment.read()
        address = url or environment.archive_url
        if not address:
            raise InvalidInputError(
                "no archive is named", hint="Give its URL, such as s3://bucket/prefix, or set CKPT_ARCHIVE_URL."
            )
        machine = compose.system_machine()
        compose.store_at(address, machine)  # refuses a URL that can not be one
        settings = transfer or TransferSettings()
        return cls(
            address,
            machine,
            lambda patience: compose.connect(address, machine, settings, patience),
            compose.spawner(machine).start,
            environment,
            settings,
        )

    @classmethod
    def create(cls, url: str | None = None, *, transfer: TransferSettings | None = None) -> "Archive":
        """Create an archive, or find that it is there already: repeating does no harm.

        Raises:
            InvalidInputError: If the store can not hold an archive.
            NotFoundError: If the bucket does not exist.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive import compose

        archive = cls.open(url, transfer=transfer)
        compose.create(archive.url, compose.system_machine())
        return archive

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    @property
    def id(self) -> str:
        """Its random id.

        Raises:
            NotFoundError: If there is no archive at its URL.
            UnavailableError: If the store does not answer.
        """
        return self.connection.archive_id

    @property
    def connection(self) -> "Connection":
        """The connection, made when it is first needed. Raises as `id`."""
        if self._connected is None:
            self._connected = self._connect(Patience.LONG)
        return self._connected

    def quick_connection(self) -> "Connection":
        """A connection for a process that waits to train: its store gives up within seconds. Raises as `id`."""
        return self._connect(Patience.SHORT)

    @property
    def transfer(self) -> TransferSettings:
        """Sizes and limits of transfers."""
        return self._settings

    @property
    def retention(self) -> Retention:
        """How long its checkpoints are kept: plans, holds, drops."""
        return Retention(
            self._machine,
            lambda: self.connection,
            lambda run, step, attempt: self.find(run, step, attempt=attempt),
            self._environment.actor,
        )

    def run(
        self,
        name: str,
        *,
        staging: str | Path | None = None,
        keep_local: int = 3,
        promote: Every | None = None,
        labels: Mapping[str, str] | None = None,
        sources: Sequence[str | Mapping[str, str]] = (),
        rank: int | None = None,
        writers: int = 1,
        launch_key: str | None = None,
        quota_bytes: int | None = None,
        on_error: str = "log",
        agent: str = "auto",
        network_staging: bool = False,
    ) -> "Run":
        """One run, in the process that trains it. No network call; nothing happens before the first save or resume.

        Args:
            name: 1 to 128 characters of a-z, 0-9, '.', '_' and '-'.
            staging: A folder on a local SSD; by default ``CKPT_ARCHIVE_STAGING``.
            keep_local: How many of the newest checkpoints stay there.
            promote: Which ones go to the archive; every fifth by default.
            labels: Texts recorded with every checkpoint.
            sources: What it is trained on: URIs, or mappings with at least ``uri``.
            rank: Which writer this process is; by default what the launcher says, or 0 if there is one writer.
            writers: How many processes write a share of each checkpoint.
            launch_key: The same text for all writers of one launch and for no other; by default ``CKPT_ARCHIVE_LAUNCH_KEY``,
                else made by ``resume(agree=…)``, else of what Slurm or torchrun set.
            quota_bytes: The most the staging folder may hold, 64 MiB for records among it; None for what the disk has.
            on_error: "log": an error of the archive never reaches the training loop, the checkpoint says ``staged = False``;
                "raise": it does.
            agent: "auto" starts the node's uploader when there is something for it; "external" leaves that to you.
            network_staging: Allow a staging folder on a network file system, where a lock may not lock.

        Raises:
            InvalidInputError: If an argument is not allowed.
        """
        from ckpt_archive.participant import RunSettings
        from ckpt_archive.run import Run

        folder = str(staging) if staging is not None else self._environment.staging
        if not folder:
            raise InvalidInputError(
                f"no staging folder is named for the run {name!r}",
                hint="Give staging=, a folder on a local SSD, or set CKPT_ARCHIVE_STAGING.",
            )
        settings = RunSettings(
            name=name,
            staging=str(Path(folder).absolute()),
            keep_local=keep_local,
            promote=promote or Every(5),
            labels=dict(labels or {}),
            sources=tuple({"uri": item} if isinstance(item, str) else dict(item) for item in sources),
            rank=rank,
            writers=writers,
            launch_key=launch_key,
            quota_bytes=quota_bytes,
            on_error=on_error,
            agent=agent,
            network_staging=network_staging,
        )
        return Run(self, settings, self._machine, self._environment, self._start_agent)

    def runs(self) -> list[RunSummary]:
        """Every run, sorted by name, with the checkpoint that `latest` answers."""
        from ckpt_archive.audit import listing

        return listing.runs(self._machine, self.connection)

    def checkpoints(self, run: str, *, attempt: int | None = None, ended: bool = False) -> list[CheckpointInfo]:
        """The committed checkpoints of a run, newest attempt and step first.

        Args:
            run: Run name.
            attempt: Only of this attempt.
            ended: Also those whose data has ended, as was announced.

        Raises:
            NotFoundError: If the run has none.
        """
        from ckpt_archive.audit import listing

        return listing.checkpoints(self._machine, self.connection, run, attempt, ended=ended)

    def show(self, run: str, step: int | str | None = None, *, attempt: int | None = None) -> CheckpointDetails:
        """All there is to know about a checkpoint, every record compared with the digest that names it.

        Raises:
            NotFoundError: If it is not committed.
            IntegrityError: If one of its records is not what was archived.
        """
        from ckpt_archive.audit import listing

        return listing.show(self._machine, self.connection, self.find(run, step, attempt=attempt))

    def find(self, run: str, step: int | str | None = None, *, attempt: int | None = None) -> Place:
        """Where a checkpoint stands.

        Args:
            run: Run name.
            step: A step, or "latest" (also None), which is the same as "latest-archived" here.
            attempt: Which attempt; by default the newest one that has the step.

        Raises:
            NotFoundError: If there is none.
        """
        from ckpt_archive.audit import listing

        return listing.find(self.connection.store, run, step, attempt)

    def push(
        self,
        directory: str | Path,
        run: str,
        step: int,
        *,
        rank: int = 0,
        writers: int = 1,
        metrics: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        new_attempt: bool = False,
        milestone: str | None = None,
        retention_class: str | None = None,
        progress: Progress | None = None,
    ) -> "PushReport":
        """Archive a folder now, in place: no staging, no agent. Repeating it sends only what is missing.

        Raises:
            NotFoundError: If there is no such folder.
            InvalidInputError: If it holds something that can not be archived, or nothing.
            ConflictError: If other content is archived as this step, or the folder changes meanwhile.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive.checkpoint import plain_metrics
        from ckpt_archive.ship.push import PushRequest, push

        request = PushRequest(
            directory=str(Path(directory).absolute()),
            run=run,
            step=step,
            rank=rank,
            writers=writers,
            launch_key=self._environment.launch_key or "",
            new_attempt=new_attempt,
            metrics=plain_metrics(metrics),
            labels={str(name): str(text) for name, text in (labels or {}).items()},
            milestone="" if milestone is None else check_milestone(milestone),
            retention_class="" if retention_class is None else check_class_name(retention_class),
        )
        return push(self._machine, self.connection, request, progress)

    def restore(
        self,
        run: str,
        step: int | str | None = None,
        *,
        to: str | Path,
        attempt: int | None = None,
        include: str | Iterable[str] = (),
        rank: int | None = None,
        staging: str | Path | None = None,
        fallback: bool = False,
        exact_folder: bool = False,
        progress: Progress | None = None,
    ) -> "Restored":
        """Bring a committed checkpoint into a folder, every byte verified. The archive records who did.

        Args:
            run: Run name.
            step: A step; "latest" by default.
            to: With `exact_folder` the folder that becomes exactly the checkpoint's tree; else the folder in which
                ``<run>-<attempt>-<step>/`` is made, or reused if it verifies.
            attempt: Which attempt; by default the newest one that has the step.
            include: Shell patterns of the files wanted; all by default.
            rank: Only this writer's files.
            staging: A staging folder of this node, whose ring is used where it holds all that is wanted.
            fallback: If the checkpoint is damaged, take the next older one that is not, and say so.
            exact_folder: See `to`.
            progress: Told how far it is.

        Raises:
            NotFoundError: If it is not committed.
            IntegrityError: If something in the archive is not what was archived.
            InvalidInputError: If the folder holds something else.
            CapacityError: If there is no room.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive.audit import remembering
        from ckpt_archive.local.staging import Staging
        from ckpt_archive.restore.archived import restore_archived, restore_newest_good
        from ckpt_archive.restore.nearby import restore_nearby
        from ckpt_archive.restore.selection import Selection

        folder = str(Path(to).absolute())
        selection = Selection.of(include, rank)

        def folder_of(attempt_name: object, step: int) -> str:
            return folder if exact_folder else f"{folder}/{run}-{attempt_name}-{step}{selection.suffix}"

        if staging is not None:
            nearby = Staging(self._machine, str(Path(staging).absolute())).run(run)
            found = restore_nearby(
                self._machine,
                nearby,
                self.quick_connection,
                step,
                attempt,
                folder_of,
                selection,
                self._settings,
            )
            if found is not None:
                return found
        place = self.find(run, step, attempt=attempt)
        restore = restore_newest_good if fallback else restore_archived
        return remembering.restored(
            self._memory(),
            place,
            selection,
            lambda: restore(
                self._machine,
                self.connection,
                place,
                lambda chosen: folder_of(chosen.attempt, chosen.step),
                selection,
                progress,
            ),
        )

    def adopt(
        self,
        url: str,
        run: str,
        *,
        steps: str = "checkpoint-{step}",
        reason: str = "",
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> "Iterator[Adopted]":
        """Make checkpoints of folders that are in the archive's bucket already, where they lie: read once, not copied.

        Args:
            url: The folder in which they lie.
            run: The run they go to.
            steps: What they are called: ``{step}`` stands for the step.
            reason: Why, for the log.
            dry_run: Say what there is, and do nothing.
            progress: Told how many bytes were read.

        Raises:
            InvalidInputError: If that is in another bucket, or a file could not be restored.
            NotFoundError: If there is no such folder.
            ConflictError: If other content is archived as one of these steps.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive import compose
        from ckpt_archive.ship import adopting
        from ckpt_archive.store.file import files_of

        connection = self.connection
        store: Store = compose.store_at(url, self._machine)
        base = adopting.base_of(connection.store.url, store.url)
        if files_of(store) is not None:
            # The folder itself is no store that anybody has prepared: it is read as a part of the archive's.
            store, steps, base = connection.store, f"{base}{steps}", ""
        candidates = adopting.find_candidates(store, steps)
        adopting.check_foreign(connection.store, base, candidates)
        if dry_run:
            return (adopting.found(run, item) for item in candidates)
        return adopting.adopt(
            self._machine,
            connection,
            store,
            base,
            run,
            candidates,
            actor=self._environment.actor,
            reason=reason,
            progress=progress,
        )

    def copy(
        self,
        run: str,
        to: str,
        *,
        steps: "Sequence[int] | None" = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> "CopyReport":
        """Copy a run to another archive, byte for byte; what is there already is compared and not sent again.

        Args:
            run: Run name.
            to: URL of the other archive; it becomes a replica of this one if there is none yet.
            steps: Which steps, each in the newest attempt that has it; all checkpoints by default.
            endpoint_url: The S3 server of the other archive, if it is another one.
            profile: Of the AWS SDK's files: the credentials for the other archive, if they are others.
            reason: Why, for the log.
            progress: Told how many bytes of a checkpoint are there.

        Raises:
            NotFoundError: If a checkpoint is not committed.
            InvalidInputError: If one archive lies within the other.
            ConflictError: If something else stands there.
            IntegrityError: If a launch or a manifest here is damaged.
            UnavailableError: If a store does not answer.
        """
        from ckpt_archive import compose
        from ckpt_archive.ship.copying import copy_run
        from ckpt_archive.store.s3_connection import Connection as S3Connection

        places = None if steps is None else [self.find(run, step) for step in steps]
        server = S3Connection(endpoint_url, profile=profile) if endpoint_url or profile else None
        target = compose.replicate(self.connection, to, self._machine, self._settings, server)
        return copy_run(
            self._machine,
            self.connection,
            target,
            run,
            places,
            actor=self._environment.actor,
            reason=reason,
            progress=progress,
        )

    def verify(
        self,
        run: str | None = None,
        step: int | None = None,
        *,
        attempt: int | None = None,
        deep: bool = False,
        progress: Progress | None = None,
    ) -> "VerifyReport":
        """Check what is archived: records and sizes, or with `deep` every byte. The archive records how that ended.

        Raises:
            InvalidInputError: If a step or attempt is given and no run.
            NotFoundError: If the run or step is not committed.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive.audit import listing, remembering
        from ckpt_archive.audit.verify import verify

        if run is None and (step is not None or attempt is not None):
            raise InvalidInputError("a step or attempt of which run?", hint="Name the run.")
        store = self.connection.store
        places: Iterable[Place]
        if run is None:
            places = listing.all_places(store)
        else:
            places = listing.places(store, run, attempt) if step is None else [self.find(run, step, attempt=attempt)]
        with remembering.verified(self._memory(), deep=deep) as checked:
            return verify(self._machine, self.connection, places, deep=deep, progress=progress, checked=checked)

    def _memory(self) -> "Memory":
        from ckpt_archive.audit.remembering import Memory

        return Memory(self._machine, self.quick_connection, self._environment.actor)

    def query(
        self,
        sql: str,
        *,
        as_of: "datetime | None" = None,
        limit: int | None = None,
        cache: str | Path | None = None,
        memory_bytes: int | None = None,
    ) -> "Answer":
        """Ask the index a question. Needs `pip install 'ckpt-archive[query]'`.

        Args:
            sql: One SELECT over its tables, in DuckDB's dialect. It can read nothing else, and change nothing.
            as_of: As the archive knew it at this time, which has a zone; now by default.
            limit: The most rows to take; all by default.
            cache: A local folder that keeps what was read from the store, for this and other processes.
            memory_bytes: What the question may take; 4 GiB by default.

        Raises:
            InvalidInputError: If the question may not be asked, or is wrong.
            NotFoundError: If there is no index yet.
            CapacityError: If it takes more memory than it may.
            IntegrityError: If the index is damaged.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive.index.query.question import Question

        return self.engine(cache=cache, memory_bytes=memory_bytes).answer(Question(sql, as_of), limit)

    def engine(self, *, cache: str | Path | None = None, memory_bytes: int | None = None) -> "Engine":
        """What answers questions; it remembers what it has read. See `query`."""
        from ckpt_archive.index.query import asking

        folder = "" if cache is None else str(Path(cache).absolute())
        if (folder, memory_bytes) not in self._engines:
            self._engines[folder, memory_bytes] = asking.engine(
                self.connection.store,
                self._machine,
                archive_id=self.connection.archive_id,
                cache=folder,
                memory_bytes=memory_bytes or asking.MEMORY_BYTES,
            )
        return self._engines[folder, memory_bytes]

    def sync(self, *, budget_seconds: float = math.inf) -> "MaintainReport":
        """Bring what is new into the log, and into the index if its libraries are installed; errors are in the report."""
        from ckpt_archive import compose

        return compose.sync_once(self._machine, self.connection, budget_seconds=budget_seconds)

    def maintain(self, *, budget_seconds: float = 600.0) -> "MaintainReport":
        """Do all that is to be done periodically; nothing more is begun when the time is over. Errors are in the report."""
        from ckpt_archive import compose

        return compose.maintain_once(self._machine, self.connection, budget_seconds=budget_seconds)

    def probe(self) -> "ProbeReport":
        """What the store can and can not do, tried out on scratch keys."""
        from ckpt_archive import compose

        return compose.probe_store(self._url, self._machine)

    def doctor(self) -> "tuple[DoctorFinding, ...]":
        """What is wrong with the archive, what it costs, and the command that mends it."""
        from ckpt_archive.audit.doctor import examine

        return examine(self._machine, self.connection)
