"""Starts the agent of a staging directory as a process of its own, which outlives the trainer where the platform lets it."""

import contextlib
import fcntl
import logging
import os
import subprocess
import sys

from ckpt_archive.clock import SystemClock

_log = logging.getLogger(__name__)

_CLOCK = SystemClock()
_RESTART_SECONDS = 10.0

_started: dict[str, tuple["subprocess.Popen[bytes]", float]] = {}


def start_agent(staging: str) -> None:
    """Start an agent unless one works there; never raises, for nothing of the training depends on it.

    Args:
        staging: The staging directory.
    """
    before = _started.get(staging)
    if before is not None and (before[0].poll() is None or _CLOCK.monotonic() - before[1] < _RESTART_SECONDS):
        return
    try:
        if _is_held(os.path.join(staging, "agent.lock")):
            return
        _started[staging] = (_start(staging), _CLOCK.monotonic())
    except OSError as error:
        _log.warning(
            "the uploader could not be started: %s. Start it yourself: ckpt-archive agent --staging %s", error, staging
        )


def _is_held(lock: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _start(staging: str) -> "subprocess.Popen[bytes]":
    with open(os.path.join(staging, "agent.log"), "ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "ckpt_archive", "agent", "--staging", staging, "--until-idle"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
