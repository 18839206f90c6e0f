"""Where the machine's archives lie: in memory, in a folder, on a real server; with a clock that moves only when told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import ObjectInfo, Store, StoreLimits
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.testing.checkpoints import NOON
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.site import Site


class Premises(Site):
    """Archives in memory.

    Attributes:
        after: Called after a request that succeeded; what it raises is raised instead of the answer.
    """

    def make_archive(self, url: str) -> None:
        """See `Site.make_archive`."""
        self.after: Callable[[Request], None] = lambda request: None
        # Looked up with every request: it changes.
        hooked = HookedStore(self.make_store(url), after=lambda request: self.after(request))  # noqa: PLW0108
        self.counting[url] = CountingStore(hooked)
        self.ids[url] = create_archive(hooked, self.nonce(), NOON).archive_id

    def make_store(self, url: str) -> Store:
        """An empty store."""
        return MemoryStore(url, limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)

    def close(self) -> None:
        """Let go of the store."""


class FilePremises(Premises):
    """Archives in a folder."""

    def make_store(self, url: str) -> Store:
        """See `Premises.make_store`."""
        store = FileStore(PosixFileSystem(), str(self.folder / "archive"), clock=self.clock, nonce=self.nonce)
        store.prepare()
        return Stamped(store, self.clock.now)


class ServerPremises(Premises):
    """Archives on a real server, each under a prefix of its own.

    Attributes:
        server: It; whoever runs the machine starts it.
    """

    server: ClassVar[DevServer]

    def make_store(self, url: str) -> Store:
        """See `Premises.make_store`."""
        server = self.server
        connection = Connection(server.endpoint_url, server.access_key, server.secret_key, REGION)
        self._store = S3Store(server.bucket, self.folder.name, connection=connection)
        return Stamped(self._store, self.clock.now)

    def close(self) -> None:
        """See `Premises.close`."""
        self._store.close()


class Stamped:
    """A store whose own clock is the one that everybody has here.

    Args:
        inner: Does the work.
        now: The time.
    """

    def __init__(self, inner: Store, now: Callable[[], datetime]) -> None:
        self._inner = inner
        self._now = now
        self._times: dict[str, datetime] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create(self, key: str, body: Any) -> ObjectInfo:
        """See `Store.create`."""
        made = self._inner.create(key, body)
        self._times[key] = self._now()
        return self._stamped(made)

    def complete_upload(self, key: str, upload_id: str, parts: Any) -> None:
        """See `Store.complete_upload`."""
        self._inner.complete_upload(key, upload_id, parts)
        self._times[key] = self._now()

    def read(self, key: str, *, limit_bytes: int) -> Any:
        """See `Store.read`."""
        found = self._inner.read(key, limit_bytes=limit_bytes)
        return replace(found, info=self._stamped(found.info))

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._stamped(self._inner.head(key))

    def list(self, prefix: str, **how: Any) -> Any:
        """See `Store.list`."""
        page = self._inner.list(prefix, **how)
        return replace(page, objects=tuple(self._stamped(info) for info in page.objects), store_time=self._now())

    def _stamped(self, info: ObjectInfo) -> ObjectInfo:
        return info if info.modified is None else replace(info, modified=self._times.get(info.key, info.modified))
