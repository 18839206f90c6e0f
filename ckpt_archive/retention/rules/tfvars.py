"""A policy's lifecycle rules as variables of the Terraform module, which makes one rule of each. Values only."""

import json
from collections.abc import Iterable

from ckpt_archive.retention.policy.values import TAG_KEY, Policy
from ckpt_archive.retention.rules.rules import LifecycleRule, rules_of
from ckpt_archive.strictjson import Json

FILE_NAME = "ckpt-archive.auto.tfvars.json"
"""Terraform reads such a file by itself."""


def rule_variable(rule: LifecycleRule) -> dict[str, Json]:
    """An element of `lifecycle_rules`; members that a rule does not have are left out."""
    optional = {
        "expiration_days": rule.expire_days,
        "expired_object_delete_marker": True if rule.clears_markers else None,
        "noncurrent_days": rule.noncurrent_days,
        "abort_days": rule.abort_days,
    }
    return {
        "id": rule.id,
        "enabled": True,
        "prefix": rule.prefix,
        "tags": {TAG_KEY: rule.tag} if rule.tag else {},
        "transitions": [{"days": move.after_days, "storage_class": move.storage_class} for move in rule.transitions],
        **{name: value for name, value in optional.items() if value is not None},
    }


def variables_file(policy: Policy, prefix: str, tags_in_use: Iterable[str] = ()) -> dict[str, Json]:
    """The variables that a policy decides.

    Args:
        policy: It.
        prefix: The archive's, as in `Bucket.prefix`.
        tags_in_use: As `rules_of`.
    """
    return {
        "lifecycle_rules": [rule_variable(rule) for rule in rules_of(policy, prefix, tags_in_use)],
        "prefix": prefix,
        "lifecycle_owner": policy.lifecycle_owner,
        "retention_policy_name": policy.name,
        "retention_policy_sha256": policy.sha256,
    }


def encode(variables: dict[str, Json]) -> str:
    """The text of the file: easy to read, and the same for the same policy."""
    return json.dumps(variables, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
