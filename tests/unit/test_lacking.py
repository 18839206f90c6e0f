"""What a policy asks for and can not get is said before anybody relies on it."""

import pytest

from ckpt_archive.retention.plans.lacking import lacking
from ckpt_archive.retention.policy.file import load
from ckpt_archive.testing.retaining import Archived


@pytest.fixture
def archived() -> Archived:
    return Archived()


LOCKED = '[classes.x]\nkeep_for = "14d"\nlock = { mode = "GOVERNANCE", for = "2d" }\n'
COLD = 'cold = "file:///mnt/cold"\n[classes.x]\nkeep_for = "140d"\ntransitions = [{ after = "30d", to = "COLD" }]\n'
NO_DEFAULT = '[classes.x]\nkeep_for = "14d"\n[classes.y]\nkeep_for = "2d"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [(LOCKED, "no Object Lock"), (COLD, "no second root"), (NO_DEFAULT, "no default class")],
)
def test_what_a_bucket_can_not_give(archived: Archived, text: str, words: str) -> None:
    bucket = archived.connection.bucket
    assert bucket is not None
    (said,) = lacking(load(text, "a"), bucket)
    assert words in said


def test_a_folder_locks_nothing_but_may_have_a_second_root() -> None:
    (said,) = lacking(load(LOCKED, "a"), None)
    assert said.startswith("the store has no Object Lock")
    assert not [*lacking(load(COLD, "a"), None)]


def test_a_policy_that_can_be_carried_out(archived: Archived) -> None:
    assert not [*lacking(load('[classes.x]\nkeep_for = "14d"\n', "a"), archived.connection.bucket)]
