"""What each role of docs/roles.md does, as real processes against a real server, with all that they ask written down."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ckpt_archive.commit import layout
from ckpt_archive.commit.archive_record import open_archive
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.digest import sha256_hex
from ckpt_archive.place import Place
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.checkpoints import INLINE, BytesFile, contribution_of, share_of
from ckpt_archive.testing.recorded_wire import Asked, recorded
from ckpt_archive.transfer.settings import TransferSettings

RUN = "run-a"
HELD = "run-held"
_PART_BYTES = 5 << 20
_BIG = bytes([200]) * (2 * _PART_BYTES + 1000)

_TRAINER = """
import sys
from ckpt_archive import Archive, Every

run = Archive.open().run("run-a", staging=sys.argv[1], promote=Every(1), agent="external", on_error="raise")
assert run.resume(to=sys.argv[2]) is not None
size, *steps = map(int, sys.argv[3:])
for step in steps:
    with run.checkpoint(step=step) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(bytes([step % 251]) * size)
"""

_MENDER = """
from datetime import timedelta
from ckpt_archive import Archive, compose
from ckpt_archive.commit.event import store_time
from ckpt_archive.retention.engineless.mending import mend
from ckpt_archive.retention.engineless.orphans import find_orphans
from ckpt_archive.retention.passes.voice import Voice

connection, machine = Archive.open().connection, compose.system_machine()
# As if all were older than it is.
now, margin = store_time(connection.store), timedelta(minutes=-1)
found = find_orphans(connection, machine, now, margin)
done = mend(Voice(machine, connection, "somebody", ""), found, now, margin)
assert (done.uploads, done.objects) == (1, 1), (found, done)
"""

POLICY = """
version = 1
default = "recent"
keep_newest = 1
{owner}

[classes.recent]
keep_for = "30d"
{lock}

