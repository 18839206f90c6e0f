"""What a bucket's answers are taken for that none of the servers here gives: those of AWS, and of servers to come."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ckpt_archive.errors import (
    ColdError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
)
from ckpt_archive.store.bucket import BucketFeatures, ObjectLockState, Warmth
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket
from ckpt_archive.store.s3_connection import Connection

UNTIL_AT = datetime(2030, 1, 1, tzinfo=UTC)
Answer = tuple[int, dict[str, str], bytes]

NOTHING: Answer = (404, {}, b"")


@dataclass
class Script:
    """What a server answers, by method and the name of what is asked in the query; and what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Script, str]]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = self.path.partition("?")[2]
            ask = f"{self.command} {query.partition('=')[0].partition('&')[0]}".strip()
            script.asked.append((ask, dict(self.headers.items()), body))
            status, headers, sent = script.answers.get(ask, NOTHING)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            # The answer to HEAD tells of bytes that it does not bring.
            if self.command != "HEAD":
                self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - so the standard library calls them

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield script, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def script(server: tuple[Script, str]) -> Script:
    server[0].answers.clear()
    server[0].asked.clear()
    return server[0]


@pytest.fixture
def bucket(server: tuple[Script, str], script: Script) -> Iterator[S3Bucket]:
    del script
    store = S3Store("bucket", "site", connection=Connection(server[1], "key", "secret", "us-east-1"))
    yield S3Bucket(store)
    store.close()


def refused(status: int, code: str, message: str = "So.") -> Answer:
    return status, {}, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def head(**headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return 200, {"ETag": '"e"'} | named, b"content"


ONGOING = 'ongoing-request="true"'
READY = 'ongoing-request="false", expiry-date="Tue, 01 Jan 2030 00:00:00 GMT"'


@pytest.mark.parametrize(
    ("headers", "warmth", "storage_class", "until_at"),
    [
        ({}, Warmth.WARM, "", None),
        ({"x_amz_storage_class": "STANDARD_IA"}, Warmth.WARM, "STANDARD_IA", None),
        ({"x_amz_storage_class": "GLACIER_IR"}, Warmth.WARM, "GLACIER_IR", None),
        ({"x_amz_storage_class": "GLACIER"}, Warmth.COLD, "GLACIER", None),
        ({"x_amz_storage_class": "DEEP_ARCHIVE"}, Warmth.COLD, "DEEP_ARCHIVE", None),
        ({"x_amz_storage_class": "GLACIER", "x_amz_restore": ONGOING}, Warmth.THAWING, "GLACIER", None),
        ({"x_amz_storage_class": "GLACIER", "x_amz_restore": READY}, Warmth.THAWED, "GLACIER", UNTIL_AT),
        ({"x_amz_storage_class": "INTELLIGENT_TIERING"}, Warmth.WARM, "INTELLIGENT_TIERING", None),
        (
            {"x_amz_storage_class": "INTELLIGENT_TIERING", "x_amz_archive_status": "ARCHIVE_ACCESS"},
            Warmth.COLD,
            "INTELLIGENT_TIERING",
            None,
        ),
    ],
)
def test_how_warm_an_object_is(
    bucket: S3Bucket, script: Script, headers: dict[str, str], warmth: Warmth, storage_class: str, until_at: Any
) -> None:
    script.answers["HEAD"] = head(**headers)
    found = bucket.temperature("key")
    assert (found.warmth, found.storage_class, found.until_at, found.size_bytes) == (warmth, storage_class, until_at, 7)


def test_a_thawing_that_nobody_understands_is_not_taken_for_one(bucket: S3Bucket, script: Script) -> None:
    script.answers["HEAD"] = head(x_amz_storage_class="GLACIER", x_amz_restore="soon")
    with pytest.raises(UnavailableError, match="x-amz-restore: soon"):
        bucket.temperature("key")


@pytest.mark.parametrize("answer", [(202, {}, b""), (200, {}, b""), refused(409, "RestoreAlreadyInProgress")])
def test_to_ask_for_what_is_asked_for_is_fine(bucket: S3Bucket, script: Script, answer: Answer) -> None:
    script.answers |= {"HEAD": head(x_amz_storage_class="GLACIER"), "POST restore": answer}
    bucket.request_thaw("key", days=3, tier="Bulk")
    (sent,) = (body for ask, _, body in script.asked if ask == "POST restore")
    assert b"<Days>3</Days>" in sent
    assert b"<Tier>Bulk</Tier>" in sent


def test_no_days_are_said_where_they_are_refused(bucket: S3Bucket, script: Script) -> None:
    archived = head(x_amz_storage_class="INTELLIGENT_TIERING", x_amz_archive_status="ARCHIVE_ACCESS")
    script.answers |= {"HEAD": archived, "POST restore": (202, {}, b"")}
    bucket.request_thaw("key", days=3, tier="Bulk")
    (sent,) = (body for ask, _, body in script.asked if ask == "POST restore")
    assert b"Days" not in sent


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(405, "MethodNotAllowed"), UnsupportedError),
        (refused(501, "NotImplemented"), UnsupportedError),
        ((501, {}, b""), UnsupportedError),
        (refused(403, "AccessDenied"), DeniedError),
        (refused(503, "SlowDown"), ThrottledError),
        (refused(503, "GlacierExpeditedRetrievalNotAvailable"), UnavailableError),
        (refused(400, "MalformedXML"), InvalidInputError),
    ],
)
def test_what_can_come_of_asking(bucket: S3Bucket, script: Script, answer: Answer, error: type[Exception]) -> None:
    script.answers |= {"HEAD": head(x_amz_storage_class="GLACIER"), "POST restore": answer}
    with pytest.raises(error) as caught:
        bucket.request_thaw("key", days=3, tier="Bulk")
    assert type(caught.value) is error


