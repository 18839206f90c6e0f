"""The verbs of the index and `maintain`, as a script uses them, on an archive in a folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main
from ckpt_archive.commit import layout
from ckpt_archive.index.schema import TABLES
from ckpt_archive.maintain import indexing
from ckpt_archive.maintain.report import State
from ckpt_archive.promotion import Every

Cli = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an archive with three checkpoints, named by the environment."""
    url = f"file://{tmp_path}/archive"
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)
    archive = Archive.create(url)
    for step in (1, 2, 3):
        push(archive, tmp_path, step)
    return tmp_path / "archive"


@pytest.fixture
def cli(root: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a verb with ``--json`` and gives its document; the error's where the code is above 1."""
    del root

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


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an installation without the extra."""
    monkeypatch.setattr(indexing, "_LIBRARIES", ("deltalake", "a-library-that-is-not-there"))


def push(archive: Archive, folder: Path, step: int) -> None:
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / "checkpoint" / "model.bin").write_bytes(b"step %d" % step)
    archive.push(folder / "checkpoint", "run-a", step)


def by_step(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in rows}


def marks(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "index" / "marks").iterdir())


# --- sync ------------------------------------------------------------------------------------------------------------------


def test_sync_brings_checkpoints_into_the_log_and_the_index(cli: Cli) -> None:
    steps = by_step(cli("index", "sync"))
    assert steps["log"]["did"] == "4 records sealed"
    assert steps["index"]["state"] == "done"
    assert cli("query", "SELECT run, step FROM checkpoints ORDER BY step") == [
        {"run": "run-a", "step": step} for step in (1, 2, 3)
    ]
    assert {row["state"] for row in cli("index", "sync", "--budget", "5m")} == {"nothing"}


def test_without_the_libraries_the_log_is_sealed_all_the_same(
    root: Path, cli: Cli, without_libraries: None, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = by_step(cli("index", "sync"))
    assert steps["log"]["did"] == "4 records sealed"
    assert "pip install 'ckpt-archive[index]'" in steps["index"]["left"]
    assert not (root / "index").exists()
    assert by_step(cli("maintain"))["index"]["state"] == "nothing"


@pytest.mark.parametrize("verb", ["rebuild", "check", "compact", "vacuum"])
def test_without_the_libraries_what_needs_them_says_so(verb: str, cli: Cli, without_libraries: None) -> None:
    (error,) = cli("index", verb, code=2)
    assert f"index {verb}" in error["message"]
    assert error["hint"] == "pip install 'ckpt-archive[index]'"


# --- the others ------------------------------------------------------------------------------------------------------------


def test_check_finds_nothing_where_nothing_is_wrong(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli("index", "sync")
    assert cli("index", "check", "--all") == []
    assert cli("index", "check", "--sample", 1, "--seed", 7) == []
    assert main.run(["index", "check"]) == 0
    assert "no differences" in capsys.readouterr().err


def test_check_names_every_difference(root: Path, cli: Cli) -> None:
    cli("index", "sync")
    DeltaTable(str(root / "index" / "checkpoints")).delete("step = 2")
    (row,) = cli("index", "check", "--all", code=1)
    assert (row["kind"], row["table"]) == ("missing", "checkpoints")
    assert "2" in row["key"]


def test_check_takes_a_sample_or_all(cli: Cli) -> None:
    (error,) = cli("index", "check", "--all", "--sample", 3, code=2)
    assert "exclude" in error["message"]


def test_rebuild_makes_the_same_again(cli: Cli) -> None:
    cli("index", "sync")
    (done,) = cli("index", "rebuild")
    assert (done["entries"], done["rows"]["checkpoints"]) == (4, 3)
    assert set(done["rows"]) == set(TABLES)
    assert cli("index", "check", "--all") == []


def test_reconcile_finds_what_no_marker_tells_of(root: Path, cli: Cli) -> None:
    (done,) = cli("index", "reconcile")
    assert (done["listed"], done["sealed"]) == (4, 0)
    push(Archive.open(), root.parent, 4)
    for marker in (root / "log" / "pending").rglob("*.json"):
        marker.unlink()
    assert by_step(cli("index", "sync"))["log"]["state"] == "nothing"
    assert cli("index", "reconcile")[0]["sealed"] == 0  # so young, its marker may still come
    made = root / layout.manifest("run-a", 0, 4)
    before = made.stat().st_mtime - 3 * 3600
    os.utime(made, (before, before))
    assert cli("index", "reconcile", code=1)[0]["sealed"] == 1
    cli("index", "sync")
    assert cli("query", "SELECT count(*) AS n FROM checkpoints") == [{"n": 4}]


def test_compact_and_vacuum(root: Path, cli: Cli) -> None:
    for step in range(4, 7):
        push(Archive.open(), root.parent, step)
        cli("index", "sync")
    assert cli("index", "compact") == []
    joined = {row["table"]: row for row in cli("index", "compact", "--force")}
    assert (joined["checkpoints"]["removed"], joined["checkpoints"]["added"]) == (3, 1)
    assert cli("index", "vacuum") == []
    (error,) = cli("index", "vacuum", "--older-than", "5m", code=2)
    assert "--force" in error["hint"]
    would = cli("index", "vacuum", "--older-than", 0, "--force", "--dry-run")
    assert {row["table"]: row["files"] for row in would}["checkpoints"] == 3
    assert cli("index", "vacuum", "--older-than", 0, "--force") == would
    assert cli("index", "vacuum", "--older-than", 0, "--force") == []
    assert cli("index", "check", "--all") == []


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_ddl_is_a_text_to_paste(cli: Cli, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = cli("index", "ddl", "--engine", engine)
    assert main.run(["index", "ddl", "--engine", engine]) == 0
    assert capsys.readouterr().out == row["sql"]
    assert "checkpoints" in row["sql"]


# --- maintain --------------------------------------------------------------------------------------------------------------


def test_maintain_does_all_of_it(cli: Cli) -> None:
    steps = by_step(cli("maintain", "--budget", "90s"))
    assert list(steps) == ["log", "commits", "index", "compact", "vacuum", "retention"]
    assert steps["index"]["state"] == "done"
    assert {row["state"] for row in cli("maintain")} == {"nothing"}


def test_maintain_prints_a_line_for_each_step(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["maintain", "-v"]) == 0
    seen = capsys.readouterr()
    names = ["log", "commits", "index", "compact", "vacuum", "retention"]
    assert [line.split("\t")[0] for line in seen.out.splitlines()] == names
    assert "log: 4 records sealed" in seen.err


def test_findings_are_exit_code_1(root: Path, cli: Cli) -> None:
    marker = next((root / "log" / "pending").rglob("*-commit-*.json"))
    marker.write_bytes(b"no marker")
    rows = cli("maintain", code=1)
    assert by_step(rows)["log"]["findings"] == 1
    found = cli("query", "SELECT kind, subject FROM events WHERE kind = 'finding'")
    assert [row["subject"] for row in found] == [str(marker.relative_to(root))]


def test_a_record_that_the_index_can_not_read_is_exit_code_1_too(root: Path, cli: Cli) -> None:
    (manifest,) = (root / "manifests").rglob("999999999998.json")
    manifest.unlink()
    manifest.write_bytes(b"no record")
    assert by_step(cli("maintain", code=1))["index"]["findings"] == 1
    (finding,) = cli("query", "SELECT subject FROM events WHERE kind = 'finding'")
    assert finding["subject"] == str(manifest.relative_to(root))


def test_a_step_that_fails_is_told_after_all_others_were_made(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["maintain"]) == 0
    capsys.readouterr()
    push(Archive.open(), root.parent, 4)
    batch = root / layout.sequence_batch(1)
    batch.write_bytes(b"no batch")
    code = main.run(["maintain"])
    seen = capsys.readouterr()
    assert code == 4
    assert seen.err.startswith("error: ")
    states = {line.split("\t")[0]: line.split("\t")[1] for line in seen.out.splitlines()}
    assert states["log"] == State.FAILED
    assert states["vacuum"] != State.FAILED


def test_a_missing_archive_is_told_as_always(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--archive", f"file://{tmp_path}/none", "maintain"]) in (3, 6)
    assert "init" in capsys.readouterr().err


# --- marks -----------------------------------------------------------------------------------------------------------------


def test_an_idle_pass_opens_no_table(root: Path, cli: Cli) -> None:
    cli("maintain")
    assert len(marks(root)) == 1
    (root / "index").rename(root / "away")
    (root / "index").mkdir()
    for name in ("marks", "days"):
        (root / "away" / name).rename(root / "index" / name)
    assert {row["state"] for row in cli("maintain")} == {"nothing"}
    assert sorted(path.name for path in (root / "index").iterdir()) == ["days", "marks"]


def test_the_index_thrown_away_is_made_again(root: Path, cli: Cli) -> None:
    cli("maintain")
    (root / "index").rename(root.parent / "away")
    assert by_step(cli("maintain"))["index"]["state"] == "done"
    assert cli("query", "SELECT count(*) AS n FROM checkpoints") == [{"n": 3}]


def test_once_a_day_old_marks_go(root: Path, cli: Cli) -> None:
    for number in range(1, 40):
        (root / "index" / "marks").mkdir(parents=True, exist_ok=True)
        (root / layout.index_mark(number, 1, Archive.open().id)).touch()
    (root / "index" / "days").mkdir()
    (root / "index" / "days" / "2020-01-01").touch()
    archive = Archive.open()
    for step in range(4, 8):
        push(archive, root.parent, step)
    cli("maintain")
    assert [path.name for path in (root / "index" / "days").iterdir()] != ["2020-01-01"]
    assert len(list((root / "index" / "days").iterdir())) == 1


# --- beside an agent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maintain", ["auto", "external"])
def test_what_a_drain_archives_is_in_the_index_unless_somebody_else_maintains(
    root: Path, cli: Cli, maintain: str
) -> None:
    staging = root.parent / "ssd"
    run = Archive.open().run("run-b", staging=staging, promote=Every(1), agent="external", network_staging=True)
    with run.checkpoint(step=7) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(b"weights")
    run.finish()
    assert cli("drain", "--staging", staging, "--network-staging", "--maintain", maintain) == []
    assert (root / "log" / "seq").exists() == (maintain == "auto")
    if maintain == "auto":
        assert cli("query", "SELECT step FROM checkpoints WHERE run = 'run-b'") == [{"step": 7}]
