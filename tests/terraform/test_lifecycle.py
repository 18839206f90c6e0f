"""The rules that the module makes of what `retention plan --format terraform` writes are those that `apply` writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.retention.policy.file import PRESETS, load, preset
from ckpt_archive.retention.policy.storage_classes import STORAGE_CLASSES
from ckpt_archive.retention.policy.values import Policy, RetentionClass, Transition
from ckpt_archive.retention.rules.rules import difference, rules_of
from ckpt_archive.retention.rules.tfvars import FILE_NAME, encode, variables_file
from tests.terraform.lifecycle import configuration, evaluated, resource, taken
from tests.terraform.module import EXAMPLES, MODULE, Module

PREFIXES = ("", "main/", "teams/vision/")

POLICIES = {
    "with a lock": """
version = 1
[classes.audit]
every = 4
keep_for = "10y"
transitions = [{ after = "30d", to = "GLACIER_IR" }, { after = "1y", to = "DEEP_ARCHIVE" }]
lock = { mode = "COMPLIANCE", for = "5y" }
[classes.forever]
milestone = "v*"
keep_for = "forever"
""",
    "nothing ends": "version = 1\n[classes.kept]\nmilestone = true\nkeep_for = 'forever'\n",
}


def policies() -> list[Policy]:
    """Presets and others."""
    return [*(preset(name) for name in PRESETS), *(load(text, name) for name, text in POLICIES.items())]


def made(policy: Policy, prefix: str, tags: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What S3 is given by the module."""
    written = json.loads(encode(variables_file(policy, prefix, tags)))
    return configuration(taken(written["lifecycle_rules"]))


def applied(policy: Policy, prefix: str, tags: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What S3 is given by `apply`, for an empty bucket."""
    return [dict(rule) for rule in difference(rules_of(policy, prefix, tags), (), prefix).configuration()]


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: policy.name)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_module_makes_what_apply_writes(policy: Policy, prefix: str) -> None:
    tags = ("old.30d", "older.90d.GLACIER_IR-30d.DEEP_ARCHIVE-365d")
    for used in ((), tags):
        rules = made(policy, prefix, used)
        assert rules == applied(policy, prefix, used)
        assert difference(rules_of(policy, prefix, used), rules, prefix).is_empty
        # The check of checkov that `lifecycle.tf` skips.
        assert [rule["Filter"] for rule in rules if "AbortIncompleteMultipartUpload" in rule] == [{"Prefix": prefix}]


STORAGE = sorted(STORAGE_CLASSES)
CLASSES = st.builds(
    RetentionClass,
    name=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    keep_days=st.none() | st.integers(1, 36_500),
    transitions=st.lists(st.builds(Transition, st.integers(1, 3_650), st.sampled_from(STORAGE)), max_size=3).map(tuple),
)
SOME_POLICIES = st.builds(
    Policy,
    classes=st.lists(CLASSES, max_size=6, unique_by=lambda item: item.tag).map(tuple),
    abort_incomplete_days=st.integers(1, 365),
)


@given(SOME_POLICIES, st.sampled_from(PREFIXES), st.lists(CLASSES.map(lambda item: item.tag), max_size=3).map(tuple))
def test_whatever_the_policy_is(policy: Policy, prefix: str, tags: tuple[str, ...]) -> None:
    assert made(policy, prefix, tags) == applied(policy, prefix, tags)


def test_each_member_of_a_rule_is_that_of_the_variable() -> None:
    """The file has no other expressions than these, so there is nothing else that a rule could come to say."""
    block = resource()
    assert block.keys() == {"count", "bucket", "dynamic", "depends_on"}
    assert block["count"] == '${var.lifecycle_owner == "terraform" && length(var.lifecycle_rules) > 0 ? 1 : 0}'
    assert sorted(set(leaves(block["dynamic"]))) == sorted(
        {
            "${var.lifecycle_rules}",
            "${rule.value.id}",
            '${rule.value.enabled ? "Enabled" : "Disabled"}',
            "${length(rule.value.tags) == 0 ? rule.value.prefix : null}",
            "${length(rule.value.tags) == 0 ? [] : [rule.value]}",
            "${and.value.prefix}",
            "${and.value.tags}",
            f"${{{NEITHER} ? [] : [rule.value]}}",
            "${expiration.value.expiration_days}",
            "${expiration.value.expired_object_delete_marker}",
            "${rule.value.transitions}",
            "${transition.value.days}",
            "${transition.value.storage_class}",
            "${rule.value.noncurrent_days == null ? [] : [rule.value]}",
            "${noncurrent_version_expiration.value.noncurrent_days}",
            "${rule.value.abort_days == null ? [] : [rule.value]}",
            "${abort_incomplete_multipart_upload.value.abort_days}",
        }
    )


NEITHER = "rule.value.expiration_days == null && rule.value.expired_object_delete_marker == null"


def leaves(value: Any) -> list[str]:
    """All expressions."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def test_an_expression_that_is_not_known_is_refused() -> None:
    with pytest.raises(AssertionError, match="not an expression"):
        evaluated("${rule.value.days + 1}", {"rule.value": {"days": 1}})


def test_what_the_variable_does_not_take_is_refused() -> None:
    rule = {"id": "a", "enabled": True, "prefix": "", "tags": {}, "transitions": []}
    assert taken([rule])[0]["abort_days"] is None
    for wrong in ({**rule, "size_above": 1}, {**rule, "id": None}, {**rule, "abort_days": "7"}, {**rule, "enabled": 1}):
        with pytest.raises(AssertionError):
            taken([wrong])


@pytest.mark.parametrize(
    ("example", "name"),
    [(MODULE / "examples" / "compliance", "eu-ai-10y"), (MODULE / "examples" / "minimal", "default")],
)
def test_an_examples_files_are_those_of_a_preset(example: Path, name: str) -> None:
    policy = load((example / "retention.toml").read_text(encoding="utf-8"), "retention.toml")
    assert policy.classes == preset(name).classes
    assert policy.lifecycle_owner == "terraform"
    assert (example / FILE_NAME).read_text(encoding="utf-8") == encode(variables_file(policy, ""))


@pytest.mark.parametrize("folder", [MODULE, *EXAMPLES], ids=lambda folder: folder.name)
def test_all_that_the_file_says_is_a_variable(folder: Path) -> None:
    written = variables_file(preset("default"), "main/")
    module = Module.read(folder)
    assert written.keys() <= module.variables.keys()
    for name, value in written.items():
        assert folder != MODULE or taken(value, name) == value or name == "lifecycle_rules"
        assert name in (FOLLOWING if folder == MODULE else module.variables)


# The description of the module's variables says that these stand together.
FOLLOWING = ("lifecycle_rules", "prefix", "lifecycle_owner", "retention_policy_name", "retention_policy_sha256")
