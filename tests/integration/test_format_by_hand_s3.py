"""The commands that `docs/format.md` quotes for a bucket bring the golden checkpoints back from a real S3 server."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.devserver import DevServer
from ckpt_archive.store.body import Body
from ckpt_archive.store.s3 import S3Store

pytestmark = pytest.mark.server

# Stands in for the `aws` program, which can not be installed beside the SDK.
_AWS = """#!{python}
import sys
import boto3
verb, url, outfile = sys.argv[1:4], sys.argv[4], sys.argv[5]
assert verb == ["s3", "cp", "--only-show-errors"], sys.argv
bucket, _, key = url.removeprefix("s3://").partition("/")
boto3.client("s3").download_file(bucket, key, outfile)
"""


def by_hand() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "test_format_by_hand", Path(__file__).parents[1] / "docs" / "test_format_by_hand.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BY_HAND = by_hand()


@pytest.fixture
def prefix(seaweed_store: S3Store) -> str:
    """Where a copy of the golden archive lies in the server's bucket."""
    for path, data in BY_HAND.tree(BY_HAND.GOLDEN).items():
        seaweed_store.create(path, Body.of(data))
    return seaweed_store.url.removeprefix("s3://").partition("/")[2] + "/"


@pytest.mark.parametrize("how", ["aws", "curl"])
def test_the_quoted_commands_restore_from_a_bucket(how: str, seaweed: DevServer, prefix: str, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "aws").write_text(_AWS.format(python=sys.executable))
    (tools / "aws").chmod(0o755)
    blocks = BY_HAND.blocks()
    script = blocks["script"].replace(
        'get() { cp "$ARCHIVE/$1" "$2"; }  # KEY FILE\n', f'PATH="{tools}:$PATH"\n{blocks[how]}'
    )
    assert "cp " not in script.replace("aws s3 cp", "")
    variables = {**seaweed.environment(), "BUCKET": seaweed.bucket, "PREFIX": prefix, "RUN": "two-writers"}
    done = BY_HAND.restore(script, {**variables, "ATTEMPT": "0", "STEP": "1000"}, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    Archive.open(f"file://{BY_HAND.GOLDEN}").restore("two-writers", 1000, to=tmp_path / "ours", exact_folder=True)
    assert BY_HAND.tree(tmp_path / "out") == BY_HAND.tree(tmp_path / "ours")
