"""Starts the agent of a staging directory as a process of its own, which outlives the trainer where the platform lets it."""

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from ckpt_archive.disk.protocol import LockMode, join
from ckpt_archive.errors import ConflictError
from ckpt_archive.local.staging import Staging
from ckpt_archive.machine import Machine

_log = logging.getLogger(__name__)

# An agent that ends at once would end at once again: it is not started with every save.
_RESTART_SECONDS = 10.0
# Nothing was left to do; or another one was faster.
_IN_ORDER = (0, ConflictError.exit_code)
_LOG = "agent.log"


def start_process(staging: str) -> "subprocess.Popen[bytes]":
    """The uploader as a process of its own, in a session of its own.

    Raises:
        OSError: If it can not be started.
    """
    with open(join(staging, _LOG), "ab") as log:
        return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable or "python3", "-m", "ckpt_archive", "agent", "--staging", staging, "--until-idle"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


@dataclass(slots=True)
class Spawner:
    """Starts agents, one per staging directory.

    Args:
        machine: The machine they run on.
        begin: Starts one.
    """

    machine: Machine
    begin: Callable[[str], "subprocess.Popen[bytes]"] = start_process
    _started: dict[str, tuple["subprocess.Popen[bytes]", float]] = field(default_factory=dict)

    def start(self, staging: str) -> None:
        """Start an agent unless one works there; never raises, for nothing of the training depends on it.

        Args:
            staging: The staging directory.
        """
        now_seconds = self.machine.clock.monotonic()
        before = self._started.get(staging)
        if before is not None:
            code = before[0].poll()
            if code is None or now_seconds - before[1] < _RESTART_SECONDS:
                return
            del self._started[staging]
            if code not in _IN_ORDER:
                _log.warning("the uploader ended with exit code %d: see %s", code, join(staging, _LOG))
        try:
            held = self.machine.fs.try_lock(Staging(self.machine, staging).agent_lock, LockMode.SHARED)
            if held is None:
                return
            with held:
                pass
            self._started[staging] = (self.begin(staging), now_seconds)
        except OSError as error:
            _log.warning(
                "the uploader could not be started: %s. Start it yourself: ckpt-archive agent --staging %s",
                error,
                staging,
            )
