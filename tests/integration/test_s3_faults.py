"""Every fault that HTTP can have, at every verb of the S3 store: what each is taken for.

The server says what it is told. The table is about one request; what comes of trying it again is tested below it.
"""

import fcntl
import itertools
import random
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from ckpt_archive.clock import SystemClock
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    CkptArchiveError,
    ConflictError,
    DeniedError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
    UploadGoneError,
)
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo, Store
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection

KEY = "a/b"
DATA = b"0123456789" * 20


@dataclass(frozen=True)
class Answer:
    """What is sent, and then: "close", "reset", or "hang" until the client gives up."""

    data: bytes
    then: str = "close"


@dataclass
class Server:
    """Gives the next answer to each request, the last one for ever; one may be made of the request."""

    answers: list[Answer | Callable[[bytes], Answer]] = field(default_factory=list)
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
                given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                answer = given if isinstance(given, Answer) else given(self.requests[-1])
                connection.sendall(answer.data)
                if answer.then == "hang":
                    connection.recv(1)
                elif answer.then == "reset":
                    # Wait until the client has the bytes: a reset throws away what it has not read yet.
                    self._wait_until_taken(connection)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        with connection.makefile("rb") as stream:
            lines = list(iter(stream.readline, b"\r\n"))
            headers = dict(line.rstrip().lower().split(b": ", 1) for line in lines[1:])
            if headers.get(b"expect") == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.read(int(headers.get(b"content-length", 0)))
        return b"".join(lines)

    @staticmethod
    def _wait_until_taken(connection: socket.socket) -> None:
        while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0]:
            threading.Event().wait(0.001)


def answered(
    status: int, body: bytes = b"", *, length: int | None = None, headers: str = "", then: str = "close"
) -> Answer:
    size = len(body) if length is None else length
    date = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\nConnection: close\r\n{date}{headers}\r\n"
    return Answer(head.encode() + body, then)


def refused(status: int, code: str, headers: str = "") -> Answer:
    return answered(status, f"<Error><Code>{code}</Code><Message>So.</Message></Error>".encode(), headers=headers)


def fetched(store: Store) -> bytes:
    received = bytearray()
    store.fetch(KEY, offset=0, length=len(DATA), etag="e", sink=received.extend)
    return bytes(received)


@dataclass(frozen=True)
class Verb:
    """How a verb is asked, and what a healthy server answers."""

    ask: Callable[[Store], object]
    healthy: Answer


ETAG = 'ETag: "e"\r\n'
LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
VERBS = {
    "create": Verb(lambda store: store.create(KEY, Body.of(DATA)), answered(200, headers=ETAG)),
    "read": Verb(lambda store: store.read(KEY, limit_bytes=1000), answered(200, DATA, headers=ETAG)),
    "fetch": Verb(fetched, answered(206, DATA, headers=ETAG)),
    "head": Verb(lambda store: store.head(KEY), answered(200, length=200, headers=ETAG)),
    "list": Verb(lambda store: store.list(""), answered(200, LISTING)),
    "delete": Verb(lambda store: store.delete(KEY), answered(204)),
    "start_upload": Verb(
        lambda store: store.start_upload(KEY),
        answered(200, b"<R><UploadId>id</UploadId></R>"),
    ),
    "upload_part": Verb(lambda store: store.upload_part(KEY, "id", 1, Body.of(DATA)), answered(200, headers=ETAG)),
    "complete_upload": Verb(
        lambda store: store.complete_upload(KEY, "id", (PartInfo(1, 1, "e"),)),
        answered(200, b"<R><ETag>e</ETag></R>"),
    ),
    "abort_upload": Verb(lambda store: store.abort_upload(KEY, "id"), answered(204)),
    "list_uploads": Verb(
        lambda store: store.list_uploads(""), answered(200, b"<R><IsTruncated>false</IsTruncated></R>")
    ),
    "list_parts": Verb(
        lambda store: store.list_parts(KEY, "id"), answered(200, b"<R><IsTruncated>false</IsTruncated></R>")
    ),
}
OF_UPLOADS = {"upload_part", "complete_upload", "abort_upload", "list_parts"}
HALF = b"<R><Up"

