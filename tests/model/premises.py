"""Where the machine's archives lie: in memory, in a folder, on a real server; with a clock that moves only when told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import ObjectInfo, Store, StoreLimits
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


class FilePremises(Premises):
    """Archives in a folder."""

    def make_store(self, url: str) -> Store:
        """See `Premises.make_store`."""
        store = FileStore(PosixFileSystem(), str(self.folder / "archive"), clock=self.clock, nonce=self.nonce)
        store.prepare()
        return Stamped(store, self.clock.now)


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
        return replace(page, objects=tuple(self._stamped(info) for info in page.objects))

    def _stamped(self, info: ObjectInfo) -> ObjectInfo:
        return info if info.modified is None else replace(info, modified=self._times.get(info.key, info.modified))
