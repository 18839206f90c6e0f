"""Removing what has ended on a real server whose lifecycle engine does not run: with versions, locks and orphans."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ckpt_archive.commit import fating, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import read_fate
from ckpt_archive.commit.fating import Told
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.compose import system_machine
from ckpt_archive.digest import sha256_hex
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.execute import MARGIN, find_endings, remove
from ckpt_archive.retention.engineless.mending import mend
from ckpt_archive.retention.engineless.orphans import OrphanKind, find_orphans
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.policy.values import DAY, Policy, RetentionClass
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, Store, list_all
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.testing.archives import connected
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, ManualClock, archive_files
from ckpt_archive.testing.hooked import HookedStore

pytestmark = pytest.mark.server

DAILY = RetentionClass("daily", 2)
POLICY = Policy(classes=(DAILY,), keep_newest=1, sha256="0" * 64)
STEPS = (100, 200, 300, 400)


class LaterStore(HookedStore):
    """A store whose clock is a month ahead of the times of its objects."""

    def list(self, prefix: str, **said: Any) -> Listing:
        page = super().list(prefix, **said)
        return replace(page, store_time=page.store_time + 30 * DAY)


def prepared(store: S3Store) -> Connection:
    """Four checkpoints; the first three have ended a month later."""
    connection = connected(store)
    now = datetime.now(UTC)  # noqa: TID251 (the server's clock is that of this machine)
    record = Launch(ARCHIVE_ID, "run", 0, "launch-1", 1, now, None, explicit=False, falls_back_to=None, late=False)
    store.create(layout.attempt_record("run", 0), Body.of(record.encode()))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for step in STEPS:
        archive_files(store, Place("run", 0, step), {"a": bytes([step % 251]) * 5000})
    for step in STEPS[:3]:
        fating.announce(store, ARCHIVE_ID, Place("run", 0, step), 0, midnight + 5 * DAY, DAILY.tag, told(now))
    later: Store = LaterStore(store)
    return replace(connection, store=later)


def told(now: datetime) -> Told:
    return Told("ada", "node", "a test", now)


def left(store: S3Store) -> list[int]:
    return sorted({int(info.key.split("/")[3]) for info in list_all(store, "data/")})


@pytest.fixture
def machine() -> Machine:
    return system_machine()


@pytest.fixture
def later_machine(machine: Machine) -> Machine:
    """Its clock agrees with that of `LaterStore`: where they differ nothing is removed."""
    return replace(machine, clock=ManualClock(machine.clock.now() + 30 * DAY))


def test_what_has_ended_is_removed(seaweed_store: S3Store, later_machine: Machine) -> None:
    connection = prepared(seaweed_store)
    fating.hold(seaweed_store, ARCHIVE_ID, Place("run", 0, 200), "A-1", 1, told(later_machine.clock.now()))
    endings = tuple(find_endings(later_machine, connection, POLICY, MARGIN))
    assert {ending.place.step: ending.objection for ending in endings} == {100: "", 200: "it is held for A-1", 300: ""}
    done = remove(Voice(later_machine, connection, "ada", POLICY.sha256), POLICY, MARGIN, endings)
    assert (done.checkpoints, done.objects, done.size_bytes) == (2, 2, 10_000)
    assert left(seaweed_store) == [200, 400]
    assert [step for step in STEPS if read_fate(seaweed_store, Place("run", 0, step))[0].has_ended] == [100, 300]


def test_locks_and_versions(seaweed_locked_store: S3Store, later_machine: Machine) -> None:
    connection = prepared(seaweed_locked_store)
    bucket = connection.bucket
    assert bucket is not None
    held, locked, _, _ = (info.key for info in list_all(seaweed_locked_store, "data/"))
    bucket.write_legal_hold(held, on=True)
    bucket.write_retention(locked, "GOVERNANCE", later_machine.clock.now() + timedelta(days=60))
    endings = {
        ending.place.step: ending.objection for ending in find_endings(later_machine, connection, POLICY, MARGIN)
    }
    assert endings[100] == "an object of it is held in the bucket"
    assert endings[200].startswith("an object of it is locked until ")
    voice = Voice(later_machine, connection, "ada", POLICY.sha256)
    remove(voice, POLICY, MARGIN, tuple(find_endings(later_machine, connection, POLICY, MARGIN)))
    assert left(seaweed_locked_store) == [100, 200, 400]
    marks = [item for item in bucket.versions("data/") if item.is_marker]
    assert len(marks) == 1, "in a bucket with versions a mark is made, and the bytes stay until the rule for old ones"
    bucket.write_legal_hold(held, on=False)


def test_orphans(seaweed_store: S3Store, machine: Machine) -> None:
    connection = prepared(seaweed_store)
    orphan = layout.data_object("run", 0, 900, 0, sha256_hex(b"left"))
    seaweed_store.create(orphan, Body.of(b"left"))
    key = layout.data_object("run", 0, 901, 0, "a" * 64)
    upload_id = seaweed_store.start_upload(key)
    seaweed_store.upload_part(key, upload_id, 1, Body.of(b"p" * 1000))
    now = machine.clock.now()
    assert find_orphans(connection, machine, now) == ()
    found = find_orphans(connection, machine, now + 8 * DAY)
    assert [(item.kind, item.key, item.size_bytes) for item in found] == [
        (OrphanKind.DATA, layout.data_folder("run", 0, 900), 4),
        (OrphanKind.UPLOAD, key, 1000),
    ]
    done = mend(Voice(machine, connection, "ada", POLICY.sha256), found, now + 8 * DAY)
    assert (done.objects, done.uploads, done.kept) == (1, 1, [])
    assert left(seaweed_store) == list(STEPS)
    assert seaweed_store.list_uploads("") == ()
