"""Runs a program and tells what it used: peak memory, processor time, wall time.

The kernel counts what the starting process had in memory as the started one's until that has begun its own program, so a
small process stands in between: the figures are right above its own 10 MB.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BETWEEN = """
import json, os, sys, time
began = time.monotonic()
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
_, status, used = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss << 10, used.ru_utime, used.ru_stime,
    time.monotonic() - began]))
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a program used.

    Attributes:
        code: Its exit status.
        peak_bytes: Most memory it had resident at once.
        user_seconds: Its own processor time.
        system_seconds: The kernel's for it.
        wall_seconds: How long it took.
        out: What it wrote to standard output.
        errors: What it wrote to standard error.
    """

    code: int
    peak_bytes: int
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    out: str
    errors: str


def run_measured(command: Sequence[str], out_path: str, environment: Mapping[str, str]) -> Used:
    """Run `command`, whose first word is a path, and wait for it.

    Args:
        command: What is run.
        out_path: A file for its standard output.
        environment: All of its environment.
    """
    between = subprocess.run(  # noqa: S603 - the caller's own words
        [sys.executable, "-I", "-S", "-c", _BETWEEN, out_path, *command],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if between.returncode:
        raise OSError(f"{command[0]} could not be run: {between.stderr}")
    code, peak_bytes, user_seconds, system_seconds, wall_seconds = json.loads(between.stdout)
    with open(out_path, encoding="utf-8") as file:
        out = file.read()
    return Used(code, peak_bytes, user_seconds, system_seconds, wall_seconds, out, between.stderr)
