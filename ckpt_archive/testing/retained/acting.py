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
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.carrying import Done, carry_out
from ckpt_archive.retention.plan import Change, plan_run
from ckpt_archive.retention.policy import Policy, RetentionClass
from ckpt_archive.retention.rules import difference, rules_of, without_transitions
from ckpt_archive.retention.survey import basis_of, runs, survey_run
from ckpt_archive.retention.voice import Voice
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


IN_FORCE: dict[int, Policy] = {}


def _carry(site: Site, process: Process, policy: Policy) -> Done:
    machine, connection = site.machine(process), site.connection(process)
    voice = Voice(machine, connection, "tester", policy.sha256)
    basis = basis_of(connection, policy)
    done = Done()
    in_use: set[str] = set()
    plans = []
    for run in runs(connection.store):
        plan = plan_run(basis, survey_run(machine, connection, basis, run).run)
        in_use |= plan.in_use
        plans.append(plan)
    bucket = connection.bucket
    assert bucket is not None
    wanted = list(rules_of(policy, bucket.prefix, in_use))
    if not site.history.transitions:
        wanted = [left for rule in wanted if (left := without_transitions(rule)) is not None]
    bucket.write_rules(difference(wanted, bucket.read_rules(), bucket.prefix).configuration())
    for plan in plans:
        carry_out(voice, policy, plan, done)
    return done


def apply(site: Site, process: Process, policy: Policy) -> bool:
    """Put a policy into force; whether nothing was left to whoever comes next."""
    IN_FORCE[id(site)] = policy
    done = _carry(site, process, policy)
    return not done.moved and not done.left


def maintain(site: Site, process: Process) -> bool:
    """Carry out the policy in force; whether nothing was left to whoever comes next."""
    if id(site) not in IN_FORCE:
        return False
    done = _carry(site, process, IN_FORCE[id(site)])
    return not done.moved and not done.left


def _not_there(*_: object) -> None:
    raise InvalidInputError("not there yet")


hold = release = drop = undrop = assign = _not_there


def changes_left(machine: Machine, connection: Connection, policy: Policy) -> list[Change]:
    """What a plan made now would change."""
    basis = basis_of(connection, policy)
    plans = [plan_run(basis, survey_run(machine, connection, basis, run).run) for run in runs(connection.store)]
    return [change for plan in plans for change in plan.changes]


def rules_left(machine: Machine, connection: Connection, policy: Policy) -> object:
    """How the rules of the bucket differ."""
    return None
