"""Does exactly what a plan says, in steps of which each leaves a state that the next `apply`, or maintenance, completes.

1. The policy's text is stored.
2. New rules are written; the rules of tags that are in use stay. Nothing has these tags yet, so nothing ends by them.
3. The policy is put into force. Whoever maintains the archive goes on by it, also if everything else breaks off here.
4. Run by run, checkpoints are announced, tagged, and taken back.
5. Rules of tags that nothing has any more are removed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ckpt_archive.commit import layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.commit.marks import mark
from ckpt_archive.errors import ConflictError, InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.retention.passes.carrying import Done, carry_out
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.plan import Prices
from ckpt_archive.retention.plans.planning import Plan, as_of_id, make_plan, plan_one_run
from ckpt_archive.retention.plans.survey import runs
from ckpt_archive.retention.policy.in_force import Applied, put_in_force, store_text
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.retention.rules.ruling import Ruled, write_rules


@dataclass(slots=True)
class Outcome:
    """What came of applying a plan.

    Attributes:
        done: What was done to checkpoints.
        rules_written: Whether rules were written.
        limits: What the store turned out not to do.
        number: Of the record that puts the policy into force.
        moved_runs: Runs in which something else was to be done by then: nothing was done.
    """

    done: Done = field(default_factory=Done)
    rules_written: bool = False
    limits: tuple[str, ...] = ()
    number: int = 0
    moved_runs: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all of the plan was done."""
        return not self.moved_runs and not self.done.moved and not self.done.left


def plan_again(
    machine: Machine,
    connection: Connection,
    policy: Policy,
    plan_id: str,
    *,
    prices: Prices | None = None,
    show: int | None = 0,
) -> Plan:
    """The plan of that id, made anew.

    Raises:
        ConflictError: If it is another one by now.
        InvalidInputError: If that is no id of a plan.
        UnavailableError: If the store does not answer.
    """
    plan = make_plan(machine, connection, policy, as_of=as_of_id(plan_id), prices=prices, show=show)
    if plan.id != plan_id:
        raise ConflictError(
            f"the plan {plan_id} is not the one that would be made now, which is {plan.id}",
            hint="The policy, the bucket or the archive has changed since: look at `ckpt-archive retention plan` again.",
        )
    return plan


def check_revocable(plan: Plan) -> None:
    """Refuse what nobody could undo, of a policy that is not in force yet: somebody must have seen it.

    Raises:
        InvalidInputError: If the plan leads to such locks.
    """
    if plan.irrevocable and not plan.in_force.is_policy(plan.policy):
        raise InvalidInputError(
            f"nobody can undo this: {plan.irrevocable}",
            hint=f"Look at `ckpt-archive retention plan`, then say --plan {plan.id} beside --yes.",
        )


def apply(voice: Voice, plan: Plan, *, on_run: Callable[[str], None] = lambda run: None) -> Outcome:
    """Do what a plan says.

    Args:
        voice: Who does it.
        plan: It, made just before.
        on_run: Told of each run that is done.

    Raises:
        ConflictError: If the bucket's rules have changed since, or somebody has put another policy into force meanwhile.
        IntegrityError: If the server made something else of the rules: the old ones were put back, and nothing else is done.
        UnavailableError: If the store does not answer: the rest is left for the next `apply`, or for maintenance.
    """
    connection, store, policy = voice.connection, voice.connection.store, plan.policy
    outcome = Outcome(number=plan.in_force.number)
    store_text(store, policy)
    ruled = _write_rules(connection, plan)
    outcome.rules_written, outcome.limits = ruled.was_written, ruled.limits
    if not plan.in_force.is_policy(policy) or plan.in_force.limits != ruled.limits:
        outcome.number += 1
        put_in_force(
            store,
            Applied(
                archive_id=connection.archive_id,
                number=outcome.number,
                policy=policy.sha256,
                name=policy.name,
                plan=plan.id,
                applied_at=voice.machine.clock.now(),
                by=voice.actor,
                limits=ruled.limits,
            ),
        )
    for run, digest in sorted(plan.runs.items()):
        planned = plan_one_run(voice.machine, connection, plan.basis, run, plan.as_of).plan
        if planned.digest != digest:
            outcome.moved_runs.append(run)
        else:
            carry_out(voice, policy, planned, outcome.done)
        on_run(run)
    outcome.rules_written |= _remove_rules(connection, plan, ruled)
    if outcome.is_complete and not plan.problems:
        mark(store, layout.retention_compared(outcome.number))
    return outcome


def _write_rules(connection: Connection, plan: Plan) -> Ruled:
    known = plan.in_force.limits
    if connection.bucket is None or not plan.owns_rules:
        return Ruled(was_written=False, limits=known)
    # With another policy it is tried out anew what the store can do: servers are upgraded.
    limits = known if plan.in_force.is_policy(plan.policy) else ()
    return write_rules(connection.bucket, plan.policy, plan.in_use, limits, plan.found_rules)


def _remove_rules(connection: Connection, plan: Plan, ruled: Ruled) -> bool:
    """Remove the rules of tags that nothing has any more; whether there were any."""
    if connection.bucket is None or not plan.owns_rules:
        return False
    if plan.in_use <= {item.tag for item in plan.policy.classes}:
        return False  # the first time no more rules were written than the policy has
    return write_rules(
        connection.bucket, plan.policy, tags_in_use(connection), ruled.limits, connection.bucket.read_rules()
    ).was_written


def tags_in_use(connection: Connection) -> frozenset[str]:
    """The tags of all checkpoints that have not ended: one listing for every thousand statements."""
    found: set[str] = set()
    for run in runs(connection.store):
        for fate in read_fates(connection.store, run).of.values():
            if not fate.has_ended:
                found.update([*fate.announced, fate.tagged])
                # The tag of what is being taken back is not known: nobody waits for its rule.
    return frozenset(found) - {""}
