"""Asking from an installation that has the extra `query` and nothing more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_archive import Archive
from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.index.schema import CHECKPOINTS
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows

PROJECT = Path(__file__).parents[2]

ASK = """
import importlib.util, sys
sys.path.insert(0, {target!r})
for name in ("pyarrow", "deltalake", "numpy", "pandas", "pytest"):
    assert importlib.util.find_spec(name) is None, name
from ckpt_archive.cli import main
sys.exit(main.run(["--archive", {url!r}, "query", "--json", {sql!r}]))
"""

ASK_IN_PYTHON = """
import sys
sys.path.insert(0, {target!r})
from ckpt_archive import Archive
print([str(value) for value in Archive.open({url!r}).query({sql!r}).rows[0]])
"""

SQL = "SELECT count(*) AS n, max(committed_at) AS newest FROM checkpoints"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("installed"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, f"{PROJECT}[query]"],
        check=True,
        capture_output=True,
        timeout=250,
    )
    return folder


# What DuckDB opens itself, and what it reads through us: a name that it would take for a pattern.
@pytest.fixture(params=["plain", "odd[1]"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"file://{tmp_path}/{request.param}"
    Archive.create(url)
    HandWritten(store_at(url, system_machine()), CHECKPOINTS).append(checkpoint_rows(1000), 1)
    return url


def ask(script: str, target: str, url: str) -> str:
    # Neither this interpreter's packages nor the environment's.
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script.format(target=target, url=url, sql=SQL)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_the_command(target: str, url: str) -> None:
    assert json.loads(ask(ASK, target, url)) == [{"n": 1000, "newest": "2026-01-04T11:15:00.000000Z"}]


def test_the_method(target: str, url: str) -> None:
    assert ask(ASK_IN_PYTHON, target, url) == "['1000', '2026-01-04 11:15:00+00:00']\n"


def test_the_saved_questions_are_there(target: str) -> None:
    script = (
        f"import sys; sys.path.insert(0, {target!r}); from ckpt_archive.cli import main; "
        "main.run(['query', '--list', '--json'])"
    )
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert len(json.loads(ended.stdout)) >= 20
