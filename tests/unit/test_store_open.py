"""From URLs to stores."""

import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.body import Body
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.open import connect, features_of, open_store
from ckpt_archive.store.s3 import S3Store

FS, CLOCK = PosixFileSystem(), SystemClock()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://old_Bucket.name/a", "s3://old_Bucket.name/a"),
    ],
)
def test_s3(url: str, shown: str) -> None:
    store = connect(url, fs=FS, clock=CLOCK)
    assert isinstance(store, S3Store)
    assert store.url == shown
    assert features_of(store) is not None


@pytest.mark.parametrize("slashes", ["//", "//localhost"])
def test_file(tmp_path: Path, slashes: str) -> None:
    store = connect(f"file:{slashes}{tmp_path}/with%20space/", fs=FS, clock=CLOCK)
    assert isinstance(store, FileStore)
    assert store.url == f"file://{tmp_path}/with space"
    assert features_of(store) is None


def test_memory_is_the_same_for_the_same_url_in_one_process() -> None:
    first = open_store("memory://test-open", fs=FS, clock=CLOCK)
    first.create("a", Body.of(b"1"))
    assert open_store("memory://test-open", fs=FS, clock=CLOCK).read("a", limit_bytes=1).data == b"1"
    assert isinstance(connect("memory://test-other", fs=FS, clock=CLOCK), MemoryStore)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "does not begin with"),
        ("/mnt/hdd", "does not begin with"),
        ("gs://bucket", "does not begin with"),
        ("https://bucket.s3.amazonaws.com", "AWS_ENDPOINT_URL"),
        ("s3://", "names no bucket"),
        ("s3:///a", "names no bucket"),
        ("s3://a", "can not be a bucket's name"),
        ("s3://bucket:9000/a", "can not be a bucket's name"),
        ("s3://bucket/a//b", "can not be a prefix"),
        ("s3://bucket/../b", "can not be a prefix"),
        ("s3://bucket/a?versionId=1", "has a '?'"),
        ("file://mnt/hdd", "no host may stand"),
        ("file://", "names no folder"),
        ("file:///", "names no folder"),
        ("file:///mnt/../etc", "the component"),
        ("file:///mnt/%2e%2e/etc", "the component"),
    ],
)
def test_a_url_that_names_no_store(url: str, says: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_store(url, fs=FS, clock=CLOCK)
    assert says in str(caught.value)
    assert repr(url) in caught.value.message


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError, match="AWS_SECRET_ACCESS_KEY") as caught:
        open_store("s3://key:pass-word@bucket", fs=FS, clock=CLOCK)
    assert "pass-word" not in str(caught.value)


def test_no_sdk_is_loaded_before_the_first_request() -> None:
    program = (
        "import sys; from ckpt_archive.store.open import connect, open_store; from ckpt_archive.clock import SystemClock\n"
        "from ckpt_archive.disk.posix import PosixFileSystem\n"
        "open_store('s3://bucket/a', fs=PosixFileSystem(), clock=SystemClock())\n"
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules or 'urllib3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
