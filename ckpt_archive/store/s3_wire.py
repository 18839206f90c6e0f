"""Bytes between our buffers and the SDK's streams, by the shortest path that leaves the SDK in charge of the rest."""

import http.client
from collections.abc import Callable
from typing import Any

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.store.body import Body, BodyReader


class Sending(BodyReader):
    """A body to be sent, which remembers what went wrong in reading it: HTTP libraries make errors of their own of that.

    Attributes:
        failure: What reading raised, if anything.
    """

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.failure: Exception | None = None

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """See `BodyReader.readinto`."""
        try:
            return super().readinto(buffer)
        except (CkptArchiveError, OSError, EOFError) as error:
            self.failure = error
            raise


class Receiving:
    """The body of an answer, read into a buffer of ours.

    Args:
        stream: The SDK's streaming body.
    """

    def __init__(self, stream: Any) -> None:
        self._raw = stream._raw_stream  # noqa: SLF001 - the SDK has no other way to it
        # The SDK's and urllib3's own `readinto` make a new object of each chunk and copy it, which costs as much again as
        # receiving it; that of the standard library below them fills our buffer from the socket.
        direct = getattr(self._raw, "_fp", None)
        self._standard = direct if isinstance(direct, http.client.HTTPResponse) else None
        self.read_into: Callable[[memoryview], int] = (self._standard or stream).readinto

    def close(self) -> None:
        """Let the connection be used again if the body was read to its end, else close it."""
        if self._standard is not None and self._standard.isclosed():
            # urllib3 has not seen the end, because it was read past it.
            self._raw.release_conn()
        self._raw.close()
