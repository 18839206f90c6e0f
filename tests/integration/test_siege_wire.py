"""The wire of the siege: it passes everything on, and stands still at the very byte it was told."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ckpt_archive.testing.siege.wire import Wire

PATIENCE_SECONDS = 20.0


class Ends:
    """A server, and a client that reaches it over the wire."""

    def __init__(self) -> None:
        self.backend = socket.create_server(("127.0.0.1", 0))
        self.backend.settimeout(PATIENCE_SECONDS)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.control, self.theirs = socket.socketpair()
        self.control.settimeout(PATIENCE_SECONDS)
        wire = Wire(self.listener, self.backend.getsockname()[1], self.theirs)
        self.thread = threading.Thread(target=wire.run)
        self.thread.start()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(self.address, timeout=PATIENCE_SECONDS)
        server, _ = self.backend.accept()
        server.settimeout(PATIENCE_SECONDS)
        return client, server

    def close(self) -> None:
        self.control.close()
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()
        self.theirs.close()
        self.listener.close()
        self.backend.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def receive(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return bytes(data)


def test_both_ways_and_the_end(ends: Ends) -> None:
    client, server = ends.connect()
    with client, server:
        sent = os.urandom(3 << 20)
        # More than all buffers hold: it passes on while it waits for who is slow.
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert receive(server, len(sent)) == sent
        sender.join()
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_WR)
        assert receive(client, 100) == b"answer"


@pytest.mark.parametrize("where", ["up 1000", "body 1100"])
def test_it_stands_still_at_a_byte(where: str, ends: Ends) -> None:
    client, server = ends.connect()
    with client, server:
        client.sendall(b"h" * 100)
        assert receive(server, 100) == b"h" * 100
        # Told before anything comes that could reach it, on a connection that is known to be there.
        ends.control.sendall(f"{where}\n".encode())
        client.sendall(b"b" * 999)
        assert receive(server, 999) == b"b" * 999
        client.sendall(b"b" * 4001)
        assert ends.control.recv(100) == b"reached 1100\n"
        assert receive(server, 1) == b"b"
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.settimeout(PATIENCE_SECONDS)
        ends.control.sendall(b"go\n")
        assert receive(server, 4000) == b"b" * 4000


def test_an_answer_ends_what_is_counted_as_one_body(ends: Ends) -> None:
    client, server = ends.connect()
    with client, server:
        for _ in range(5):
            client.sendall(b"b" * 900)
            assert receive(server, 900) == b"b" * 900
            server.sendall(b"ok")
            assert receive(client, 2) == b"ok"
        ends.control.sendall(b"body 1000\n")
        client.sendall(b"b" * 3000)
        assert int(ends.control.recv(100).split()[1]) >= 1000
        ends.control.sendall(b"go\n")
        assert receive(server, 3000) == b"b" * 3000


def test_a_server_that_is_away(ends: Ends) -> None:
    ends.backend.close()
    with socket.create_connection(ends.address, timeout=PATIENCE_SECONDS) as client, suppress(ConnectionResetError):
        assert client.recv(1) == b""
