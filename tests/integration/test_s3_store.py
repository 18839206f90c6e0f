"""What the S3 store does with real servers beyond what every store does."""

import os

import pytest

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.s3 import S3Store

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


def test_an_object_comes_back(store: S3Store) -> None:
    info = store.create("a/b.json", Body.of(b"hello"))
    assert store.read("a/b.json", limit_bytes=5).data == b"hello"
    assert fetched(store, "a/b.json", 1, 3, info.etag) == b"ell"
    head = store.head("a/b.json")
    assert (head.key, head.size_bytes, head.etag, head.storage_class) == ("a/b.json", 5, info.etag, "")
    assert head.modified is not None
    page = store.list("a/")
    assert [(item.key, item.size_bytes, item.etag) for item in page.objects] == [("a/b.json", 5, info.etag)]
    assert page.next_token is None


def test_an_empty_object_comes_back(store: S3Store) -> None:
    info = store.create("empty", Body.of(b""))
    assert store.read("empty", limit_bytes=0).data == b""
    assert fetched(store, "empty", 0, 0, info.etag) == b""


def test_a_second_create_finds_the_key_taken(store: S3Store) -> None:
    store.create("a", Body.of(b"first"))
    with pytest.raises(AlreadyExistsError):
        store.create("a", Body.of(b"second"))
    assert store.read("a", limit_bytes=10).data == b"first"


def test_many_parts(store: S3Store) -> None:
    data = os.urandom(5 * MIB) + b"end"
    upload_id = store.start_upload("big")
    second = store.upload_part("big", upload_id, 2, Body.of(data[5 * MIB :]))
    first = store.upload_part("big", upload_id, 1, Body.of(data[: 5 * MIB]))
    assert store.list_parts("big", upload_id) == (first, second)
    assert [(item.key, item.upload_id) for item in store.list_uploads("")] == [("big", upload_id)]
    store.complete_upload("big", upload_id, (first, second))
    etag = store.head("big").etag
    assert fetched(store, "big", 0, len(data), etag) == data
    assert fetched(store, "big", 5 * MIB - 1, 3, etag) == data[5 * MIB - 1 : 5 * MIB + 2]
    assert store.list_uploads("") == ()


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


def test_an_upload_that_is_gone(store: S3Store) -> None:
    upload_id = store.start_upload("big")
    part = store.upload_part("big", upload_id, 1, Body.of(b"only"))
    store.abort_upload("big", upload_id)
    store.abort_upload("big", upload_id)
    # moto answers the next two with 500, of which nothing can be known.
    gone = UnavailableError if "moto" in store.url else UploadGoneError
    with pytest.raises(gone):
        store.upload_part("big", upload_id, 1, Body.of(b"only"))
    with pytest.raises(UploadGoneError):
        store.list_parts("big", upload_id)
    with pytest.raises(gone):
        store.complete_upload("big", upload_id, (part,))


def test_completing_over_an_object_is_refused(store: S3Store) -> None:
    store.create("big", Body.of(b"first"))
    upload_id = store.start_upload("big")
    part = store.upload_part("big", upload_id, 1, Body.of(b"second"))
    with pytest.raises(AlreadyExistsError):
        store.complete_upload("big", upload_id, (part,))


def test_what_is_not_there(store: S3Store) -> None:
    with pytest.raises(NotFoundError, match="no object a/b"):
        store.head("a/b")
    with pytest.raises(NotFoundError):
        store.read("a/b", limit_bytes=1)
    with pytest.raises(NotFoundError):
        store.fetch("a/b", offset=0, length=1, etag="x", sink=bytearray().extend)
    store.delete("a/b")
    assert store.list("a/").objects == ()


def test_an_object_that_was_replaced_is_not_read_on(store: S3Store) -> None:
    info = store.create("a", Body.of(b"first"))
    store.client.put_object(Bucket=store.bucket, Key=store.full_key("a"), Body=b"other")
    with pytest.raises(ConflictError, match="replaced"):
        store.fetch("a", offset=0, length=1, etag=info.etag, sink=bytearray().extend)


def test_a_range_over_the_end_is_an_integrity_error(store: S3Store) -> None:
    info = store.create("a", Body.of(b"12345"))
    with pytest.raises(IntegrityError, match="5 bytes"):
        store.fetch("a", offset=3, length=3, etag=info.etag, sink=bytearray().extend)
    with pytest.raises(IntegrityError):
        store.fetch("a", offset=7, length=3, etag=info.etag, sink=bytearray().extend)


def test_a_record_that_is_too_long_is_not_read(store: S3Store) -> None:
    store.create("a", Body.of(b"12345"))
    with pytest.raises(IntegrityError, match="more than the 4"):
        store.read("a", limit_bytes=4)


def test_a_missing_bucket_says_so(store: S3Store) -> None:
    missing = S3Store("no-such-bucket", connection=store._connection)
    with pytest.raises(NotFoundError, match=r"no bucket for s3://no-such-bucket"):
        missing.list("")
    with pytest.raises(NotFoundError, match=r"no bucket for s3://no-such-bucket"):
        missing.create("a", Body.of(b""))
    missing.close()


def test_a_wrong_checksum_is_refused(seaweed_store: S3Store) -> None:
    wrong = Body(Body.of(b"right").regions, crc32c(b"wrong"))
    with pytest.raises(ChecksumRefusedError):
        seaweed_store.create("a", wrong)
    upload_id = seaweed_store.start_upload("b")
    with pytest.raises(ChecksumRefusedError):
        seaweed_store.upload_part("b", upload_id, 1, wrong)
    assert seaweed_store.list("").objects == ()


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
