"""This process's part in a launch: begun when it is first needed, under a key that all of its processes share."""

import logging

from ckpt_archive.local.launches import LiveLaunch, begin_launch, read_resume, record_resume
from ckpt_archive.local.ring import scan
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.participant import RunSettings, common_key, given_key, key_of
from ckpt_archive.place import Place
from ckpt_archive.settings import Environment

_log = logging.getLogger(__name__)


class Participation:
    """Takes part in a launch, and in no more than one at a time.

    Args:
        run: The run's staging.
        settings: What the run was told.
        environment: What the launcher says.
        archive_url: Where the run is archived.

    Attributes:
        live: The launch, while this process takes part in one.
        is_new: Whether this process has begun it and has not saved yet: then nobody else can have spoken for it.
    """

    def __init__(self, run: RunStaging, settings: RunSettings, environment: Environment, archive_url: str) -> None:
        self._run = run
        self._settings = settings
        self._environment = environment
        self._archive_url = archive_url
        self._key = given_key(settings, environment)
        self.live: LiveLaunch | None = None
        self.is_new = False

    def launch(self) -> LiveLaunch:
        """The launch, begun or joined if need be.

        Raises:
            ConflictError: If processes with this key were told something else.
            InvalidInputError: If its processes have no key in common.
            CapacityError, UnavailableError: If the disk does not do it.
        """
        return self.live or self._begin(self._launch_key())

    def begin_anew(self) -> LiveLaunch:
        """Leave the launch, and begin another one. Raises as `launch`."""
        self.leave()
        return self._begin(self._run.machine.nonce())

    def agree_on_key(self, nonce: str) -> None:
        """All processes of this launch know `nonce`. What a launcher sets need not be new with every launch; this is."""
        if self._key is None:
            self._key = key_of(self._environment, nonce)

    def leave(self) -> None:
        """Take part no more."""
        if self.live is not None:
            self.live.release()
            self.live = None

    def will_save(self) -> LiveLaunch:
        """The launch, of which the agent may speak too from now on. Raises as `launch`."""
        live = self.launch()
        self.is_new = False
        return live

    def went_on_from(self, place: Place | None, ring: tuple[int, int] | None, *, explicit: bool) -> None:
        """Note where the launch went on from, unless that was decided, or it has saved something, before.

        Args:
            place: In the archive, if it is known there.
            ring: (local launch, step) in the ring, if it came from there.
            explicit: Whether somebody chose this very step.

        Raises:
            CapacityError, UnavailableError: If the disk does not do it.
        """
        ordinal = self.launch().ordinal
        saved = any(share.launch == ordinal for share in scan(self._run))
        if not saved and read_resume(self._run, ordinal) is None:
            record_resume(self._run, ordinal, place, explicit, "archive" if ring is None else "ring", ring)

    def _begin(self, key: str) -> LiveLaunch:
        settings = self._settings
        self._run.prepare()
        self.live = begin_launch(
            self._run,
            launch_key=key,
            archive_url=self._archive_url,
            writers=settings.writers,
            keep_local=settings.keep_local,
            labels=settings.labels,
            sources=[dict(item) for item in settings.sources],
            every=settings.every(),
            quota_bytes=settings.quota_bytes,
        )
        self.is_new = self.live.is_new
        _log.info(
            "run %s: local launch %d, %d writers, keeps %d in %s, archives to %s",
            settings.name, self.live.ordinal, settings.writers, settings.keep_local, self._run.folder, self._archive_url,
        )  # fmt: skip
        return self.live

    def _launch_key(self) -> str:
        if self._key is not None:
            return self._key
        if self._settings.writers == 1:
            # Two processes are two launches, also where a job script starts them in a loop within one job.
            return key_of(self._environment, self._run.machine.nonce())
        return common_key(self._settings, self._environment)
