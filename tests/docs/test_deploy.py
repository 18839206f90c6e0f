"""The recipes: files that parse, commands that exist, rights that reach no further than they say."""

import configparser
import importlib
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from ckpt_archive.cli.main import group
from ckpt_archive.errors import UnmountedError

yaml: Any = importlib.import_module("yaml")  # comes with moto, and has no types

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (ROOT / "docs" / "deploy" / "maintain.md").read_text(encoding="utf-8")


def check_command(words: list[str]) -> click.Context:
    """The command line exists, and its values are possible."""
    assert words[0] == "ckpt-archive"
    with group.make_context("ckpt-archive", words[1:]) as context:
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None
        assert command is not None
        return command.make_context(name, rest, parent=context)


def container() -> dict[str, Any]:
    (document,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "maintain.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / name).read_text())
    return parser


def cron_line() -> str:
    lines = (DEPLOY / "cron" / "ckpt-archive-maintain").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#") and "=" not in line]
    return line


def test_the_cron_jobs_command_exists() -> None:
    assert check_command(container()["command"]).params["budget"] == 600


def test_the_cron_job_may_overlap_and_is_ended_after_its_budget() -> None:
    (document,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "maintain.yaml").read_text())
    spec = document["spec"]
    assert spec["concurrencyPolicy"] == "Allow"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 600
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_services_command_exists() -> None:
    service = unit("ckpt-archive-maintain.service")["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/usr/bin/env"
    assert check_command(words).params["budget"] == 600
    assert (service["Type"], service["SuccessExitStatus"]) == ("oneshot", "1")


def test_the_timer_starts_the_service() -> None:
    timer = unit("ckpt-archive-maintain.timer")
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert {"OnUnitInactiveSec", "RandomizedDelaySec"} <= set(timer["Timer"])


def test_the_crontabs_command_exists() -> None:
    *fields, rest = cron_line().split(maxsplit=6)
    assert fields[0] == "*/5"
    check_command(shlex.split(rest.partition(">")[0]))


def test_only_pending_markers_expire() -> None:
    (rule,) = json.loads((DEPLOY / "aws" / "lifecycle-pending.json").read_text())["Rules"]
    assert rule["Filter"] == {"Prefix": "prefix/log/pending/"}
    assert rule["Expiration"] == {"Days": 90}
    assert set(rule) == {"ID", "Status", "Filter", "Expiration"}


def statements(name: str) -> list[dict[str, Any]]:
    policy = json.loads((DEPLOY / "aws" / name).read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


OF_TAGS_AND_LOCKS = {
    *("s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging"),
    *("s3:GetObjectRetention", "s3:PutObjectRetention", "s3:GetObjectLegalHold", "s3:PutObjectLegalHold"),
}
"""What maintenance may do to data: not read it, not write it, not delete it, not release it."""


@pytest.mark.parametrize("name", ["maintainer-policy.json", "auditor-policy.json"])
def test_no_policy_reads_data_or_removes_what_is_permanent(name: str) -> None:
    for statement in statements(name):
        actions, resources = (
            [found] if isinstance(found, str) else found for found in (statement["Action"], statement["Resource"])
        )
        if statement["Effect"] == "Deny":
            continue
        if any("data/" in resource or resource.endswith("prefix/*") for resource in resources):
            assert set(actions) <= OF_TAGS_AND_LOCKS
        if "s3:PutObjectLegalHold" in actions:
            assert statement["Condition"] == {"StringEquals": {"s3:object-lock-legal-hold": "ON"}}
        if "s3:DeleteObject" in actions:
            assert {resource.rpartition("prefix/")[2] for resource in resources} <= {"index/*", "retention/*"}


def test_the_lambda_function_takes_the_time_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("lambda_handler", DEPLOY / "aws" / "lambda_handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    url = f"file://{tmp_path}/archive"
    module.Archive.create(url)
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 40_000

    answer = module.handler({}, Context())
    assert answer["findings"] == 0
    assert list(answer["steps"])[:2] == ["log", "commits"]
    monkeypatch.setenv("CKPT_ARCHIVE_URL", f"file://{tmp_path}/away")
    with pytest.raises(UnmountedError):
        module.handler({}, Context())


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_of_the_text_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / "deploy" / link).resolve().exists()


def test_every_recipe_is_in_the_text() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert files
    for path in files:
        assert path.name in TEXT, path
