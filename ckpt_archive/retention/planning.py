"""Makes the plan of a whole archive: of its rules and of all its runs, one after the other.

A plan is known by its id: the digest of all that it does and of all that it was made from. The id also says up to when
checkpoints were regarded: whoever makes the plan again up to the same moment gets the same id, although training goes on and
commits, unless something else has changed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ckpt_archive import strictjson
from ckpt_archive.commit.connection import Connection
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.maintain_marks import is_marked
from ckpt_archive.retention.in_force import InForce, read_in_force
from ckpt_archive.retention.plan import Basis, Change, Kind, Prices, RunPlan, plan_run
from ckpt_archive.retention.policy import Policy
from ckpt_archive.retention.raw_rules import endangers
from ckpt_archive.retention.rules import RuleDifference, difference
from ckpt_archive.retention.ruling import spelled, wanted_rules
from ckpt_archive.retention.survey import basis_of, runs, survey_run
from ckpt_archive.store.bucket import RawRule
