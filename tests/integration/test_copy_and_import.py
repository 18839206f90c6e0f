"""A run goes to a second site, and old checkpoints become an archive's, with real servers and the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.cli import main
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.archives import read_tree, write_tree

pytestmark = pytest.mark.server

MOTO_BUCKET = "moto-archive"

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
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out or "[]")
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


def test_the_real_command_killed_in_the_middle_goes_on_where_it_was(
    cli: Cli, seaweed: DevServer, new_prefix: Callable[[], str], tmp_path: Path
) -> None:
    here, there = f"file://{tmp_path}/archive", f"s3://{seaweed.bucket}/{new_prefix()}"
    cli("init", here)
    size = 96 << 20
    folder = write_tree(tmp_path / "in", {"model.bin": os.urandom(size)})
    cli("--archive", here, "push", folder, "--run", "r", "--step", 1)
    command = [sys.executable, "-m", "ckpt_archive", "--archive", here, "copy", "r", "--to", there, "--part-size", "5M"]
    environment = {**os.environ, **seaweed.environment()}
    with subprocess.Popen([*command, "--bandwidth", "100M"], env=environment, stderr=subprocess.DEVNULL) as process:
        store = S3Store(
            seaweed.bucket,
            there.removeprefix(f"s3://{seaweed.bucket}/"),
            connection=Connection(seaweed.endpoint_url, seaweed.access_key, seaweed.secret_key, REGION),
        )
        while process.poll() is None:
            uploads = store.list_uploads("data/")
            if uploads and store.list_parts(uploads[0].key, uploads[0].upload_id):
                process.kill()
    assert process.returncode == -signal.SIGKILL
    store.close()
    (report,) = cli("--archive", here, "copy", "r", "--to", there)
    assert report["bytes_resumed"] > 0
    assert report["bytes_sent"] + report["bytes_resumed"] == size
    cli("--archive", there, "verify", "r", "--deep")


def test_the_other_archive_is_on_another_server_with_other_credentials(
    cli: Cli, moto_connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seaweed: DevServer
) -> None:
    name = os.urandom(4).hex()
    here, there = f"s3://{seaweed.bucket}/{name}", f"s3://{MOTO_BUCKET}/{name}"
    (tmp_path / "credentials").write_text("[second]\naws_access_key_id = moto\naws_secret_access_key = moto\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    cli("init", here)
    cli("--archive", here, "push", write_tree(tmp_path / "in", FILES), "--run", "r", "--step", 1)
    other = ("--to-endpoint-url", moto_connection.endpoint_url, "--to-profile", "second")
    (report,) = cli("--archive", here, "copy", "r", "--to", there, *other)
    assert (report["copied"], report["failed"]) == (1, 0)
    store = S3Store(MOTO_BUCKET, name, connection=moto_connection)
    assert {info.key.split("/")[0] for info in list_all(store, "")} >= {"manifests", "data", "receipts"}
    store.close()
    cli("--archive", here, "copy", "r", "--to", there, "--to-profile", "nobody", code=2)
    cli("--archive", here, "copy", "r", "--to", f"{here}/within", code=2)


def test_an_adopted_checkpoint_with_strange_names_is_fetched_by_a_script_and_all_verbs_take_it(
    cli: Cli,
    seaweed: DevServer,
    seaweed_connection: Connection,
    new_prefix: Callable[[], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, url = f"{new_prefix()}/old + é %20", f"s3://{seaweed.bucket}/{new_prefix()}"
    files = {"a b/it's $(x) [1].bin": os.urandom(5000), "c=1&d/é+%41": b"plus", "empty": b""}
    store = S3Store(seaweed.bucket, connection=seaweed_connection)
    for path, data in files.items():
        store.client.put_object(Bucket=seaweed.bucket, Key=f"{old}/step 5/{path}", Body=data)
    cli("init", url)
    here = f"s3://{seaweed.bucket}/{old}"
    cli("--archive", url, "import", here, "--run", "r", "--steps", "step {step}")
    cli("--archive", url, "import", f"{url}/data/r/00000000", "--run", "x", "--steps", "{step}", code=6)
    for extra in ([], ["--deep"]):
        cli("--archive", url, "verify", "r", *extra)
    cli("--archive", url, "restore", "r", "--to", tmp_path / "one", "--include", "c=1*/**")
    assert read_tree(tmp_path / "one") == {"c=1&d/é+%41": b"plus"}
    cli("--archive", url, "restore", "r", "--to", tmp_path / "rank", "--rank", 0)
    assert read_tree(tmp_path / "rank") == files
    assert main.run(["--archive", url, "show", "r", "5", "--as", "curl"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "script").mkdir()
    done = subprocess.run(["sh"], input=script, cwd=tmp_path / "script", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_tree(tmp_path / "script") == files
    cli("--archive", url, "index", "sync")
    cli("--archive", url, "index", "rebuild")
    cli("--archive", url, "index", "check", "--all")
    (line,) = cli("--archive", url, "usage")
    assert line["kept_bytes"] == sum(map(len, files.values()))
    assert not [item for item in cli("--archive", url, "doctor") if item["severity"] in ("error", "warning")]
    store.close()
