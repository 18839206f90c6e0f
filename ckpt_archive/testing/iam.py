"""Whether IAM policies allow a request: small enough to be read, strict enough to refuse what it does not know.

It decides as AWS does for one account (IAM User Guide, "Policy evaluation logic"): an explicit deny wins, then any allow of
the identity's or the bucket's policy is enough, then nothing is allowed. What it has not learned raises `ValueError`, so
that no policy is believed by accident.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
"""A policy as its JSON."""

_MEMBERS = {
    "Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Attributes:
        action: Such as "s3:GetObject".
        resource: The ARN it is about.
        principal: The ARN of who asks; of an assumed role that of the role, as ``aws:PrincipalArn`` has it.
        context: Condition keys and their values; a key that is not there is not part of the request.
    """

    action: str
    resource: str
    principal: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What policies say to a request.

    Attributes:
        allowed: Whether it is carried out.
        by: Sids of the statements that decided: those that deny, else those that allow; empty where none says anything.
    """

    allowed: bool
    by: tuple[str, ...]


def decide(request: Request, *, identity: Iterable[Policy] = (), resource: Iterable[Policy] = ()) -> Decision:
    """What the policies say.

    Args:
        request: What is asked.
        identity: Policies of who asks.
        resource: Policies of what it is asked of, such as a bucket's.

    Raises:
        ValueError: If a policy has something that this evaluator does not know.
    """
    matching = [
        *(item for policy in identity for item in _matching(policy, request, has_principal=False)),
        *(item for policy in resource for item in _matching(policy, request, has_principal=True)),
    ]
    denying = tuple(str(item.get("Sid", "")) for item in matching if item["Effect"] == "Deny")
    if denying:
        return Decision(False, denying)
    allowing = tuple(str(item.get("Sid", "")) for item in matching)
    return Decision(bool(allowing), allowing)


def _matching(policy: Policy, request: Request, *, has_principal: bool) -> Iterator[Mapping[str, Any]]:
    if policy.get("Version") != "2012-10-17":
        raise ValueError(f"not the current policy language: {policy.get('Version')!r}")
    for statement in _many(policy["Statement"]):
        if strange := statement.keys() - _MEMBERS:
            raise ValueError(f"not known in a statement: {sorted(strange)}")
        if statement["Effect"] not in ("Allow", "Deny"):
            raise ValueError(f"no effect: {statement['Effect']!r}")
        if ("Principal" in statement) != has_principal:
            raise ValueError("a principal belongs into the policy of a resource, and there alone")
        if (
            (not has_principal or _is_principal(statement["Principal"], request.principal))
            and _is_about(statement, "Action", request.action, ignore_case=True)
            and _is_about(statement, "Resource", request.resource)
            and all(
                _holds(operator, key, _many(values), request)
                for operator, keys in statement.get("Condition", {}).items()
                for key, values in keys.items()
            )
        ):
            yield statement


def _is_principal(stated: Any, principal: str) -> bool:
    if stated == "*":
        return True
    if not isinstance(stated, Mapping) or stated.keys() != {"AWS"}:
        raise ValueError(f"not a principal that is known here: {stated!r}")
    # A principal in a policy knows no wildcard but the star alone.
    return any(item in ("*", principal) for item in _many(stated["AWS"]))


def _is_about(statement: Mapping[str, Any], member: str, value: str, *, ignore_case: bool = False) -> bool:
    if (member in statement) == (f"Not{member}" in statement):
        raise ValueError(f"a statement has either {member} or Not{member}")
    patterns = _many(statement[member] if member in statement else statement[f"Not{member}"])
    return any(is_like(value, pattern, ignore_case=ignore_case) for pattern in patterns) == (member in statement)


def is_like(value: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """Whether a value fits a pattern in which ``*`` stands for anything and ``?`` for one character."""
    spelled = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(spelled, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _is_bool(value: str, stated: str) -> bool:
    return value.lower() == stated.lower()


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, stated: value == stated,
    "StringEqualsIgnoreCase": lambda value, stated: value.lower() == stated.lower(),
    "StringLike": is_like,
    "ArnEquals": is_like,
    "ArnLike": is_like,
    "Bool": _is_bool,
    "NumericEquals": lambda value, stated: float(value) == float(stated),
    "NumericLessThan": lambda value, stated: float(value) < float(stated),
    "NumericLessThanEquals": lambda value, stated: float(value) <= float(stated),
    "NumericGreaterThan": lambda value, stated: float(value) > float(stated),
    "NumericGreaterThanEquals": lambda value, stated: float(value) >= float(stated),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def _holds(operator: str, key: str, stated: Sequence[Any], request: Request) -> bool:
    """One condition: any of the stated values does, and of a negated operator none may."""
    found = {name.lower(): value for name, value in request.context.items()}
    if request.principal:
        found["aws:principalarn"] = request.principal
    value = found.get(key.lower())
    texts = [_text(item) for item in stated]
    if operator == "Null":
        return any(_is_bool("true" if value is None else "false", text) for text in texts)
    name = operator.removesuffix("IfExists")
    positive = _NEGATED.get(name, name)
    if positive not in _TESTS:
        raise ValueError(f"not a condition that is known here: {operator}")
    if value is None:
        return name != operator or name in _NEGATED
    return any(_TESTS[positive](value, text) for text in texts) == (name not in _NEGATED)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _many(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