FAULTS = {
    "503 SlowDown": refused(503, "SlowDown"),
    "500 InternalError": refused(500, "InternalError"),
    "no answer in time": Answer(b"", "hang"),
    "closed without an answer": Answer(b""),
    "reset without an answer": Answer(b"", "reset"),
    "reset in the body": answered(200, HALF, length=200, headers=ETAG, then="reset"),
    "body shorter than announced": answered(200, HALF, length=200, headers=ETAG),
    "no answer in the midst of the body": answered(200, HALF, length=200, headers=ETAG, then="hang"),
    "not HTTP": Answer(b"SSH-2.0-OpenSSH\r\n"),
    "409 ConditionalRequestConflict": refused(409, "ConditionalRequestConflict"),
    "412 PreconditionFailed": refused(412, "PreconditionFailed"),
    "404 NoSuchUpload": refused(404, "NoSuchUpload"),
    "404 NoSuchKey": refused(404, "NoSuchKey"),
    "400 BadDigest": refused(400, "BadDigest"),
    "400 ExpiredToken": refused(400, "ExpiredToken"),
    "403 AccessDenied": refused(403, "AccessDenied"),
    "403 RequestTimeTooSkewed": refused(403, "RequestTimeTooSkewed"),
    "301 PermanentRedirect": refused(301, "PermanentRedirect", "x-amz-bucket-region: us-east-1\r\n"),
    "307 TemporaryRedirect": refused(307, "TemporaryRedirect", "Location: http://127.0.0.1:9/\r\n"),
}

ALWAYS = {
    "503 SlowDown": ThrottledError,
    "404 NoSuchUpload": UploadGoneError,
    "404 NoSuchKey": NotFoundError,
    "412 PreconditionFailed": ConflictError,
    "400 BadDigest": ChecksumRefusedError,
    "400 ExpiredToken": DeniedError,
    "403 AccessDenied": DeniedError,
    "403 RequestTimeTooSkewed": DeniedError,
    "301 PermanentRedirect": DeniedError,
    "307 TemporaryRedirect": DeniedError,
}
"""Whatever is not named here is "it is unknown whether it landed"."""

BY_VERB: dict[tuple[str, str], type[CkptArchiveError] | None] = {
    **{(verb, "412 PreconditionFailed"): AlreadyExistsError for verb in ("create", "complete_upload")},
    **{(verb, "404 NoSuchKey"): UploadGoneError for verb in OF_UPLOADS},
    # What is to be gone is gone.
    ("abort_upload", "404 NoSuchUpload"): None,
    ("abort_upload", "404 NoSuchKey"): None,
    # An answer to a HEAD has no body: none can break off, and no code says what is meant.
    ("head", "reset in the body"): None,
    ("head", "body shorter than announced"): None,
    ("head", "no answer in the midst of the body"): None,
    ("head", "404 NoSuchUpload"): NotFoundError,
    ("head", "400 BadDigest"): DeniedError,
}


@pytest.fixture(scope="module")
def only_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(only_server: Server) -> Server:
    only_server.requests.clear()
    return only_server


@pytest.fixture(scope="module")
def store(only_server: Server) -> Iterator[S3Store]:
    connection = Connection(only_server.url, "key", "secret", "us-east-1", read_timeout_seconds=0.2)
    store = S3Store("bucket", "prefix", connection=connection)
    yield store
    store.close()


def outcome(ask: Callable[[], object]) -> type[CkptArchiveError] | None:
    try:
        ask()
    except CkptArchiveError as error:
        caught = error
    else:
        return None
    assert caught.hint or type(caught) is NotFoundError
    assert caught.__cause__ is not None or "broke off" in caught.message
    return type(caught)


def expected(verb: str, fault: str) -> type[CkptArchiveError] | None:
    return BY_VERB.get((verb, fault), ALWAYS.get(fault, UnavailableError))


