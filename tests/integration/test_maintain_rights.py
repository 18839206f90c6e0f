"""What maintaining and asking need of an S3 server, recorded, against what `deploy/aws/*.json` grants."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.marks import mark
from ckpt_archive.devserver import DevServer
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.vacuum import vacuum
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import hold
from ckpt_archive.retention.passes.apply import apply
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.planning import make_plan
from ckpt_archive.retention.policy.file import load
from ckpt_archive.testing.checkpoints import INLINE, BytesFile, contribution_of, share_of
from ckpt_archive.testing.iam import Decision, Request, decide
from ckpt_archive.testing.recorded_wire import Asked, recorded
from ckpt_archive.transfer.settings import TransferSettings

pytestmark = pytest.mark.server

LOCKED_BUCKET = "locked-archive"

FOR_RETENTION = {
    "SeeWhetherTheBucketLocks",
    "ReadThePolicyInForce",
    "SayWhatEnds",
    "ForgetTheMarksOfPastDays",
    "TagAndLockAsThePolicySays",
    "HoldWithoutReleasing",
}
"""The statements of the maintainer's policy that are needed once a retention policy is in force."""

RETENTION = """
default = "recent"
keep_newest = 2
[classes.recent]
keep_for = "5d"
lock = { mode = "GOVERNANCE", for = "1d" }
"""

DEPLOY = Path(__file__).parents[2] / "deploy" / "aws"


def decisions(name: str, bucket: str, prefix: str, asked: Iterable[Asked]) -> Iterator[tuple[Asked, Decision]]:
    """What one of the files, with its placeholders replaced, says to each request."""
    policy = policy_in(name, bucket, prefix)
    for item in asked:
        resource = f"arn:aws:s3:::{bucket}" if item.of_bucket else f"arn:aws:s3:::{bucket}/{item.key}"
        context = {**item.context, **({"s3:prefix": item.key} if item.action == "s3:ListBucket" else {})}
        yield item, decide(Request(item.action, resource, context=context), identity=[policy])


def policy_in(name: str, bucket: str, prefix: str) -> dict[str, Any]:
    """One of the files, with its placeholders replaced."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    text = text.replace(":::bucket", f":::{bucket}").replace("prefix/", f"{prefix}/")
    document: dict[str, Any] = json.loads(text)
    return document


def allowing(name: str) -> set[str]:
    """The statements of one of the files that allow something."""
    return {item["Sid"] for item in policy_in(name, "bucket", "prefix")["Statement"] if item["Effect"] == "Allow"}


class Site:
    """An archive on the server, and what is asked of it over the wire."""

    def __init__(
        self, seaweed: DevServer, prefix: str, folder: Path, port: int, asked: list[Asked], bucket: str = ""
    ) -> None:
        self._bucket = bucket or seaweed.bucket
        self.prefix = prefix
        self.asked = asked
        self.url = f"s3://{self._bucket}/{prefix}"
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

    def refused_by(self, name: str) -> tuple[list[tuple[str, str]], set[str]]:
        """What a policy does not allow of what was asked, and the statements that were needed."""
        found = list(decisions(name, self._bucket, self.prefix, self.asked))
        refused = {(asked.action, asked.key) for asked, decision in found if not decision.allowed}
        return sorted(refused), {sid for _, decision in found if decision.allowed for sid in decision.by}


@pytest.fixture
def site(seaweed: DevServer, new_prefix: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """Three checkpoints, and a fourth one that its committer has left."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    with recorded(int(seaweed.endpoint_url.rpartition(":")[2])) as (port, asked):
        yield Site(seaweed, new_prefix(), tmp_path / "checkpoint", port, asked)


@pytest.fixture
def locked_site(
    seaweed: DevServer, locked_on_seaweed: object, new_prefix: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Site]:
    """Likewise, in a bucket with Object Lock."""
    del locked_on_seaweed
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    with recorded(int(seaweed.endpoint_url.rpartition(":")[2])) as (port, asked):
        yield Site(seaweed, new_prefix(), tmp_path / "checkpoint", port, asked, LOCKED_BUCKET)


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
    refused, needed = site.refused_by("maintainer-policy.json")
    assert (refused, allowing("maintainer-policy.json") - needed) == ([], FOR_RETENTION)


def test_carrying_out_a_policy_needs_what_the_maintainers_policy_says(locked_site: Site, tmp_path: Path) -> None:
    site, archive, machine = locked_site, Archive.open(locked_site.url), compose.system_machine()
    chosen = load(RETENTION, "retention.toml")
    voice = Voice(machine, archive.connection, "owner", chosen.sha256)
    outcome = apply(voice, make_plan(machine, archive.connection, chosen))
    assert outcome.is_complete
    push(archive, tmp_path, "run-b", 1)
    hold(machine, archive.connection, "run-b", None, "A", "why", "owner")
    push(archive, tmp_path, "run-b", 2)
    for step in range(5, 9):
        push(archive, tmp_path, "run-a", step)
    told = Told("", "", "somebody wants it back", machine.clock.now())
    place = Place("run-a", 0, 1)
    fating.revoke(archive.connection.store, archive.id, place, 0, told)
    mark(archive.connection.store, layout.retention_day(date(2020, 1, 1), 1))
    site.asked.clear()
    (report,) = [item for item in Archive.open(site.url).maintain().steps if item.step == "retention"]
    assert report.error is None, report.problem
    for word in ("held in the bucket", "locked", "cleared", "announced", "tagged"):
        assert word in report.did
    refused, needed = site.refused_by("maintainer-policy.json")
    assert (refused, FOR_RETENTION - needed) == ([], set())


def push(archive: Archive, folder: Path, run: str, step: int) -> Place:
    """Archive a checkpoint."""
    checkpoint = folder / "another"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "model.bin").write_bytes(b"%d" % step)
    archive.push(checkpoint, run, step)
    return Place(run, 0, step)


def test_nobody_who_maintains_holds_or_classes() -> None:
    """Nor does he delete data, or change rules."""
    for asked in (
        Asked("s3:PutObject", "prefix/runs/run-a/retention/run/case-A-0001-released.json"),
        Asked("s3:PutObject", "prefix/runs/run-a/retention/99999999/999999999999/class-0001-trash.json"),
        Asked("s3:DeleteObject", "prefix/data/run-a/00000000/000000000001/000000/x"),
        Asked("s3:PutLifecycleConfiguration", "", of_bucket=True),
        Asked("s3:PutObjectLegalHold", "prefix/data/x", context={"s3:object-lock-legal-hold": "OFF"}),
        Asked("s3:BypassGovernanceRetention", "prefix/data/x"),
    ):
        ((_, decision),) = decisions("maintainer-policy.json", "bucket", "prefix", [asked])
        assert not decision.allowed, asked


def test_asking_needs_what_the_auditors_policy_says(site: Site) -> None:
    assert Archive.open(site.url).sync().errors == ()
    site.asked.clear()
    assert Archive.open(site.url).query("SELECT count(*) FROM checkpoints").rows == ((3,),)
    assert site.refused_by("auditor-policy.json") == ([], allowing("auditor-policy.json"))


def test_an_idle_pass_lists_three_times_and_reads_a_little(site: Site) -> None:
    archive = Archive.open(site.url)
    assert archive.maintain().errors == ()
    site.asked.clear()
    assert archive.maintain().errors == ()
    actions = Counter(asked.action for asked in site.asked)
    assert actions["s3:ListBucket"] <= 3
    assert actions["s3:GetObject"] <= 10
    assert set(actions) == {"s3:ListBucket", "s3:GetObject"}