def test_a_cold_object_is_not_read_and_its_reader_is_told_what_to_do(bucket: S3Bucket, script: Script) -> None:
    script.answers["GET"] = refused(403, "InvalidObjectState")
    with pytest.raises(ColdError, match="ckpt-archive thaw"):
        bucket._store.fetch("key", offset=0, length=3, etag="e", sink=lambda _: None)


def rules_answer(rule: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    name_space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return 200, named, f"<LifecycleConfiguration {name_space}>{rule}</LifecycleConfiguration>".encode()


PLAIN = (
    "<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix/></Filter><Expiration><Days>3</Days></Expiration></Rule>"
)


def test_rules_with_what_the_sdk_does_not_know_are_not_handed_on(bucket: S3Bucket, script: Script) -> None:
    script.answers["GET lifecycle"] = rules_answer(PLAIN)
    (rule,) = bucket.read_rules()
    assert rule == {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}
    unknown = PLAIN.replace("<Days>", "<OnlyOnFullMoon>true</OnlyOnFullMoon><Days>")
    script.answers["GET lifecycle"] = rules_answer(PLAIN + unknown)
    with pytest.raises(InvalidInputError, match="bucket say OnlyOnFullMoon, which the installed boto3 does not know"):
        bucket.read_rules()
    with pytest.raises(InvalidInputError, match="OnlyOnFullMoon"):
        bucket.write_rules([rule])
    assert not [ask for ask, _, _ in script.asked if ask == "PUT lifecycle"]


def test_rules_of_every_kind_are_read_whole(bucket: S3Bucket, script: Script) -> None:
    script.answers["GET lifecycle"] = rules_answer(
        "<Rule><ID>all</ID><Status>Disabled</Status><Filter><And><Prefix>x/</Prefix><Tag><Key>a</Key><Value>1</Value></Tag>"
        "<Tag><Key>b</Key><Value/></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>"
        "<ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>"
        "<Transition><Date>2031-01-01T00:00:00.000Z</Date><StorageClass>OF_OUR_OWN</StorageClass></Transition>"
        "<Transition><Days>60</Days><StorageClass>GLACIER</StorageClass></Transition>"
        "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER</StorageClass>"
        "<NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionTransition>"
        "<NoncurrentVersionExpiration><NoncurrentDays>9</NoncurrentDays></NoncurrentVersionExpiration></Rule>"
        "<Rule><ID>old</ID><Prefix>logs/</Prefix><Status>Enabled</Status>"
        "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
        "<Rule><ID>whole</ID><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule>"
    )
    first, second, third = bucket.read_rules()
    assert first == {
        "ID": "all",
        "Status": "Disabled",
        "Filter": {
            "And": {
                "Prefix": "x/",
                "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
                "ObjectSizeGreaterThan": 1,
                "ObjectSizeLessThan": 9,
            }
        },
        "Transitions": [
            {"Date": "2031-01-01T00:00:00Z", "StorageClass": "OF_OUR_OWN"},
            {"Days": 60, "StorageClass": "GLACIER"},
        ],
        "NoncurrentVersionTransitions": [
            {"NoncurrentDays": 1, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 2}
        ],
        "NoncurrentVersionExpiration": {"NoncurrentDays": 9},
    }
    assert second["Prefix"] == "logs/"
    assert third["Filter"] == {}
    # What is written is read again as it was.
    script.answers["PUT lifecycle"] = (200, {}, b"")
    bucket.write_rules([first, second, third])
    sent = next(body for ask, _, body in script.asked if ask == "PUT lifecycle")
    script.answers["GET lifecycle"] = (200, {}, sent)
    assert bucket.read_rules() == (first, second, third)


def test_the_size_from_which_objects_are_moved_is_said_again(bucket: S3Bucket, script: Script) -> None:
    script.answers |= {
        "GET lifecycle": rules_answer(PLAIN, x_amz_transition_default_minimum_object_size="varies_by_storage_class"),
        "PUT lifecycle": (200, {}, b""),
    }
    bucket.write_rules(bucket.read_rules())
    (headers,) = (headers for ask, headers, _ in script.asked if ask == "PUT lifecycle")
    assert headers["x-amz-transition-default-minimum-object-size"] == "varies_by_storage_class"


def test_there_are_no_rules_or_there_is_no_bucket(bucket: S3Bucket, script: Script) -> None:
    script.answers["GET lifecycle"] = refused(404, "NoSuchLifecycleConfiguration")
    assert bucket.read_rules() == ()
    script.answers["GET lifecycle"] = refused(404, "NoSuchBucket")
    with pytest.raises(NotFoundError, match="no bucket"):
        bucket.read_rules()


VERSIONED: Answer = (200, {}, b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
UNVERSIONED: Answer = (200, {}, b"<VersioningConfiguration/>")
LOCKED: Answer = (
    200,
    {},
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
)


@pytest.mark.parametrize(
    ("versioning", "locks", "expected"),
    [
        (VERSIONED, LOCKED, BucketFeatures(versioned=True, object_lock=True)),
        (VERSIONED, refused(404, "ObjectLockConfigurationNotFoundError"), BucketFeatures(True, False)),
        (UNVERSIONED, refused(404, "ObjectLockConfigurationNotFoundError"), BucketFeatures(False, False)),
        (UNVERSIONED, refused(501, "NotImplemented"), BucketFeatures(False, False)),
        (refused(501, "NotImplemented"), refused(405, "MethodNotAllowed"), BucketFeatures(False, False)),
    ],
)
def test_features(
    bucket: S3Bucket, script: Script, versioning: Answer, locks: Answer, expected: BucketFeatures
) -> None:
    script.answers |= {"GET versioning": versioning, "GET object-lock": locks}
    assert bucket.features() == expected


@pytest.mark.parametrize("unset", ["NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"])
def test_an_object_without_a_lock_where_there_are_locks(bucket: S3Bucket, script: Script, unset: str) -> None:
    script.answers |= {"GET legal-hold": refused(404, unset), "GET retention": refused(404, unset)}
    assert bucket.read_lock("key") == ObjectLockState()


def test_who_may_not_see_a_lock_is_not_told_that_there_is_none(bucket: S3Bucket, script: Script) -> None:
    script.answers |= {"GET legal-hold": refused(403, "AccessDenied"), "GET retention": refused(403, "AccessDenied")}
    with pytest.raises(DeniedError):
        bucket.read_lock("key")


def test_where_there_is_no_object_lock_every_question_says_so(bucket: S3Bucket, script: Script) -> None:
    missing = refused(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    script.answers |= {
        "GET versioning": UNVERSIONED,
        "GET object-lock": refused(404, "ObjectLockConfigurationNotFoundError"),
        "GET legal-hold": missing,
        "PUT legal-hold": missing,
        "PUT retention": missing,
    }
    for ask in (
        lambda: bucket.read_lock("key"),
        lambda: bucket.write_legal_hold("key", on=True),
        lambda: bucket.write_retention("key", "COMPLIANCE", UNTIL_AT),
    ):
        with pytest.raises(UnsupportedError, match="has no Object Lock"):
            ask()
    script.answers["GET object-lock"] = LOCKED
    with pytest.raises(InvalidInputError, match="missing Object Lock") as caught:
        bucket.write_retention("key", "COMPLIANCE", UNTIL_AT)
    assert not isinstance(caught.value, UnsupportedError)


def test_a_server_that_fails_to_find_an_object_is_asked_whether_it_is_there(bucket: S3Bucket, script: Script) -> None:
    script.answers |= {"PUT legal-hold": refused(500, "InternalError"), "HEAD": NOTHING}
    with pytest.raises(NotFoundError, match="no object key"):
        bucket.write_legal_hold("key", on=True)
    script.answers["HEAD"] = head()
    with pytest.raises(UnavailableError, match="InternalError"):
        bucket.write_legal_hold("key", on=True)


@pytest.mark.parametrize("following", ["", "<NextKeyMarker>site/a</NextKeyMarker>"])
def test_versions_whose_pages_do_not_lead_on_come_to_an_end(bucket: S3Bucket, script: Script, following: str) -> None:
    version = (
        "<Version><Key>site/a</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>7</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Version>"
    )
    page = f"<ListVersionsResult><IsTruncated>true</IsTruncated>{following}{version}</ListVersionsResult>"
    script.answers["GET versions"] = (200, {}, page.encode())
    assert {item.key for item in bucket.versions("")} == {"a"}
    assert len(script.asked) <= 2


def test_keys_are_checked_before_anything_is_asked(bucket: S3Bucket, script: Script) -> None:
    for ask in (
        lambda: bucket.read_tags(""),
        lambda: bucket.write_tags("../other", {}),
        lambda: bucket.write_legal_hold("a//b", on=False),
    ):
        with pytest.raises(InvalidInputError, match="not allowed"):
            ask()
    assert script.asked == []
