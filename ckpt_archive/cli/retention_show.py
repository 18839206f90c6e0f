"""How a retention plan is shown: a diff of the rules, a line for each class, then the checkpoints with their reasons."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import click

from ckpt_archive.cli import printable
from ckpt_archive.cli.columns import Value
from ckpt_archive.cli.money import usd_text
from ckpt_archive.cli.output import Screen
from ckpt_archive.cli.progress import size_text
from ckpt_archive.retention.engineless.orphans import Orphan, summary
from ckpt_archive.retention.money.prices import PriceBook
from ckpt_archive.retention.plans.plan import Change, Kind
from ckpt_archive.retention.plans.planning import Amount, Plan
from ckpt_archive.retention.rules.rules import LifecycleRule, RuleDifference
from ckpt_archive.store.bucket import RawRule

_SIGNS = {
    Kind.HOLD: "+",
    Kind.LOCK: "+",
    Kind.TAKE_BACK: "-",
    Kind.CLEAR: "-",
    Kind.ANNOUNCE: "+",
    Kind.TAG: "+",
    Kind.ENDED: "x",
}
_WORDS = {
    Kind.HOLD: "to be held in the bucket",
    Kind.LOCK: "to be locked",
    Kind.TAKE_BACK: "to be taken back",
    Kind.CLEAR: "taken back, to lose tags",
    Kind.ANNOUNCE: "to be announced",
    Kind.TAG: "to be tagged",
    Kind.ENDED: "ended",
}


def show_plan(screen: Screen, plan: Plan, orphans: Sequence[Orphan] = (), book: PriceBook | None = None) -> None:
    """Print a plan, and what belongs to no checkpoint, with its price."""
    if screen.as_json:
        screen.document([*_rows(plan), *(_orphan_row(orphan, book) for orphan in orphans)])
        return
    name = f"{plan.policy.name} {plan.policy.sha256[:12]}"
    screen.line(f"plan {plan.id}")
    screen.line(f"policy {name}{'' if plan.in_force.is_policy(plan.policy) else ', which is not in force yet'}")
    for text in _rule_lines(plan):
        screen.line(text)
    for (kind, class_name), amount in plan.totals.items():
        screen.line(_total(kind, class_name, amount))
        if amount.sooner:
            _warn(screen, f"  ! {amount.sooner} of them to end sooner than was announced before")
    for change, verb in _lines(plan.changes):
        text = f"  {_SIGNS[change.kind]} {verb:<9} {change.place}: {_described(change)}"
        if change.is_sooner:
            _warn(screen, text)
        else:
            screen.line(text)
    if len(plan.changes) < plan.count:
        screen.line(f"  … and {plan.count - len(plan.changes)} more: -v shows all")
    if plan.irrevocable:
        _warn(screen, f"  ! {plan.irrevocable}")
    for text in plan.problems:
        _warn(screen, f"  ! {text}")
    said = summary(orphans, book) if book is not None else ""
    if said:
        screen.line(f"orphans: {said}; `ckpt-archive retention run --orphans` shows and removes them")
    if plan.is_empty:
        screen.line(f"nothing is to be done: {_count(plan.checkpoints, 'checkpoint')} as the policy says")


def _lines(changes: Sequence[Change]) -> Iterator[tuple[Change, str]]:
    """Each change and what it is called; what is announced and tagged at once is one line."""
    tagged = {(change.place, change.after) for change in changes if change.kind is Kind.TAG}
    announced = {(change.place, change.after) for change in changes if change.kind is Kind.ANNOUNCE}
    for change in changes:
        both = (change.place, change.after) in tagged & announced
        if change.kind is Kind.ANNOUNCE and both:
            yield change, "announce and tag"
        elif change.kind is not Kind.TAG or not both:
            yield change, change.kind.value


def _warn(screen: Screen, text: str) -> None:
    if screen.is_terminal:
        click.secho(printable.line(text), fg="red")
    else:
        screen.line(text)


def _described(change: Change) -> str:
    if change.is_sooner:
        return f"{change.reason}; sooner than announced, which was {_day(change.ends_before)}"
    if change.kind is Kind.ANNOUNCE and change.before:
        return f"{change.reason}; announced before was {_day(change.ends_before)}"
    return change.reason


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"


def _total(kind: Kind, class_name: str, amount: Amount) -> str:
    count = _count(amount.checkpoints, "checkpoint")
    size = f"{_count(amount.objects, 'object')}, {size_text(amount.size_bytes)}"
    money = ""
    if amount.usd_before is not None and amount.usd_after is not None and kind in (Kind.ANNOUNCE, Kind.TAKE_BACK):
        money = f"; {usd_text(amount.usd_before)} USD a month now, {usd_text(amount.usd_after)} in the end"
    return f"{class_name or 'no class'}: {count} {_WORDS[kind]} ({size}{money})"


def _rule_lines(plan: Plan) -> Iterator[str]:
    rules = plan.rules
    if rules is None:
        yield "the store has no lifecycle rules: what has ended is removed by `ckpt-archive retention run`"
        return
    if not rules.is_empty and not plan.owns_rules:
        yield "rules, which Terraform writes (`--format terraform` makes its variables):"
    for rule in rules.add:
        yield f"  + rule {rule.id}: {_meaning(rule)}"
    for item in rules.change:
        more = ", which is about more, or sooner, than it should" if item.after.id in rules.broader else ""
        yield f"  ~ rule {item.after.id}{more}: {_raw_meaning(item.before)} -> {_meaning(item.after)}"
    for raw in rules.remove:
        yield f"  - rule {raw.get('ID') or 'without an id'}: {_raw_meaning(raw)}"
    if rules.foreign:
        names = ", ".join(str(raw.get("ID") or "without an id") for raw in rules.foreign)
        yield f"  = not ours, and left alone: {names}"
    for limit in plan.in_force.limits:
        yield f"  = the store does not do {limit}: the rules are without"


def _meaning(rule: LifecycleRule) -> str:
    tagged = f" tagged {rule.tag}" if rule.tag else ""
    does = [
        *(f"to {move.storage_class} after {_count(move.after_days, 'day')}" for move in rule.transitions),
        *([f"ends after {_count(rule.expire_days, 'day')}"] if rule.expire_days is not None else []),
        *(
            [f"old versions end after {_count(rule.noncurrent_days, 'day')}"]
            if rule.noncurrent_days is not None
            else []
        ),
        *([f"unfinished uploads end after {_count(rule.abort_days, 'day')}"] if rule.abort_days is not None else []),
        *(["left-over delete markers end"] if rule.clears_markers else []),
    ]
    return f"{rule.prefix or 'everything'}{tagged}: {', '.join(does)}"


def _raw_meaning(raw: RawRule) -> str:
    rule = LifecycleRule.from_json(raw)
    return "says what ours never say" if rule is None else _meaning(rule)


def _rows(plan: Plan) -> Iterator[Mapping[str, Value]]:
    yield {
        "action": "plan",
        "id": plan.id,
        "policy": plan.policy.name,
        "policy_sha256": plan.policy.sha256,
        "in_force": plan.in_force.is_policy(plan.policy),
        "empty": plan.is_empty,
        "checkpoints": plan.checkpoints,
        "changes": plan.count,
    }
    yield from _rule_rows(plan.rules)
    for (kind, class_name), amount in plan.totals.items():
        yield {
            "action": "total",
            "kind": kind.value,
            "class": class_name,
            "checkpoints": amount.checkpoints,
            "objects": amount.objects,
            "size": amount.size_bytes,
            "usd_before": amount.usd_before,
            "usd_after": amount.usd_after,
            "sooner": amount.sooner,
        }
    for change in plan.changes:
        yield {
            "action": change.kind.value,
            **change.place.to_json(),
            "before": change.before,
            "after": change.after,
            "reason": change.reason,
            "objects": change.objects,
            "size": change.size_bytes,
            "ends_before": change.ends_before,
            "ends_after": change.ends_after,
            "until_at": change.until_at,
            "usd_before": change.usd_before,
            "usd_after": change.usd_after,
            "sooner": change.is_sooner,
        }
    for text in plan.problems:
        yield {"action": "problem", "reason": text}


def _orphan_row(orphan: Orphan, book: PriceBook | None) -> Mapping[str, Value]:
    return {
        "action": "orphan",
        "kind": orphan.kind.value,
        "place": None if orphan.place is None else orphan.place.to_json(),
        "key": orphan.key,
        "objects": len(orphan.objects),
        "size": orphan.size_bytes,
        "usd": None if book is None else orphan.usd_a_month(book),
        "reason": orphan.reason,
    }


def _rule_rows(rules: RuleDifference | None) -> Iterator[Mapping[str, Value]]:
    if rules is None:
        return
    for rule in rules.add:
        yield {"action": "add-rule", "rule": rule.id, "before": None, "after": rule.to_json()}
    for item in rules.change:
        is_broader = item.after.id in rules.broader
        yield {
            "action": "change-rule",
            "rule": item.after.id,
            "before": dict(item.before),
            "after": item.after.to_json(),
            "broader": is_broader,
        }
    for raw in rules.remove:
        yield {"action": "remove-rule", "rule": raw.get("ID"), "before": dict(raw), "after": None}
    for raw in rules.foreign:
        yield {"action": "foreign-rule", "rule": raw.get("ID"), "before": dict(raw), "after": dict(raw)}
