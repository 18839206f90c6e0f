"""Which runs and projects are near what the policy in force lets them store, or above it."""

from collections.abc import Iterator, Sequence

from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.retention.money.quotas import PROJECT, RUN, Standing, quota_of, stored_bytes
from ckpt_archive.retention.policy.in_force import read_in_force, read_policy

_COMMAND = "ckpt-archive usage --by {scope}   (drop what nobody wants, or raise the quota and apply the policy)"


def quota_findings(connection: Connection, runs: Sequence[str]) -> Iterator[DoctorFinding]:
    """What is near its quota.

    Without a quota in force it costs one listing; else one per 1,000 objects of the runs that one is about.

    Args:
        connection: The archive.
        runs: Its runs.
    """
    store = connection.store
    applied = read_in_force(store, connection.archive_id).applied
    quotas = () if applied is None else read_policy(store, applied).quotas
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
    """The label `project` of a run's newest checkpoint; "" for none."""
    newest = next(catalog.places(connection.store, run), None)
    if newest is None:
        return ""
    try:
        project = catalog.load_manifest(connection.store, newest).manifest.labels.get("project")
    except (IntegrityError, InvalidInputError, NotFoundError):
        return ""  # told by whoever examines the run
    return project if isinstance(project, str) else ""
