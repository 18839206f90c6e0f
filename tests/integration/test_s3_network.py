"""What the S3 store makes of answers that no healthy server gives, from a socket that says what it is told to."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    CkptArchiveError,
    ColdError,
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection

HANG = b"hang"


@dataclass
class ScriptedServer:
    """Answers every request with the same bytes and hangs up; an empty answer is none, `HANG` waits for the client."""

    answer: bytes = b""
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(self._read(connection))
                if self.answer == HANG:
                    connection.recv(1)
                else:
                    connection.sendall(self.answer)

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        """The head of a request; its body is swallowed, so that hanging up is no reset."""
        with connection.makefile("rb") as stream:
            lines = list(iter(stream.readline, b"\r\n"))
            headers = dict(line.rstrip().lower().split(b": ", 1) for line in lines[1:])
            if headers.get(b"expect") == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.read(int(headers.get(b"content-length", 0)))
        return b"".join(lines)


def answered(status: str, body: str = "", *, length: int | None = None, headers: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n{body}".encode()


def error(status: int, code: str) -> bytes:
    return answered(f"{status} X", f"<Error><Code>{code}</Code><Message>Said so.</Message></Error>")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def store(server: ScriptedServer) -> Iterator[S3Store]:
    connection = Connection(server.url, "key", "secret", "us-east-1", read_timeout_seconds=20)
    store = S3Store("bucket", "prefix", connection=connection)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (error(412, "PreconditionFailed"), AlreadyExistsError, "compare"),
        (error(409, "ConditionalRequestConflict"), UnavailableError, "unknown whether it landed"),
        (error(409, "OperationAborted"), UnavailableError, "unknown whether it landed"),
        (error(503, "SlowDown"), ThrottledError, "fewer requests"),
        (error(429, "TooManyRequests"), ThrottledError, "fewer requests"),
        (error(503, "ServiceUnavailable"), UnavailableError, "unknown whether it landed"),
        (error(500, "InternalError"), UnavailableError, "unknown whether it landed"),
        (answered("502 Bad Gateway", "<html>proxy</html>"), UnavailableError, "unknown whether it landed"),
        (answered("500 X"), UnavailableError, "unknown whether it landed"),
        (error(400, "RequestTimeout"), UnavailableError, "unknown whether it landed"),
        (error(400, "IncompleteBody"), UnavailableError, "unknown whether it landed"),
        (error(403, "AccessDenied"), DeniedError, "lack this right"),
        (answered("403 Forbidden"), DeniedError, "lack this right"),
        (error(403, "InvalidAccessKeyId"), DeniedError, "AWS_ACCESS_KEY_ID"),
        (error(403, "SignatureDoesNotMatch"), DeniedError, "AWS_SECRET_ACCESS_KEY"),
        (error(400, "ExpiredToken"), DeniedError, "renew"),
        (error(400, "InvalidToken"), DeniedError, "renew"),
        (error(403, "RequestTimeTooSkewed"), DeniedError, "clock"),
        (error(403, "QuotaExceeded"), DeniedError, "quota"),
        (error(404, "NoSuchBucket"), NotFoundError, "Create it"),
        (error(400, "BadDigest"), ChecksumRefusedError, "changed"),
        (error(400, "XAmzContentSHA256Mismatch"), ChecksumRefusedError, "changed"),
        (error(400, "InvalidRequest"), InvalidInputError, "doctor"),
        (error(501, "NotImplemented"), UnsupportedError, "does not do that"),
        (b"", UnavailableError, "unknown whether it landed"),
        (b"SSH-2.0-OpenSSH\r\n", UnavailableError, "unknown whether it landed"),
    ],
    ids=lambda value: value[:60].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_an_answer_to_a_create(
    server: ScriptedServer, store: S3Store, answer: bytes, kind: type[CkptArchiveError], hint: str
) -> None:
    server.answer = answer
    with pytest.raises(CkptArchiveError) as caught:
        store.create("a/b", Body.of(b"body"))
    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert "a/b" in caught.value.message or kind is NotFoundError
    assert "s3://bucket/prefix" in caught.value.message
    # Nothing is tried again in here.
    assert len(server.requests) == 1


def test_a_create_carries_its_condition_its_checksum_and_no_hash_of_the_body(
    server: ScriptedServer, store: S3Store
) -> None:
    server.answer = answered("200 OK", headers='ETag: "e"\r\n')
    assert store.create("a/b", Body.of(b"123456789")).etag == "e"
    head = server.requests[0].decode().lower()
    assert head.startswith("put /bucket/prefix/a/b http/1.1")
    assert "if-none-match: *" in head
    # The CRC32C of "123456789" is e3069283 (RFC 3720, B.4).
    assert "x-amz-checksum-crc32c: 4wasgw==" in head
    assert "x-amz-checksum-crc32c" in head.split("signedheaders=")[1].split(",")[0]
    assert "x-amz-content-sha256: unsigned-payload" in head
    assert "content-length: 9" in head
    assert "chunked" not in head


def test_a_completion_that_fails_after_it_began_to_answer(server: ScriptedServer, store: S3Store) -> None:
    """S3 sends 200 first, and what came of it in the body."""
    server.answer = answered("200 OK", "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>")
    with pytest.raises(UnavailableError):
        store.complete_upload("a", "id", (PartInfo(1, 1, "e"),))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(404, "NoSuchUpload"), UploadGoneError),
        (answered("404 Not Found"), UploadGoneError),
        (error(404, "NoSuchBucket"), NotFoundError),
        (error(400, "InvalidPart"), InvalidInputError),
        (error(400, "EntityTooSmall"), InvalidInputError),
        (error(412, "PreconditionFailed"), AlreadyExistsError),
    ],
    ids=lambda value: "",
)
def test_an_answer_to_a_completion(
    server: ScriptedServer, store: S3Store, answer: bytes, kind: type[CkptArchiveError]
) -> None:
    server.answer = answer
    with pytest.raises(CkptArchiveError) as caught:
        store.complete_upload("a", "id", (PartInfo(1, 1, "e"),))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(412, "PreconditionFailed"), ConflictError),
        (error(403, "InvalidObjectState"), ColdError),
        (error(404, "NoSuchKey"), NotFoundError),
        (answered("404 Not Found"), NotFoundError),
    ],
    ids=lambda value: "",
)
def test_an_answer_to_a_fetch(
    server: ScriptedServer, store: S3Store, answer: bytes, kind: type[CkptArchiveError]
) -> None:
    server.answer = answer
    with pytest.raises(CkptArchiveError) as caught:
        store.fetch("a", offset=0, length=1, etag="e", sink=bytearray().extend)
    assert type(caught.value) is kind


def test_a_head_that_is_refused_by_the_only_503_there_is(server: ScriptedServer, store: S3Store) -> None:
    server.answer = answered("503 X")
    with pytest.raises(ThrottledError):
        store.head("a")


def test_a_body_that_breaks_off(server: ScriptedServer, store: S3Store) -> None:
    server.answer = answered("206 Partial Content", "x" * 700_000, length=1_000_000, headers='ETag: "e"\r\n')
    received = bytearray()
    with pytest.raises(UnavailableError, match="broke off after 700000 of 1000000 bytes"):
        store.fetch("a", offset=0, length=1_000_000, etag="e", sink=received.extend)
    assert bytes(received) == b"x" * 700_000


def test_a_record_that_breaks_off(server: ScriptedServer, store: S3Store) -> None:
    server.answer = answered("200 OK", "x" * 70, length=100, headers='ETag: "e"\r\n')
    with pytest.raises(UnavailableError):
        store.read("a", limit_bytes=100)


def test_a_listing_without_a_date(server: ScriptedServer, store: S3Store) -> None:
    server.answer = answered("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    with pytest.raises(UnavailableError, match="Date header"):
        store.list("")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_server_that_redirects_everything(server: ScriptedServer, store: S3Store, status: str) -> None:
    """As a web server does that wants https: the SDK asks for the bucket's region, is redirected, asks again…"""
    server.answer = answered(status, "<html>moved</html>", headers="Location: https://elsewhere/\r\n")
    for ask in (lambda: store.head("a"), lambda: store.create("a", Body.of(b"")), lambda: store.list("")):
        with pytest.raises(DeniedError, match="http or https"):
            ask()


