"""Carries out `lifecycle.tf` on values of its variable: what S3 is given for each rule.

It knows a handful of expressions and refuses all others, so that the file can not come to mean more than is compared.
"""

import re
from collections.abc import Mapping
from typing import Any

from tests.terraform.module import MODULE, literal, parsed

Values = Mapping[str, Any]

_PATH = re.compile(r"[a-z_]+\.value(?:\.[a-z_]+)?")


def resource() -> dict[str, Any]:
    """The block that makes the archive's rules."""
    for block in parsed(MODULE / "lifecycle.tf")["resource"]:
        (kind, named), *rest = block.items()
        assert (kind, rest) == ("aws_s3_bucket_lifecycle_configuration", [])
        found = named["archive"]
        assert isinstance(found, dict)
        return found
    raise AssertionError("no resource")


def configuration(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules that the module makes of its variable, as S3's API has them."""
    (dynamic,) = resource()["dynamic"]
    ((name, block),) = dynamic.items()
    assert (name, block["for_each"]) == ("rule", "${var.lifecycle_rules}")
    (content,) = block["content"]
    return [_rule(_filled(content, {"rule.value": rule})) for rule in rules]


def _filled(content: Values, names: Values) -> dict[str, Any]:
    """A block with its expressions evaluated: dynamic blocks become lists, nulls are left out."""
    filled: dict[str, Any] = {}
    for name, value in content.items():
        if name == "dynamic":
            for dynamic in value:
                ((kind, block),) = dynamic.items()
                assert block.keys() == {"for_each", "content"}
                (inner,) = block["content"]
                items = evaluated(block["for_each"], names)
                if items:
                    filled[kind] = [_filled(inner, {f"{kind}.value": item}) for item in items]
        elif isinstance(value, list):
            (only,) = value
            filled[name] = [_filled(only, names)]
        elif (result := evaluated(value, names)) is not None:
            filled[name] = result
    return filled


def evaluated(value: Any, names: Values) -> Any:
    """The value of one expression."""
    text = value.removeprefix("${").removesuffix("}") if isinstance(value, str) and value.startswith("${") else value
    return _value(text, names) if isinstance(text, str) else text


def _value(text: str, names: Values) -> Any:
    text = text.strip()
    condition, question, rest = text.partition(" ? ")
    if question:
        yes, _, no = rest.partition(" : ")
        return _value(yes if _holds(condition, names) else no, names)
    if text == "null":
        return None
    if text.startswith('"'):
        return literal(text)
    if text.startswith("["):
        return [_value(text[1:-1], names)] if text != "[]" else []
    assert _PATH.fullmatch(text), f"not an expression that is known here: {text}"
    head, _, member = text.partition(".value")
    found = names[f"{head}.value"]
    return found[member.removeprefix(".")] if member else found


def _holds(text: str, names: Values) -> bool:
    if " && " in text:
        return all(_holds(part, names) for part in text.split(" && "))
    subject, equals, other = text.partition(" == ")
    if not equals:
        return bool(_value(subject, names))
    if subject.startswith("length("):
        return len(_value(subject[len("length(") : -1], names)) == int(other)
    return bool(_value(subject, names) == _value(other, names))


# What the provider's attributes are called in S3's API (its documentation of the resource).
_DAYS = {
    "noncurrent_version_expiration": ("NoncurrentVersionExpiration", {"noncurrent_days": "NoncurrentDays"}),
    "abort_incomplete_multipart_upload": (
        "AbortIncompleteMultipartUpload",
        {"days_after_initiation": "DaysAfterInitiation"},
    ),
    "expiration": (
        "Expiration",
        {"days": "Days", "expired_object_delete_marker": "ExpiredObjectDeleteMarker"},
    ),
}


def _rule(filled: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"ID": filled.pop("id"), "Status": filled.pop("status")}
    (chosen,) = filled.pop("filter")
    if "and" in chosen:
        ((both),) = chosen.pop("and")
        tags = [{"Key": key, "Value": value} for key, value in sorted(both["tags"].items())]
        rule["Filter"] = {"And": {"Prefix": both["prefix"], "Tags": tags}}
        assert not chosen
    else:
        assert chosen.keys() == {"prefix"}
        rule["Filter"] = {"Prefix": chosen["prefix"]}
    for name, (member, spelled) in _DAYS.items():
        if name in filled:
            (block,) = filled.pop(name)
            rule[member] = {spelled[key]: value for key, value in block.items()}
    if "transition" in filled:
        rule["Transitions"] = [
            {"Days": move.pop("days"), "StorageClass": move.pop("storage_class")} for move in filled.pop("transition")
        ]
    assert not filled, filled
    return rule
