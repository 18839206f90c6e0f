"""Makes the plan of a whole archive: of its rules and of all its runs, one after the other.

A plan is known by its id: the digest of all that it does and of all that it was made from. The id also says up to when
checkpoints were regarded: whoever makes the plan again up to the same moment gets the same id, although training goes on and
commits, unless something else has changed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ckpt_archive import strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.marks import is_marked
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.retention.plans.plan import Basis, Change, Kind, Prices, RunPlan, plan_run
from ckpt_archive.retention.plans.survey import basis_of, runs, survey_run
from ckpt_archive.retention.policy.in_force import InForce, read_in_force
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.retention.rules.raw_rules import endangers
from ckpt_archive.retention.rules.rules import RuleDifference, difference, does_as_its_tag_says
from ckpt_archive.retention.rules.ruling import spelled, wanted_rules
from ckpt_archive.store.bucket import RawRule

CKPT_ARCHIVE = "ckpt-archive"
"""`Policy.lifecycle_owner`: we write the rules."""

COMPLIANCE = "COMPLIANCE"
"""Mode of locks that nobody can take away."""

SHOWN = 20

_RUNS_IN_FLIGHT = 4
_STAMP = "%Y%m%dT%H%M%S"
_ID = re.compile(r"(?P<stamp>[0-9]{8}T[0-9]{6})-(?P<digest>[0-9a-f]{16})")
_DIGEST_DIGITS = 16
_FOR_GOOD = (
    *(layout.DATA, layout.MANIFESTS, layout.RECEIPTS, layout.RUNS, layout.SEQUENCE, layout.EVENTS, layout.POLICIES),
    layout.ARCHIVE,
)
"""What nobody but the policy may end; the index can be made anew."""

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much something is about.

    Attributes:
        checkpoints: How many.
        objects: How many they have.
        size_bytes: Of all of them.
        usd_before: What they cost a month now; None without prices.
        usd_after: What they cost when all that is planned has come to pass.
        sooner: How many of the checkpoints end sooner than was announced before.
        compliance_until: Until when the last one is locked in mode COMPLIANCE; None if none is.
    """

    checkpoints: int = 0
    objects: int = 0
    size_bytes: int = 0
    usd_before: float | None = None
    usd_after: float | None = None
    sooner: int = 0
    compliance_until: datetime | None = None

    def plus(self, change: Change) -> "Amount":
        """With one more."""
        return Amount(
            self.checkpoints + 1,
            self.objects + change.objects,
            self.size_bytes + change.size_bytes,
            _sum(self.usd_before, change.usd_before),
            _sum(self.usd_after, change.usd_after),
            self.sooner + change.is_sooner,
            max(filter(None, (self.compliance_until, _compliance_until(change))), default=None),
        )


