"""Starts processes that are to be killed, and tells what became of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from ckpt_archive.testing.kill import Point, Traffic

_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a victim ended.

    Attributes:
        code: Its exit status; -9 when SIGKILL ended it.
        result: What it said it did; empty if it did not come so far.
        traffic: What it sent, or fetched.
        errors: What it wrote to standard error.
    """

    code: int
    result: Mapping[str, Any]
    traffic: Traffic
    errors: str

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


class Victim:
    """A process under way.

    Args:
        process: It.
        traffic_path: Where it leaves what it sent.
    """

    def __init__(self, process: "subprocess.Popen[str]", traffic_path: str) -> None:
        self._process = process
        self._traffic_path = traffic_path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def until_reached(self) -> str:
        """Wait until it has come to one of its points, where it waits for `go_on`; the point."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("reached "), self.wait()
        return line.removeprefix("reached ").rstrip()

    def go_on(self) -> None:
        """Let it pass the point where it waits."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it with SIGKILL, from outside."""
        self._process.kill()

    def wait(self) -> Ended:
        """Wait until it has ended."""
        try:
            out, errors = self._process.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, errors = self._process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("{")]
        traffic = Traffic()
        if os.path.exists(self._traffic_path):
            with open(self._traffic_path, "rb") as file:
                traffic = Traffic.decode(file.read())
        return Ended(self._process.returncode, json.loads(lines[-1]) if lines else {}, traffic, errors)


class Victims:
    """Starts victims that share an environment.

    Args:
        runner: The script they run.
        folder: Where they leave what is known of them.
        environment: Of theirs, beside PATH.
    """

    def __init__(self, runner: str, folder: str, environment: Mapping[str, str]) -> None:
        self._runner = runner
        self._folder = folder
        self._environment = {"PATH": os.defpath, **environment}
        self._numbers = count()

    def start(self, do: str, *, points: Sequence[Point] = (), **arguments: object) -> Victim:
        """Start one.

        Args:
            do: What it does; see the runner.
            points: Where it acts.
            arguments: For what it does.
        """
        traffic_path = os.path.join(self._folder, f"traffic-{next(self._numbers)}")
        task = {
            "do": do,
            "points": [point.to_json() for point in points],
            "traffic": traffic_path,
            "arguments": arguments,
        }
        process = subprocess.Popen(  # noqa: S603 - its words are ours
            [sys.executable, self._runner, json.dumps(task)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Victim(process, traffic_path)

    def run(self, do: str, *, points: Sequence[Point] = (), **arguments: object) -> Ended:
        """Start one and wait until it has ended."""
        return self.start(do, points=points, **arguments).wait()
