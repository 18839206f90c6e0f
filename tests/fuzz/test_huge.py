"""Input as large as it can be: read within a second or so, or refused before it is read."""

import json
import os
import time
from pathlib import Path

import pytest

from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.disk import durable
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import IntegrityError
from ckpt_archive.store.file import FileStore
from ckpt_archive.strictjson import MAX_RECORD_BYTES
from ckpt_archive.testing.fuzz import guard
from ckpt_archive.testing.fuzz.records import manifest

CPU_SECONDS = 3.0  # for 30 MB of text, on a machine that others use too


@pytest.mark.parametrize("member", ["run", "launch_key", "staged_at", "class", "metrics"])
def test_a_text_of_thirty_megabytes_is_not_looked_at_for_long(member: str) -> None:
    members = json.loads(manifest().encode())
    members[member] = "Ab " * 10_000_000
    data = json.dumps(members).encode()
    began = time.process_time()
    with pytest.raises(IntegrityError) as error:
        Manifest.decode(data, "the manifest")
    assert time.process_time() - began < CPU_SECONDS
    assert len(str(error.value)) < 10_000


def test_a_hundred_megabytes_are_refused_unread() -> None:
    data = b'{"a":"' + b"x" * (100 << 20) + b'"}'

    def decode() -> None:
        with pytest.raises(IntegrityError, match="more than"):
            Manifest.decode(data, "the manifest")

    guard.peak_bytes(decode, 1 << 20)


def test_a_record_longer_than_any_is_not_read_from_a_store(tmp_path: Path) -> None:
    store = FileStore(PosixFileSystem(), str(tmp_path))
    store.prepare()
    os.truncate(_file(tmp_path / "archive.json"), MAX_RECORD_BYTES + 1)

    def read() -> None:
        with pytest.raises(IntegrityError, match="more than"):
            read_record(store, "archive.json")

    guard.peak_bytes(read, 1 << 20)


def test_a_record_longer_than_any_is_not_read_from_a_disk(tmp_path: Path) -> None:
    path = _file(tmp_path / "seal.json")
    os.truncate(path, MAX_RECORD_BYTES + 1)

    def read() -> None:
        with pytest.raises(IntegrityError, match="more than"):
            durable.read_small(PosixFileSystem(), str(path))

    guard.peak_bytes(read, 1 << 20)


def _file(path: Path) -> Path:
    path.touch()
    return path
