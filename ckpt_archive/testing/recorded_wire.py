"""Writes down what is asked of an S3 server, whoever asks: a wire that passes everything on and reads the first lines."""

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 65_536
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
# Whether it holds or releases is said in its body, which comes in a chunk of its own.
_HOLDS = re.compile(rb"PUT \S+\?legal-hold ")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

# What stands in the query of a request, and the right that it needs to read and to change (Service Authorization
# Reference, "Actions defined by Amazon S3"). Taking a bucket's rules away needs the right to write them.
_OF_BUCKETS = {
    "lifecycle": ("s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    "location": ("s3:GetBucketLocation", ""),
    "object-lock": ("s3:GetBucketObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"),
    "policy": ("s3:GetBucketPolicy", "s3:PutBucketPolicy"),
    "uploads": ("s3:ListBucketMultipartUploads", ""),
    "versioning": ("s3:GetBucketVersioning", "s3:PutBucketVersioning"),
    "versions": ("s3:ListBucketVersions", ""),
}
_OF_OBJECTS = {
    "legal-hold": ("s3:GetObjectLegalHold", "s3:PutObjectLegalHold"),
    "retention": ("s3:GetObjectRetention", "s3:PutObjectRetention"),
    "tagging": ("s3:GetObjectTagging", "s3:PutObjectTagging"),
}
# What is asked along with an object that is written.
_ALONG = {
    "x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-tagging": "s3:PutObjectTagging",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the rights of S3 name it.

    Attributes:
        action: Such as "s3:GetObject".
        key: Of the object; the prefix of a listing; "" for what is the bucket's own.
        of_bucket: Whether it is a right on the bucket, and not on an object.
        context: What conditions of policies can ask about it.
    """

    action: str
    key: str
    of_bucket: bool = False
    context: Mapping[str, str] = field(default_factory=dict, compare=False)


def understood(method: str, target: str, headers: Mapping[str, str] = _NO_HEADERS, body: bytes = b"") -> list[Asked]:
    """What a request of path style asks: one right after the other.

    Args:
        method: Of HTTP.
        target: Path and query.
        headers: Their names in small letters.
        body: What it begins with.
    """
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).strip("/").partition("/")[2]
    if not key and not (method == "POST" and "delete" in query):
        return [_of_bucket(method, query)]
    action = _of_object(method, query)
    context: dict[str, str] = {}
    if action == "s3:PutObject":
        # Beginning an upload and sending its parts create no object yet.
        context["s3:ObjectCreationOperation"] = str(not {"uploads", "partNumber"} & query.keys()).lower()
        if "if-none-match" in headers:
            context["s3:if-none-match"] = headers["if-none-match"]
    if action == "s3:PutObjectLegalHold":
        context["s3:object-lock-legal-hold"] = "OFF" if b">OFF<" in body else "ON"
    return [
        Asked(action, key, context=context),
        *(Asked(right, key) for name, right in _ALONG.items() if name in headers),
    ]


def _of_object(method: str, query: Mapping[str, list[str]]) -> str:
    reads = method in ("GET", "HEAD")
    for name, (reading, changing) in _OF_OBJECTS.items():
        if name in query:
            return reading if reads else changing.replace("Put", "Delete") if method == "DELETE" else changing
    if method == "DELETE" or "delete" in query:
        if "uploadId" in query:
            return "s3:AbortMultipartUpload"
        return "s3:DeleteObjectVersion" if "versionId" in query else "s3:DeleteObject"
    if reads:
        if "uploadId" in query:
            return "s3:ListMultipartUploadParts"
        return "s3:GetObjectVersion" if "versionId" in query else "s3:GetObject"
    return "s3:RestoreObject" if "restore" in query else "s3:PutObject"


def _of_bucket(method: str, query: Mapping[str, list[str]]) -> Asked:
    prefix = query.get("prefix", [""])[0]
    context = {"s3:prefix": prefix} if "prefix" in query else {}
    for name, (reading, changing) in _OF_BUCKETS.items():
        if name in query:
            return Asked(reading if method in ("GET", "HEAD") else changing, prefix, True, context)
    return Asked("s3:ListBucket" if method in ("GET", "HEAD") else "s3:CreateBucket", prefix, True, context)


def _understood(found: re.Match[bytes], data: bytes) -> list[Asked]:
    """A request whose head is in its first chunk, as all are that the SDK sends; with them go its small bodies."""
    head, _, body = data[found.end() :].partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    return understood(found[1].decode(), found[2].decode(), headers, body)


class _Wire:
    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = [self._listener]
        self.asked: list[Asked] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._run(self._accept)

    def stop(self) -> None:
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for thread in self._threads:
            thread.join(10)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self._open += [client, server]
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._run(self._pass, client, server, True)
                self._run(self._pass, server, client, False)

    def _pass(self, one: socket.socket, other: socket.socket, is_request: bool) -> None:
        with suppress(OSError):
            begun = b""
            while data := one.recv(_CHUNK):
                # Nobody sends a request before the one before it is answered, so each begins a chunk.
                begun += data
                found = _REQUEST.match(begun) if is_request else None
                if found is None or not _HOLDS.match(begun) or begun.endswith(b">"):
                    if found is not None:
                        with self._lock:
                            self.asked += _understood(found, begun)
                    begun = b""
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def recorded(port: int) -> Iterator[tuple[int, list[Asked]]]:
    """A wire to the server at `port` of this machine: its own port, and what was asked over it so far."""
    wire = _Wire(port)
    wire.start()
    try:
        yield wire.port, wire.asked
    finally:
        wire.stop()
