"""The scripts that fetch a checkpoint without us, run against a real S3 seaweed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from ckpt_archive.cli.scripts import SCRIPTS, ScriptFile
from ckpt_archive.devserver import DevServer

pytestmark = pytest.mark.server

# Stands in for the `aws` program, which can not be installed beside the SDK; as strict as its parser.
_AWS = """#!{python}
import sys
import boto3
assert sys.argv[1:3] == ["s3api", "get-object"], sys.argv
named = dict(zip(sys.argv[3:9:2], sys.argv[4:10:2]))
bucket, key, span = named.pop("--bucket"), named.pop("--key"), named.pop("--range")
(outfile,) = sys.argv[9:]
with open(outfile, "wb") as file:
    file.write(boto3.client("s3").get_object(Bucket=bucket, Key=key, Range=span)["Body"].read())
"""


@pytest.fixture
def files(seaweed: DevServer) -> list[ScriptFile]:
    """Two files packed into one object, one alone, one empty."""
    client = boto3.client(
        "s3",
        endpoint_url=seaweed.endpoint_url,
        aws_access_key_id=seaweed.access_key,
        aws_secret_access_key=seaweed.secret_key,
        region_name="us-east-1",
    )
    first, second, third = b"first" * 1000, b"second" * 3, os.urandom(300_000)
    for key, body in (("packed", first + second), ("alone", third)):
        client.put_object(Bucket=seaweed.bucket, Key=f"a prefix/data/{key}", Body=body)
    client.close()

    def described(path: str, body: bytes, key: str | None, offset: int) -> ScriptFile:
        return ScriptFile(path, len(body), hashlib.sha256(body).hexdigest(), key, offset)

    return [
        described("-first $(touch bad) it's", first, "data/packed", 0),
        described("sub/second", second, "data/packed", len(first)),
        described("sub/epoch=1/third", third, "data/alone", 0),
        described("empty", b"", None, 0),
    ]


def _run(script: str, server: DevServer, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **server.environment(), "PATH": path}
    return subprocess.run(
        ["sh"], input=script, env=environment, cwd=folder, text=True, capture_output=True, check=False
    )


@pytest.fixture
def path_with_aws(tmp_path: Path) -> str:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "aws").write_text(_AWS.format(python=sys.executable))
    (programs / "aws").chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


@pytest.mark.parametrize("name", ["aws", "curl"])
def test_the_script_fetches_exactly_the_checkpoint(
    name: str, seaweed: DevServer, files: list[ScriptFile], tmp_path: Path, path_with_aws: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    done = _run(SCRIPTS[name](f"{seaweed.url}/a prefix", "r step 1", files), seaweed, target, path_with_aws)
    assert done.returncode == 0, done.stderr
    found = {str(item.relative_to(target)) for item in target.rglob("*") if item.is_file()}
    assert found == {file.path for file in files}
    for file in files:
        assert hashlib.sha256((target / file.path).read_bytes()).hexdigest() == file.sha256


@pytest.mark.parametrize("name", ["aws", "curl"])
def test_the_script_fails_where_bytes_differ(
    name: str, seaweed: DevServer, files: list[ScriptFile], tmp_path: Path, path_with_aws: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    wrong = [ScriptFile(file.path, file.size_bytes, "0" * 64, file.key, file.offset) for file in files]
    done = _run(SCRIPTS[name](f"{seaweed.url}/a prefix", "r step 1", wrong), seaweed, target, path_with_aws)
    assert done.returncode != 0
    assert "FAILED" in done.stdout + done.stderr


def test_the_curl_script_shows_no_secret_to_other_processes(seaweed: DevServer, files: list[ScriptFile]) -> None:
    script = SCRIPTS["curl"](f"{seaweed.url}/a prefix", "r step 1", files)
    assert seaweed.secret_key not in script
    assert "--user" not in script
