"""A process of its own for one mutant: ``python -m …mutants.worker NAME FIRST SEEDS`` answers with one line of JSON."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from ckpt_archive.testing.simulation.mutants.mutant import PACKAGE, load
from ckpt_archive.testing.simulation.mutants.plant import plant

_HUNT = "ckpt_archive.testing.simulation.mutants.hunt"


def ask(name: str, first: int, seeds: int, *, timeout_seconds: float) -> dict[str, Any] | None:
    """What finds the mutant, found out in a process of its own: the members of a `hunt.Found`; None if nothing does.

    Args:
        name: Of the mutant.
        first: The first seed.
        seeds: How many; 0 for its tests.
        timeout_seconds: How long it may take.

    Raises:
        RuntimeError: If the process failed: most likely the patch does not fit the sources any more.
    """
    command = [sys.executable, "-m", __name__, name, str(first), str(seeds)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, capture_output=True, text=True, check=False, timeout=timeout_seconds, cwd=PACKAGE.parent
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name}: its process went on for {timeout_seconds:.0f} s") from error
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr}")
    answer: dict[str, Any] | None = json.loads(done.stdout.splitlines()[-1])
    return answer


def main(name: str, first: int, seeds: int) -> dict[str, Any] | None:
    """Plant the mutant here and look for it."""
    mutant = load(name)
    plant(mutant)
    if not seeds:
        return _run_tests(mutant.tests)
    # Only now, so that all that it imports is the mutant's.
    hunter: Any = importlib.import_module(_HUNT)
    found = hunter.hunt(mutant, first, seeds)
    return None if found is None else {**asdict(found), "says": found.says}


class _Failures:
    """A plugin of pytest that remembers which tests failed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """See pytest."""
        if report.failed:
            self.names.append(report.nodeid)


def _run_tests(tests: tuple[str, ...]) -> dict[str, Any] | None:
    pytest: Any = importlib.import_module("pytest")
    failures = _Failures()
    # Plugins that these tests do not need take longer to load than the tests to run.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # The same examples every time.
    os.environ["HYPOTHESIS_PROFILE"] = "ci"
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", *tests], plugins=[failures])
    if code not in (0, 1) or (code and not failures.names):
        raise RuntimeError(f"pytest ended with {code!r}: is there no such test any more?")
    if not failures.names:
        return None
    return {"seed": 0, "lives": 0, "judge": "tests", "message": "", "says": ", ".join(sorted(failures.names))}


if __name__ == "__main__":
    _name, _first, _seeds = sys.argv[1:]
    print(json.dumps(main(_name, int(_first), int(_seeds))))  # noqa: T201 - the answer
