"""A bucket whose rules the Terraform module makes has those that `retention apply` writes, and the other way round."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ckpt_archive.retention.policy.file import PRESETS, preset
from ckpt_archive.retention.rules.raw_rules import canonical
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from tests.integration.roles_work import Work
from tests.terraform.lifecycle import configuration, taken

pytestmark = pytest.mark.server


def policy_file(folder: Path, name: str, owner: str) -> str:
    path = folder / f"{owner}.toml"
    text = preset(name).text.replace("version = 1", f'version = 1\nlifecycle_owner = "{owner}"')
    path.write_text(text, encoding="utf-8")
    return str(path)


def new_bucket(connection: Connection) -> str:
    name = f"rules-{os.urandom(4).hex()}"
    store = S3Store(name, connection=connection)
    store.client.create_bucket(Bucket=name)
    store.close()
    return name


def of_module(work: Work, policy: str) -> list[dict[str, Any]]:
    """The rules that the module makes of what `retention plan --format terraform` prints."""
    printed = json.loads(work.run("retention", "plan", "--policy", policy, "--format", "terraform", "--out", "-"))
    return configuration(taken(printed["lifecycle_rules"]))


def of_bucket(work: Work) -> list[Any]:
    rules = work.store.client.get_bucket_lifecycle_configuration(Bucket=work.bucket)["Rules"]
    return sorted((canonical(dict(rule)) for rule in rules), key=lambda rule: str(rule["ID"]))


@pytest.mark.parametrize("name", PRESETS)
def test_on_moto(moto_connection: Connection, tmp_path: Path, name: str) -> None:
    """Which knows transitions."""
    compare(moto_connection, tmp_path, name)


def test_on_seaweedfs(seaweed_connection: Connection, tmp_path: Path) -> None:
    """Which refuses transitions; the default policy has none."""
    compare(seaweed_connection, tmp_path, "default")


def compare(connection: Connection, folder: Path, name: str) -> None:
    with Work(connection, new_bucket(connection), "team", folder) as work:
        ours = policy_file(folder, name, "ckpt-archive")
        work.run("init")
        work.run("retention", "apply", "--policy", ours, "--yes")
        made = of_module(work, policy_file(folder, name, "terraform"))
        assert [canonical(rule) for rule in made] == of_bucket(work)
    with Work(connection, new_bucket(connection), "team", folder) as work:
        theirs = policy_file(folder, name, "terraform")
        work.run("init")
        work.run("retention", "apply", "--policy", theirs, "--yes")
        # Terraform has not run yet, and `apply` has left the rules alone.
        assert work.run("retention", "drift", "--policy", theirs, exits=(1,))
        rules: Any = of_module(work, theirs)
        work.store.client.put_bucket_lifecycle_configuration(
            Bucket=work.bucket, LifecycleConfiguration={"Rules": rules}
        )
        work.run("retention", "drift", "--policy", theirs)
