"""What the S3 store does with real servers beyond what every store does."""

import logging
import os
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.devserver import DevServer
from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    CkptArchiveError,
    ColdError,
    ConflictError,
    DeniedError,
    NotFoundError,
)
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection

MIB = 1 << 20


@pytest.fixture(params=["seaweed", "moto"])
def store(request: pytest.FixtureRequest) -> S3Store:
    found = request.getfixturevalue(f"{request.param}_store")
    assert isinstance(found, S3Store)
    return found


def fetched(store: S3Store, key: str, offset: int, length: int, etag: str) -> bytes:
    received = bytearray()
    store.fetch(key, offset=offset, length=length, etag=etag, sink=received.extend)
    return bytes(received)


def test_parts_in_the_list_that_do_not_know_their_checksums_can_be_completed(store: S3Store) -> None:
    upload_id = store.start_upload("big")
    store.upload_part("big", upload_id, 1, Body.of(b"only"))
    store.complete_upload("big", upload_id, store.list_parts("big", upload_id))
    assert store.read("big", limit_bytes=10).data == b"only"


def test_a_part_sent_again_is_listed_once(store: S3Store) -> None:
    upload_id = store.start_upload("big")
    store.upload_part("big", upload_id, 1, Body.of(b"first"))
    again = store.upload_part("big", upload_id, 1, Body.of(b"again!"))
    parts = store.list_parts("big", upload_id)
    assert [part.number for part in parts] == [1]
    store.complete_upload("big", upload_id, parts)
    assert store.read("big", limit_bytes=10).data in (b"first", b"again!")
    assert again.size_bytes == 6


def test_an_object_that_was_replaced_is_not_read_on(store: S3Store) -> None:
    info = store.create("a", Body.of(b"first"))
    store.client.put_object(Bucket=store.bucket, Key=store.full_key("a"), Body=b"other")
    with pytest.raises(ConflictError, match="replaced"):
        store.fetch("a", offset=0, length=1, etag=info.etag, sink=bytearray().extend)


def test_a_missing_bucket_says_so(store: S3Store) -> None:
    missing = S3Store("no-such-bucket", connection=store._connection)
    with pytest.raises(NotFoundError, match=r"no bucket for s3://no-such-bucket"):
        missing.list("")
    with pytest.raises(NotFoundError, match=r"no bucket for s3://no-such-bucket"):
        missing.create("a", Body.of(b""))
    missing.close()


def test_a_file_that_became_shorter_is_told_as_such(seaweed_store: S3Store) -> None:
    class Short:
        def read_into(self, buffer: memoryview, offset: int) -> int:
            return 0

    with pytest.raises(EOFError):
        seaweed_store.create("a", Body((Region(Short(), 0, 3 * MIB),), crc32c(bytes(3 * MIB))))
    assert seaweed_store.create("a", Body.of(b"the connection is fine")).size_bytes == 22


def test_a_disk_that_fails_is_told_as_such(seaweed_store: S3Store) -> None:
    class Failing:
        def read_into(self, buffer: memoryview, offset: int) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        seaweed_store.create("a", Body((Region(Failing(), 0, 3 * MIB),), 0))