def answer_to(verb: str, answer: Answer) -> Answer:
    """To a HEAD there is no body."""
    return Answer(answer.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", answer.then) if verb == "head" else answer


@pytest.mark.parametrize("verb", VERBS)
def test_what_each_fault_is_taken_for(server: Server, store: S3Store, verb: str) -> None:
    server.answers = [VERBS[verb].healthy]
    VERBS[verb].ask(store)
    found = {}
    for fault, answer in FAULTS.items():
        has_http = answer.data.startswith(b"HTTP")
        server.answers = [answer_to(verb, answer) if has_http else answer]
        found[fault] = outcome(lambda: VERBS[verb].ask(store))
    assert found == {fault: expected(verb, fault) for fault in FAULTS}


LANDED = {"create": refused(412, "PreconditionFailed"), "complete_upload": refused(404, "NoSuchUpload")}
"""What a server answers to the second try when the first has landed, where that is not what it answers to the first."""

MET_ITSELF = {"create": AlreadyExistsError, "complete_upload": UploadGoneError}
"""What the caller is told then: he looks at the object."""

LOST = ("500 InternalError", "no answer in time", "reset without an answer", "409 ConditionalRequestConflict")


@pytest.mark.parametrize("verb", VERBS)
def test_what_comes_of_it_when_the_answer_is_lost_after_the_effect(server: Server, store: S3Store, verb: str) -> None:
    retrying = insisting(store)
    for fault in LOST:
        server.requests.clear()
        first = answer_to(verb, FAULTS[fault]) if FAULTS[fault].data else FAULTS[fault]
        server.answers = [first, LANDED.get(verb, VERBS[verb].healthy)]
        # A second beginning would be an upload that nobody knows.
        wanted = UnavailableError if verb == "start_upload" else MET_ITSELF.get(verb)
        assert outcome(lambda: VERBS[verb].ask(retrying)) is wanted, fault
        assert len(server.requests) == (1 if verb == "start_upload" else 2)


@pytest.mark.parametrize("verb", VERBS)
def test_who_is_asked_for_fewer_requests_is_answered_later(server: Server, store: S3Store, verb: str) -> None:
    busy = answer_to(verb, FAULTS["503 SlowDown"])
    server.answers = [busy, busy, VERBS[verb].healthy]
    assert outcome(lambda: VERBS[verb].ask(insisting(store))) is None
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", ["400 ExpiredToken", "403 AccessDenied", "403 RequestTimeTooSkewed"])
def test_who_is_refused_does_not_ask_again(server: Server, store: S3Store, fault: str) -> None:
    for verb, how in VERBS.items():
        server.requests.clear()
        server.answers = [answer_to(verb, FAULTS[fault])]
        assert outcome(partial(how.ask, insisting(store))) is DeniedError
        # Told no reason, the SDK asks whether the bucket is in another region.
        assert len([head for head in server.requests if b"/a/b" in head or verb.startswith("list")]) == 1


@pytest.mark.parametrize("then", ["reset", "close", "hang"])
def test_a_body_that_breaks_off_is_fetched_on_from_there(server: Server, store: S3Store, then: str) -> None:
    for cut in (0, 1, 199):
        server.requests.clear()
        broken = answered(206, DATA[:cut], length=len(DATA), headers=ETAG, then=then)
        server.answers = [broken, lambda head: answered(206, DATA[wanted_from(head) :], headers=ETAG)]
        assert fetched(insisting(store)) == DATA
        first, second = map(wanted_from, server.requests)
        # What arrived just before a reset may be lost with it.
        assert (first, second) == (0, cut) or (first == 0 <= second < cut and then != "close")


def wanted_from(head: bytes) -> int:
    return int(head.lower().partition(b"range: bytes=")[2].partition(b"-")[0])


def test_every_cell_is_in_the_table() -> None:
    cells = set(itertools.product(VERBS, FAULTS))
    assert set(BY_VERB) <= cells
    assert set(ALWAYS) <= set(FAULTS)
    assert len(cells) == 12 * 19


def insisting(store: S3Store) -> RetryingStore:
    return RetryingStore(store, SystemClock(), RetryPolicy(max_tries=4, first_pause_seconds=0.001), random.Random(1))
