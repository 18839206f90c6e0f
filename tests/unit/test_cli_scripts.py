"""The text of the scripts that fetch a checkpoint without us; `tests/integration/test_cli_scripts_run.py` runs them."""

import shutil
import subprocess

import pytest

from ckpt_archive.cli.scripts import SCRIPTS, ScriptFile
from ckpt_archive.errors import InvalidInputError

FILES = [
    ScriptFile("-odd name's $(x).bin", 10, "a" * 64, "data/r/00000000/000000000001/000000/" + "b" * 64, 5),
    ScriptFile("empty", 0, "c" * 64, None, 0),
    ScriptFile("shards/epoch=1/x.pt", 7, "d" * 64, "data/r/00000000/000000000001/000000/" + "d" * 64, 0),
]


def test_sha256sum_is_digest_two_spaces_path() -> None:
    assert SCRIPTS["sha256sum"]("file:///x", "r", FILES) == (
        f"{'a' * 64}  -odd name's $(x).bin\n{'c' * 64}  empty\n{'d' * 64}  shards/epoch=1/x.pt\n"
    )


@pytest.mark.parametrize("name", ["aws", "curl"])
def test_scripts_are_valid_shell(name: str) -> None:
    script = SCRIPTS[name]("s3://bucket/a prefix", "r step 1", FILES)
    for shell in ("sh", "bash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("name", ["aws", "curl"])
def test_packed_files_are_fetched_by_range(name: str) -> None:
    script = SCRIPTS[name]("s3://bucket/prefix", "r step 1", FILES)
    assert f"prefix/{FILES[0].key} 5-14 " in script
    assert f"prefix/{FILES[2].key} 0-6 ./shards/epoch=1/x.pt" in script or "'./shards/epoch=1/x.pt'" in script


@pytest.mark.parametrize("name", ["aws", "curl"])
def test_a_folder_of_files_needs_no_such_script(name: str) -> None:
    with pytest.raises(InvalidInputError, match="file:///mnt/hdd"):
        SCRIPTS[name]("file:///mnt/hdd", "r", FILES)
