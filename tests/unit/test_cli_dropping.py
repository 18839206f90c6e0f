"""`drop`, `undrop` and `retention assign` as a script uses them, on an archive in a folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main
from ckpt_archive.commit import layout
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.place import Place

Cli = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an archive with five checkpoints; tests use copies."""
    root = tmp_path_factory.mktemp("made")
    archive = Archive.create(f"file://{root}/archive")
    folder = root / "checkpoint"
    folder.mkdir()
    for step in (100, 200, 300, 400, 500):
        (folder / "model.bin").write_bytes(b"step %d" % step)
        archive.push(folder, "run", step)
    return root / "archive"


@pytest.fixture
def archive(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A copy of it; the working directory is empty."""
    shutil.copytree(made, tmp_path / "archive")
    monkeypatch.setenv("CKPT_ARCHIVE_URL", f"file://{tmp_path}/archive")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Archive.open()


@pytest.fixture
def cli(archive: Archive, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a verb with ``--json`` and gives its document; the error's where the code is above 1."""
    del archive

    def run(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main.run([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        seen = capsys.readouterr()
        if code > 1:
            return [json.loads(seen.err)["error"]]
        assert seen.err == ""
        rows: list[dict[str, Any]] = json.loads(seen.out)
        return rows

    return run


def test_dropped_and_taken_back(cli: Cli, archive: Archive) -> None:
    rows = cli("drop", "run", "--steps", "100-200", "--reason", "diverged", "--yes")
    assert [(row["step"], row["outcome"], row["ends_at"][10:]) for row in rows] == [
        (100, "dropped", "T00:00:00.000000Z"),
        (200, "dropped", "T00:00:00.000000Z"),
    ]
    assert [row["outcome"] for row in cli("drop", "run", "--steps", "100", "--reason", "again")] == ["dropped before"]
    rows = cli("undrop", "run", "--steps", "200", "--reason", "it was right")
    assert [(row["step"], row["outcome"]) for row in rows] == [(200, "wanted again")]
    fates = read_fates(archive.connection.store, "run")
    assert {place.step: fates.fate(place).assigned for place in fates.of} == {100: "trash", 200: None}
    assert cli("undrop", "run", "--steps", "200", "--reason", "again") == []


def test_without_an_answer_nothing_is_dropped(cli: Cli, archive: Archive) -> None:
    (error,) = cli("drop", "run", "--steps", "100", "--reason", "diverged", code=2)
    assert "The data of 1 checkpoint of run (8 B) will end on" in error["message"]
    assert "--yes" in error["hint"]
    assert read_fates(archive.connection.store, "run").of == {}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["drop", "run", "--steps", "300", "--reason", "r", "--yes"], 5, "step 300 (attempt 0) is one of the 3 newest"),
        (["drop", "run", "--reason", "r", "--yes"], 5, "step 500 (attempt 0) is one of the 3 newest"),
        (["drop", "run", "--steps", "7", "--reason", "r", "--yes"], 6, "no checkpoint of run is meant"),
        (["drop", "nobody", "--reason", "r", "--yes"], 6, "has no committed checkpoint"),
        (["drop", "run", "--steps", "1-x", "--reason", "r"], 2, "neither a step such as 100"),
        (["drop", "run", "--steps", "9-1", "--reason", "r"], 2, "write the smaller step first, 1-9"),
        (["drop", "run", "--steps", "1", "--whole-run", "--reason", "r"], 2, "can not be meant at once"),
        (["drop", "run", "--steps", "100"], 2, "Missing option '--reason'"),
        (["undrop", "run", "--steps", "7", "--reason", "r"], 6, "no checkpoint of run is meant"),
        (["retention", "assign", "run", "100", "dayly", "--reason", "r"], 2, "has no class 'dayly'"),
        (["retention", "assign", "run", "7", "daily", "--reason", "r"], 6, "step 7"),
        (["retention", "assign", "run", "100", "daily", "--reason", ""], 2, "no reason was given"),
        (["retention", "assign", "run", "100", "x", "--reason", "r", "--policy", "no.toml"], 2, "no policy file"),
    ],
)
def test_what_can_not_be_done_is_said(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    (error,) = cli(*arguments, code=code)
    assert said in error["message"], error


def test_the_whole_run(cli: Cli, archive: Archive) -> None:
    rows = cli("drop", "run", "--whole-run", "--reason", "a test", "--yes")
    assert [row["step"] for row in rows] == [100, 200, 300, 400, 500]
    rows = cli("undrop", "run", "--reason", "no test")
    assert [row["outcome"] for row in rows] == ["wanted again"] * 5
    fates = read_fates(archive.connection.store, "run")
    assert all(fate.is_open for fate in fates.of.values())


def test_a_person_is_told_that_nobody_removes_it(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["drop", "run", "--steps", "100", "--reason", "diverged", "--yes"]) == 0
    seen = capsys.readouterr()
    assert "run\t0\t100\tdropped\t" in seen.out
    assert "No policy is in force here" in seen.err


def test_a_class_is_given_by_the_policy_that_is_here_or_named(cli: Cli, archive: Archive, tmp_path: Path) -> None:
    (row,) = cli("retention", "assign", "run", "100", "milestone", "--reason", "released")
    assert row == {
        "run": "run",
        "attempt": 0,
        "step": 100,
        "before": "",
        "class": "milestone",
        "taken_back": False,
    }
    (row,) = cli("retention", "assign", "run", "100", "release", "--reason", "audit", "--policy", "eu-ai-10y")
    assert (row["before"], row["class"]) == ("milestone", "release")
    (tmp_path / "here" / "retention.toml").write_text('[classes.mine]\nkeep_for = "9d"\n')
    (row,) = cli("retention", "assign", "run", "100", "mine", "--reason", "audit")
    assert row["class"] == "mine"
    fates = read_fates(archive.connection.store, "run")
    assert fates.fate(Place("run", 0, 100)).assigned == "mine"
    (row,) = cli("retention", "assign", "run", "100", "none", "--reason", "no audit")
    assert (row["before"], row["class"]) == ("mine", "")


def test_all_mistakes_of_the_policy_file_are_lines(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    Path("retention.toml").write_text('keep_newest = 0\n[classes.mine]\nkeep_for = "9h"\n')
    assert main.run(["retention", "assign", "run", "100", "mine", "--reason", "audit"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: retention.toml has 2 mistakes"
    assert lines[1].startswith("retention.toml:1: keep_newest = 0: ")
    assert lines[2].startswith('retention.toml:3: classes.mine.keep_for = "9h": ')


def test_events_are_recorded(cli: Cli, archive: Archive) -> None:
    cli("retention", "assign", "run", "100", "milestone", "--reason", "released")
    cli("drop", "run", "--steps", "100", "--reason", "diverged", "--yes")
    cli("undrop", "run", "--reason", "it was right")
    names = [layout.event_name(info.key).kind for info in archive.connection.store.list(layout.EVENTS).objects]
    assert {"classed", "dropped", "ending", "undropped"} <= set(names)
