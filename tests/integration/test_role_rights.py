"""What each role asked of real servers is what its policy allows, and hardly more; docs/roles.md shows it."""

import pytest

from ckpt_archive.devserver import DevServer
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.recorded_wire import Asked
from tests.integration import roles_work
from tests.integration.conftest import LOCKED_BUCKET, MOTO_BUCKET
from tests.integration.roles_work import Work
from tests.terraform.roles import ROLES, UNSEEN, Rights

pytestmark = pytest.mark.server

PREFIX = "roles/main"


@pytest.fixture(scope="module")
def roles(
    seaweed: DevServer,
    locked_on_seaweed: Connection,
    moto_connection: Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[Asked]]:
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
    return work.roles


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
    granted = RIGHTS.granted(role)
    used = {
        (action, where)
        for action, where in granted
        for asked in roles[role]
        if asked.action == action and RIGHTS.is_about(asked, where)
    }
    excused = {(action, where) for who, action, where in UNSEEN if who == role}
    assert granted - used <= excused <= granted
