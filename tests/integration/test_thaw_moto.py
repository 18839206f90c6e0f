"""End to end on a server with storage classes: push, cold, restore says what to do, thaw, restore whole and verified."""

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.cli import main
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.archives import read_tree, write_tree
from ckpt_archive.testing.cold import make_all_cold

BUCKET = "moto-archive"
FILES = {"model/a.bin": os.urandom(9 << 20), "model/b.bin": os.urandom(8 << 20), "small/x": b"x" * 50, "empty": b""}

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(new_prefix: Callable[[], str]) -> str:
    return f"s3://{BUCKET}/{new_prefix()}"


@pytest.fixture
def store(url: str, moto_connection: Connection) -> S3Store:
    return S3Store(BUCKET, url.removeprefix(f"s3://{BUCKET}/"), connection=moto_connection)


@pytest.fixture
def cli(
    url: str, moto_connection: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Said:
    """Runs a command line; its exit code and what it said."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_connection.endpoint_url or "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "moto")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "moto")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    assert run("init", url)[0] == 0
    return run


def rows(said: tuple[int, str, str]) -> list[dict[str, Any]]:
    code, out, err = said
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def command_in(text: str) -> list[str]:
    """The command that a message tells the reader to give."""
    found = re.search(r"ckpt-archive (thaw [^`\n]+|restore [^\n]+)", text)
    assert found is not None, text
    return shlex.split(found[1])


def test_push_cold_thaw_restore(cli: Said, store: S3Store, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "in", FILES)
    assert cli("push", folder, "--run", "r", "--step", 100)[0] == 0
    keys = make_all_cold(store, "data/")
    assert len(keys) == 3
    code, _, err = cli("restore", "r", 100, "--to", tmp_path / "early")
    assert code == 3
    assert "3 of 3 objects of r step 100 (attempt 0) lie in GLACIER" in err
    thaw = command_in(err)
    assert thaw == ["thaw", "r", "100", "--attempt", "0"]

    code, out, err = cli(*thaw)
    assert (code, out) == (2, "")
    assert "3 of 3 objects are cold, 17.0 MiB" in err
    assert re.search(r"Thawing them \(Standard, for 7 days\) costs about 0\.00 USD", err)
    assert "within 5 hours" in err
    assert "AWS list prices" in err, "the first book that has GLACIER"
    assert "--yes" in err

    code, out, err = cli(*thaw, "--yes", "--wait")
    assert code == 0, err
    (row,) = rows(cli(*thaw, "--json"))
    assert (row["state"], row["objects"], row["thawed"], row["requested"]) == ("readable", 3, 3, 0)
    restore = command_in(out)
    assert restore[:5] == ["restore", "r", "100", "--attempt", "0"]
    code, _, err = cli(*[str(tmp_path / "late") if word == "DIR" else word for word in restore])
    assert code == 0, err
    assert read_tree(tmp_path / "late") == FILES
    assert cli("verify", "r", 100, "--deep")[0] == 0


def test_one_file_is_thawed_and_restored(cli: Said, store: S3Store, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "in", FILES)
    assert cli("push", folder, "--run", "r", "--step", 100)[0] == 0
    make_all_cold(store, "data/", "DEEP_ARCHIVE")
    wanted = ("r", 100, "--include", "model/b.bin")
    assert cli("thaw", *wanted, "--tier", "Expedited", "--yes")[0] == 2, "DEEP_ARCHIVE has no such tier"
    (row,) = rows(cli("thaw", *wanted, "--tier", "Bulk", "--yes", "--wait", "--json"))
    assert (row["objects"], row["requested"], row["size_bytes"]) == (1, 1, 8 << 20)
    assert row["usd"] > 0
    assert cli("restore", *wanted, "--to", tmp_path / "part")[0] == 0
    assert read_tree(tmp_path / "part") == {"model/b.bin": FILES["model/b.bin"]}
    assert cli("restore", "r", 100, "--to", tmp_path / "all")[0] == 3, "the others are cold"


def test_one_writers_share_is_thawed_and_restored(cli: Said, store: S3Store, tmp_path: Path) -> None:
    for rank in (0, 1):
        folder = write_tree(tmp_path / f"in-{rank}", {f"rank-{rank}.bin": os.urandom(1000)})
        assert cli("push", folder, "--run", "r", "--step", 100, "--rank", rank, "--writers", 2)[0] == 0
    make_all_cold(store, "data/")
    code, _, err = cli("restore", "r", 100, "--rank", 1, "--to", tmp_path / "early")
    assert code == 3
    thaw = command_in(err)
    assert thaw[-2:] == ["--rank", "1"]
    (row,) = rows(cli(*thaw, "--yes", "--wait", "--json"))
    assert row["objects"] == 1
    assert cli("restore", "r", 100, "--rank", 1, "--to", tmp_path / "late")[0] == 0
    assert list(read_tree(tmp_path / "late")) == ["rank-1.bin"]