def test_a_page_that_is_no_answer_of_s3_is_not_taken_for_success(server: ScriptedServer, store: S3Store) -> None:
    """As a captive portal or a proxy's login page is."""
    server.answer = answered("200 OK", "<html><body>Please log in</body></html>", headers="Date: today\r\n")
    body = Body.of(b"")
    asks: list[Callable[[], object]] = [
        lambda: store.create("a", body),
        lambda: store.list(""),
        lambda: store.start_upload("a"),
        lambda: store.upload_part("a", "id", 1, body),
        lambda: store.list_uploads(""),
        lambda: store.list_parts("a", "id"),
        lambda: store.head("a"),
        lambda: store.read("a", limit_bytes=100),
    ]
    for ask in asks:
        with pytest.raises(UnavailableError):
            ask()


def test_uploads_whose_pages_never_advance_come_to_an_end(server: ScriptedServer, store: S3Store) -> None:
    """SeaweedFS repeats its first page when asked for one upload at a time."""
    server.answer = answered(
        "200 OK",
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>prefix/a</NextKeyMarker>"
        "<NextUploadIdMarker>1</NextUploadIdMarker><Upload><Key>prefix/a</Key><UploadId>1</UploadId></Upload>"
        "<Upload><Key>prefix/b</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>",
    )
    assert [upload.upload_id for upload in store.list_uploads("a")] == ["1"]
    assert len(server.requests) == 2


