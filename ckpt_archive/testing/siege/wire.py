"""The wire between clients and the S3 server: it counts bytes, and stands still at the one where somebody is to be struck.

A process of its own. The besieger says ``up N`` or ``down N``: N bytes from now, in that direction, nothing is passed on any
more, and ``reached`` is answered; or ``body N``: when some request has sent N bytes and has no answer. ``go`` lets it flow.
So what is in flight at the moment of a death is known to the byte.
"""

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress

from ckpt_archive.devserver import loopback
from ckpt_archive.testing.siege.processes import Child

_BODY = "body"
_CHUNK = 65_536
_HELD = 1 << 20  # most bytes that wait for a slow receiver


class _End:
    """One end of a connection, and what waits to be written to it."""

    def __init__(self, sock: socket.socket, direction: str) -> None:
        self.sock = sock
        self.direction = direction  # in which bytes flow that are read here
        self.other: _End | None = None
        self.waiting = bytearray()
        self.unanswered = 0  # bytes that came since the other side said something
        self.finished = False  # nothing more will come to be written

    def events(self) -> int:
        """What it is to be asked for."""
        assert self.other is not None
        reads = selectors.EVENT_READ if not self.other.finished and len(self.other.waiting) < _HELD else 0
        return reads | (selectors.EVENT_WRITE if self.waiting else 0)


class Wire:
    """Passes on what comes until the besieger has gone. Runs in a child.

    Args:
        listener: Where clients come.
        server_port: Of the server, which may be away.
        control: To the besieger.
    """

    def __init__(self, listener: socket.socket, server_port: int, control: socket.socket) -> None:
        self._listener = listener
        self._server_port = server_port
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._armed: tuple[str, int] | None = None
        self._words = b""
        self._open: set[socket.socket] = set()

    def run(self) -> int:
        """Until the besieger has gone."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._control, selectors.EVENT_READ, None)
        while True:
            # What the besieger said comes before the bytes that came after it.
            for key, events in sorted(self._selector.select(), key=lambda ready: ready[0].fileobj is not self._control):
                if key.fileobj is self._control:
                    if not self._obey():
                        self._close()
                        return 0
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data.sock.fileno() >= 0:  # not closed by what came before it
                    self._pass(key.data, events)

    def _close(self) -> None:
        for sock in self._open:
            sock.close()
        self._selector.close()

    def _obey(self) -> bool:
        data = self._control.recv(4096)
        *lines, self._words = (self._words + data).split(b"\n")
        for line in lines:
            direction, _, count = line.decode().partition(" ")
            self._armed = (direction, int(count)) if count else None
        return bool(data)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        server = socket.socket()
        try:
            server.connect((loopback.HOST, self._server_port))
        except OSError:
            # As if nobody listened here: the client sees a connection that is closed at once.
            client.close()
            server.close()
            return
        ends = _End(client, "up"), _End(server, "down")
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.sock.setblocking(False)
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end.sock, selectors.EVENT_READ, end)
            self._open.add(end.sock)

    def _pass(self, end: _End, events: int) -> None:
        other = end.other
        assert other is not None
        try:
            if events & selectors.EVENT_WRITE and end.waiting:
                del end.waiting[: end.sock.send(end.waiting)]
            if events & selectors.EVENT_READ:
                self._read(end, other)
            for one in (end, other):
                if one.finished and not one.waiting:
                    with suppress(OSError):
                        one.sock.shutdown(socket.SHUT_WR)
            if all(one.finished and not one.waiting for one in (end, other)):
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            for one in (end, other):
                with suppress(KeyError):
                    self._selector.unregister(one.sock)
                self._open.discard(one.sock)
                one.sock.close()
            return
        for one in (end, other):
            self._ask(one)

    def _ask(self, end: _End) -> None:
        events = end.events()
        known = end.sock in self._selector.get_map()
        if known and events:
            self._selector.modify(end.sock, events, end)
        elif known:
            self._selector.unregister(end.sock)
        elif events:
            self._selector.register(end.sock, events, end)

    def _read(self, end: _End, other: _End) -> None:
        left = self._left(end)
        data = end.sock.recv(_CHUNK if left is None else min(_CHUNK, left))
        if not data:
            other.finished = True
            return
        end.unanswered, other.unanswered = end.unanswered + len(data), 0
        other.waiting += data
        with suppress(BlockingIOError):
            del other.waiting[: other.sock.send(other.waiting)]
        if left is None or self._armed is None:
            return
        if len(data) >= left:
            self._armed = None
            self._control.sendall(b"reached %d\n" % end.unanswered)
            self._control.recv(4096)
        elif self._armed[0] != _BODY:
            self._armed = (end.direction, left - len(data))

    def _left(self, end: _End) -> int | None:
        """How many bytes may pass here before it stands still; None for any number."""
        match self._armed:
            case ("body", count) if end.direction == "up":
                return max(1, count - end.unanswered)
            case (direction, count) if direction == end.direction:
                return count
            case _:
                return None


class Wiretap:
    """The besieger's end of a wire.

    Args:
        start: Starts a child that does what it is given, and keeps these descriptors.
        server_port: Of the server.
    """

    def __init__(self, start: Callable[[Callable[[], int], tuple[int, ...]], Child], server_port: int) -> None:
        self._control, theirs = socket.socketpair()
        listener = socket.create_server((loopback.HOST, 0), backlog=128)
        self.port: int = listener.getsockname()[1]

        def serve() -> int:
            return Wire(listener, server_port, theirs).run()

        self.child = start(serve, (listener.fileno(), theirs.fileno()))
        listener.close()
        theirs.close()

    def arm(self, where: str, count: int) -> None:
        """Stand still at a byte: "up", "down" or "body", see above."""
        self._control.setblocking(False)
        with suppress(BlockingIOError):
            self._control.recv(4096)  # that it was reached after all, when nobody waited any more
        self._control.sendall(f"{where} {count}\n".encode())

    def reached(self, seconds: float) -> int | None:
        """Wait until it stands still; how many bytes had no answer there, None if it flows."""
        self._control.settimeout(max(0.001, seconds))
        try:
            words = self._control.recv(4096).split()
        except TimeoutError:
            return None
        return int(words[1]) if len(words) > 1 else None

    def go(self) -> None:
        """Let it flow; also takes back what it was armed with."""
        self._control.sendall(b"go\n")

    def close(self) -> None:
        """It ends."""
        self._control.close()
