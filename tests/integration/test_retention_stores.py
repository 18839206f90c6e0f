"""Plan, apply, plan again and drift on real servers, with checkpoints that `push` made, as a script does it.

SeaweedFS refuses transitions, moto forgets conditions on sizes: both is told, and neither is drift.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.cli import main
from ckpt_archive.commit.fate import Fate, read_fates
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.place import Place
from ckpt_archive.retention.policy.values import TAG_KEY
from ckpt_archive.store.bucket import Bucket, RawRule
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.s3_connection import Connection

pytestmark = pytest.mark.server

MOTO_BUCKET = "moto-archive"

POLICY = """
default = "recent"
keep_newest = 2

[classes.recent]
keep_for = "5d"

[classes.daily]
every = 2
keep_for = "800d"
transitions = [{ after = "30d", to = "GLACIER_IR" }]

[classes.milestone]
milestone = "v*"
keep_for = "forever"
"""

FOREIGN: RawRule = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "elsewhere/"},
    "Expiration": {"Days": 30},
}


class Site:
    """An archive on a server, and the verbs."""

    def __init__(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.folder = folder
        self._capsys = capsys
        self.archive = Archive.create(url)
        self.policy = folder / "retention.toml"
        self.write(POLICY)

    def write(self, text: str) -> None:
        """Edit the policy."""
        self.policy.write_text(text, encoding="utf-8")

    def push(self, steps: int) -> list[Place]:
        """Archive checkpoints."""
        checkpoint = self.folder / "checkpoint"
        checkpoint.mkdir(exist_ok=True)
        for step in range(1, steps + 1):
            (checkpoint / "model.bin").write_bytes(b"weights %d" % step * 1000)
            self.archive.push(checkpoint, "run-a", step)
        return [Place("run-a", 0, step) for step in range(1, steps + 1)]

    def say(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """A verb of retention with ``--json``."""
        self._capsys.readouterr()
        assert main.run(["retention", *arguments, "--policy", str(self.policy), "--json"]) == code, (
            self._capsys.readouterr()
        )
        seen = self._capsys.readouterr()
        rows: list[dict[str, Any]] = [json.loads(seen.err)["error"]] if code > 1 else json.loads(seen.out)
        return rows

    @property
    def bucket(self) -> Bucket:
        """Its bucket."""
        assert self.archive.connection.bucket is not None
        return self.archive.connection.bucket

    def tags(self, place: Place) -> set[str]:
        """The tags of a checkpoint's objects."""
        infos = list_all(self.archive.connection.store, f"data/run-a/{place.attempt:08d}/{place.step:012d}/")
        assert infos
        return {self.bucket.read_tags(info.key).get(TAG_KEY, "") for info in infos}

    def fate(self, place: Place) -> Fate:
        """What was said about a checkpoint."""
        return read_fates(self.archive.connection.store, place.run).fate(place)

    def our_rules(self) -> Mapping[str, RawRule]:
        """The rules of this archive, by name."""
        found = {str(raw.get("ID")): raw for raw in self.bucket.read_rules()}
        head = f"ckpt-archive:{self.bucket.prefix}:"
        return {name.removeprefix(head): raw for name, raw in found.items() if name.startswith(head)}


@pytest.fixture(params=["seaweed", "moto"])
def site(
    request: pytest.FixtureRequest,
    new_prefix: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Site]:
    if request.param == "seaweed":
        server: DevServer = request.getfixturevalue("seaweed")
        environment, bucket = server.environment(), server.bucket
    else:
        connection: Connection = request.getfixturevalue("moto_connection")
        environment = {
            "AWS_ENDPOINT_URL": connection.endpoint_url or "",
            "AWS_ACCESS_KEY_ID": "moto",
            "AWS_SECRET_ACCESS_KEY": "moto",
            "AWS_DEFAULT_REGION": REGION,
        }
        bucket = MOTO_BUCKET
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{bucket}/{new_prefix()}"
    monkeypatch.setenv("CKPT_ARCHIVE_URL", url)
    made = Site(url, tmp_path, capsys)
    yield made
    # The bucket is shared: no rule of one test may stay for the next.
    made.bucket.write_rules([])


def test_plan_apply_plan_drift(site: Site) -> None:
    places = site.push(5)
    site.bucket.write_rules([FOREIGN])
    (head, *rows) = site.say("plan")
    assert (head["action"], head["empty"], head["changes"]) == ("plan", False, 6)
    assert {row["rule"] for row in rows if row["action"] == "foreign-rule"} == {"theirs"}
    assert [row["step"] for row in rows if row["action"] == "announce"] == [3, 2, 1]

    (applied,) = site.say("apply", "--plan", head["id"], "--yes")
    assert applied["done"] == {"announce": 3, "tag": 3}
    assert (applied["rules_written"], applied["moved"], applied["problems"]) == (True, [], [])
    assert [site.tags(place) for place in places] == [{"recent.5d"}] * 3 + [{""}] * 2

    (head,) = [row for row in site.say("plan") if row["action"] == "plan"]
    assert (head["empty"], head["in_force"], head["changes"]) == (True, True, 0)
    assert site.say("drift") == []
    assert site.say("drift", "--tags") == []
    assert FOREIGN in [dict(raw) for raw in site.bucket.read_rules()]
    assert "class:daily.800d.GLACIER_IR-30d" in site.our_rules()

    (again,) = site.say("apply", "--yes")
    assert (again["done"], again["number"]) == ({}, 1)


