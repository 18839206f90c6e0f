"""A store that lets a test step in before and after every request.

"It landed, and the answer was lost" is an `after` that raises; "two at once" is a `before` that runs the other one to its
end; a death is either of them raising something that nobody catches.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, Store, StoredBytes, StoreLimits, UploadInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its number, counted from 0, its verb, and the key or prefix it is about."""

    number: int
    verb: str
    key: str


Hook = Callable[[Request], None]


def _nothing(_: Request) -> None:
    """Let it pass."""


class HookedStore:
    """Passes every verb on to `inner`.

    Args:
        inner: Does what is asked.
        before: Called before a request; what it raises is raised instead.
        after: Called after a request that succeeded; what it raises is raised instead of the answer.
    """

    def __init__(self, inner: Store, *, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self._inner = inner
        self._before = before
        self._after = after
        self._lock = threading.Lock()
        self.requests: list[Request] = []

    def _do(self, verb: str, key: str, call: Callable[[], T]) -> T:
        with self._lock:
            request = Request(len(self.requests), verb, key)
            self.requests.append(request)
        self._before(request)
        answer = call()
        self._after(request)
        return answer

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._inner.url

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self._inner.limits

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        return self._do("create", key, lambda: self._inner.create(key, body))

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        return self._do("read", key, lambda: self._inner.read(key, limit_bytes=limit_bytes))

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        self._do("fetch", key, lambda: self._inner.fetch(key, offset=offset, length=length, etag=etag, sink=sink))

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._do("head", key, lambda: self._inner.head(key))

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`."""

        def call() -> Listing:
            return self._inner.list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)

        return self._do("list", prefix, call)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._do("delete", key, lambda: self._inner.delete(key))

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        return self._do("start_upload", key, lambda: self._inner.start_upload(key))

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        return self._do("upload_part", key, lambda: self._inner.upload_part(key, upload_id, number, body))

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        self._do("complete_upload", key, lambda: self._inner.complete_upload(key, upload_id, parts))

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        self._do("abort_upload", key, lambda: self._inner.abort_upload(key, upload_id))

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        return self._do("list_uploads", prefix, lambda: self._inner.list_uploads(prefix))

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        return self._do("list_parts", key, lambda: self._inner.list_parts(key, upload_id))
