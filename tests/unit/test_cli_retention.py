"""`retention plan`, `apply` and `drift` as a person and a script see them, on an archive in a folder."""

import io
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main
from ckpt_archive.cli.output import Screen
from ckpt_archive.cli.retention_show import show_plan
from ckpt_archive.commit import layout
from ckpt_archive.retention.engineless.orphans import find_orphans
from ckpt_archive.retention.money.prices import shipped
from ckpt_archive.retention.plans.planning import Plan, make_plan
from ckpt_archive.testing.archives import put
from ckpt_archive.testing.retaining import POLICY, Archived, policy

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Five checkpoints, and a policy in the working directory."""
    made = Archive.create(f"file://{tmp_path}/archive")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for step in range(1, 6):
        (folder / "model.bin").write_bytes(b"step %d" % step)
        made.push(folder, "run", step)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("CKPT_ARCHIVE_URL", made.url)
    (tmp_path / "here" / "retention.toml").write_text(POLICY, encoding="utf-8")
    return made


def said(capsys: Capture, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main.run(["retention", *arguments, "--json"]) == code, capsys.readouterr().err
    seen = capsys.readouterr()
    if code > 1:
        return [json.loads(seen.err)["error"]]
    rows: list[dict[str, Any]] = json.loads(seen.out)
    return rows


def test_a_store_without_rules(archive: Archive, capsys: Capture) -> None:
    del archive
    assert main.run(["retention", "plan"]) == 0
    out = capsys.readouterr().out
    assert "the store has no lifecycle rules: what has ended is removed by `ckpt-archive retention run`" in out
    assert re.search(
        r"recent: 3 checkpoints to be announced \(3 objects, 18 B; .* USD a month now, 0.00 in the end\)", out
    )
    assert len(re.findall(r"^  \+ announce +run step \d .*: \d newer ones are committed;", out, re.MULTILINE)) == 3
    (row,) = said(capsys, "apply", "--yes")
    assert row["done"] == {"announce": 3}
    assert said(capsys, "plan")[0]["empty"]
    assert said(capsys, "drift") == []
    assert main.run(["retention", "plan"]) == 0
    assert "nothing is to be done: 5 checkpoints as the policy says" in capsys.readouterr().out


def test_nobody_there_to_ask_is_a_wrong_use(archive: Archive, capsys: Capture) -> None:
    del archive
    (error,) = said(capsys, "apply", code=2)
    assert "--yes" in error["hint"]
    assert main.run(["retention", "apply"]) == 2
    assert "announce" in capsys.readouterr().out  # the plan is shown all the same
    assert not said(capsys, "plan")[0]["in_force"]


class Person(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def test_an_answer_at_the_terminal(archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    del archive
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for answer, in_force in (("n\n", False), ("y\n", True)):
        monkeypatch.setattr(sys, "stdin", Person(answer))
        assert main.run(["retention", "apply"]) == 0
        assert said(capsys, "plan")[0]["in_force"] is in_force


def test_a_plan_by_its_id(archive: Archive, capsys: Capture) -> None:
    plan_id = said(capsys, "plan")[0]["id"]
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{16}", plan_id)
    (error,) = said(capsys, "apply", "--plan", "nothing", "--yes", code=2)
    assert "is no id of a plan" in error["message"]
    Path("retention.toml").write_text(POLICY.replace("2d", "3d"), encoding="utf-8")
    (error,) = said(capsys, "apply", "--plan", plan_id, "--yes", code=5)
    assert plan_id in error["message"]
    Path("retention.toml").write_text(POLICY, encoding="utf-8")
    (row,) = said(capsys, "apply", "--plan", plan_id, "--yes")
    assert row["plan"] == plan_id
    del archive


def test_drift_exits_1(archive: Archive, capsys: Capture) -> None:
    del archive
    (row,) = said(capsys, "drift", code=1)
    assert row["what"] == "policy"
    assert said(capsys, "apply", "--yes")
    assert main.run(["retention", "drift"]) == 0
    assert "5 checkpoints: no differences" in capsys.readouterr().err


def test_variables_for_a_bucket_that_is_not_there(capsys: Capture, archive: Archive) -> None:
    del archive
    (error,) = said(capsys, "plan", "--format", "terraform", code=2)
    assert "is in no bucket" in error["message"]
    (error,) = said(capsys, "plan", "--out", "x", code=2)
    assert "--format terraform" in error["message"]


# --- what a person sees ----------------------------------------------------------------------------------------------------


@pytest.fixture
def archived() -> Archived:
    found = Archived()
    found.commit_many(30)
    return found


def shown(plan: Plan, capsys: Capture) -> list[str]:
    capsys.readouterr()
    show_plan(Screen(), plan)
    return capsys.readouterr().out.splitlines()


def test_rules_first_then_totals_then_twenty(archived: Archived, capsys: Capture) -> None:
    plan = make_plan(archived.machine, archived.connection, policy(), prices=shipped("hdd"))
    lines = shown(plan, capsys)
    assert lines[0] == f"plan {plan.id}"
    assert lines[1].endswith(", which is not in force yet")
    rule = "  + rule ckpt-archive::class:recent.2d: data/ tagged recent.2d: ends after 2 days, old versions end after 1 day"
    assert rule in lines
    assert any(line.startswith("hourly: 2 checkpoints to be announced (4 objects, ") for line in lines)
    # Twenty changes: what is announced and tagged at once is one line.
    assert sum(line.startswith("  + announce and tag run-a step ") for line in lines) == 10
    assert lines[-1] == f"  … and {plan.count - 20} more: -v shows all"


def test_what_changes_in_rules(archived: Archived, capsys: Capture) -> None:
    archived.apply()
    assert archived.bucket is not None
    rules = [dict(raw) for raw in archived.bucket.read_rules() if "markers" not in str(raw["ID"])]
    wide = next(raw for raw in rules if "class:recent" in str(raw["ID"]))
    wide["Filter"] = {"Prefix": "data/"}
    gone = {**wide, "ID": "ckpt-archive::class:gone.3d"}
    foreign = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}
    archived.bucket.write_rules([*rules, gone, foreign])
    lines = shown(archived.plan(), capsys)
    text = "\n".join(lines)
    assert "  + rule ckpt-archive::markers: log/pending/: ends after 90 days" in text
    assert "  ~ rule ckpt-archive::class:recent.2d, which is about more, or sooner, than it should: data/: ends" in text
    assert "  - rule ckpt-archive::class:gone.3d" in text
    assert "  = not ours, and left alone: theirs" in text
    assert "  ! the lifecycle rule 'theirs', which is not ours, may end data of this archive" in text


def test_what_ends_sooner_is_said(archived: Archived, capsys: Capture) -> None:
    archived.apply()
    edited = policy(POLICY.replace('keep_for = "14d"', 'keep_for = "7d"'))
    text = "\n".join(shown(archived.plan(edited), capsys))
    assert "  ! 2 of them to end sooner than was announced before" in text
    assert re.search(r"announce and tag +run-a step 1200 .* sooner than announced, which was 2026-03-1\d", text)


def test_terraform_is_named_as_the_owner(archived: Archived, capsys: Capture) -> None:
    text = "\n".join(shown(archived.plan(policy(f'lifecycle_owner = "terraform"\n{POLICY}')), capsys))
    assert "rules, which Terraform writes (`--format terraform` makes its variables):" in text


def test_what_belongs_to_no_checkpoint_is_listed_and_priced(archived: Archived, capsys: Capture) -> None:
    put(archived.store, layout.data_object("run-a", 0, 999_999, 0, "a" * 64), b"x" * 1000)
    book = shipped("hdd")
    later = archived.connection.store.list("").store_time + timedelta(days=30)
    orphans = find_orphans(archived.connection, archived.machine, later)
    assert [orphan.size_bytes for orphan in orphans] == [1000]
    capsys.readouterr()
    show_plan(Screen(), archived.plan(), orphans, book)
    assert "orphans: 1 objects that no receipt names and 0 uploads" in capsys.readouterr().out
    show_plan(Screen(as_json=True), archived.plan(), orphans, book)
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["action"] == "orphan"]
    assert (row["size"], row["place"]["step"]) == (1000, 999_999)
    assert row["usd"] == pytest.approx(20e-9)
