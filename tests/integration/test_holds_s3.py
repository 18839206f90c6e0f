"""Holds on a real server with Object Lock: whoever may write can not delete for good what is held."""

from typing import Any

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import read_fate
from ckpt_archive.commit.fating import Told, read_statement
from ckpt_archive.errors import DeniedError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.by_hand.holding import hold, release
from ckpt_archive.retention.policy.values import DAY, TAG_KEY, midnight_after
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.open import bucket_of
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.testing.archives import connected
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, archive_files
from ckpt_archive.testing.staged import local_machine
from ckpt_archive.transfer.settings import TransferSettings

pytestmark = pytest.mark.server

SETTINGS = TransferSettings()
HELD, OTHER = Place("run", 0, 100), Place("run", 0, 200)
FILES = {"model.bin": b"weights!" * 4000, "config.json": b"{}"}


class Site:
    """A run of two checkpoints; the older one is to end in ten days, and is tagged."""

    def __init__(self, store: S3Store) -> None:
        self.store = store
        self.machine: Machine = local_machine()
        self.connection: Connection = connected(store, settings=SETTINGS)
        bucket = bucket_of(store)
        assert bucket is not None
        self.bucket: Bucket = bucket
        for place in (HELD, OTHER):
            archive_files(store, place, FILES, {"rank-1.bin": b"more" * 100}, settings=SETTINGS)
        now = self.machine.clock.now()
        self.told = Told("policy", "node", "no other class chooses it", now)
        self.day = midnight_after(now + 10 * DAY)
        fating.announce(store, ARCHIVE_ID, HELD, 0, self.day, "hourly.10d", self.told)
        for key in self.keys(HELD):
            self.bucket.write_tags(key, {TAG_KEY: "hourly.10d", "owner": "ann"})
        fating.tagged(store, ARCHIVE_ID, HELD, 0, "hourly.10d", self.told)

    def keys(self, place: Place) -> list[str]:
        folder = layout.data_folder(place.run, place.attempt, place.step)
        return sorted(info.key for info in list_all(self.store, folder))

    def delete_version(self, key: str, **more: Any) -> bool:
        """Whether somebody who may write can delete the current version of an object for good."""
        (version,) = [item for item in self.bucket.versions(key) if item.is_latest and not item.is_marker]
        try:
            with self.store.asking("delete", key) as (client, _):
                client.delete_object(
                    Bucket=self.store.bucket, Key=self.store.full_key(key), VersionId=version.version_id, **more
                )
        except DeniedError:
            return False
        return True


@pytest.fixture
def site(seaweed_locked_store: S3Store) -> Site:
    return Site(seaweed_locked_store)


def test_what_is_held_is_locked_untagged_and_taken_back(site: Site) -> None:
    report = hold(site.machine, site.connection, "run", HELD, "ABC.1", "claim of Smith", "ann")
    keys = site.keys(HELD)
    assert (report.objects, report.is_native, report.taken_back, report.gone) == (len(keys), True, (HELD,), ())
    for key in keys:
        assert site.bucket.read_lock(key).legal_hold
        assert site.bucket.read_tags(key) == {"owner": "ann"}
        assert not site.delete_version(key)
        assert not site.delete_version(key, BypassGovernanceRetention=True)
    assert not any(site.bucket.read_lock(key).legal_hold for key in site.keys(OTHER))
    found, _ = read_fate(site.store, HELD)
    assert (found.ends_at, found.cases, found.clearing) == (None, ("ABC.1",), None)
    said = read_statement(site.store, HELD, "case-ABC.1-0001-held").told.details["versions"]
    assert sorted(said) == keys
    assert all(isinstance(version, str) and version != "null" for version in said.values())


def test_what_is_released_can_be_deleted_and_what_another_case_holds_can_not(site: Site) -> None:
    for case in ("A", "B"):
        hold(site.machine, site.connection, "run", HELD, case, "claim", "ann")
    assert release(site.machine, site.connection, "run", HELD, "A", "settled", "ann").others == ("B",)
    key = site.keys(HELD)[0]
    assert not site.delete_version(key)
    assert release(site.machine, site.connection, "run", HELD, "B", "settled", "ann").objects == len(site.keys(HELD))
    assert site.delete_version(key)


def test_a_run_is_held_with_all_that_it_has(site: Site) -> None:
    report = hold(site.machine, site.connection, "run", None, "ALL", "claim", "ann")
    keys = [*site.keys(HELD), *site.keys(OTHER)]
    assert (report.checkpoints, report.objects) == (2, len(keys))
    assert not any(site.delete_version(key) for key in keys)
    release(site.machine, site.connection, "run", None, "ALL", "settled", "ann")
    assert not any(site.bucket.read_lock(key).legal_hold for key in keys)


def test_a_marker_of_deletion_over_what_is_held_is_said_to(site: Site) -> None:
    """A plain delete hides the object although it is held; the version stays, and holding says what is not there."""
    hold(site.machine, site.connection, "run", HELD, "ABC.1", "claim", "ann")
    key = site.keys(HELD)[0]
    site.store.delete(key)
    report = hold(site.machine, site.connection, "run", HELD, "ABC.1", "claim", "ann")
    (gone,) = report.gone
    assert (gone.missing, gone.objects) == (1, len(site.keys(HELD)) + 1)
    versions = {item.version_id for item in site.bucket.versions(key) if not item.is_marker}
    hints = read_statement(site.store, HELD, "case-ABC.1-0001-held").told.details["versions"]
    assert versions == {hints[key]}
