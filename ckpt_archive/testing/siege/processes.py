"""Children forked from a process that has loaded everything: real ones, without what starting Python costs."""

import ctypes
import itertools
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from ckpt_archive.clock import Clock

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36
CRASHED = 70
"""The exit code of a child that raised what nobody expects (EX_SOFTWARE of <sysexits.h>)."""


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) is refused")


class Child:
    """A process.

    Args:
        name: Its role.
        action: What it does; its exit code.
        environment: Added to ours.
        log_path: Where its standard error goes.
        keep: Descriptors that it goes on to use.

    Attributes:
        pid: Its process id.
        lines: What it has written to standard output so far.
        code: How it ended; None while it lives, negative if by a signal.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], int],
        environment: Mapping[str, str],
        log_path: str,
        keep: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.code: int | None = None
        self._torn = b""
        self.out, theirs = os.pipe()
        besieger = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(action, environment, log_path, theirs, besieger, keep)
        os.close(theirs)
        os.set_blocking(self.out, False)
        self.pidfd = os.pidfd_open(self.pid)

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; whether it lived. Not reaped before its code is known, so the number is still its."""
        if self.code is None:
            os.kill(self.pid, number)
        return self.code is None

    def hear(self) -> bool:
        """Take in what it has written; whether it can write no more."""
        try:
            while data := os.read(self.out, 65_536):
                *whole, self._torn = (self._torn + data).split(b"\n")
                self.lines += [line.decode() for line in whole]
        except BlockingIOError:
            return False
        return True

    def reap(self) -> None:
        """It has ended."""
        _, status = os.waitpid(self.pid, 0)
        self.hear()
        self.code = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)
        os.close(self.out)


def _become(
    action: Callable[[], int],
    environment: Mapping[str, str],
    log_path: str,
    out: int,
    besieger: int,
    keep: Sequence[int],
) -> None:
    """What happens in the child; it never comes back."""
    code = CRASHED
    try:
        # Forked by the main thread, which is all there is: it dies with the besieger, not with a thread of it.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != besieger:
            os._exit(CRASHED)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        # Pipes and locks of the besieger, which others would wait for.
        bounds = [2, *sorted(keep), os.sysconf("SC_OPEN_MAX")]
        for below, above in itertools.pairwise(bounds):
            os.closerange(below + 1, above)
        os.environ.update(environment)
        code = action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else CRASHED
    except BaseException:  # noqa: BLE001 - the besieger's own frames lie below: nothing may be raised into them
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Nursery:
    """All children, and waiting for what they do.

    Args:
        clock: Measures how long is waited.
    """

    def __init__(self, clock: Clock) -> None:
        # What a trainer started and left behind comes to us, so that we can end it.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._alive: dict[int, Child] = {}

    def start(
        self,
        name: str,
        action: Callable[[], int],
        environment: Mapping[str, str],
        log_path: str,
        keep: Sequence[int] = (),
    ) -> Child:
        """A new child."""
        child = Child(name, action, environment, log_path, keep)
        self._alive[child.pid] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        self._selector.register(child.out, selectors.EVENT_READ, child)
        return child

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Until something is so, or the time is over; whether it is so."""
        ends_at = self._clock.monotonic() + seconds
        while not until():
            left = ends_at - self._clock.monotonic()
            if left <= 0:
                return False
            self._listen(left)
        return True

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            child: Child = key.data
            if child.code is not None:
                continue
            if key.fd == child.pidfd:
                self._selector.unregister(child.pidfd)
                with suppress(KeyError):
                    self._selector.unregister(child.out)
                child.reap()
                del self._alive[child.pid]
            elif child.hear():
                # Closed: it would be told without end.
                self._selector.unregister(child.out)

    def kill(self, child: Child) -> bool:
        """SIGKILL, and wait for its end; whether that is what ended it."""
        child.send(signal.SIGKILL)
        self.wait(30.0, lambda: child.code is not None)
        return child.code == -signal.SIGKILL

    def kill_all(self) -> None:
        """Nobody stays."""
        for child in list(self._alive.values()):
            self.kill(child)
        self._selector.close()


def strays(word: str) -> Iterator[int]:
    """Children of ours that others started and left, and that were started with this word."""
    ours = os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if int(parent) == ours and word.encode() in words and state != b"Z":
                yield int(name)
