"""What maintaining and asking need of an S3 server, recorded, against what `deploy/aws/*.json` grants."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.devserver import DevServer
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.vacuum import vacuum
from ckpt_archive.place import Place
from ckpt_archive.testing.checkpoints import INLINE, BytesFile, contribution_of, share_of
from ckpt_archive.testing.recorded_wire import Asked, recorded
from ckpt_archive.transfer.settings import TransferSettings

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
            return any(
                fnmatchcase(asked.key, pattern) for pattern in statement["Condition"]["StringLikeIfExists"]["s3:prefix"]
            )
        return any(fnmatchcase(f"arn:aws:s3:::{self._bucket}/{asked.key}", pattern) for pattern in resources)


class Site:
    """An archive on the server, and what is asked of it over the wire."""

    def __init__(self, seaweed: DevServer, prefix: str, folder: Path, port: int, asked: list[Asked]) -> None:
        self._seaweed = seaweed
        self.prefix = prefix
        self.asked = asked
        self.url = f"{seaweed.url}/{prefix}"
        folder.mkdir()
        (folder / "model.bin").write_bytes(b"weights")
        archive = Archive.create(self.url)
        for step in (1, 2, 3):
            archive.push(folder, "run-a", step)
        self.leave_uncommitted(archive, Place("run-a", 0, 4))
        os.environ["AWS_ENDPOINT_URL"] = f"{seaweed.endpoint_url.rpartition(':')[0]}:{port}"

    def leave_uncommitted(self, archive: Archive, place: Place) -> None:
        """Its committer dies before the marker."""
        contribute(
            archive.connection.store,
            INLINE,
            place=place,
            rank=0,
            archive_id=archive.id,
            contribution=contribution_of(),
            share=share_of({"model.bin": b"weights"}),
            open_file=lambda path: BytesFile(b"weights"),
            still_same=lambda: None,
            settings=TransferSettings(),
            checksums_enforced=True,
        )

    def refused_by(self, name: str) -> tuple[list[tuple[str, str]], set[int]]:
        """What a policy does not allow of what was asked, and the statements that were needed."""
        policy = Policy(name, self._seaweed.bucket, self.prefix)
        needed: set[int] = set()
        refused: set[tuple[str, str]] = set()
        for asked in self.asked:
            granting = policy.granting(asked)
            needed.update(granting)
            if not granting:
                refused.add((asked.action, asked.key))
        return sorted(refused), set(range(len(policy.statements))) - needed


@pytest.fixture
def site(seaweed: DevServer, new_prefix: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """Three checkpoints, and a fourth one that its committer has left."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    with recorded(int(seaweed.endpoint_url.rpartition(":")[2])) as (port, asked):
        yield Site(seaweed, new_prefix(), tmp_path / "checkpoint", port, asked)


class LaterClock(SystemClock):
    """That of a machine on which half an hour has passed."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return super().now() + timedelta(minutes=30)


def test_maintaining_needs_what_the_maintainers_policy_says(site: Site) -> None:
    archive = Archive.open(site.url)
    assert archive.sync().errors == ()
    machine = replace(compose.system_machine(), clock=LaterClock())
    report = compose.maintain_once(machine, archive.connection, budget_seconds=600)
    assert report.errors == ()
    assert "run-a step 4" in report.steps[1].did
    assert archive.query("SELECT count(*) FROM checkpoints").rows == ((4,),)
    for opened in compose.open_tables(archive.connection).values():
        compact(archive.connection.store, machine, opened, many=2)
        # The server tells times to the second: what was replaced within this one counts as old all the same.
        vacuum(archive.connection.store, opened, timedelta(seconds=-2))
    assert "s3:DeleteObject" in {asked.action for asked in site.asked}
    assert site.refused_by("maintainer-policy.json") == ([], set())


def test_asking_needs_what_the_auditors_policy_says(site: Site) -> None:
    assert Archive.open(site.url).sync().errors == ()
    site.asked.clear()
    assert Archive.open(site.url).query("SELECT count(*) FROM checkpoints").rows == ((3,),)
    assert site.refused_by("auditor-policy.json") == ([], set())


def test_an_idle_pass_lists_twice_and_reads_a_little(site: Site) -> None:
    archive = Archive.open(site.url)
    assert archive.maintain().errors == ()
    site.asked.clear()
    assert archive.maintain().errors == ()
    actions = Counter(asked.action for asked in site.asked)
    assert actions["s3:ListBucket"] <= 2
    assert actions["s3:GetObject"] <= 10
    assert set(actions) == {"s3:ListBucket", "s3:GetObject"}
