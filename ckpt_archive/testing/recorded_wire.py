"""Writes down what is asked of an S3 server, whoever asks: a wire that passes everything on and reads the first lines."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 65_536
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the rights of S3 name it.

    Attributes:
        action: Such as "s3:GetObject".
        key: Of the object; the prefix of a listing.
    """

    action: str
    key: str


def understood(method: str, target: str) -> Asked:
    """What a request line of path style asks."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).strip("/").partition("/")[2]
    if not key and method in ("GET", "HEAD"):
        action = "s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket"
        return Asked(action, query.get("prefix", [""])[0])
    match method:
        case "GET" | "HEAD":
            return Asked("s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject", key)
        case "DELETE":
            return Asked("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", key)
        case "POST" if "delete" in query:
            return Asked("s3:DeleteObject", key)
        case _:
            return Asked("s3:PutObject", key)


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
            while data := one.recv(_CHUNK):
                # Nobody sends a request before the one before it is answered, so each begins a chunk.
                found = _REQUEST.match(data) if is_request else None
                if found is not None:
                    with self._lock:
                        self.asked.append(understood(found[1].decode(), found[2].decode()))
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
