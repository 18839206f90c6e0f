"""`ckpt-archive retention apply`."""

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.asking import go_on
from ckpt_archive.cli.money import price_book, prices_option
from ckpt_archive.cli.retention_parameters import policy_option, read_policy
from ckpt_archive.cli.retention_show import show_plan
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.errors import ConflictError
from ckpt_archive.retention.passes.apply import Outcome, apply, check_revocable, plan_again
from ckpt_archive.retention.passes.voice import DID as _DID
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.lacking import lacking
from ckpt_archive.retention.plans.planning import SHOWN, Plan, make_plan
from ckpt_archive.settings import Environment


@verb(
    "retention apply",
    example="ckpt-archive retention apply\nckpt-archive retention apply --policy retention.toml --yes",
    exits=(3, 4, 5, 6),
)
@policy_option
@prices_option
@click.option("--plan", "plan_id", metavar="ID", help="Do this plan, and refuse if another one would be made now.")
@click.option("--yes", is_flag=True, help="Do it without a question.")
def command(frame: Frame, /, policy: str | None, prices: str, plan_id: str | None, yes: bool) -> None:
    """Do exactly what a plan shows.

    Writes the bucket's lifecycle rules (unless Terraform owns them), puts the policy into force, announces ends, and tags
    checkpoints, so that the rules find them; from then on `maintain` goes on with it every day. On a terminal the plan is
    shown, and you are asked; elsewhere say --yes. Rules of others are left alone. It may be broken off and run again.
    A policy that locks in mode COMPLIANCE, which nobody can undo, asks for --plan ID beside --yes.

    Costs, per checkpoint that gets its class, about 10 requests and 2 for each of its objects.
    """
    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    chosen = read_policy(policy)
    book = price_book(prices)
    show = None if frame.verbosity > 0 else SHOWN
    if plan_id is not None:
        plan = plan_again(machine, connection, chosen, plan_id, prices=book, show=show)
    else:
        plan = make_plan(machine, connection, chosen, prices=book, show=show)
    if yes and plan_id is None:
        check_revocable(plan)
    if not yes and not frame.as_json:
        show_plan(frame.screen, plan)
    if plan.is_empty:
        frame.screen.result("nothing was to be done", _row(plan, Outcome(number=plan.in_force.number)))
        return
    if not go_on(frame.screen, f"Apply the plan {plan.id}?", yes=yes):
        return
    voice = Voice(machine, connection, Environment.read().actor, chosen.sha256)
    outcome = apply(voice, plan)
    frame.screen.result(_sentence(plan, outcome), _row(plan, outcome))
    for limit in outcome.limits:
        frame.screen.note(f"the store does not do {limit}: the rules are without")
    for problem in (*lacking(chosen, connection.bucket), *plan.problems, *outcome.done.problems):
        frame.screen.note(problem)
    if not outcome.is_complete:
        count = len(outcome.moved_runs)
        raise ConflictError(
            f"{count} runs and {len(outcome.done.moved)} checkpoints had changed since the plan was made, and were left",
            hint="Look at the next plan; `maintain` does the rest of this policy, too.",
        )


def _sentence(plan: Plan, outcome: Outcome) -> str:
    counts = outcome.done.counts
    did = [f"{counts[kind]} {_DID[kind]}" for kind in _DID if counts.get(kind)]
    rules = "rules written" if outcome.rules_written else "no rules written"
    return f"the policy {plan.policy.name!r} is in force (number {outcome.number}): {', '.join([rules, *did])}"


def _row(plan: Plan, outcome: Outcome) -> dict[str, object]:
    return {
        "plan": plan.id,
        "policy": plan.policy.name,
        "policy_sha256": plan.policy.sha256,
        "number": outcome.number,
        "rules_written": outcome.rules_written,
        "limits": list(outcome.limits),
        "done": {kind.value: count for kind, count in outcome.done.counts.items()},
        "moved_runs": list(outcome.moved_runs),
        "moved": [place.to_json() for place in outcome.done.moved],
        "problems": [*plan.problems, *outcome.done.problems],
    }
