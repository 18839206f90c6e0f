"""Processes of the story: started, listened to, and killed without warning."""

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from ckpt_archive.errors import UnavailableError

_PATIENCE_SECONDS = 120.0
_END = None


class Actor:
    """A Python module that runs as a process of its own.

    Args:
        name: For people.
        module: What to run, and its arguments.
        environment: Its environment.
        hear: Told each line it prints, from another thread.
    """

    def __init__(
        self, name: str, module: Sequence[str], environment: Mapping[str, str], hear: Callable[[str], None]
    ) -> None:
        self.name = name
        self._hear = hear
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-m", *module],
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
