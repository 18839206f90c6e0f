"""The rules that the module makes of what `retention plan --format terraform` writes are those that `apply` writes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.retention.policy import Policy, RetentionClass, Transition
from ckpt_archive.retention.policy_file import load, preset
from ckpt_archive.retention.rules import LifecycleRule, rules_of
from tests.terraform.lifecycle import configuration, evaluated, resource
from tests.terraform.module import EXAMPLES, MODULE, Module, expressions
