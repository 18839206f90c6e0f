"""Carries out `lifecycle.tf` on values of its variable: what S3 is given for each rule.

It knows a handful of expressions and refuses all others, so that the file can not come to mean more than is compared.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.terraform.module import MODULE, Module, literal, parsed

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


def taken(value: Any, variable: str = "lifecycle_rules") -> Any:
    """A value as a variable of the module takes it; what its type does not name, and Terraform would drop, is an error."""
    return _converted(value, evaluated_type(str(Module.read(MODULE).variables[variable]["type"])), variable)


def evaluated_type(text: str) -> str:
    """The text of a type."""
    return text.removeprefix("${").removesuffix("}") if text.startswith("${") else text


_SCALARS: Mapping[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "bool": (bool,)}


def _converted(value: Any, kind: str, where: str) -> Any:
    head, _, inner = kind.partition("(")
    inner = inner.removesuffix(")")
    match head:
        case "list":
            assert isinstance(value, list), where
            return [_converted(item, inner, f"{where}[]") for item in value]
        case "map":
            assert isinstance(value, dict), where
            return {key: _converted(item, inner, f"{where}.{key}") for key, item in value.items()}
        case "object":
            fields = dict(_fields(inner.removeprefix("{").removesuffix("}")))
            assert isinstance(value, dict), where
            assert value.keys() <= fields.keys(), (where, value.keys() - fields.keys())
            return {key: _member(value, key, field, where) for key, field in fields.items()}
    assert isinstance(value, _SCALARS[head]), (where, value)
    assert head == "bool" or not isinstance(value, bool), (where, value)
    return value


def _member(value: Values, key: str, kind: str, where: str) -> Any:
    is_optional = kind.startswith("optional(")
    if value.get(key) is None:
        assert is_optional, f"{where}.{key} is missing"
        return None
    return _converted(
        value[key], kind.removeprefix("optional(").removesuffix(")") if is_optional else kind, f"{where}.{key}"
    )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    depth, start = 0, 0
    for at, letter in enumerate(f"{text},"):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            name, _, kind = text[start:at].partition(" = ")
            yield name.strip(), kind.strip()
            start = at + 1


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
