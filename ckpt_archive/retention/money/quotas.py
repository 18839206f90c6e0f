"""The limits of a policy on what runs and projects may have stored, and how much that is now.

What counts is the bytes that lie in the archive's data, of committed checkpoints and of others: what is paid for. Asking
costs a listing for every 1,000 objects of the run; for a project also two requests for every run of the archive.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckpt_archive.commit import catalog, layout
from ckpt_archive.errors import NotFoundError
from ckpt_archive.retention.policy.values import Quota
from ckpt_archive.store.protocol import Store, list_pages

RUN = "run"
PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of its quota a run or a project has used.

    Attributes:
        quota: The quota.
        name: Of the run or project.
        stored_bytes: What is stored.
        adding_bytes: What is about to be added.
    """

    quota: Quota
    name: str
    stored_bytes: int
    adding_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """Whether what is about to be added does not fit."""
        return self.stored_bytes + self.adding_bytes > self.quota.max_bytes

    @property
    def is_near(self) -> bool:
        """Whether somebody should be warned."""
        return self.stored_bytes + self.adding_bytes >= self.quota.warn_share * self.quota.max_bytes

    def __str__(self) -> str:
        share = 100 * self.stored_bytes / self.quota.max_bytes
        return (
            f"{self.quota.scope} {self.name} has {self.stored_bytes:,} bytes stored, {share:.0f} % of the "
            f"{self.quota.max_bytes:,} that the policy in force allows ({self.quota.pattern!r})"
        )


def quota_of(quotas: Sequence[Quota], scope: str, name: str) -> Quota | None:
    """The quota of a run or a project: the first one, in the order of the file, whose pattern its name matches."""
    return next(
        (item for item in quotas if item.scope == scope and name and fnmatch.fnmatchcase(name, item.pattern)), None
    )


def wanted(quotas: Sequence[Quota], run: str, labels: Mapping[str, object]) -> list[tuple[Quota, str]]:
    """The quotas that count for a checkpoint, each with the name of what it is about."""
    project = labels.get("project")
    names = ((RUN, run), (PROJECT, project if isinstance(project, str) else ""))
    found = ((quota_of(quotas, scope, name), name) for scope, name in names)
    return [(quota, name) for quota, name in found if quota is not None]


def stored_bytes(store: Store, scope: str, name: str) -> int:
    """What a run, or all runs of a project, have stored.

    Raises:
        UnavailableError: If the store does not answer, or does not let us look.
        IntegrityError: If a manifest that would tell the project of a run is damaged.
    """
    runs = [name] if scope == RUN else _runs_of(store, name)
    return sum(info for run in runs for info in _sizes(store, run))


def _sizes(store: Store, run: str) -> Iterator[int]:
    for page in list_pages(store, layout.run_data(run)):
        for info in page.objects:
            yield info.size_bytes


def _runs_of(store: Store, project: str) -> Iterator[str]:
    """The runs whose newest checkpoint has that label."""
    for run in catalog.runs(store):
        if project_of(store, run) == project:
            yield run


def project_of(store: Store, run: str) -> str:
    """The label `project` of a run's newest checkpoint; "" for none.

    Raises:
        IntegrityError: If its manifest is damaged.
    """
    newest = next(catalog.places(store, run), None)
    try:
        project = None if newest is None else catalog.load_manifest(store, newest).manifest.labels.get("project")
    except NotFoundError:  # removed meanwhile
        return ""
    return project if isinstance(project, str) else ""
