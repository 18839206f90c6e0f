"""What the package costs whoever imports or installs it: a trainer must not notice it."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

HEAVY = (
    "boto3", "botocore", "urllib3", "pyarrow", "duckdb", "deltalake", "torch", "numpy", "click", "rich", "tenacity",
    "cryptography", "asyncio", "multiprocessing",
)  # fmt: skip
LIMIT_BYTES = 65 << 20

STAGES = """
import sys, tempfile
from ckpt_archive import Archive, Every
folder = tempfile.mkdtemp()
archive = Archive.open(f"file://{folder}/archive")
run = archive.run("run-a", staging=f"{folder}/ssd", promote=Every(2), agent="external")
for step in range(3):
    with run.checkpoint(step=step, metrics={"loss": 1.0}) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(b"x")
    assert checkpoint.staged
run.finish()
"""


def loaded_by(script: str) -> set[str]:
    """The modules that an interpreter has loaded after a script."""
    tail = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    ended = subprocess.run([sys.executable, "-c", script + tail], capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


def instructions_of(script: str) -> int:
    """How long an interpreter takes for it, in function calls: a number that does not depend on who else works here."""
    count = f"""
import sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += 1
sys.setprofile(count)
{script}
sys.setprofile(None)
print(calls)
"""
    ended = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "script",
    ["import ckpt_archive", "from ckpt_archive import Archive, Every", STAGES],
    ids=["package", "names", "staging"],
)
def test_what_is_not_loaded(script: str) -> None:
    found = loaded_by(script)
    assert "ckpt_archive" in found
    heavy = found.intersection(HEAVY) - ({"tenacity", "asyncio"} if script is STAGES else set())
    assert not heavy


def test_the_import_costs_no_more_than_one_of_the_standard_library() -> None:
    ours = instructions_of("import ckpt_archive")
    theirs = instructions_of("import logging, json, urllib.request")
    assert ours < theirs, (ours, theirs)


def closure(name: str) -> dict[str, importlib.metadata.Distribution]:
    """A distribution and all it needs, without extras."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = [name]
    while wanted:
        distribution = importlib.metadata.distribution(wanted.pop())
        key = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if key in found:
            continue
        found[key] = distribution
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    return found


def size_bytes(distribution: importlib.metadata.Distribution) -> int:
    """Of its files as they are installed, without what interpreters compile."""
    files = [Path(str(file.locate())) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc" and path.is_file())


def test_the_core_is_small() -> None:
    sizes = {name: size_bytes(found) for name, found in closure("ckpt-archive").items()}
    package = Path(__file__).parents[2] / "ckpt_archive"
    # Installed for development it has no files of its own.
    sizes["ckpt-archive"] = sum(path.stat().st_size for path in package.rglob("*.py"))
    assert {"boto3", "botocore", "click", "crc32c", "rich", "tenacity"} <= sizes.keys()
    assert not {"numpy", "pyarrow", "torch", "duckdb", "scikit-learn"} & sizes.keys()
    total = sum(sizes.values())
    assert total <= LIMIT_BYTES, sizes


@pytest.mark.parametrize("words", ["-h", "index -h", "index sync -h", "index check -h", "index ddl -h", "maintain -h"])
def test_help_loads_nothing_that_is_heavy(words: str) -> None:
    script = f"""
import contextlib, io
from ckpt_archive.cli.main import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run({words.split()!r}) == 0
"""
    assert not loaded_by(script).intersection(("boto3", "botocore", "pyarrow", "deltalake", "duckdb", "rich"))
