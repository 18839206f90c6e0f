"""The evaluator of IAM policies says what AWS documents, and refuses what it does not know."""

from typing import Any

import pytest

from ckpt_archive.testing.iam import Decision, Request, decide, is_like

BUCKET = "arn:aws:s3:::bucket"
ROLE = "arn:aws:iam::111122223333:role/job"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:*", "Resource": "*", **members}


def deny(**members: Any) -> dict[str, Any]:
    return allow(**members) | {"Effect": "Deny"}


def allowed(*statements: dict[str, Any], action: str = "s3:GetObject", key: str = "a/b", **context: str) -> bool:
    request = Request(
        action, f"{BUCKET}/{key}", ROLE, {name.replace("__", ":"): value for name, value in context.items()}
    )
    return decide(request, identity=[policy(*statements)]).allowed


def test_nothing_is_allowed_by_default() -> None:
    assert decide(Request("s3:GetObject", BUCKET)) == Decision(False, ())


def test_a_deny_wins_wherever_it_stands() -> None:
    request = Request("s3:GetObject", f"{BUCKET}/a", ROLE)
    identity, bucket = policy(allow(Sid="Yes")), policy(deny(Sid="No", Principal="*"))
    assert decide(request, identity=[identity]) == Decision(True, ("Yes",))
    assert decide(request, identity=[identity], resource=[bucket]) == Decision(False, ("No",))
    assert not allowed(allow(), deny(Action="s3:Get*"))
    assert not allowed(deny(Action="s3:Get*"), allow())


def test_the_buckets_policy_alone_may_allow() -> None:
    bucket = policy(allow(Principal={"AWS": ["arn:aws:iam::111122223333:role/other", ROLE]}))
    assert decide(Request("s3:GetObject", BUCKET, ROLE), resource=[bucket]).allowed
    assert not decide(Request("s3:GetObject", BUCKET, f"{ROLE}-2"), resource=[bucket]).allowed


@pytest.mark.parametrize(
    ("value", "pattern", "fits"),
    [
        ("a/b/c", "a/*", True),
        ("a/b/c", "a/*/c", True),
        ("a/b/c", "a/?/c", True),
        ("a/b/c", "a/b", False),
        ("a", "a*", True),
        ("a[b]", "a[b]", True),
        ("ab", "a[b]", False),
        ("a\nb", "a*b", True),
        ("A", "a", False),
    ],
)
def test_wildcards(value: str, pattern: str, fits: bool) -> None:
    assert is_like(value, pattern) == fits


def test_actions_know_no_case_and_keys_do() -> None:
    assert allowed(allow(Action="S3:getobject"))
    assert not allowed(allow(Resource=f"{BUCKET}/A/*"))


def test_what_is_not_meant() -> None:
    others = {"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": f"{BUCKET}/secret/*"}
    assert allowed(others)
    assert not allowed(others, action="s3:DeleteObject")
    assert not allowed(others, key="secret/a")


@pytest.mark.parametrize(
    ("operator", "stated", "holding", "failing", "absent"),
    [
        ("StringEquals", ["a", "b"], "b", "B", False),
        ("StringNotEquals", ["a", "b"], "c", "a", True),
        ("StringEqualsIgnoreCase", "a", "A", "b", False),
        ("StringLike", "a*", "ab", "ba", False),
        ("StringLikeIfExists", "a*", "ab", "ba", True),
        ("StringNotLike", ["a*", "b*"], "c", "bc", True),
        ("ArnLike", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/y", False),
        ("ArnEquals", "arn:*", "arn:a", "b", False),
        ("ArnNotLike", "arn:*", "b", "arn:a", True),
        ("Bool", False, "false", "true", False),
        ("BoolIfExists", "true", "true", "false", True),
        ("NumericEquals", "1", "1.0", "2", False),
        ("NumericNotEquals", "1", "2", "1", True),
        ("NumericLessThan", "1.2", "1.1", "1.2", False),
        ("NumericLessThanEquals", 5, "5", "6", False),
        ("NumericGreaterThan", "5", "6", "5", False),
        ("NumericGreaterThanEquals", "5", "5", "4", False),
        ("Null", True, None, "a", True),
        ("Null", "false", "a", None, False),
    ],
)
def test_conditions(operator: str, stated: Any, holding: str | None, failing: str | None, absent: bool) -> None:
    statement = allow(Condition={operator: {"x:Key": stated}})
    # Names of condition keys know no case.
    assert allowed(statement, **({} if holding is None else {"X__kEY": holding}))
    assert allowed(statement) == absent
    if failing is not None:
        assert not allowed(statement, x__Key=failing)


def test_all_conditions_have_to_hold() -> None:
    statement = allow(Condition={"StringEquals": {"a": "1", "b": "1"}, "Bool": {"c": "true"}})
    assert allowed(statement, a="1", b="1", c="true")
    for wrong in ({"a": "2"}, {"b": "2"}, {"c": "false"}):
        assert not allowed(statement, **({"a": "1", "b": "1", "c": "true"} | wrong))


def test_who_asks_is_a_condition_key() -> None:
    statement = deny(Principal="*", Condition={"ArnNotLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/job"]}})
    for principal, decided in ((ROLE, True), (f"{ROLE}-2", False)):
        request = Request("s3:GetObject", BUCKET, principal)
        assert decide(request, identity=[policy(allow())], resource=[policy(statement)]).allowed == decided


@pytest.mark.parametrize(
    "statement",
    [
        allow(Effect="Maybe"),
        allow(Conditions={}),
        allow(Principal="*"),
        allow(NotAction="s3:*"),
        {"Effect": "Allow", "Action": "s3:*"},
        allow(Condition={"DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"}}),
        allow(Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}),
    ],
)
def test_what_it_does_not_know_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        allowed(statement, aws__CurrentTime="2026-01-01T00:00:00Z")


def test_a_policy_that_is_none_is_refused() -> None:
    request = Request("s3:GetObject", BUCKET)
    for wrong in (
        {"Version": "2008-10-17", "Statement": []},
        policy(allow(Principal={"Service": "s3.amazonaws.com"})),
        policy(allow()),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            decide(request, resource=[wrong])
