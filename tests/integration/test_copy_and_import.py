"""A run goes to a second site, and old checkpoints become an archive's, with real servers and the command line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.cli import main
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.archives import read_tree, write_tree

pytestmark = pytest.mark.server

FILES = {"model.bin": os.urandom(9 << 20), "optim/state.bin": os.urandom(20_000), "empty": b""}
Cli = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def cli(seaweed: DevServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a verb with ``--json`` and gives its document."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)

    def run(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main.run([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return rows

    return run


@pytest.mark.parametrize("way", ["file to s3", "s3 to file", "s3 to s3"])
def test_a_run_goes_to_a_second_site(
    cli: Cli, seaweed: DevServer, new_prefix: Callable[[], str], tmp_path: Path, way: str
) -> None:
    places = {
        "file": lambda: f"file://{tmp_path}/{os.urandom(4).hex()}",
        "s3": lambda: f"s3://{seaweed.bucket}/{new_prefix()}",
    }
    here, there = (places[kind]() for kind in way.split(" to "))
    cli("init", here)
    folder = write_tree(tmp_path / "in", FILES)
    for step in (100, 200):
        cli("--archive", here, "push", folder, "--run", "r", "--step", step)
    (report,) = cli("--archive", here, "copy", "r", "--to", there, "--part-size", "5M", "--reason", "second site")
    assert (report["copied"], report["present"]) == (2, 0)
    (again,) = cli("--archive", here, "copy", "r", "--to", there)
    assert (again["copied"], again["present"], again["bytes_sent"]) == (0, 2, 0)
    digests = [[row["manifest_sha256"] for row in cli("--archive", url, "ls", "r")] for url in (here, there)]
    assert digests[0] == digests[1]
    cli("--archive", there, "verify", "r", "--deep")
    cli("--archive", there, "restore", "r", "200", "--to", tmp_path / "out")
    assert read_tree(tmp_path / "out") == FILES


def test_old_checkpoints_are_adopted_where_they_lie(
    cli: Cli, seaweed: DevServer, seaweed_connection: Connection, new_prefix: Callable[[], str], tmp_path: Path
) -> None:
    old, url = new_prefix(), f"s3://{seaweed.bucket}/{new_prefix()}"
    store = S3Store(seaweed.bucket, connection=seaweed_connection)
    for path, data in FILES.items():
        store.client.put_object(Bucket=seaweed.bucket, Key=f"{old}/checkpoint-100/{path}", Body=data)
    cli("init", url)
    source = f"s3://{seaweed.bucket}/{old}"
    (found,) = cli("--archive", url, "import", source, "--run", "r", "--dry-run")
    assert (found["state"], found["files"], found["attempt"]) == ("found", 3, None)
    assert cli("--archive", url, "ls") == []
    (adopted,) = cli("--archive", url, "import", source, "--run", "r", "--reason", "from before")
    assert (adopted["state"], adopted["size_bytes"]) == ("committed", sum(map(len, FILES.values())))
    cli("--archive", url, "verify", "r", "--deep")
    cli("--archive", url, "restore", "r", "--to", tmp_path / "out")
    assert read_tree(tmp_path / "out") == FILES
    cli("--archive", url, "index", "sync")
    rows = cli("--archive", url, "query", "--saved", "files", "-p", "run=r", "-p", "attempt=0", "-p", "step=100")
    assert {row["path"]: row["object_key"] for row in rows} == {
        path: f"/{old}/checkpoint-100/{path}" if data else None for path, data in FILES.items()
    }
    tagged = store.client.get_object_tagging(Bucket=seaweed.bucket, Key=f"{old}/checkpoint-100/model.bin")["TagSet"]
    assert tagged == []
    store.close()
