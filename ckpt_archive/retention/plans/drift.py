"""Compares the bucket and the archive with a policy, both ways. Changes nothing.

What is drift: rules of ours that are missing, changed, broader, or not wanted any more; another policy in force; checkpoints
that were announced as another class than the policy has for them, or that should not be announced at all; holds and locks
that the bucket lacks; if asked for, objects whose tag is not the one that was said. What is none: what a store can not do,
what others have in the bucket, and checkpoints that are announced, tagged or ended when the policy is carried out next.
"""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.retention.plans.plan import Change, Kind, RunSurvey, Surveyed, plan_run
from ckpt_archive.retention.plans.planning import CKPT_ARCHIVE, foreign_problems
from ckpt_archive.retention.plans.survey import basis_of, data_objects, runs, survey_run
from ckpt_archive.retention.policy.in_force import InForce, read_in_force
from ckpt_archive.retention.policy.values import TAG_KEY, Policy
from ckpt_archive.retention.rules.rules import RuleDifference, difference
from ckpt_archive.retention.rules.ruling import wanted_rules
from ckpt_archive.store.bucket import Bucket, RawRule

_OBJECTS_IN_FLIGHT = 8


class What(enum.StrEnum):
    """What differs."""

    POLICY = "policy"
    RULE_MISSING = "rule missing"
    RULE_CHANGED = "rule changed"
    RULE_BROADER = "rule broader"
    RULE_EXTRA = "rule extra"
    CHECKPOINT = "checkpoint"
    TAG = "tag"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the policy says.

    Attributes:
        what: Of which kind.
        subject: A rule's id, a checkpoint, a key, or the policy.
        text: What differs, for people.
    """

    what: What
    subject: str
    text: str


@dataclass(slots=True)
class DriftReport:
    """What was found.

    Attributes:
        differences: What is not as the policy says.
        foreign: Ids of rules of others, which are left alone.
        limits: What the store can not do, in sentences.
        due: How many checkpoints will be announced, tagged or ended when the policy is carried out the next time.
        checkpoints: How many were compared.
        objects: How many objects' tags were read.
    """

    differences: list[Difference] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    due: int = 0
    checkpoints: int = 0
    objects: int = 0


_LIMITS = {"transitions": "the store refuses transitions: nothing is moved to another storage class"}


def find_drift(
    machine: Machine,
    connection: Connection,
    policy: Policy,
    *,
    tags: bool = False,
    on_run: Callable[[str], None] = lambda run: None,
) -> DriftReport:
    """Compare the bucket and the archive with a policy.

    Args:
        machine: Runs the reads.
        connection: The archive.
        policy: The policy.
        tags: Whether the tags of all objects are read whose checkpoints are said to be tagged: one request for each.
        on_run: Told of each run that was compared.

    Raises:
        UnavailableError: If the store does not answer.
        IntegrityError: If the record of the policy in force is damaged.
    """
    report = DriftReport()
    in_force = read_in_force(connection.store, connection.archive_id)
    report.differences += _policy(policy, in_force)
    basis = basis_of(connection, policy)
    in_use: set[str] = set()
    for run in runs(connection.store):
        survey = survey_run(machine, connection, basis, run)
        plan = plan_run(basis, survey.run)
        in_use |= plan.in_use_after
        report.checkpoints += plan.checkpoints
        report.differences += [Difference(What.PROBLEM, run, text) for text in (*survey.problems, *plan.problems)]
        again = {change.place for change in plan.changes if change.kind is Kind.TAKE_BACK}
        differing = [_checkpoint(change) for change in plan.changes if _is_drift(change)]
        report.differences += differing
        report.due += len({change.place for change in plan.changes if not _is_drift(change)} - again)
        if tags and connection.bucket is not None:
            _tags(machine, connection, connection.bucket, survey.run, report)
        on_run(run)
    if connection.bucket is None:
        report.limits.append(
            "the store has neither tags nor rules: `ckpt-archive retention run` removes what has ended"
        )
    else:
        _rules(connection.bucket, policy, frozenset(in_use), in_force.limits, report)
    return report


def _policy(policy: Policy, in_force: InForce) -> Iterator[Difference]:
    if in_force.applied is None:
        yield Difference(
            What.POLICY, policy.name, "no policy is in force: `ckpt-archive retention apply` puts one into force"
        )
    elif not in_force.is_policy(policy):
        text = f"in force is {in_force.applied.name!r} {in_force.applied.policy[:12]}, not {policy.sha256[:12]}"
        yield Difference(What.POLICY, policy.name, text)


def _rules(bucket: Bucket, policy: Policy, in_use: frozenset[str], limits: Sequence[str], report: DriftReport) -> None:
    found = bucket.read_rules()
    change = difference(wanted_rules(policy, bucket.prefix, in_use, limits), found, bucket.prefix)
    report.limits += [_LIMITS.get(limit, limit) for limit in limits]
    report.foreign += [_name(raw) for raw in change.foreign]
    report.differences += [Difference(What.PROBLEM, "bucket", text) for text in foreign_problems(change, bucket.prefix)]
    report.differences += _rule_differences(change, policy)


def _rule_differences(change: RuleDifference, policy: Policy) -> Iterator[Difference]:
    owner = "" if policy.lifecycle_owner == CKPT_ARCHIVE else " (Terraform writes it)"
    for rule in change.add:
        yield Difference(What.RULE_MISSING, rule.id, f"the bucket does not have it{owner}")
    for item in change.change:
        is_broader = item.after.id in change.broader
        what = What.RULE_BROADER if is_broader else What.RULE_CHANGED
        text = "it is about more, or sooner, than the policy says" if is_broader else "it is not as the policy says"
        yield Difference(what, item.after.id, f"{text}{owner}")
    for raw in change.remove:
        yield Difference(
            What.RULE_EXTRA, _name(raw), f"nothing has its tag any more, and the policy does not have it{owner}"
        )


def _name(raw: RawRule) -> str:
    return str(raw.get("ID") or "without an id")


def _is_drift(change: Change) -> bool:
    return change.kind in (Kind.TAKE_BACK, Kind.CLEAR, Kind.HOLD, Kind.LOCK)


def _checkpoint(change: Change) -> Difference:
    said = {
        Kind.TAKE_BACK: f"it is announced as {change.before}, and should not be",
        Kind.CLEAR: "its end was taken back, and its objects may still have a tag",
        Kind.HOLD: "its objects are not held in the bucket",
        Kind.LOCK: f"its objects are not locked until {change.until_at:%Y-%m-%d}" if change.until_at else "",
    }
    return Difference(What.CHECKPOINT, str(change.place), f"{said[change.kind]}: {change.reason}")


def _tags(machine: Machine, connection: Connection, bucket: Bucket, run: RunSurvey, report: DriftReport) -> None:
    """Read the tags of all objects whose checkpoints are said to be tagged, are held, or had an end that was taken back.

    The last two should have none: whoever tags and is stopped for an hour, and dies before his second look, leaves one.
    """

    def read(item: tuple[Surveyed, str]) -> Difference | None:
        surveyed, key = item
        try:
            tag = bucket.read_tags(key).get(TAG_KEY, "")
        except NotFoundError:
            return None  # its end has come meanwhile
        if tag in _may_have(surveyed):
            return None
        if surveyed.cases:
            return Difference(What.TAG, key, f"it has the tag {tag!r}, and is held for {' and '.join(surveyed.cases)}")
        return Difference(What.TAG, key, f"it has the tag {tag!r}, and {surveyed.fate.tagged!r} was said")

    def objects() -> Iterator[tuple[Surveyed, str]]:
        for surveyed in run.checkpoints:
            fate = surveyed.fate
            told = fate.tagged or surveyed.cases or fate.generation
            if told and not fate.has_ended and fate.clearing is None:
                for info in data_objects(connection.store, surveyed.place):
                    yield surveyed, info.key

    for found in machine.executor.map_unordered(read, objects(), limit=_OBJECTS_IN_FLIGHT):
        report.objects += 1
        if found is not None:
            report.differences.append(found)


def _may_have(surveyed: Surveyed) -> tuple[str, ...]:
    """The tags that its objects may have; "" is none."""
    if surveyed.cases:
        return ("",)
    return (surveyed.fate.tagged,) if surveyed.fate.tagged else ("", *surveyed.fate.announced)