def _compliance_until(change: Change) -> datetime | None:
    return change.until_at if change.kind is Kind.LOCK and change.after == COMPLIANCE else None


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy would change in an archive.

    Attributes:
        id: Names it.
        basis: What it was made with.
        in_force: Which policy was in force.
        as_of: Checkpoints that were committed later are not regarded.
        rules: How the bucket's rules differ from those it is to have in the end; None where the store has no rules.
        found_rules: The bucket's rules, everybody's.
        runs: The digests of what is to be done, by run; only of runs in which something is.
        totals: How much that is, by what is done and the class that a checkpoint has then, or had.
        count: How many changes there are.
        changes: The first ones, or all of them.
        in_use: The tags of all checkpoints that have not ended, as they are before and while it is carried out.
        checkpoints: How many there are that have not ended.
        problems: What can not be planned, and why, for people.
    """

    id: str
    basis: Basis
    in_force: InForce
    as_of: datetime
    rules: RuleDifference | None
    found_rules: tuple[RawRule, ...]
    runs: Mapping[str, str]
    totals: Mapping[tuple[Kind, str], Amount]
    count: int
    changes: tuple[Change, ...]
    in_use: frozenset[str]
    checkpoints: int
    problems: tuple[str, ...] = ()

    @property
    def policy(self) -> Policy:
        """By which it was made."""
        return self.basis.policy

    @property
    def writes_rules(self) -> bool:
        """Whether rules are to be written, by us."""
        return self.owns_rules and self.rules is not None and not self.rules.is_empty

    @property
    def owns_rules(self) -> bool:
        """Whether the policy says that we write the bucket's rules."""
        return self.policy.lifecycle_owner == CKPT_ARCHIVE

    @property
    def irrevocable(self) -> str:
        """What nobody can undo when it is carried out, or by the maintenance that follows, in a sentence; "" for nothing."""
        if not self.basis.has_locks:
            return ""
        locks = [
            f"{item.name} for {item.lock.days} days"
            for item in self.policy.classes
            if item.lock is not None and item.lock.mode == COMPLIANCE
        ]
        moments = [item.compliance_until for item in self.totals.values() if item.compliance_until is not None]
        if not (moments or (locks and not self.in_force.is_policy(self.policy))):
            return ""
        until = f"; the last of them until {max(moments):%Y-%m-%d} if it is done now" if moments else ""
        return (
            f"objects of the classes {', '.join(locks)} are locked in mode COMPLIANCE{until}: until then nobody can delete "
            "them or stop paying for them, not even the owner of the account"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.runs and not self.writes_rules and self.in_force.is_policy(self.policy)


@dataclass(slots=True)
class _Gathered:
    """What becomes of the plans of runs as they come."""

    show: int | None
    runs: dict[str, str] = field(default_factory=dict)
    totals: dict[tuple[Kind, str], Amount] = field(default_factory=dict)
    count: int = 0
    changes: list[Change] = field(default_factory=list)
    in_use: set[str] = field(default_factory=set)
    in_use_after: set[str] = field(default_factory=set)
    checkpoints: int = 0
    newest_at: datetime = _NO_TIME
    problems: list[str] = field(default_factory=list)

    def take(self, item: "Planned") -> None:
        plan = item.plan
        self.in_use |= plan.in_use
        self.in_use_after |= plan.in_use_after
        self.checkpoints += plan.checkpoints
        self.problems += item.problems
        self.newest_at = max(self.newest_at, item.newest_at or _NO_TIME)
        if plan.changes:
            self.runs[plan.run] = plan.digest
        self.count += len(plan.changes)
        # Of every run so many, because they come in any order.
        self.changes += plan.changes if self.show is None else plan.changes[: self.show]
        for change in plan.changes:
            key = (change.kind, class_of(change))
            self.totals[key] = self.totals.get(key, Amount()).plus(change)


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a run, when its newest checkpoint was committed, and what can not be read."""

    plan: RunPlan
    newest_at: datetime | None
    problems: tuple[str, ...]


def class_of(change: Change) -> str:
    """The class that a change is about."""
    tag = change.before if change.kind is Kind.LOCK or not change.after else change.after
    return tag.partition(" ")[0].partition(".")[0]


def plan_one_run(
    machine: Machine, connection: Connection, basis: Basis, run: str, as_of: datetime | None = None
) -> Planned:
    """Read a run, and plan what is to be done. Raises as `survey_run`."""
    found = survey_run(machine, connection, basis, run, as_of=as_of)
    plan = plan_run(basis, found.run)
    return Planned(plan, found.newest_at, (*found.problems, *plan.problems))


def plan_runs(
    machine: Machine, connection: Connection, basis: Basis, names: Iterable[str], as_of: datetime | None = None
) -> Iterator[Planned]:
    """The plans of runs, in any order, a few of them under way at once."""

    def perform(run: str) -> Planned:
        return plan_one_run(machine, connection, basis, run, as_of)

    return machine.executor.map_unordered(perform, names, limit=_RUNS_IN_FLIGHT)


def make_plan(
    machine: Machine,
    connection: Connection,
    policy: Policy,
    *,
    as_of: datetime | None = None,
    prices: Prices | None = None,
    show: int | None = SHOWN,
    on_run: Callable[[str], None] = lambda run: None,
) -> Plan:
    """What a policy would change in an archive.

    Args:
        machine: Runs the reads.
        connection: The archive.
        policy: The policy.
        as_of: See `Plan`; None: all that is committed is regarded.
        prices: For the money; None: without.
        show: How many changes are kept to be shown; None: all.
        on_run: Told of each run that was planned.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the record of the policy in force is damaged.
        InvalidInputError: If the bucket would have too many rules.
    """
    bucket = connection.bucket
    in_force = read_in_force(connection.store, connection.archive_id)
    compared = tags_compared(connection, policy, in_force)
    basis = basis_of(connection, policy, compared=compared, prices=prices)
    gathered = _Gathered(show)
    for item in plan_runs(machine, connection, basis, runs(connection.store), as_of):
        gathered.take(item)
        on_run(item.plan.run)
    rules: RuleDifference | None = None
    found: tuple[RawRule, ...] = ()
    if bucket is not None:
        found = bucket.read_rules()
        wanted = wanted_rules(policy, bucket.prefix, frozenset(gathered.in_use_after), in_force.limits)
        rules = difference(wanted, found, bucket.prefix)
        gathered.problems += foreign_problems(rules, bucket.prefix)
    changes = sorted(gathered.changes, key=lambda change: (change.place.run, -change.place.attempt, -change.place.step))
    regarded = as_of or _whole_second(gathered.newest_at)
    return Plan(
        id=_id(connection, policy, in_force, rules, found, gathered.runs, regarded),
        basis=basis,
        in_force=in_force,
        as_of=regarded,
        rules=rules,
        found_rules=found,
        runs=gathered.runs,
        totals=dict(sorted(gathered.totals.items(), key=lambda item: (list(Kind).index(item[0][0]), item[0][1]))),
        count=gathered.count,
        changes=tuple(changes if show is None else changes[:show]),
        in_use=frozenset(gathered.in_use),
        checkpoints=gathered.checkpoints,
        problems=tuple(sorted(gathered.problems)),
    )


def as_of_id(plan_id: str) -> datetime:
    """Up to when checkpoints were regarded for the plan of that id.

    Raises:
        InvalidInputError: If it is no id of a plan.
    """
    found = _ID.fullmatch(plan_id)
    try:
        if found is not None:
            return datetime.strptime(found["stamp"], _STAMP).replace(tzinfo=UTC)
    except ValueError:  # a thirteenth month
        pass
    raise InvalidInputError(f"{plan_id!r} is no id of a plan", hint="`ckpt-archive retention plan` shows it.")


def tags_compared(connection: Connection, policy: Policy, in_force: InForce) -> frozenset[str]:
    """The tags that need no second look; see `Basis`."""
    if not in_force.is_policy(policy) or not is_marked(connection.store, layout.retention_compared(in_force.number)):
        return frozenset()
    return frozenset(item.tag for item in policy.classes)


def foreign_problems(rules: RuleDifference, prefix: str) -> list[str]:
    """Rules that may end what the archive keeps, whatever its policy says: of others, or with ids that look like ours."""
    return [
        f"the lifecycle rule {raw.get('ID')!r}, which is not ours although it is named so, may end data of this archive"
        for raw in rules.remove
        if not does_as_its_tag_says(raw, prefix) and any(endangers(raw, f"{prefix}{folder}") for folder in _FOR_GOOD)
    ] + [
        f"the lifecycle rule {raw.get('ID') or 'without an id'!r}, which is not ours, may end data of this archive"
        for raw in rules.foreign
        if any(endangers(raw, f"{prefix}{folder}") for folder in _FOR_GOOD)
    ]


def _whole_second(moment: datetime) -> datetime:
    return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)


def _id(
    connection: Connection,
    policy: Policy,
    in_force: InForce,
    rules: RuleDifference | None,
    found: tuple[RawRule, ...],
    runs_: Mapping[str, str],
    as_of: datetime,
) -> str:
    wanted = [] if rules is None else spelled(rules.configuration())
    said = {
        "archive": connection.archive_id,
        "policy": policy.sha256,
        "in_force": in_force.applied.policy if in_force.applied is not None else "",
        "rules": [spelled(found), wanted],
        "runs": dict(runs_),
    }
    return f"{as_of:{_STAMP}}-{sha256_hex(strictjson.encode(said))[:_DIGEST_DIGITS]}"
