"""A store that holds, and says, whatever somebody wants; and a folder with something valuable beside it."""

import os
from collections.abc import Mapping
from pathlib import Path

from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Listing, ObjectInfo, StoredBytes, StoreLimits, UploadInfo
from ckpt_archive.strictjson import MAX_RECORD_BYTES
from ckpt_archive.testing.checkpoints import NOON, ManualClock
from ckpt_archive.testing.fuzz.kinds import require


class HostileStore(MemoryStore):
    """Objects in memory; listings show other keys and sizes too, and no record is read without a limit.

    Args:
        shown: Keys that are listed beside those that are there, with their sizes; also instead of the true sizes.
        page: How many a page has at most.
    """

    def __init__(self, shown: Mapping[str, int], page: int = 1000) -> None:
        super().__init__("memory://hostile", limits=StoreLimits(min_part_size_bytes=1), clock=ManualClock())
        self._shown = dict(shown)
        self._page = page

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
        infos = {key: ObjectInfo(key, size, "e", NOON) for key, size in self._shown.items()}
        infos = {
            key: ObjectInfo(key, self._shown.get(key, found.info.size_bytes), "e", NOON)
            for key, found in self._objects.items()
        } | infos
        names: dict[str, ObjectInfo | None] = {}
        for key in sorted(infos, key=lambda name: name.encode("utf-8", "surrogatepass")):
            if key.startswith(prefix):
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                names.setdefault(key if cut < 0 else key[: cut + 1], infos[key] if cut < 0 else None)
        after = start_after if token is None else token
        found = [name for name in names if name > after][: min(limit, self._page) + 1]
        more = len(found) > min(limit, self._page)
        found = found[: min(limit, self._page)]
        objects = tuple(info for name in found if (info := names[name]) is not None)
        return Listing(objects, tuple(name for name in found if names[name] is None), found[-1] if more else None, NOON)

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        require(limit_bytes <= MAX_RECORD_BYTES, "a record is read without a limit")
        return super().read(key, limit_bytes=limit_bytes)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        return tuple(UploadInfo(key, "u", NOON) for key in self._shown if key.startswith(prefix))


def snapshot(folder: str | Path) -> dict[str, object]:
    """Everything below a folder: kind, size, time, content of small files, and where links lead."""
    found: dict[str, object] = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(root, name)
            stat = os.lstat(path)
            told = (
                os.readlink(path) if os.path.islink(path) else Path(path).read_bytes() if os.path.isfile(path) else ""
            )
            found[os.path.relpath(path, folder)] = (stat.st_mode, stat.st_size if told else 0, told)
    return found