def test_what_a_server_can_not_do_is_told(site: Site, request: pytest.FixtureRequest) -> None:
    site.push(3)
    (applied,) = site.say("apply", "--yes")
    rule = site.our_rules()["class:daily.800d.GLACIER_IR-30d"]
    if "seaweed" in request.node.name:
        assert applied["limits"] == ["transitions"]
        assert not rule.get("Transitions")
    else:
        assert applied["limits"] == []
        assert rule["Transitions"] == [{"Days": 30, "StorageClass": "GLACIER_IR"}]
    assert site.say("plan")[0]["empty"]
    assert site.say("drift") == []


def test_an_edited_policy(site: Site) -> None:
    places = site.push(4)
    site.say("apply", "--yes")
    site.write(POLICY.replace('"5d"', '"9d"'))
    assert [row["what"] for row in site.say("drift", code=1)] == [
        *("policy", "checkpoint", "checkpoint", "rule missing", "rule extra")
    ]
    rows = [
        row for row in site.say("plan") if row["action"] in ("take-back", "announce", "tag", "add-rule", "remove-rule")
    ]
    assert [row["action"] for row in rows] == [
        *("add-rule", "remove-rule"),
        *("take-back", "announce", "tag"),
        *("take-back", "announce", "tag"),
    ]
    site.say("apply", "--yes")
    assert site.tags(places[0]) == {"recent.9d"}
    assert "class:recent.9d" in site.our_rules()
    assert "class:recent.5d" not in site.our_rules()
    assert site.say("plan")[0]["empty"]
    assert site.say("drift", "--tags") == []


def test_a_hold_takes_back_and_drift_finds_what_others_did(site: Site) -> None:
    places = site.push(4)
    site.say("apply", "--yes")
    assert main.run(["-q", "retention", "hold", "run-a", "1", "--case", "A", "--reason", "why"]) == 0
    assert site.tags(places[0]) == {""}
    assert site.say("plan")[0]["empty"]
    (key,) = (info.key for info in list_all(site.archive.connection.store, "data/run-a/00000000/000000000002/"))
    site.bucket.write_tags(key, {})
    rules = [raw for raw in site.bucket.read_rules() if not str(raw["ID"]).endswith(":markers")]
    site.bucket.write_rules(rules)
    found = site.say("drift", "--tags", code=1)
    assert [row["what"] for row in found] == ["tag", "rule missing"]
    site.say("apply", "--yes")
    assert "markers" in site.our_rules()


def test_a_plan_of_something_else_is_refused(site: Site) -> None:
    site.push(3)
    head = site.say("plan")[0]
    site.bucket.write_rules([FOREIGN])
    (error,) = site.say("apply", "--plan", head["id"], "--yes", code=5)
    assert "is not the one that would be made now" in error["message"]
    assert not site.our_rules()


def test_with_terraform_the_variables_are_written_and_no_rule(site: Site, tmp_path: Path) -> None:
    places = site.push(3)
    site.write(f'lifecycle_owner = "terraform"\n{POLICY}')
    out = tmp_path / "rules.auto.tfvars.json"
    site.say("plan", "--format", "terraform", "--out", str(out))
    written = json.loads(out.read_text(encoding="utf-8"))
    assert (written["prefix"], written["lifecycle_owner"]) == (site.bucket.prefix, "terraform")
    site.say("apply", "--yes")
    assert not site.our_rules()
    assert site.tags(places[0]) == {"recent.5d"}
    assert {row["what"] for row in site.say("drift", code=1)} == {"rule missing"}


def test_variables_of_a_bucket_that_is_still_to_be_made(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "rules.auto.tfvars.json"
    site.say("plan", "--archive", f"{site.url}-not-there/below", "--format", "terraform", "--out", str(out))
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["prefix"] == f"{site.bucket.prefix.rstrip('/')}-not-there/below/"


def test_maintenance_goes_on_with_it(site: Site) -> None:
    site.push(3)
    site.say("apply", "--yes")
    places = site.push(6)
    report = site.archive.maintain()
    step = next(step for step in report.steps if step.step == "retention")
    assert (step.did, step.problem) == ("3 checkpoints announced, 3 checkpoints tagged", "")
    assert site.tags(places[3]) == {"recent.5d"}
    again = next(step for step in site.archive.maintain().steps if step.step == "retention")
    assert (again.did, again.left) == ("", "")
