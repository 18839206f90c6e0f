"""Processes of the story: started, listened to, and killed without warning."""

import os
import pty
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckpt_archive.errors import UnavailableError

_PATIENCE_SECONDS = 120.0
_END = None
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def command_line(module: str, arguments: Sequence[str]) -> list[str]:
    """Runs a Python module as a process that does not outlive this one, however this one ends."""
    return [sys.executable, "-m", "ckpt_archive.demo.mortal", str(os.getpid()), module, *arguments]


class Actor:
    """A Python module that runs as a process of its own.

    Args:
        name: For people.
        module: What to run.
        arguments: Its arguments.
        environment: Its environment.
        hear: Told each line it prints, from another thread.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hear: Callable[[str], None],
    ) -> None:
        self.name = name
        self._hear = hear
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command_line(module, arguments),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted.

        Raises:
            UnavailableError: If the process ends, or says nothing for two minutes, before that.
        """
        while True:
            try:
                line = self._lines.get(timeout=_PATIENCE_SECONDS)
            except queue.Empty:
                line = _END
            if line is None:
                raise UnavailableError(f"the {self.name} ended too early", hint="What it said stands above.")
            if wanted(line):
                return line

    def kill(self) -> None:
        """SIGKILL: it can not even say goodbye."""
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._process.terminate()
        self._reap()

    def join(self) -> int:
        """Wait for its end; its exit code."""
        self._reap()
        return self._process.returncode

    def _reap(self) -> None:
        self._process.wait(_PATIENCE_SECONDS)
        self._listener.join(_PATIENCE_SECONDS)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._hear(line.rstrip("\n"))
                self._lines.put(line)
        self._lines.put(_END)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and how it ended.

    Attributes:
        text: First what it printed to the terminal, then its notes.
        exit_code: Its exit code.
    """

    text: str
    exit_code: int


def on_terminal(module: str, arguments: Sequence[str], environment: Mapping[str, str], *, width: int) -> Said:
    """Run a module whose output is a terminal of that width, as a person sees it; bars, which come and go, are left out."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as notes:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command_line(module, arguments),
                env={**environment, "TERM": "xterm", "COLUMNS": str(width)},
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=notes,
            )
        finally:
            os.close(theirs)
        printed = b"".join(_read(ours))
        exit_code = process.wait(_PATIENCE_SECONDS)
        notes.seek(0)
        text = (printed + notes.read()).decode("utf-8", "replace")
    return Said(_CONTROL.sub("", text), exit_code)


def _read(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 65_536):
            yield data
    except OSError:  # how Linux says that nobody has the other end of a terminal any more
        pass
    finally:
        os.close(descriptor)
