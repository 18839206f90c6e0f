"""Writes lifecycle rules, reads them back, and takes back what a server made something else of."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt_archive import strictjson
from ckpt_archive.errors import ConflictError, IntegrityError, UnsupportedError
from ckpt_archive.retention.policy.in_force import TRANSITIONS
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.retention.rules.raw_rules import canonical, is_broader, lost_on_the_way
from ckpt_archive.retention.rules.rules import LifecycleRule, RuleDifference, difference, rules_of, without_transitions
from ckpt_archive.store.bucket import Bucket, RawRule


@dataclass(frozen=True, slots=True)
class Ruled:
    """What came of writing rules.

    Attributes:
        was_written: Whether anything was.
        limits: What the store turned out not to do.
    """

    was_written: bool
    limits: tuple[str, ...] = ()


def wanted_rules(
    policy: Policy, prefix: str, tags_in_use: frozenset[str], limits: Sequence[str]
) -> tuple[LifecycleRule, ...]:
    """The rules that a store with these limits is to have."""
    rules = rules_of(policy, prefix, sorted(tags_in_use))
    if TRANSITIONS not in limits:
        return rules
    return tuple(left for rule in rules if (left := without_transitions(rule)) is not None)


def write_rules(
    bucket: Bucket, policy: Policy, tags_in_use: frozenset[str], limits: tuple[str, ...], expected: Sequence[RawRule]
) -> Ruled:
    """Give the bucket the rules of a policy, and see that it has them.

    Args:
        bucket: It.
        policy: The policy.
        tags_in_use: Tags that objects have or will have: their rules stay.
        limits: What the store is known not to do.
        expected: The rules that the plan was made from.

    Raises:
        ConflictError: If the bucket has other rules by now.
        IntegrityError: If the server made something else of them: the old ones are put back.
    """
    found = bucket.read_rules()
    if spelled(found) != spelled(expected):
        raise ConflictError(
            f"the lifecycle rules of {bucket.name} have changed since the plan was made", hint="Make a new plan."
        )
    change = difference(wanted_rules(policy, bucket.prefix, tags_in_use, limits), found, bucket.prefix)
    if change.is_empty:
        return Ruled(was_written=False, limits=limits)
    try:
        bucket.write_rules(change.configuration())
    except UnsupportedError:
        if TRANSITIONS in limits or not any(rule.transitions for rule in [*change.add, *_after(change), *change.same]):
            raise
        return write_rules(bucket, policy, tags_in_use, tuple(sorted({*limits, TRANSITIONS})), expected)
    # Rules that were too broad before are not put back: whoever was killed before he could mend them has left them.
    before = [rule for rule in found if rule.get("ID") not in change.broader]
    _check_written(bucket, change.configuration(), before)
    return Ruled(was_written=True, limits=limits)


def _after(change: RuleDifference) -> list[LifecycleRule]:
    return [item.after for item in change.change]


def _check_written(bucket: Bucket, written: Sequence[RawRule], before: Sequence[RawRule]) -> None:
    found = bucket.read_rules()
    problems = lost_on_the_way(written, found)
    if not problems:
        return
    named = {rule["ID"]: rule for rule in found if rule.get("ID")}
    broader = [rule for rule in written if rule.get("ID") in named and is_broader(named[rule["ID"]], rule)]
    if not broader and {rule.get("ID") for rule in found} != {rule.get("ID") for rule in written}:
        # Nobody would make a server forget whole rules, or invent some; what others have written stays.
        raise ConflictError(
            f"somebody else has written the lifecycle rules of {bucket.name} at the same time: {'; '.join(problems)}",
            hint="Find out who, then make a new plan.",
        )
    bucket.write_rules(before)
    raise IntegrityError(
        f"{bucket.name} made something else of the lifecycle rules: {'; '.join(problems)}",
        hint="The old rules were put back. What this server can do with rules is in docs/servers.md; `retention run` "
        "carries out a policy without any.",
    )


def spelled(rules: Sequence[RawRule]) -> list[str]:
    """Rules in one spelling and order: equal for configurations that mean the same."""
    return sorted(strictjson.encode(canonical(rule)).decode() for rule in rules)
