"""What a simulated object store holds: objects and multipart uploads, strongly consistent. Knows no faults and no processes.

Written anew rather than shared with the real stores: a rule that both had wrong would hide.
"""

import bisect
import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import errors
from ckpt_archive.digest import crc32c
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, StoreLimits, UploadInfo

# Amazon S3 User Guide, "Object key names", "ListObjectsV2".
_MAX_KEY_BYTES = 1024
_MAX_PAGE = 1000


@dataclass(slots=True)
class StoredObject:
    """An object. Its data changes only when it rots."""

    info: ObjectInfo
    data: bytes


@dataclass(slots=True)
class Upload:
    """A multipart upload under way: for each number the part and its bytes."""

    key: str
    started: datetime
    parts: dict[int, tuple[PartInfo, bytes]] = field(default_factory=dict)


class Bucket:
    """Objects and uploads.

    Args:
        limits: What it takes.
        checksums_enforced: Whether it compares bytes with the CRC32C sent along.
        conditional_complete: Whether it refuses to complete an upload over an existing key.

    Attributes:
        objects: By key.
        uploads: By upload id.
        rotted: The keys whose bytes are not those that were sent.
    """

    def __init__(self, limits: StoreLimits, *, checksums_enforced: bool, conditional_complete: bool) -> None:
        self.limits = limits
        self.objects: dict[str, StoredObject] = {}
        self.uploads: dict[str, Upload] = {}
        self.rotted: set[str] = set()
        self._checksums_enforced = checksums_enforced
        self._conditional_complete = conditional_complete
        self._order: list[str] = []
        self._names = 0

    # --- objects -------------------------------------------------------------------------------------------------------

    def create(self, key: str, data: bytes, crc: int, now: datetime) -> ObjectInfo:
        """Create an object that was not there."""
        self._check_body(key, data, crc)
        if key in self.objects:
            raise _taken(key)
        return self._put(key, data, now)

    def get(self, key: str) -> StoredObject:
        """An object. Raises `NotFoundError`."""
        found = self.objects.get(key)
        if found is None:
            raise errors.NotFoundError(f"there is no object {key}")
        return found

    def delete(self, key: str) -> bool:
        """Delete an object; whether it was there."""
        if self.objects.pop(key, None) is None:
            return False
        del self._order[bisect.bisect_left(self._order, key)]
        return True

    def flip(self, key: str, bit: int) -> None:
        """Let a bit of an object rot."""
        found = self.get(key)
        found.data = flipped(found.data, bit)
        self.rotted.add(key)

    def cut(self, key: str, size_bytes: int) -> None:
        """Let an object lose its end."""
        found = self.get(key)
        found.data = found.data[:size_bytes]
        found.info = replace(found.info, size_bytes=size_bytes)
        self.rotted.add(key)

    def put_again(self, key: str) -> None:
        """Put the same bytes there once more, as completing another upload does where that is not conditional."""
        found = self.get(key)
        found.info = replace(found.info, etag=f"etag-{self._name()}")

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that begin with `prefix`, in order."""
        start = bisect.bisect_left(self._order, prefix)
        end = start
        while end < len(self._order) and self._order[end].startswith(prefix):
            end += 1
        return self._order[start:end]

    def list(self, prefix: str, delimiter: str, after: str, limit: int, now: datetime) -> Listing:
        """One page of what lies after `after`, itself a key or a folder."""
        if limit < 1:
            raise errors.InvalidInputError(f"a page of {limit} keys can not be listed", hint="Ask for 1 to 1,000.")
        room = min(limit, _MAX_PAGE)
        order = self._order
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = after
        index = max(bisect.bisect_left(order, prefix), bisect.bisect_right(order, after))
        while index < len(order) and order[index].startswith(prefix):
            key = order[index]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            folder = key[: end + 1] if end >= 0 else ""
            if not folder or folder != after:
                if len(objects) + len(prefixes) == room:
                    return Listing(tuple(objects), tuple(prefixes), last, now)
                if folder:
                    prefixes.append(folder)
                else:
                    objects.append(self.objects[key].info)
                last = folder or key
            # Past everything that begins with the folder: its '/' becomes the next character.
            index = bisect.bisect_left(order, folder[:-1] + chr(ord(folder[-1]) + 1)) if folder else index + 1
        return Listing(tuple(objects), tuple(prefixes), None, now)

    # --- uploads -------------------------------------------------------------------------------------------------------

    def start(self, key: str, now: datetime) -> str:
        """Begin an upload; its id."""
        upload_id = f"upload-{self._name()}"
        self.uploads[upload_id] = Upload(key, now)
        return upload_id

    def upload(self, key: str, upload_id: str) -> Upload:
        """An upload. Raises `UploadGoneError`."""
        found = self.uploads.get(upload_id)
        if found is None or found.key != key:
            raise errors.UploadGoneError(f"there is no upload {upload_id} of {key}", hint="Look at the object itself.")
        return found

    def put_part(self, key: str, upload_id: str, number: int, data: bytes, crc: int) -> PartInfo:
        """Store a part, instead of an earlier one of that number."""
        upload = self.upload(key, upload_id)
        self._check_body(f"part {number} of {key}", data, crc)
        # Where nobody checks, the ETag is what tells which bytes came.
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        etag = f"part-{self._name()}" if self._checksums_enforced else digest
        part = PartInfo(number, len(data), etag, crc)
        upload.parts[number] = (part, data)
        return part

    def complete(self, key: str, upload_id: str, parts: tuple[PartInfo, ...], now: datetime) -> bytes:
        """Join parts into the object; its bytes."""
        held = self.upload(key, upload_id).parts
        self._check_joinable(key, parts, held)
        if key in self.objects:
            if self._conditional_complete:
                raise _taken(key)
            self.delete(key)
        data = b"".join(held[part.number][1] for part in parts)
        self._put(key, data, now)
        del self.uploads[upload_id]
        return data

    def parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """The parts held, ascending."""
        return tuple(part for _, (part, _) in sorted(self.upload(key, upload_id).parts.items()))

    def under_way(self, prefix: str) -> tuple[UploadInfo, ...]:
        """The uploads of keys that begin with `prefix`."""
        return tuple(
            UploadInfo(upload.key, upload_id, upload.started)
            for upload_id, upload in self.uploads.items()
            if upload.key.startswith(prefix)
        )

    # --- its rules -----------------------------------------------------------------------------------------------------

    def check_part_number(self, number: int, key: str) -> None:
        """From 1 to the limit."""
        if not 1 <= number <= self.limits.max_parts:
            raise errors.InvalidInputError(f"{key} can not have a part {number}", hint="Parts are numbered from 1.")

    def _check_body(self, what: str, data: bytes, crc: int) -> None:
        if len(data) > self.limits.max_part_size_bytes:
            raise errors.InvalidInputError(f"{what} is too large for one request", hint="Use smaller parts.")
        if self._checksums_enforced and crc32c(data) != crc:
            raise errors.ChecksumRefusedError(
                f"{what} does not match its CRC32C", hint="It changed after it was digested."
            )

    def _check_joinable(self, key: str, parts: tuple[PartInfo, ...], held: dict[int, tuple[PartInfo, bytes]]) -> None:
        small = self.limits.min_part_size_bytes
        for number, part in enumerate(parts, start=1):
            if (
                part.number != number
                or number not in held
                or held[number][0] != part
                or (number < len(parts) and part.size_bytes < small)
            ):
                raise errors.InvalidInputError(
                    f"{key} can not be joined at part {number}", hint="List the parts again."
                )
        if not parts:
            raise errors.InvalidInputError(f"{key} can not be joined of nothing", hint="Send at least one part.")

    def _put(self, key: str, data: bytes, now: datetime) -> ObjectInfo:
        info = ObjectInfo(key, len(data), f"etag-{self._name()}", now)
        self.objects[key] = StoredObject(info, data)
        bisect.insort(self._order, key)
        return info

    def _name(self) -> int:
        self._names += 1
        return self._names


def check_key(key: str) -> None:
    """A key is a relative path of plain components, else `InvalidInputError`."""
    if len(key.encode()) > _MAX_KEY_BYTES or not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise errors.InvalidInputError(
            f"the key {key!r} is not allowed", hint="A key is a relative path of plain names."
        )


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    index = bit >> 3
    return data[:index] + bytes([data[index] ^ 1 << (bit & 7)]) + data[index + 1 :]


def _taken(key: str) -> errors.AlreadyExistsError:
    return errors.AlreadyExistsError(f"there is already an object {key}", hint="Read it and compare.")
