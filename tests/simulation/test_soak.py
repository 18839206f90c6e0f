"""A long search: what it does is counted once, wherever it was broken off."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from click.testing import CliRunner

from ckpt_archive.testing import soak
from ckpt_archive.testing.campaign import Campaign, Totals, Violation


def run(*arguments: str) -> str:
    result = CliRunner().invoke(soak.main, ["--jobs", "1", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def lives_of(output: str) -> int:
    found = re.search(r"^lives +([0-9,]+), from seed", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1].replace(",", ""))


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path), "--start", "300"]
    first = run("--seeds", "10", *state)
    again = run("--seeds", "10", *state)
    assert lives_of(first) == lives_of(again) == 10
    assert lives_of(run("--seeds", "14", *state)) == 14
    assert run("--seeds", "14", "--start", "300").splitlines()[2] == run("--seeds", "14", *state).splitlines()[2]


def test_a_search_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", soak.__name__, "--state", str(tmp_path), "--start", "300", "--seeds", "100000"]
    process = subprocess.Popen([*command, "--jobs", "1"], stdout=subprocess.DEVNULL)
    try:
        while not list(tmp_path.glob("*.json")):
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    before = Campaign.begin(tmp_path, 300)
    done = before.totals.lives
    assert 0 < done < 100_000
    assert before.reached("lives") == 300 + done
    assert lives_of(run("--seeds", str(done + 5), "--state", str(tmp_path), "--start", "300")) == done + 5


def test_totals_survive_being_kept(tmp_path: Path) -> None:
    totals = Totals(3, 400, 5, 1.5, Counter({"ENOSPC of disk.write": 2}), [Violation("what", "--start 7 --seeds 1")])
    Campaign.begin(tmp_path, 7).did("lives", 9, totals)
    kept = Campaign.begin(tmp_path, 7)
    assert kept.totals == totals
    assert kept.reached("lives") == 10
    assert kept.reached("crash points") == 7
    assert "violations    1" in kept.summary(2, possible_faults=100)


def test_what_is_no_search_is_refused(tmp_path: Path) -> None:
    Campaign.begin(tmp_path, 7).did("lives", 9, Totals())
    (path,) = tmp_path.glob("*.json")
    path.write_text("[]")
    result = CliRunner().invoke(soak.main, ["--state", str(tmp_path), "--start", "7"])
    assert result.exit_code == 2
    assert "is not the state of a search" in result.output


def test_one_life_and_one_crash_point_are_told_alone() -> None:
    assert "1 life, " in run("--seeds", "1", "--start", "300")
    assert "1 life, " in run("--seeds", "0", "--start", "1", "--crash-point", "10:before:node")
