"""The command line about what ends and what is held: `ls`, `show`, `restore`, `verify`, `retention hold` and `release`."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import fating
from ckpt_archive.commit.fating import Told
from ckpt_archive.place import Place

NOW = SystemClock().now()
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


class Cli(Protocol):
    def __call__(self, *arguments: object, code: int = 0) -> list[dict[str, Any]]: ...


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An archive with three checkpoints, of which the oldest has ended and the next ends in two days."""
    url = f"file://{tmp_path}/archive"
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)
    monkeypatch.setenv("CKPT_ARCHIVE_ACTOR", "ann")
    archive = Archive.create(url)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.bin").write_bytes(b"weights")
    for step in (100, 200, 300):
        archive.push(tmp_path / "in", "r", step)
    for step, days, tag in ((100, -1, "hourly.14d"), (200, 2, "daily.365d")):
        told = Told("policy", "node", "promotion 12, every 12", NOW)
        day = MIDNIGHT + timedelta(days=days)
        fating.announce(archive.connection.store, archive.id, Place("r", 0, step), 0, day, tag, told)
    return url


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a verb with ``--json`` and gives its document."""
    del url

    def run(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main.run([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        seen = capsys.readouterr()
        if code > 1:
            return [json.loads(seen.err)["error"]]
        found: list[dict[str, Any]] = json.loads(seen.out)
        return found

    return run


def test_ls_leaves_out_what_has_ended_and_says_what_ends(cli: Cli) -> None:
    rows = cli("ls", "r")
    assert [(row["step"], row["state"], row["retention_class"], row["held"]) for row in rows] == [
        (300, "kept", "", False),
        (200, "ending", "daily", False),
    ]
    assert rows[1]["ends_at"].startswith(f"{MIDNIGHT + timedelta(days=2):%Y-%m-%d}T00:00:00")
    (oldest,) = [row for row in cli("ls", "r", "--all") if row["step"] == 100]
    assert (oldest["state"], oldest["retention_class"]) == ("ended", "hourly")
    (error,) = cli("ls", "--all", code=2)
    assert "--all needs a RUN" in error["message"]


def test_a_pipe_gets_the_same_columns_in_the_same_places(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    del url
    assert main.run(["ls", "r", "--all"]) == 0
    seen = capsys.readouterr()
    assert seen.err == f"1 of these ends, the first on {MIDNIGHT + timedelta(days=2):%Y-%m-%d}\n"
    lines = [line.split("\t") for line in seen.out.splitlines()]
    assert [line[:3] + line[6:7] for line in lines] == [
        ["r", "0", "300", "kept"],
        ["r", "0", "200", "ending"],
        ["r", "0", "100", "ended"],
    ]


def test_what_has_ended_is_shown_and_not_fetched(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = cli("show", "r", 100)
    assert shown["state"] == "ended"
    assert main.run(["show", "r", "100"]) == 0
    assert "its data has ended on" in capsys.readouterr().err
    assert main.run(["show", "r", "100", "--as", "sha256sum"]) == 6
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "by class hourly (promotion 12, every 12)" in seen.err
    assert "The nearest that is kept is step 200" in seen.err
    for more in ([], ["--if-any"]):
        (error,) = cli("restore", "r", 100, "--to", tmp_path / "out", *more, code=6)
        assert f"ended on {MIDNIGHT - timedelta(days=1):%Y-%m-%d} by class hourly" in error["message"]
    # Nothing older leads there.
    assert main.run(["restore", "r", "100", "--to", str(tmp_path / "out"), "--fallback"]) == 6
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    assert main.run(["show", "r", "200", "--as", "sha256sum"]) == 0
    seen = capsys.readouterr()
    assert seen.out.endswith("  model.bin\n")
    assert "ckpt-archive retention hold r 200 --attempt 0" in seen.err


def test_a_run_that_has_ended_is_not_taken_for_a_new_one(cli: Cli, url: str, tmp_path: Path) -> None:
    archive = Archive.open(url)
    told = Told("policy", "node", "dropped", NOW)
    for step in (200, 300):
        fating.ended(archive.connection.store, archive.id, Place("r", 0, step), 0, told)
    (error,) = cli("restore", "r", "--to", tmp_path / "out", "--if-any", code=6)
    assert "r step 300 (attempt 0) ended" in error["message"]
    (error,) = cli("ls", "r", code=6)
    assert "all 3 checkpoints" in error["message"]


def test_verify_says_how_many_have_ended(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    del url
    assert main.run(["verify", "r"]) == 0
    assert "2 checkpoints, 2 objects, 14 B; 1 more have ended, of which the records alone were read" in (
        capsys.readouterr().err
    )


def test_hold_and_release(cli: Cli, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (held,) = cli("retention", "hold", "r", 200, "--case", "ABC.1", "--reason", "claim of Smith")
    assert (held["step"], held["checkpoints"], held["native"], held["case"]) == (200, 1, False, "ABC.1")
    assert [item["step"] for item in held["taken_back"]] == [200]
    (row,) = [row for row in cli("ls", "r") if row["step"] == 200]
    assert (row["state"], row["held"]) == ("kept", True)
    assert main.run(["retention", "hold", "r", "--case", "ALL", "--reason", "claim of Jones"]) == 1
    seen = capsys.readouterr()
    assert "the run r with 3 checkpoints is held for ALL; the bucket has no Object Lock" in seen.out
    assert "r step 100 (attempt 0): its end had come before" in seen.err
    assert all(row["held"] for row in cli("ls", "r"))
    notes = [row["detail"] for row in cli("doctor") if row.get("what") == "held"]
    assert len(notes) == 2
    (released,) = cli("retention", "release", "r", 200, "--case", "ABC.1", "--reason", "settled")
    assert released["others"] == ["ALL"]
    assert main.run(["retention", "release", "r", "--case", "ALL", "--reason", "settled"]) == 0
    assert not any(row["held"] for row in cli("ls", "r"))
    assert Archive.open(url).checkpoints("r")[0].state == "kept"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["hold", "r", "200", "--case", "a b", "--reason", "r"], 2, "the case 'a b' is not allowed"),
        (["hold", "r", "200", "--case", "A"], 2, "--reason"),
        (["hold", "r", "200", "--case", "A", "--reason", ""], 2, "no reason was given"),
        (["hold", "r", "--attempt", "0", "--case", "A", "--reason", "r"], 2, "an attempt can not be held"),
        (["hold", "r", "7", "--case", "A", "--reason", "r"], 6, "step 7"),
        (["hold", "none", "--case", "A", "--reason", "r"], 6, "'none' has no committed checkpoint"),
        (["release", "r", "200", "--case", "A", "--reason", "r"], 6, "was never held for the case A"),
    ],
)
def test_what_can_not_be_held(cli: Cli, arguments: list[str], code: int, message: str) -> None:
    (error,) = cli("retention", *arguments, code=code)
    assert message in error["message"]
