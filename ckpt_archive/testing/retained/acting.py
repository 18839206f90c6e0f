"""What processes do, by the product's own code: they write checkpoints, apply policies, hold, drop, assign."""

from datetime import timedelta

from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.committing import try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.endings import check_not_over
from ckpt_archive.commit.fate import Fate
from ckpt_archive.commit.latest import Standing
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.contribution import Contribution
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand import assigning, dropping, holding, undropping
from ckpt_archive.retention.by_hand.holding import Report
from ckpt_archive.retention.by_hand.selection import Selection
from ckpt_archive.retention.by_hand.undropping import Undropped
from ckpt_archive.retention.passes import apply as applying
from ckpt_archive.retention.passes import periodic
from ckpt_archive.retention.passes.apply import plan_again
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.planning import Plan, make_plan
from ckpt_archive.retention.policy.file import preset
from ckpt_archive.retention.policy.in_force import read_in_force, read_policy
from ckpt_archive.retention.policy.values import Policy, RetentionClass
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, contribute_files
from ckpt_archive.testing.retained import story
from ckpt_archive.testing.retained.site import Site
from ckpt_archive.testing.retained.world import Process


class Writer:
    """Launches a run, and writes its checkpoints.

    Args:
        site: Where.
        run: The run.
    """

    def __init__(self, site: Site, run: str) -> None:
        self._site = site
        self._run = run
        self._attempt = 0
        self._launches = 0
        self._step = 0

    def launch(self, process: Process, back: int | None) -> None:
        """Start the run again; with `back` from an older checkpoint that is there."""
        self._launches += 1
        connection = self._site.connection(process)
        committed = self._site.committed(self._run)
        chosen = committed[back % len(committed)] if back and committed else None
        if chosen is not None:
            check_not_over(connection.store, chosen)

        def choose(standing: Standing) -> Resumption:
            return Resumption(standing.head, explicit=False) if chosen is None else Resumption(chosen, explicit=True)

        key = f"{self._run}-{self._launches}"
        request = LaunchRequest(ARCHIVE_ID, self._run, key, 1, self._site.world.now, maybe_recorded=False)
        launch = open_launch(connection.store, request, choose)
        self._attempt = max(self._attempt, launch.attempt)
        if launch.resume_from is not None:
            self._step = launch.resume_from.step

    def commit(self, process: Process, deed: story.Commit) -> None:
        """Write a checkpoint."""
        store = self._site.connection(process).store
        attempt = max(0, self._attempt - 1) if deed.late else self._attempt
        self._step += 10
        place = Place(self._run, attempt, self._step + (5 if deed.late else 0))
        promotion = {"rule": "every", "count": 1, "ordinal": self._step // 10}
        said = Contribution(
            f"{self._run}-{attempt}",
            deed.writers,
            self._site.world.now,
            promotion={"rule": "milestone", "name": deed.milestone} if deed.milestone else promotion,
            retention_class=deed.said,
        )
        data = b""
        for rank in range(deed.writers):
            if rank:
                process.sleep(timedelta(hours=deed.spread_hours).total_seconds() / (deed.writers - 1))
            files = {f"rank-{rank}/{name}": f"{place} {rank} {name}".encode() * 20 for name in ("model", "optimizer")}
            data = contribute_files(store, place, files, rank=rank, contribution=said, settings=SMALL).data
        try_commit(store, INLINE, place, archive_id=ARCHIVE_ID, writers=deed.writers, own={deed.writers - 1: data})


def class_of(connection: Connection, policy: Policy, place: Place, fate: Fate) -> RetentionClass | None:
    """The class that a policy has for a checkpoint."""
    manifest = load_manifest(connection.store, place).manifest
    return policy.choose(manifest.promotion, manifest.retention_class, fate.assigned)[0]


def in_force(site: Site) -> Policy | None:
    """The policy in force."""
    applied = read_in_force(site.store, ARCHIVE_ID).applied
    return None if applied is None else read_policy(site.store, applied)


def apply(site: Site, process: Process, policy: Policy) -> bool:
    """Put a policy into force; whether nothing was left to whoever comes next."""
    machine, connection = site.machine(process), site.connection(process)
    plan = make_plan(machine, connection, policy)
    plan = plan_again(machine, connection, policy, plan.id)
    outcome = applying.apply(Voice(machine, connection, "owner", policy.sha256), plan)
    return outcome.is_complete and not plan.problems


def maintain(site: Site, process: Process) -> bool:
    """Carry out the policy in force; whether nothing was left to whoever comes next."""
    machine, connection = site.machine(process), site.connection(process)
    passed = periodic.go_through(
        lambda policy: Voice(machine, connection, "maintainer", policy), connection.store, ARCHIVE_ID, lambda: True
    )
    left = passed.left or passed.busy or passed.problems or passed.done.moved or passed.done.left
    # Those that somebody has gone through today are not gone through again.
    return passed.runs == len(site.runs()) and not left


def drop(site: Site, process: Process, about: Place | str) -> None:
    """Drop a checkpoint, or a run as a whole."""
    policy = in_force(site) or preset("default")
    machine, connection = site.machine(process), site.connection(process)
    dropping.drop(machine, connection, policy, _selected(about), reason="it failed", actor="researcher")


def undrop(site: Site, process: Process, about: Place | str) -> Undropped:
    """Take that back."""
    machine, connection = site.machine(process), site.connection(process)
    return undropping.undrop(machine, connection, _selected(about), reason="it did not", actor="researcher")


def _selected(about: Place | str) -> Selection:
    if isinstance(about, str):
        return Selection(about, whole_run=True)
    return Selection(about.run, about.step, about.step, about.attempt)


def assign(site: Site, process: Process, about: Place | str, name: str) -> None:
    """Give a checkpoint a class."""
    assert isinstance(about, Place)
    policy = in_force(site) or preset("default")
    machine, connection = site.machine(process), site.connection(process)
    assigning.assign(machine, connection, policy, about, name, reason="it is good", actor="researcher")


def hold(site: Site, process: Process, about: Place | str, case: str) -> Report:
    """Hold a checkpoint or a run."""
    run, place = (about, None) if isinstance(about, str) else (about.run, about)
    return holding.hold(site.machine(process), site.connection(process), run, place, case, "it is asked for", "counsel")


def release(site: Site, process: Process, about: Place | str, case: str) -> None:
    """Release a checkpoint or a run."""
    run, place = (about, None) if isinstance(about, str) else (about.run, about)
    holding.release(site.machine(process), site.connection(process), run, place, case, "it is over", "counsel")


def planned(machine: Machine, connection: Connection, policy: Policy) -> Plan:
    """What a plan made now would change."""
    return make_plan(machine, connection, policy, show=None)
