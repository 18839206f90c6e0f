"""What maintaining and asking need of an S3 server, recorded, against what `deploy/aws/*.json` grants."""

import json
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit.archive_record import open_archive
from ckpt_archive.commit.committing import try_commit
from ckpt_archive.devserver import DevServer
from ckpt_archive.errors import UnavailableError
from ckpt_archive.place import Place
from ckpt_archive.store.open import open_store
from ckpt_archive.testing.recorded_wire import Asked, recorded

pytestmark = pytest.mark.server

DEPLOY = Path(__file__).parents[2] / "deploy" / "aws"


class Policy:
    """What one of the files grants, with its placeholders replaced."""

    def __init__(self, name: str, bucket: str, prefix: str) -> None:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        text = text.replace(":::bucket", f":::{bucket}").replace("prefix/", f"{prefix}/")
        self.statements: list[dict[str, Any]] = json.loads(text)["Statement"]
        self._bucket = bucket

    def granting(self, asked: Asked) -> list[int]:
        """The statements that allow it."""
        return [number for number, statement in enumerate(self.statements) if self._grants(statement, asked)]

    def _grants(self, statement: dict[str, Any], asked: Asked) -> bool:
        actions, resources = (
            [found] if isinstance(found, str) else found for found in (statement["Action"], statement["Resource"])
        )
        if asked.action not in actions:
            return False
        if asked.action == "s3:ListBucket":
            return any(fnmatchcase(asked.key, pattern) for pattern in statement["Condition"]["StringLike"]["s3:prefix"])
        return any(fnmatchcase(f"arn:aws:s3:::{self._bucket}/{asked.key}", pattern) for pattern in resources)


@pytest.fixture
def site(
    seaweed: DevServer, new_prefix: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Archive, str, list[Asked]]]:
    """An archive with some checkpoints, one of which its committer has left; what is asked of the server from now on."""
    prefix = new_prefix()
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    url = f"{seaweed.url}/{prefix}"
    Archive.create(url)
    archive = Archive.open(url)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.bin").write_bytes(b"weights")
    for step in range(1, 4):
        archive.push(tmp_path / "checkpoint", "run-a", step)
    host, _, port = seaweed.endpoint_url.rpartition(":")
    with recorded(int(port)) as (wire, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{host}:{wire}")
        yield Archive.open(url), prefix, asked


def test_maintaining_needs_no_more_than_the_maintainers_policy(
    site: tuple[Archive, str, list[Asked]], seaweed: DevServer
) -> None:
    archive, prefix, asked = site
    policy = Policy("maintainer-policy.json", seaweed.bucket, prefix)
    assert archive.maintain().errors == ()
    assert archive.maintain().errors == ()
    refused = sorted({(found.action, found.key) for found in asked if not policy.granting(found)})
    assert refused == []


def test_asking_needs_no_more_than_the_auditors_policy(
    site: tuple[Archive, str, list[Asked]], seaweed: DevServer
) -> None:
    archive, prefix, asked = site
    archive.sync()
    asked.clear()
    again = Archive.open(archive.url)
    assert again.query("SELECT count(*) FROM checkpoints").rows == ((3,),)
    policy = Policy("auditor-policy.json", seaweed.bucket, prefix)
    refused = sorted({(found.action, found.key) for found in asked if not policy.granting(found)})
    assert refused == []
    assert {found.action for found in asked} <= {"s3:GetObject", "s3:ListBucket"}
