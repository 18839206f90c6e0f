"""One run in the process that trains it: resume, save, wait. Only `resume`, `restore` and `rollback` ask the archive."""

import logging
import operator
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from ckpt_archive.checkpoint import Checkpoint, plain_metrics
from ckpt_archive.errors import CapacityError, InvalidInputError, NotFoundError, UnavailableError
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.gaps import record_missed
from ckpt_archive.local.known import Known
from ckpt_archive.local.ring import scan
from ckpt_archive.local.seal import Draft, SealOutcome
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_class_name, check_milestone, check_step
from ckpt_archive.participant import RunSettings, rank_of
from ckpt_archive.participation import Participation
from ckpt_archive.place import Place
from ckpt_archive.progress import Progress
from ckpt_archive.saving import Saver
from ckpt_archive.settings import Environment
from ckpt_archive.strictjson import Json

if TYPE_CHECKING:
    from ckpt_archive.archive import Archive
    from ckpt_archive.restore.delivery import Delivery, Found
    from ckpt_archive.restore.exchange import Agree
    from ckpt_archive.restore.result import Restored
    from ckpt_archive.restore.resuming import Resumer
    from ckpt_archive.restore.selection import Selection

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1

# Shown where there is no folder to write into: below what is no directory, so that nobody can make it and fill a full disk.
_NO_FOLDER = "/dev/null/checkpoint-not-saved-see-the-log"


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
        self._staging = Staging(machine, settings.staging, allow_network=settings.network_staging, known=Known())
        self._run = self._staging.run(settings.name)
        self._saver = Saver(self._run, settings, start_agent)
        self._part = Participation(self._run, settings, environment, archive.url)
        self._restored: tuple[Found, bool] | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self._settings.name

    def checkpoint(
        self,
        step: SupportsIndex,
        *,
        metrics: Mapping[str, Any] | None = None,
        rank: int | None = None,
        writers: int | None = None,
        lineage: Mapping[str, Json] | None = None,
        milestone: str | None = None,
        retention_class: str | None = None,
    ) -> Checkpoint:
        """A checkpoint to write: ``with run.checkpoint(step=100) as ckpt: save(ckpt.path / "model.safetensors")``.

        Leaving the block seals it: it then survives the process and a power loss on this node.

        Args:
            step: Training step.
            metrics: Numbers to be recorded with it.
            rank: Which writer this is; by default as `Archive.run` was told, else as the launcher says.
            writers: How many writers this checkpoint has; must be what `Archive.run` was told.
            lineage: Further facts about where it came from.
            milestone: Its name, such as ``v1-rc1``: it is archived whatever the promotion rule says, and the policy may have
                a class for it. All writers must say the same.
            retention_class: Its class under the policy; by default the policy chooses. It does not promote. All writers must
                say the same.

        Raises:
            InvalidInputError: If an argument is not allowed.
        """
        number = _step(step)
        name = "" if milestone is None else check_milestone(milestone)
        class_name = "" if retention_class is None else check_class_name(retention_class)
        settings = self._settings
        if writers is not None and writers != settings.writers:
            raise InvalidInputError(
                f"this checkpoint has {writers} writers, but the run was opened for {settings.writers}",
                hint=f"Write archive.run({self.name!r}, writers={writers}, …).",
            )
        writer = rank_of(settings, self._environment, rank)
        plain = plain_metrics(metrics)
        facts = {
            **({"sources": [dict(item) for item in settings.sources]} if settings.sources else {}),
            **(lineage or {}),
        }

        def begin() -> Draft:
            self._part.will_save()
            self._go_on_from_restored()
            return self._saver.open_draft(writer)

        def seal(draft: Draft) -> SealOutcome:
            return self._saver.seal(
                self._part.launch(),
                draft,
                number,
                writer,
                plain,
                facts,
                milestone=name,
                retention_class=class_name,
            )

        def missed(reason: str) -> None:
            record_missed(self._run, self._part.launch().ordinal, number, writer, reason)

        return Checkpoint(
            number,
            begin,
            seal,
            missed,
            _NO_FOLDER,
            raises=settings.on_error == "raise",
            awaited=settings.writers > 1,
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
            NotFoundError: If there is no archive, or a step that somebody chose is not there any more.
            UnavailableError: If the archive does not answer and this node can not tell alone.
        """
        from ckpt_archive.restore.selection import Selection

        delivery = self._delivery(to, Selection.of(include, None), progress)
        if self._settings.writers == 1:
            restored = self._resumer(delivery, fallback=fallback).resume()
        elif agree is None:
            rank = rank_of(self._settings, self._environment)
            restored = self._resumer(delivery, fallback=fallback).resume_recorded(rank)
        else:
            rank = rank_of(self._settings, self._environment)
            self._begin_together(agree)
            restored = self._resumer(delivery, fallback=fallback).resume_agreed(agree, rank)
        if restored is None:
            _log.info("run %s goes on from nothing", self.name)
        else:
            proof = (
                "every byte verified" if restored.verified else "too young for digests: sizes and times are as sealed"
            )
            _log.info(
                "run %s goes on from step %d (%s, %s; %s)",
                self.name,
                restored.step,
                restored.source,
                restored.path,
                proof,
            )
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

        "latest" is as good as `resume`. Anything else decides nothing, unless this process saves without having resumed:
        then its launch went on from what it restored last.

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

        delivery = self._delivery(to, Selection.of(include, rank), progress)
        if step == "latest" and attempt is None:
            restored = self._latest(delivery, fallback=fallback)
            if restored is None:
                raise NotFoundError(
                    f"the run {self.name!r} has no checkpoint yet", hint="Use resume(), which says None."
                )
            return restored
        wanted = step if isinstance(step, str) else _step(step)
        found = delivery.find(wanted, attempt, self._find, self._archive.quick_connection, fallback=fallback)
        self._restored = found, isinstance(wanted, int)
        return found.restored

    def rollback(self, step: SupportsIndex, *, attempt: int | None = None, to: str | Path | None = None) -> "Restored":
        """Go back: a new attempt that goes on from `step`. What was saved since stays, and answers "latest" no more.

        Raises:
            InvalidInputError: If there are several writers, or the step is on this node alone and of another archive.
            NotFoundError: If there is no such checkpoint.
            IntegrityError: If it is damaged.
            UnavailableError: If the archive does not answer.
        """
        from ckpt_archive.restore.selection import Selection
        from ckpt_archive.ship.numbering import ring_place

        if self._settings.writers > 1:
            raise InvalidInputError(
                "several writers can not go back one by one",
                hint="Start the job again, with a new launch key, and let it restore that step.",
            )
        connection = self._archive.connection
        delivery = self._delivery(to, Selection(), None)
        found = delivery.find(_step(step), attempt, self._find, self._archive.quick_connection)
        point, place = found.point, found.place
        if point is not None:
            place = ring_place(connection, self._run, self._archive.url, point.launch, point.step)
        if place is None:
            raise InvalidInputError(
                f"step {found.restored.step} of {self.name} is on this node alone, and of another archive",
                hint="Choose a checkpoint of this archive.",
            )
        self._part.begin_anew()
        self._resumer(delivery, fallback=False).record(connection, place, point, explicit=True)
        _log.warning("run %s goes back to step %d, as a new attempt", self.name, found.restored.step)
        return found.restored

    def flush(self, *, timeout_seconds: float = 120.0) -> bool:
        """Wait until everything promoted on this node is archived or given up; whether it is.

        What is not stays safe in the staging directory, and the next agent goes on with it.

        Raises:
            CapacityError: If that takes longer, and the run was opened with ``on_error="raise"``.
        """
        ends_at = self._machine.clock.monotonic() + timeout_seconds
        while waiting := self._waiting():
            self._saver.ensure_agent()
            if self._machine.clock.monotonic() >= ends_at:
                error = self._not_flushed(waiting, timeout_seconds)
                if self._settings.on_error == "raise":
                    raise error
                _log.error("%s", error)
                return False
            self._machine.clock.sleep(_POLL_SECONDS)
        return True

    def _waiting(self) -> str:
        """What is still to be archived, in words; "" if nothing is."""
        try:
            waiting = sum(share.is_pinned for share in scan(self._run, strict=True))
        except UnavailableError as error:
            # What can not be looked at may be waiting.
            return f"what is promoted is not known ({error.message}), and perhaps not archived"
        return f"{waiting} promoted checkpoints of {self.name} are not archived" if waiting else ""

    def _not_flushed(self, waiting: str, timeout_seconds: float) -> CapacityError:
        status = read_status(self._staging)
        if status is None:
            why = "no uploader has said anything yet"
        else:
            why = status.troubles[0] if status.troubles else f"the uploader still works on {status.pending}"
        return CapacityError(
            f"{waiting} after {timeout_seconds:g} s: {why.rstrip('.')}",
            hint=f"They are safe in {self._staging.root}: ckpt-archive drain --staging {self._staging.root}",
        )

    def finish(self, *, timeout_seconds: float | None = None) -> bool:
        """This process takes part in the launch no more; with a time, wait as `flush` does first, and answer as it does.

        Raises:
            CapacityError: As `flush`.
        """
        try:
            return timeout_seconds is None or self.flush(timeout_seconds=timeout_seconds)
        finally:
            self._part.leave()

    def _find(self, step: int | str, attempt: int | None) -> Place:
        return self._archive.find(self.name, step, attempt=attempt)

    def _latest(self, delivery: "Delivery", *, fallback: bool) -> "Restored | None":
        if self._part.live is not None:
            from ckpt_archive.restore.local_view import ring_points

            own = [point for point in ring_points(self._run) if point.launch == self._part.live.ordinal]
            if own:
                return delivery.from_point(own[-1])
        resumer = self._resumer(delivery, fallback=fallback)
        if self._settings.writers == 1:
            return resumer.resume()
        return resumer.resume_recorded(rank_of(self._settings, self._environment))

    def _begin_together(self, agree: "Agree") -> None:
        """Under a key that rank 0 draws."""
        from ckpt_archive.restore.exchange import agreed, together

        writers = self._settings.writers
        self._part.agree_on_key(agreed(together(agree, writers, self._machine.nonce))[0])
        agreed(together(agree, writers, lambda: self._part.launch().ordinal))

    def _go_on_from_restored(self) -> None:
        """A launch that saves without having resumed went on from what it restored."""
        if self._restored is None:
            return
        found, explicit = self._restored
        ring = None if found.point is None else (found.point.launch, found.point.step)
        self._part.went_on_from(found.place, ring, explicit=explicit)
        # Only now: what could not be written down must not be forgotten either.
        self._restored = None

    def _delivery(self, to: str | Path | None, selection: "Selection", progress: Progress | None) -> "Delivery":
        from ckpt_archive.restore.delivery import Delivery

        return Delivery(
            machine=self._machine,
            run=self._run,
            connect=lambda: self._archive.connection,
            transfer=self._archive.transfer,
            to=None if to is None else str(Path(to).absolute()),
            selection=selection,
            progress=progress,
        )

    def _resumer(self, delivery: "Delivery", *, fallback: bool) -> "Resumer":
        from ckpt_archive.restore.resuming import Resumer

        return Resumer(
            run=self._run,
            launch=self._part.launch().launch,
            is_new=self._part.is_new,
            connect=self._archive.quick_connection,
            delivery=delivery,
            fallback=fallback,
        )


def _step(value: SupportsIndex) -> int:
    """A step as an integer of ours, also where it is one of NumPy's."""
    try:
        return check_step(operator.index(value))
    except TypeError as error:
        raise InvalidInputError(f"the step {value!r} is not allowed", hint="Use an integer from 0 on.") from error
