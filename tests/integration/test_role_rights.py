"""What each role asked of real servers is what its policy allows, no more; docs/roles.md shows both."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ckpt_archive.devserver import DevServer
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.iam import is_like
from ckpt_archive.testing.recorded_wire import Asked
from tests.integration import roles_work
from tests.integration.conftest import LOCKED_BUCKET, MOTO_BUCKET
from tests.integration.roles_work import Work
from tests.terraform.roles import FORBIDDEN, ROLES, Rights

pytestmark = pytest.mark.server

DOC = Path(__file__).parents[2] / "docs" / "roles.md"
PREFIX = "roles/main"

# Granted without having been seen here, and why.
UNSEEN: Mapping[tuple[str, str, str], str] = {
    ("job", "s3:AbortMultipartUpload", "data/run-*/*"): "an upload that somebody else has ended meanwhile is given up",
    ("job", "s3:GetObject", "log/pending/*"): "an announcement whose answer was lost is read back",
    ("job", "s3:PutObject", "runs/run-*/decisions/*"): "many writers agree on what is archived or given up",
    ("maintainer", "s3:PutObject", "manifests/*"): "a commit is finished half an hour after its committer died",
    ("maintainer", "s3:DeleteObject", "index/*"): "vacuum removes files that were replaced days ago",
    ("maintainer", "s3:DeleteObject", "retention/*"): "marks of past days are forgotten",
    ("maintainer", "s3:DeleteObjectTagging", "data/*"): "an end is taken back if the checkpoint is among the newest again",
    ("auditor", "s3:GetObject", "policy/*"): "the texts of policies are evidence, read with any client",
}


@pytest.fixture(scope="module")
def roles(
    seaweed: DevServer, locked_on_seaweed: Connection, moto_connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Asked]]]:
    """By role: all that it asked, on SeaweedFS with Object Lock and, where storage classes are needed, on moto."""
    with Work(locked_on_seaweed, LOCKED_BUCKET, PREFIX, tmp_path_factory.mktemp("seaweed-work")) as work:
        work.run("init")
        work.took("")
        roles_work.push_and_train(work)
        roles_work.apply(work)
        roles_work.push_more(work)
        roles_work.maintain(work)
        roles_work.audit(work)
        roles_work.restore(work)
        roles_work.decide(work)
        roles_work.erase(work)
    with Work(moto_connection, MOTO_BUCKET, PREFIX, tmp_path_factory.mktemp("moto-work")) as cold:
        cold.run("init")
        cold.took("")
        roles_work.thaw(cold)
    for role, asked in cold.roles.items():
        work.roles[role] += asked
    yield work.roles


RIGHTS = Rights(LOCKED_BUCKET, f"{PREFIX}/", owns_rules=True, job_runs="run-*")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_does(roles: dict[str, list[Asked]], role: str) -> None:
    refused = {
        (asked.action, asked.key, tuple(RIGHTS.decide(role, asked).by))
        for asked in roles[role]
        if not RIGHTS.decide(role, asked).allowed
    }
    assert not refused
    assert len(roles[role]) > 5


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_that_it_does_not(roles: dict[str, list[Asked]], role: str) -> None:
    granted = {
        (action, pattern)
        for policy in RIGHTS.identity(role)
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
        for action in _many(statement["Action"])
        for pattern in _many(statement["Resource"])
    }
    used = {
        (action, pattern)
        for action, pattern in granted
        for asked in roles[role]
        if asked.action == action and is_like(_resource(asked), pattern)
    }
    start = f"{RIGHTS.bucket_arn}/{RIGHTS.prefix}"
    excused = {(action, pattern) for who, action, pattern in UNSEEN if who == role}
    assert {(action, pattern.removeprefix(start)) for action, pattern in granted - used} <= excused
    assert excused <= {(action, pattern.removeprefix(start)) for action, pattern in granted}


def _many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _resource(asked: Asked) -> str:
    return RIGHTS.bucket_arn if asked.of_bucket else f"{RIGHTS.bucket_arn}/{asked.key}"
