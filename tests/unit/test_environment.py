"""What launchers say, and what follows for a process: its rank, and the key that all of a launch share and no other has."""

from collections.abc import Mapping
from typing import Any

import pytest

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.participant import RunSettings, common_key, given_key, key_of, rank_of
from ckpt_archive.promotion import Every
from ckpt_archive.settings import Environment

TORCHRUN = {"TORCHELASTIC_RUN_ID": "job-7", "TORCHELASTIC_RESTART_COUNT": "2", "RANK": "3", "WORLD_SIZE": "8"}
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "16",
}


def settings(**told: Any) -> RunSettings:
    chosen: dict[str, Any] = {
        "name": "run-a", "staging": "/ssd", "keep_local": 3, "promote": Every(1), "labels": {}, "sources": (), "rank": None,
        "writers": 1, "launch_key": None, "quota_bytes": None, "on_error": "log", "agent": "auto", "network_staging": False,
    }  # fmt: skip
    return RunSettings(**{**chosen, **told})


@pytest.mark.parametrize(
    ("variables", "key", "rank", "world_size"),
    [
        ({}, None, None, None),
        (TORCHRUN, "torchelastic:job-7:2", 3, 8),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "4"}, None, 0, 4),
        ({"TORCHELASTIC_RUN_ID": "job-7"}, "torchelastic:job-7:0", None, None),
        (SRUN, "slurm:4711:0/step:0", 5, 16),
        ({**SRUN, "SLURM_STEP_ID": "1"}, "slurm:4711:0/step:1", 5, 16),
        ({**SRUN, "SLURM_RESTART_COUNT": "2"}, "slurm:4711:2/step:0", 5, 16),
        # One srun per node: their numbers differ.
        ({**SRUN, "SLURM_STEP_NUM_NODES": "1"}, "slurm:4711:0", 5, 16),
        ({**SRUN, **TORCHRUN}, "slurm:4711:0/step:0/torchelastic:job-7:2", 3, 8),
        # mpirun in a batch script: every process sees the number of the script's one task.
        ({**SRUN, "SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "6", "OMPI_COMM_WORLD_SIZE": "12"},
         "slurm:4711:0/step:0", 6, 12),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, None, 1, 2),
        # The uid of one pod: those of the others differ, and a container started again has the same.
        ({"POD_UID": "9f0c"}, None, None, None),
        ({"RANK": "head", "SLURM_PROCID": "1"}, None, 1, None),
        ({"RANK": "-1"}, None, None, None),
        ({"RANK": ""}, None, None, None),
    ],
)  # fmt: skip
def test_what_a_launcher_says(
    variables: Mapping[str, str], key: str | None, rank: int | None, world_size: int | None
) -> None:
    found = Environment.read(variables)
    assert (found.scheduler_key, found.rank, found.world_size) == (key, rank, world_size)


@pytest.mark.parametrize(
    ("variables", "actor"),
    [
        ({}, ""),
        ({"CKPT_ARCHIVE_ACTOR": "ci/nightly", "USER": "anna", "LOGNAME": "bert"}, "ci/nightly"),
        ({"CKPT_ARCHIVE_ACTOR": "", "USER": "anna", "LOGNAME": "bert"}, "anna"),
        ({"LOGNAME": "bert"}, "bert"),
    ],
)
def test_who_it_is(variables: Mapping[str, str], actor: str) -> None:
    assert Environment.read(variables).actor == actor


def test_our_own_variables() -> None:
    found = Environment.read(
        {"CKPT_ARCHIVE_URL": "s3://b/p", "CKPT_ARCHIVE_STAGING": "/ssd", "CKPT_ARCHIVE_LAUNCH_KEY": "k"}
    )
    assert (found.archive_url, found.staging, found.launch_key) == ("s3://b/p", "/ssd", "k")
    empty = Environment.read({"CKPT_ARCHIVE_URL": "", "CKPT_ARCHIVE_STAGING": "", "CKPT_ARCHIVE_LAUNCH_KEY": ""})
    assert (empty.archive_url, empty.staging, empty.launch_key) == (None, None, None)


@pytest.mark.parametrize(
    ("told", "rank", "given", "expected"),
    [
        ({}, None, None, 0),
        ({}, 0, None, 0),
        ({"writers": 4}, 3, None, 3),
        ({"writers": 4, "rank": 2}, 3, None, 2),
        ({"writers": 4, "rank": 2}, 3, 1, 1),
        ({"rank": 0}, 5, None, 0),
        ({}, 5, 0, 0),
    ],
)
def test_which_writer_a_process_is(told: Mapping[str, Any], rank: int | None, given: int | None, expected: int) -> None:
    assert rank_of(settings(**told), Environment(rank=rank), given) == expected


@pytest.mark.parametrize(
    ("told", "rank", "given", "problem"),
    [
        ({}, 3, None, "this is rank 3 of several, and nothing says what it contributes"),
        ({"writers": 4}, None, None, "nothing says which of 4 writers this process is"),
        ({"writers": 4}, 4, None, "rank 4 of 4 writers is not possible"),
        ({"writers": 4}, 0, 7, "rank 7 of 4 writers is not possible"),
        ({}, None, 1, "rank 1 of 1 writers is not possible"),
        ({"writers": 4}, 0, -1, "the rank -1 is not allowed"),
    ],
)
def test_a_process_that_can_not_be_a_writer(
    told: Mapping[str, Any], rank: int | None, given: int | None, problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        rank_of(settings(**told), Environment(rank=rank), given)


@pytest.mark.parametrize(
    "told",
    [
        {"name": "Run A"},
        {"keep_local": 0},
        {"writers": True},
        {"writers": 2, "keep_local": 1},
        {"writers": 2, "promote": Every(5)},
        {"quota_bytes": 0},
        {"on_error": "ignore"},
        {"agent": "none"},
    ],
)
def test_what_a_run_may_not_be_told(told: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r".+\. .+"):
        settings(**told)


def test_a_key_that_somebody_gave_comes_first() -> None:
    environment = Environment(launch_key="theirs", scheduler_key="slurm:1:0")
    assert given_key(settings(launch_key="mine"), environment) == "mine"
    assert given_key(settings(), environment) == "theirs"
    assert given_key(settings(), Environment(scheduler_key="slurm:1:0")) is None


def test_a_key_that_is_made_is_new_and_names_the_job() -> None:
    assert key_of(Environment(scheduler_key="slurm:1:0"), "ab12") == "slurm:1:0/ab12"
    assert key_of(Environment(), "ab12") == "ab12"


def test_writers_without_anything_in_common_are_told_what_to_do() -> None:
    assert common_key(settings(writers=2), Environment(scheduler_key="slurm:1:0")) == "slurm:1:0"
    plain_torchrun = Environment.read({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"})
    with pytest.raises(InvalidInputError, match=r"no launch key in common.*CKPT_ARCHIVE_LAUNCH_KEY"):
        common_key(settings(writers=2), plain_torchrun)