[classes.kept]
keep_for = "60d"
"""


class Work(AbstractContextManager["Work"]):
    """An archive on a server, and what is asked of it by processes that this starts.

    Attributes:
        asked: What was asked since the last role took over.
        roles: By role: what it asked.
        watched: A way to the server on which everything is written down.
    """

    def __init__(self, connection: Connection, bucket: str, prefix: str, folder: Path) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.folder = folder
        self.store = S3Store(bucket, prefix, connection=connection)
        self._connection = connection
        self.roles: dict[str, list[Asked]] = {}
        self.asked: list[Asked] = []
        self._environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": str(connection.access_key),
            "AWS_SECRET_ACCESS_KEY": str(connection.secret_key),
            "AWS_REGION": str(connection.region),
            "CKPT_ARCHIVE_URL": self.store.url,
            "CKPT_ARCHIVE_ACTOR": "somebody",
        }
        assert connection.endpoint_url is not None
        self._host, _, port = connection.endpoint_url.rpartition(":")
        self._recording = recorded(int(port))

    def __enter__(self) -> Self:
        port, self.asked = self._recording.__enter__()
        self.watched = replace(self._connection, endpoint_url=f"{self._host}:{port}")
        self._environment["AWS_ENDPOINT_URL"] = str(self.watched.endpoint_url)
        return self

    def __exit__(self, *error: Any) -> None:
        self._recording.__exit__(*error)
        self.store.close()

    def took(self, role: str) -> None:
        """What was asked up to now was asked by that role; "" for one that is none."""
        if role:
            self.roles.setdefault(role, []).extend(self.asked)
        self.asked.clear()

    def process(self, words: Sequence[str], *, exits: Sequence[int] = (0,)) -> str:
        """Start one, and wait for it: what it printed."""
        ended = subprocess.run(
            [sys.executable, *words],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert ended.returncode in exits, (words, ended.returncode, ended.stderr)
        return ended.stdout

    def run(self, *words: str, exits: Sequence[int] = (0,)) -> str:
        """`ckpt-archive WORDS…`."""
        return self.process(["-m", "ckpt_archive", *words], exits=exits)

    def files(self, name: str, **files: bytes) -> str:
        """A folder with these files."""
        folder = self.folder / name
        folder.mkdir()
        for file, data in files.items():
            (folder / f"{file}.bin").write_bytes(data)
        return str(folder)

    def policy(self, *, lock: bool = False, owner: str = "ckpt-archive") -> str:
        """A policy file."""
        text = POLICY.format(
            owner=f'lifecycle_owner = "{owner}"', lock='lock = { mode = "GOVERNANCE", for = "1d" }' if lock else ""
        )
        path = self.folder / "retention.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)


def archive_id(work: Work) -> str:
    """Of the archive."""
    return open_archive(work.store).archive_id


def leave_uncommitted(store: Store, archive_id: str, place: Place) -> None:
    """A writer has contributed all there is, and its node dies before the commit."""
    contribute(
        store,
        INLINE,
        place=place,
        rank=0,
        archive_id=archive_id,
        contribution=contribution_of(),
        share=share_of({"model.bin": b"weights"}),
        open_file=lambda path: BytesFile(b"weights"),
        still_same=lambda: None,
        settings=TransferSettings(),
        checksums_enforced=True,
    )


def push_and_train(work: Work) -> None:
    """A job: push, resume, train, go on with an upload that was broken off."""
    folder = work.files("pushed", model=b"m" * 100_000, small=b"s")
    work.run("push", folder, "--run", RUN, "--step", "100")
    work.run("push", folder, "--run", RUN, "--step", "100")
    work.run("push", folder, "--run", HELD, "--step", "100")
    ssd = str(work.folder / "ssd")
    work.process(["-c", _TRAINER, ssd, str(work.folder / "resumed"), str(len(_BIG)), "200", "300"])
    # Somebody has begun to send it, and died.
    key = layout.data_object(RUN, 1, 200, 0, sha256_hex(_BIG))
    upload = work.store.start_upload(key)
    work.store.upload_part(key, upload, 1, Body.of(_BIG[:_PART_BYTES]))
    work.run("drain", "--staging", ssd, "--maintain", "external", "--part-size", "5MiB")
    work.took("job")


def push_more(work: Work) -> None:
    """A job, now that a policy is in force: more checkpoints, so that others are not the newest any more."""
    ssd = str(work.folder / "ssd")
    work.process(["-c", _TRAINER, ssd, str(work.folder / "resumed"), "1000", "350"])
    work.run("drain", "--staging", ssd, "--maintain", "external")
    more = work.files("more", model=b"n" * 100_000)
    work.run("push", more, "--run", RUN, "--step", "400")
    work.run("push", more, "--run", HELD, "--step", "400")
    work.took("job")


def maintain(work: Work) -> None:
    """A maintainer: seal, index, carry out the policy in force."""
    work.run("maintain")
    work.run("index", "compact")
    work.run("index", "vacuum")
    work.took("maintainer")


def audit(work: Work) -> None:
    """An auditor: ask the index, look at records, compare index and archive."""
    work.run("query", "SELECT run, step FROM checkpoints")
    work.run("ls")
    work.run("ls", RUN)
    work.run("show", RUN, "400")
    work.run("index", "check")
    work.took("auditor")


def restore(work: Work) -> None:
    """A restorer: fetch a checkpoint and the newest one, check sizes, check every byte."""
    work.run("ls", RUN)
    work.run("restore", RUN, "100", "--to", str(work.folder / "whole"))
    work.run("restore", RUN, "--to", str(work.folder / "newest"))
    work.run("verify", RUN)
    work.run("verify", RUN, "100", "--deep")
    work.took("restorer")


def thaw(work: Work) -> None:
    """A restorer: ask for what is cold; needs a store that knows storage classes."""
    work.run("push", work.files("frozen", model=b"f" * 1000), "--run", RUN, "--step", "500")
    key = next(item.key for item in work.store.list("data/").objects)
    full = work.store.full_key(key)
    work.store.client.copy_object(
        Bucket=work.bucket, Key=full, CopySource={"Bucket": work.bucket, "Key": full}, StorageClass="GLACIER"
    )
    work.took("")
    work.run("thaw", RUN, "500", "--yes")
    work.took("restorer")


def apply(work: Work) -> None:
    """A lifecycle admin: put a policy in force, compare, hold a run."""
    policy = work.policy(lock=True)
    work.run("retention", "plan", "--policy", policy)
    work.run("retention", "apply", "--policy", policy, "--yes")
    work.run("retention", "drift", "--policy", policy, exits=(0, 1))
    work.run("retention", "plan", "--policy", policy, "--format", "terraform")
    work.run("retention", "hold", HELD, "--case", "A-0", "--reason", "claim")
    work.took("lifecycle_admin")


def decide(work: Work) -> None:
    """A lifecycle admin: hold and release, give another class, drop and take that back."""
    work.run("retention", "hold", RUN, "100", "--case", "A-1", "--reason", "claim")
    work.run("retention", "hold", RUN, "--case", "A-2", "--reason", "claim")
    work.run("retention", "release", RUN, "--case", "A-2", "--reason", "settled")
    work.run("retention", "release", RUN, "100", "--case", "A-1", "--reason", "settled")
    work.run("retention", "assign", RUN, "200", "kept", "--reason", "for the report")
    work.run("drop", RUN, "--steps", "200", "--reason", "failed", "--yes")
    work.run("undrop", RUN, "--steps", "200", "--reason", "not failed")
    work.run("retention", "apply", "--policy", work.policy(lock=True), "--yes")
    work.run("usage")
    work.took("lifecycle_admin")


def erase(work: Work) -> None:
    """An eraser: mend what was begun and never ended; delete every version of a checkpoint's data, locked or not."""
    work.store.start_upload(layout.data_object("run-lost", 0, 1, 0, "0" * 64))
    work.store.create(layout.data_object("run-lost", 0, 1, 0, "1" * 64), Body.of(b"lost"))
    leave_uncommitted(work.store, archive_id(work), Place("run-lost", 0, 2))
    work.took("")
    work.run("retention", "run", "--orphans")
    work.process(["-c", _MENDER])
    folder = work.store.full_key(layout.data_folder(RUN, 0, 100))
    client = S3Store(work.bucket, connection=work.watched).client
    versions = client.list_object_versions(Bucket=work.bucket, Prefix=folder)
    for version in versions["Versions"]:
        client.delete_object(
            Bucket=work.bucket,
            Key=version["Key"],
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
    work.took("eraser")