def test_what_fails_in_the_sink_is_told_as_such(seaweed_store: S3Store) -> None:
    info = seaweed_store.create("a", Body.of(bytes(MIB)))

    def full(_: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        seaweed_store.fetch("a", offset=0, length=MIB, etag=info.etag, sink=full)
    assert seaweed_store.read("a", limit_bytes=MIB).data == bytes(MIB)


def test_connections_are_used_again(seaweed_store: S3Store) -> None:
    data = os.urandom(MIB)
    info = seaweed_store.create("a", Body.of(data))
    for _ in range(5):
        assert fetched(seaweed_store, "a", 0, MIB, info.etag) == data
        seaweed_store.read("a", limit_bytes=MIB)
    pools = seaweed_store.client._endpoint.http_session._manager.pools  # type: ignore[attr-defined]
    assert [pools[key].num_connections for key in pools.keys()]  # noqa: SIM118 - it is no dict == [1]


def test_parts_are_in_the_order_of_their_numbers_whatever_the_server_says(seaweed_store: S3Store) -> None:
    """SeaweedFS lists them as text, so that 10 comes before 9."""
    upload_id = seaweed_store.start_upload("a")
    for number in (10, 9, 1000, 1):
        seaweed_store.upload_part("a", upload_id, number, Body.of(b"%d" % number))
    assert [part.number for part in seaweed_store.list_parts("a", upload_id)] == [1, 9, 10, 1000]


def test_a_create_that_was_cut_off_before_its_first_byte_leaves_nothing(seaweed_store: S3Store) -> None:
    """SeaweedFS stores an empty object then, unless the request says what the bytes must be: ours always do."""

    class Failing:
        def read_into(self, buffer: memoryview, offset: int) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        seaweed_store.create("a", Body((Region(Failing(), 0, MIB),), crc32c(bytes(MIB))))
    assert seaweed_store.create("a", Body.of(b"the key is free")).size_bytes == 15


def test_a_cold_object_says_so(moto_store: S3Store) -> None:
    moto_store.client.put_object(
        Bucket=moto_store.bucket, Key=moto_store.full_key("a"), Body=b"cold", StorageClass="GLACIER"
    )
    info = moto_store.head("a")
    assert info.storage_class == "GLACIER"
    with pytest.raises(ColdError, match="thaw"):
        moto_store.read("a", limit_bytes=10)
    with pytest.raises(ColdError, match="thaw"):
        fetched(moto_store, "a", 0, 4, info.etag)


@pytest.mark.parametrize(
    ("access_key", "secret_key"), [("UNKNOWN", None), (None, "not-the-secret")], ids=["unknown", "wrong"]
)
def test_wrong_credentials_are_denied(seaweed_store: S3Store, access_key: str | None, secret_key: str | None) -> None:
    right = seaweed_store._connection
    wrong = replace(right, access_key=access_key or right.access_key, secret_key=secret_key or right.secret_key)
    store = S3Store(seaweed_store.bucket, connection=wrong)
    with pytest.raises(DeniedError, match="Check AWS_ACCESS_KEY_ID") as caught:
        store.list("")
    assert str(wrong.secret_key) not in str(caught.value)
    with pytest.raises(DeniedError):
        store.head("a")
    store.close()


def test_the_sdk_finds_the_server_by_its_own_variables(seaweed: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    store = S3Store(seaweed.bucket, "by-environment")
    store.create(os.urandom(8).hex(), Body.of(b"found"))
    assert store.client.meta.endpoint_url == seaweed.endpoint_url
    store.close()


def test_no_credentials_at_all(seaweed: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    store = S3Store(seaweed.bucket, connection=Connection(seaweed.endpoint_url, region="us-east-1"))
    with pytest.raises(DeniedError, match="AWS_PROFILE"):
        store.list("")
    store.close()


def test_no_credential_is_ever_logged(
    seaweed: DevServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("boto3", "botocore", "urllib3"):
        caplog.set_level(logging.NOTSET, name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-session-token")
    store = S3Store(seaweed.bucket, "logged", connection=Connection(seaweed.endpoint_url, region="us-east-1"))
    told = [repr(store), repr(Connection(secret_key=seaweed.secret_key))]
    for number in range(2):
        try:
            store.create(os.urandom(8).hex(), Body.of(b"a"))
            store.head("not-there")
        except CkptArchiveError as error:
            told += [str(error), *traceback.format_exception(error)]
        # Whoever turns DEBUG on later is not served either.
        logging.getLogger("botocore").setLevel(logging.NOTSET if number == 0 else logging.INFO)
    store.close()
    everything = caplog.text + "".join(told)
    for secret in (seaweed.secret_key, "canary-session-token", "Signature=", "AWS4-HMAC-SHA256"):
        assert secret not in everything


def test_many_parts_in_flight_are_not_held_in_memory(
    seaweed_store: S3Store, seaweed: DevServer, tmp_path: Path
) -> None:
    """In a process of its own: 64 MiB in 8 parts at once, and back."""
    path = tmp_path / "64-mib"
    path.write_bytes(os.urandom(MIB) * 64)
    program = [sys.executable, "-c", MEMORY_PROGRAM, str(path), seaweed_store.full_key(""), seaweed.bucket]
    done = subprocess.run(program, env=os.environ | seaweed.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after_upload, after_fetch = map(int, done.stdout.split())
    # Two times eight buffers of 128 KiB each way, and what sixteen threads and connections take.
    assert after_upload - before < 16 * MIB
    assert after_fetch - before < 16 * MIB
    assert after_fetch < 120 * MIB


MEMORY_PROGRAM = """
import os, sys
from ckpt_archive.digest import crc32c
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection

PART = 8 << 20
path, prefix, bucket = sys.argv[1:]
descriptor = os.open(path, os.O_RDONLY)

class File:
    def read_into(self, buffer, offset):
        return os.preadv(descriptor, [buffer], offset)

def peak():
    # Not ru_maxrss: that begins with the size of the process that forked this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

store = S3Store(bucket, prefix)
checksum = 0
for offset in range(0, PART, 1 << 20):
    checksum = crc32c(os.pread(descriptor, 1 << 20, offset), checksum)
store.create("first", Body.of(b"loads the SDK"))
before = peak()
upload_id = store.start_upload("big")

def send(number):
    return store.upload_part("big", upload_id, number, Body((Region(File(), (number - 1) * PART, PART),), checksum))

parts = sorted(ThreadExecutor().map_unordered(send, range(1, 9), limit=8), key=lambda part: part.number)
after_upload = peak()
store.complete_upload("big", upload_id, tuple(parts))
etag = store.head("big").etag

def fetch(number):
    store.fetch("big", offset=(number - 1) * PART, length=PART, etag=etag, sink=lambda chunk: None)

list(ThreadExecutor().map_unordered(fetch, range(1, 9), limit=8))
print(before, after_upload, peak())
"""
