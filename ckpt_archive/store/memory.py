"""A store in this process's memory: for tests and examples. It keeps no promise beyond the life of the process."""

import bisect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.digest import crc32c
from ckpt_archive.store import keys
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, StoredBytes, StoreLimits, UploadInfo

_BUFFER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class MemoryObject:
    """An object: what the store says of it, and its bytes."""

    info: ObjectInfo
    chunks: tuple[bytearray, ...]


@dataclass(slots=True)
class _Upload:
    key: str
    started: datetime
    parts: dict[int, tuple[PartInfo, bytearray]] = field(default_factory=dict)


class Keeper(Protocol):
    """What is told of objects before something happens to them, and may refuse it. The store is locked meanwhile."""

    def reading(self, info: ObjectInfo) -> None:
        """Its bytes are about to be read."""
        ...

    def deleting(self, key: str, found: MemoryObject | None) -> None:
        """It is about to be deleted; None if there is no such object."""
        ...


class MemoryStore:
    """Objects in a dictionary. Any number of threads may use it.

    Args:
        url: What it calls itself in messages.
        limits: Sizes and counts it accepts: smaller ones make small tests of multipart uploads possible.
        clock: Tells when objects were created.

    Attributes:
        clock: The same.
        lock: Held while anything changes.
        keeper: Asked before objects are read and deleted; see `MemoryBucket`.
    """

    def __init__(
        self, url: str = "memory://archive", *, limits: StoreLimits | None = None, clock: Clock | None = None
    ) -> None:
        self._url = url
        self._limits = limits or StoreLimits()
        self.clock = clock or SystemClock()
        # A keeper that is asked may ask back.
        self.lock = threading.RLock()
        self.keeper: Keeper | None = None
        self._objects: dict[str, MemoryObject] = {}
        self._order: list[str] = []
        self._uploads: dict[str, _Upload] = {}
        self._names = 0

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._url

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self._limits

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        keys.check_key(key)
        keys.check_size(body.size_bytes, key, self._limits)
        data = _received(key, body)
        with self.lock:
            return self._put(key, (data,))

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        found = self._get(key, to_read=True)
        keys.check_small(found.info, limit_bytes)
        return StoredBytes(found.info, b"".join(found.chunks))

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        found = self._get(key, to_read=True)
        keys.check_current(found.info, etag)
        keys.check_range(found.info, offset, length)
        for piece in _slices(found.chunks, offset, length):
            sink(piece)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return replace(self._get(key).info, key=key)

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
        room = keys.page_size(limit)
        after = start_after if token is None else token
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last, next_token = after, None
        with self.lock:
            index = max(bisect.bisect_left(self._order, prefix), bisect.bisect_right(self._order, after))
            while index < len(self._order) and self._order[index].startswith(prefix):
                key = self._order[index]
                folder = keys.folded(key, prefix, delimiter)
                # A folder the page before ended with is not shown again.
                shown = not folder or folder != after
                if shown and len(objects) + len(prefixes) == room:
                    next_token = last
                    break
                if not folder:
                    objects.append(self._objects[key].info)
                    index += 1
                else:
                    prefixes += [folder] if shown else []
                    index = bisect.bisect_left(self._order, _successor(folder))
                last = folder or key
        return Listing(tuple(objects), tuple(prefixes), next_token, self.clock.now())

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with self.lock:
            if self.keeper is not None:
                self.keeper.deleting(key, self._objects.get(key))
            self.drop(key)

    def drop(self, key: str) -> None:
        """Forget an object, and ask nobody."""
        with self.lock:
            if self._objects.pop(key, None) is not None:
                self._order.remove(key)

    def put_back(self, stored: MemoryObject) -> None:
        """Let an object be there again that was deleted before."""
        with self.lock:
            self._objects[stored.info.key] = stored
            bisect.insort(self._order, stored.info.key)

    def move(self, key: str, storage_class: str) -> None:
        """Put an object into a storage class; "" is the default one. Raises `NotFoundError`."""
        with self.lock:
            found = self._get(key)
            self._objects[key] = replace(found, info=replace(found.info, storage_class=storage_class))

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        keys.check_key(key)
        with self.lock:
            upload_id = f"upload-{self._next_name()}"
            self._uploads[upload_id] = _Upload(key, self.clock.now())
            return upload_id

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        keys.check_part_number(number, key, self._limits)
        keys.check_size(body.size_bytes, f"part {number} of {key}", self._limits)
        with self.lock:
            self._upload(key, upload_id)
        data = _received(f"part {number} of {key}", body)
        with self.lock:
            upload = self._upload(key, upload_id)
            part = PartInfo(number, len(data), f"{body.crc32c:08x}-{self._next_name()}", body.crc32c)
            upload.parts[number] = (part, data)
            return part

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        with self.lock:
            held = self._upload(key, upload_id).parts
            keys.check_joinable(key, parts, (part for part, _ in held.values()), self._limits)
            self._put(key, tuple(held[part.number][1] for part in parts))
            del self._uploads[upload_id]

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        del key
        with self.lock:
            self._uploads.pop(upload_id, None)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        with self.lock:
            return tuple(
                UploadInfo(upload.key, upload_id, upload.started)
                for upload_id, upload in self._uploads.items()
                if upload.key.startswith(prefix)
            )

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        with self.lock:
            parts = self._upload(key, upload_id).parts
            return tuple(parts[number][0] for number in sorted(parts))

    def _get(self, key: str, *, to_read: bool = False) -> MemoryObject:
        with self.lock:
            found = self._objects.get(keys.full("", key))
            if found is not None and to_read and self.keeper is not None:
                self.keeper.reading(found.info)
        if found is None:
            raise keys.missing(key, self._url)
        return found

    def _put(self, key: str, chunks: tuple[bytearray, ...]) -> ObjectInfo:
        if key in self._objects:
            raise keys.taken(key, self._url)
        size = sum(len(chunk) for chunk in chunks)
        info = ObjectInfo(key, size, f"memory-{self._next_name()}", self.clock.now())
        self._objects[key] = MemoryObject(info, chunks)
        bisect.insort(self._order, key)
        return info

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise keys.gone(key, upload_id, self._url)
        return upload

    def _next_name(self) -> int:
        self._names += 1
        return self._names


def _received(what: str, body: Body) -> bytearray:
    """The bytes of a body, read through one small buffer as a network would carry them."""
    data = bytearray()
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, body.size_bytes)))
    computed = 0
    while len(data) < body.size_bytes:
        read = body.read_into(buffer, len(data))
        computed = crc32c(buffer[:read], computed)
        data += buffer[:read]
    if computed != body.crc32c:
        raise keys.refused(what, body.crc32c, computed)
    return data


def _slices(chunks: tuple[bytearray, ...], offset: int, length: int) -> Iterator[memoryview]:
    start, end = 0, offset + length
    for chunk in chunks:
        position, stop = max(offset, start), min(end, start + len(chunk))
        while position < stop:
            piece = min(_BUFFER_BYTES, stop - position)
            yield memoryview(chunk)[position - start : position - start + piece].toreadonly()
            position += piece
        start += len(chunk)


def _successor(prefix: str) -> str:
    """The smallest text greater than everything that begins with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