def test_of_a_part_that_is_listed_twice_the_later_one_counts(server: ScriptedServer, store: S3Store) -> None:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>2026-01-01T00:00:{second:02}Z</LastModified>"
        f'<ETag>"{etag}"</ETag><Size>5</Size></Part>'
        for number, second, etag in [(10, 1, "ten"), (1, 7, "new"), (1, 3, "old"), (9, 1, "nine")]
    )
    server.answer = answered("200 OK", f"<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>")
    assert [(part.number, part.etag) for part in store.list_parts("a", "id")] == [(1, "new"), (9, "nine"), (10, "ten")]


def test_a_server_that_does_not_answer_in_time(server: ScriptedServer) -> None:
    server.answer = HANG
    connection = Connection(server.url, "key", "secret", "us-east-1", read_timeout_seconds=0.2)
    store = S3Store("bucket", connection=connection)
    with pytest.raises(UnavailableError, match="unknown whether it landed"):
        store.create("a", Body.of(b"body"))
    store.close()
    assert len(server.requests) == 1


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    store = S3Store("bucket", connection=Connection(url, "key", "secret", "us-east-1"))
    with pytest.raises(UnavailableError, match="Check AWS_ENDPOINT_URL"):
        store.head("a")
    store.close()


def test_an_endpoint_that_is_no_url() -> None:
    store = S3Store("bucket", connection=Connection("not a url", "key", "secret", "us-east-1"))
    with pytest.raises(InvalidInputError, match="AWS_ENDPOINT_URL"):
        store.head("a")


def test_a_server_that_speaks_no_tls_where_tls_was_asked_for() -> None:
    def answer_in_plain_text(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer_in_plain_text, args=(listening,), daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        store = S3Store("bucket", connection=Connection(url, "key", "secret", "us-east-1"))
        with pytest.raises(DeniedError, match="should begin with http://"):
            store.head("a")
        store.close()
        thread.join(timeout=10)
