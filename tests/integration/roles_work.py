"""What each role of docs/roles.md does, as real processes against a real server, with all that they ask written down."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from ckpt_archive.commit import layout
from ckpt_archive.digest import sha256_hex
from ckpt_archive.store.body import Body
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.recorded_wire import recorded

RUN = "run-a"
PART_BYTES = 5 << 20
BIG = b"w" * (2 * PART_BYTES + 1000)

TRAINER = """
import sys
from ckpt_archive import Archive, Every

run = Archive.open().run("run-a", staging=sys.argv[1], promote=Every(1), agent="external", on_error="raise")
restored = run.resume(to=sys.argv[2])
assert restored.step == 100
for step, weight in ((200, b"w"), (300, b"v")):
    with run.checkpoint(step=step) as checkpoint:
        (checkpoint.path / "model.bin").write_bytes(weight * int(sys.argv[3]))
"""


class Work(AbstractContextManager["Work"]):
    """An archive on a server, and what is asked of it by processes that this starts.

    Attributes:
        asked: All of it, in order.
    """

    def __init__(self, connection: Connection, bucket: str, prefix: str, folder: Path) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.folder = folder
        self.url = f"s3://{bucket}/{prefix}"
        self.store = S3Store(bucket, prefix, connection=connection)
        self._connection = connection
        assert connection.endpoint_url is not None
        self._recording = recorded(int(connection.endpoint_url.rpartition(":")[2]))

    def __enter__(self) -> Self:
        port, self.asked = self._recording.__enter__()
        connection = self._connection
        assert connection.endpoint_url is not None
        self._environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"{connection.endpoint_url.rpartition(':')[0]}:{port}",
            "AWS_ACCESS_KEY_ID": str(connection.access_key),
            "AWS_SECRET_ACCESS_KEY": str(connection.secret_key),
            "AWS_REGION": str(connection.region),
            "CKPT_ARCHIVE_URL": self.url,
            "CKPT_ARCHIVE_ACTOR": "somebody",
        }
        return self

    def __exit__(self, *error: Any) -> None:
        self._recording.__exit__(*error)
        self.store.close()

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


def job(work: Work) -> None:
    """Push, resume, train, and go on with an upload that was broken off."""
    folder = work.files("pushed", model=b"m" * 100_000, small=b"s")
    work.run("push", folder, "--run", RUN, "--step", "100")
    work.run("push", folder, "--run", RUN, "--step", "100")
    ssd = str(work.folder / "ssd")
    work.process(["-c", TRAINER, ssd, str(work.folder / "resumed"), str(len(BIG))])
    # Somebody has begun to send it, and died.
    key = layout.data_object(RUN, 1, 200, 0, sha256_hex(BIG))
    upload = work.store.start_upload(key)
    work.store.upload_part(key, upload, 1, Body.of(BIG[:PART_BYTES]))
    work.run("drain", "--staging", ssd, "--maintain", "external", "--part-size", "5MiB")


def auditor(work: Work) -> None:
    """Ask the index, look at records, verify them."""
    work.run("query", "SELECT run, step FROM checkpoints")
    work.run("ls")
    work.run("ls", RUN)
    work.run("show", RUN, "200")
    work.run("verify", RUN)
    work.run("index", "check")


def restorer(work: Work) -> None:
    """Fetch a checkpoint, and one that is in an object with others."""
    work.run("ls", RUN)
    work.run("restore", RUN, "100", "--to", str(work.folder / "whole"))
    work.run("restore", RUN, "--to", str(work.folder / "newest"))
    work.run("verify", RUN, "100", "--deep")
