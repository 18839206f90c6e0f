"""Which runs and projects are near what the policy in force lets them store, or above it."""

from collections.abc import Iterator, Sequence

from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.retention.money.quotas import PROJECT, RUN, Standing, project_of, quota_of, stored_bytes
from ckpt_archive.retention.policy.in_force import policy_in_force

_COMMAND = "ckpt-archive usage --by {scope}   (drop what nobody wants, or raise the quota and apply the policy)"


def quota_findings(connection: Connection, runs: Sequence[str]) -> Iterator[DoctorFinding]:
    """What is near its quota.

    Without a quota in force it costs one listing; else one per 1,000 objects of the runs that one is about.

    Args:
        connection: The archive.
        runs: Its runs.
    """
    store = connection.store
    policy = policy_in_force(store, connection.archive_id)
    quotas = () if policy is None else policy.quotas
    if not quotas:
        return
    names = [(RUN, run) for run in runs]
    if any(quota.scope == PROJECT for quota in quotas):
        names += [(PROJECT, project) for project in sorted({_project(connection, run) for run in runs} - {""})]
    for scope, name in names:
        quota = quota_of(quotas, scope, name)
        if quota is None:
            continue
        standing = Standing(quota, name, stored_bytes(store, scope, name))
        if standing.is_over:
            more = "; what agents would add is given up as gaps"
            yield DoctorFinding("error", "quota", f"{standing}{more}", _COMMAND.format(scope=scope))
        elif standing.is_near:
            yield DoctorFinding("warning", "quota", str(standing), _COMMAND.format(scope=scope))


def _project(connection: Connection, run: str) -> str:
    """The project of a run; "" where that can not be read, which whoever examines the run tells."""
    try:
        return project_of(connection.store, run)
    except (IntegrityError, InvalidInputError):
        return ""
