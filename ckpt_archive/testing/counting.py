"""A store that counts what is asked of it: what an operation costs is asserted, not hoped for."""

import threading
from collections import Counter

from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, Store, StoredBytes, StoreLimits, UploadInfo


class CountingStore:
    """Passes every verb on to `inner`. Put it inside a `RetryingStore` to count every try.

    Attributes:
        requests: How often each verb was called, failures included.
    """

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many requests there were."""
        return self.requests.total()

    def reset(self) -> None:
        """Begin again at nothing."""
        with self._lock:
            self.requests.clear()

    def _count(self, verb: str) -> Store:
        with self._lock:
            self.requests[verb] += 1
        return self._inner

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
        return self._count("create").create(key, body)

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        return self._count("read").read(key, limit_bytes=limit_bytes)

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        self._count("fetch").fetch(key, offset=offset, length=length, etag=etag, sink=sink)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._count("head").head(key)

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
        store = self._count("list")
        return store.list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._count("delete").delete(key)

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        return self._count("start_upload").start_upload(key)

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        return self._count("upload_part").upload_part(key, upload_id, number, body)

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        self._count("complete_upload").complete_upload(key, upload_id, parts)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        self._count("abort_upload").abort_upload(key, upload_id)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        return self._count("list_uploads").list_uploads(prefix)

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        return self._count("list_parts").list_parts(key, upload_id)
