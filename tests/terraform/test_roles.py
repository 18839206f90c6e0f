"""What the roles of the module must not do, and that the bucket says so even where a role's own policy is too wide."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ckpt_archive.testing.iam import Request, decide
from ckpt_archive.testing.recorded_wire import Asked
from tests.terraform import roles_doc
from tests.terraform.module import MODULE, rendered
from tests.terraform.roles import FORBIDDEN, ROLES, UNSEEN, Forbidden, Rights

LEAST = 30

RIGHTS = (Rights("bucket", "main/"), Rights("bucket", ""))


def asked(rights: Rights, item: Forbidden) -> Asked:
    """The request as it is sent to the bucket."""
    if item.asked.of_bucket or item.outside:
        return item.asked
    return replace(item.asked, key=rights.prefix + item.asked.key)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_not_do_what_it_must_not(role: str) -> None:
    rights = RIGHTS[0]
    tried = [item for item in FORBIDDEN if role not in item.roles]
    allowed = [item.what for item in tried if rights.decide(role, asked(rights, item)).allowed]
    assert not allowed
    assert len(tried) >= LEAST


@pytest.mark.parametrize("item", [item for item in FORBIDDEN if item.roles], ids=lambda item: item.what)
def test_who_may_do_it_can(item: Forbidden) -> None:
    """Otherwise a list of what is denied would prove nothing."""
    rights = RIGHTS[0]
    for role in item.roles:
        assert rights.decide(role, asked(rights, item)).allowed, role


@pytest.mark.parametrize("rights", RIGHTS, ids=["with a prefix", "without"])
def test_the_bucket_denies_what_it_is_said_to(rights: Rights) -> None:
    for item in FORBIDDEN:
        if item.by_bucket:
            decision = rights.decide_for_owner(asked(rights, item))
            assert not decision.allowed, item.what
            assert all(decision.by), item.what


def test_the_bucket_only_denies() -> None:
    for policy in RIGHTS[0].of_bucket():
        assert {statement["Effect"] for statement in policy["Statement"]} == {"Deny"}


def test_the_bucket_lets_uploads_go_on() -> None:
    """The condition is about creating an object, not about its parts; and the owner may read."""
    rights = RIGHTS[0]
    for key, context in (
        ("data/x", {"s3:ObjectCreationOperation": "false"}),
        ("other/x", {"s3:ObjectCreationOperation": "true"}),
    ):
        assert rights.decide_for_owner(Asked("s3:PutObject", f"{rights.prefix}{key}", context=context)).allowed
    assert rights.decide_for_owner(Asked("s3:GetObject", f"{rights.prefix}data/x")).allowed


def test_rules_are_written_by_one_owner() -> None:
    rules = Asked("s3:PutLifecycleConfiguration", "", True)
    assert not RIGHTS[0].decide("lifecycle_admin", rules).allowed
    owning = replace(RIGHTS[0], owns_rules=True)
    assert owning.decide("lifecycle_admin", rules).allowed
    assert not any(owning.decide(role, rules).allowed for role in ROLES if role != "lifecycle_admin")


def test_a_job_that_may_write_some_runs() -> None:
    rights = replace(RIGHTS[0], job_runs="team-a-*")
    new = {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
    for run, may in (("team-a-1", True), ("team-b-1", False)):
        assert rights.decide("job", Asked("s3:PutObject", f"main/data/{run}/x", context=new)).allowed == may
        assert rights.decide("job", Asked("s3:GetObject", f"main/manifests/{run}/x")).allowed == may


def statements(role: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = RIGHTS[0].identity(role)[0]["Statement"]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_a_right_to_everything(role: str) -> None:
    for statement in statements(role):
        text = json.dumps([statement["Action"], statement["Resource"]])
        assert '"*"' not in text
        assert "s3:*" not in text
        assert "arn:aws:s3:::bucket/*" not in text
        assert "arn:aws:s3:::bucket/main/*" not in text
        assert statement["Sid"].isalnum()


def test_asking_in_athena_changes_nothing() -> None:
    values = {
        name: f"arn:{name}" for name in ("results_arn", "workgroup_arn", "catalog_arn", "database_arn", "tables_arn")
    }
    policy = rendered("auditor-athena.json.tftpl", **values)
    for statement in policy["Statement"]:
        for action in statement["Action"]:
            assert action.split(":")[1].startswith(("Get", "List", "BatchGet", "Start", "Stop")) or (
                action in ("s3:PutObject", "s3:AbortMultipartUpload") and statement["Resource"] == "arn:results_arn/*"
            )


def test_the_lambda_functions_handler_is_where_the_module_says() -> None:
    text = (MODULE / "schedule.tf").read_text(encoding="utf-8")
    assert 'command = ["lambda_handler.handler"]' in text
    handler = MODULE.parent / "deploy" / "aws" / "lambda_handler.py"
    assert "\ndef handler(" in handler.read_text(encoding="utf-8")


def test_the_document_is_up_to_date() -> None:
    assert roles_doc.FILE.read_text(encoding="utf-8") == roles_doc.text(), "run python -m tests.terraform.roles_doc"


@pytest.mark.parametrize("role", ROLES)
def test_the_document_says_who_has_a_role(role: str) -> None:
    assert f"\n| {role} | " in roles_doc.FILE.read_text(encoding="utf-8").split("## How this is known")[0]


@pytest.mark.parametrize(("role", "action", "where"), UNSEEN)
def test_what_was_not_seen_is_granted_all_the_same(role: str, action: str, where: str) -> None:
    assert (action, where) in RIGHTS[0].granted(role)


DEPLOY = MODULE.parent / "deploy" / "aws"


def test_the_recipe_without_terraform_has_the_maintainers_rights() -> None:
    rights = Rights("bucket", "prefix/")
    assert json.loads((DEPLOY / "maintainer-policy.json").read_text()) == rights.identity("maintainer")[0]


def test_the_recipe_for_asking_reaches_no_further_than_the_auditor() -> None:
    rights = Rights("bucket", "prefix/")
    (auditor,) = rights.identity("auditor")
    for statement in json.loads((DEPLOY / "auditor-policy.json").read_text())["Statement"]:
        for resource in statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]:
            context = {"s3:prefix": "prefix/index/x"} if resource == rights.bucket_arn else {}
            request = Request(statement["Action"], resource.replace("*", "x"), "", context)
            assert decide(request, identity=[auditor]).allowed
