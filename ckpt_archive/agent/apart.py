"""Maintains an archive in a process of its own: the libraries that make the index weigh more than an agent may."""

import subprocess
import sys
from collections.abc import Callable

from ckpt_archive.errors import CkptArchiveError, UnavailableError

_LOOK_SECONDS = 0.5
# A pass that is over its budget begins nothing more; what it is at may take that long.
_GRACE_SECONDS = 60.0
_IN_ORDER = (0, 1)  # 1: it found something that whoever looks after the archive is told by every other pass too


def maintain_apart(url: str, seconds: float, should_stop: Callable[[], bool]) -> tuple[CkptArchiveError, ...]:
    """Run ``ckpt-archive maintain``; what stopped it, if anything did.

    Args:
        url: The archive.
        seconds: The budget of the pass.
        should_stop: Asked meanwhile; once it says so, the process is asked to end, which it may at any point.
    """
    options = ["--archive", url, "--budget", f"{seconds:g}s", "--quiet"]
    command = [sys.executable or "python3", "-m", "ckpt_archive", "maintain", *options]
    try:
        process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", text=True
        )
    except OSError as error:
        return (UnavailableError(f"no process can be started: {error}", hint="It is tried again."),)
    stopped = False
    with process:
        try:
            for _ in range(int((seconds + _GRACE_SECONDS) / _LOOK_SECONDS)):
                try:
                    _, said = process.communicate(timeout=_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if not stopped and should_stop():
                        stopped = True
                        process.terminate()
            else:
                process.kill()
                _, said = process.communicate()
        except BaseException:
            process.kill()
            raise
    if stopped or process.returncode in _IN_ORDER:
        return ()
    lines = said.strip().splitlines() or [f"it ended with code {process.returncode}"]
    return (UnavailableError(lines[0].removeprefix("error: "), hint=" ".join(lines[1:2]).strip()),)
