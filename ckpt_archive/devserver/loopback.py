"""Ports of this machine, and what answers there. Loopback alone."""

import contextlib
import socket
import urllib.error
import urllib.request

HOST = "127.0.0.1"


def reserve(stack: contextlib.ExitStack, *, also_free: int = 0) -> int:
    """A free port that nobody else gets until `stack` closes.

    Args:
        stack: Holds it.
        also_free: If given, the port at this distance is free as well.
    """
    while True:
        held = stack.enter_context(socket.socket())
        held.bind((HOST, 0))
        port: int = held.getsockname()[1]
        if not also_free or (port + also_free < 65_536 and is_free(port + also_free)):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        # As the server will: connections that are winding down do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def get(url: str, *, timeout_seconds: float = 5.0) -> bytes | None:
    """What is there, or None if it does not answer so far."""
    # Loopback goes through no proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_seconds) as answer:
            return bytes(answer.read()) if answer.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None
