"""Multipart uploads of a `FileStore`: each a folder in the scratch folder, which holds the parts until they are joined.

::

    .tmp/uploads/<id>/upload.json                           the key
    .tmp/uploads/<id>/part-<number>-<size>-<CRC32C>         a part; its name says what it must contain

Parts are not made durable: a part that a power loss damaged is found when the parts are joined, and is sent again.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive import errors, strictjson
from ckpt_archive.digest import crc32c, crc32c_from_hex, crc32c_hex
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import FileStat, FileSystem, Kind, WritableFile, join
from ckpt_archive.store import keys
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo, StoreLimits, UploadInfo
from ckpt_archive.store.tree import BUFFER_BYTES, TEMPORARY_SUFFIX, Tree, moment

_UPLOADS = "uploads"
_RECORD = "upload.json"
_TRASH_SUFFIX = ".trash"
# Many times a key with every character escaped.
_MAX_RECORD_BYTES = 64 << 10
_UPLOAD_ID = re.compile(r"[0-9A-Za-z-]{1,100}")
_PART = re.compile(r"part-([0-9]{5})-([0-9]+)-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Something that a writer left behind.

    Attributes:
        key: Of the object that it was to become; "" if nobody knows.
        name: The id of an upload, or the path of a temporary file.
        size_bytes: What it takes.
        written_at: When it was last written to.
        is_upload: Whether it is an upload.
    """

    key: str
    name: str
    size_bytes: int
    written_at: datetime
    is_upload: bool = False


class Uploads:
    """The uploads under way in one tree."""

    def __init__(self, tree: Tree, limits: StoreLimits) -> None:
        self._tree = tree
        self._fs = tree.fs
        self._limits = limits
        self._folder = join(tree.scratch, _UPLOADS)

    def prepare(self) -> None:
        """Make the folder that holds them."""
        durable.make_directories(self._fs, self._folder)

    def start(self, key: str) -> str:
        """See `Store.start_upload`."""
        self._tree.path(key)
        upload_id = self._tree.nonce()
        folder = join(self._folder, upload_id)
        with self._tree.failures(key):
            self._fs.make_directory(folder)
            self._fs.sync_directory(self._folder)
            record = strictjson.encode({"key": key})
            durable.write_once(self._fs, join(folder, _RECORD), record, nonce=self._tree.nonce())
        return upload_id

    def put(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        what = f"part {number} of {key}"
        keys.check_part_number(number, key, self._limits)
        keys.check_size(body.size_bytes, what, self._limits)
        folder = self._checked(key, upload_id)
        temporary = join(folder, self._tree.nonce() + TEMPORARY_SUFFIX)
        try:
            with self._asked(key, upload_id):
                file = self._fs.create(temporary)
            with file:
                self._tree.receive(file, what, body, lambda: self._asked(key, upload_id))
                with self._asked(key, upload_id):
                    file.close()  # where NFS tells of a full disk
            name = f"part-{number:05d}-{body.size_bytes}-{crc32c_hex(body.crc32c)}"
            with self._asked(key, upload_id):
                self._fs.replace(temporary, join(folder, name))
        finally:
            with self._tree.failures(key):
                durable.remove_if_there(self._fs, temporary)
        return _part(name)

    def parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        return tuple(_part(name) for name in self._names(key, upload_id))

    def join(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        held = {_part(name): name for name in self._names(key, upload_id)}
        keys.check_joinable(key, parts, held, self._limits)
        with self._tree.temporary() as temporary, self._asked(key, upload_id):
            with self._fs.create(temporary) as file:
                position = 0
                for part in parts:
                    self._append(join(self._folder, upload_id, held[part]), part, file, position)
                    position += part.size_bytes
                file.sync()
            self._tree.publish(temporary, key)
        # Dying before this is no harm: whoever meets the object and the upload gives the upload up.
        self.abort(upload_id)

    def abort(self, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        if not _UPLOAD_ID.fullmatch(upload_id):
            return
        trash = join(self._tree.scratch, self._tree.nonce() + _TRASH_SUFFIX)
        with self._tree.failures(upload_id):
            try:
                # At once for everybody, also for those who are sending parts.
                durable.move(self._fs, join(self._folder, upload_id), trash)
            except FileNotFoundError:
                self._tree.check_mounted()
                return
            durable.remove_tree(self._fs, trash)

    def under_way(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        found: list[UploadInfo] = []
        for upload_id in self._ids():
            with self._tree.failures(upload_id):
                try:
                    key, stat = self._record(upload_id)
                except (FileNotFoundError, errors.IntegrityError):
                    continue  # given up meanwhile; or whoever began it died before anybody knew of it
            if key.startswith(prefix):
                found.append(UploadInfo(key, upload_id, moment(stat)))
        return tuple(found)

    def left_over(self, before: datetime) -> Iterator[LeftOver]:
        """The uploads and temporary files that nobody wrote to since `before`."""
        for upload_id in self._ids():
            found = self._found(upload_id)
            if found is not None and found.written_at < before:
                yield found
        for tree in (self._tree, self._tree.cold):
            if tree is not None and tree.is_mounted():
                yield from _temporary(tree, before)

    def clean(self, before: datetime) -> int:
        """Remove the uploads and temporary files that nobody wrote to since `before`; how many there were."""
        removed = 0
        for left in list(self.left_over(before)):
            if left.is_upload:
                self.abort(left.name)
            else:
                with self._tree.failures(left.name):
                    _remove_any(self._fs, left.name)
            removed += 1
        return removed

    def _found(self, upload_id: str) -> LeftOver | None:
        """An upload; None if it was given up meanwhile. One of which nobody knows the key is one all the same."""
        folder = join(self._folder, upload_id)
        with self._tree.failures(upload_id):
            try:
                stats = [self._fs.stat(folder)]
                stats += [self._fs.stat(join(folder, entry.name)) for entry in self._fs.list(folder)]
            except FileNotFoundError:
                return None
            try:
                key, _ = self._record(upload_id)
            except (FileNotFoundError, errors.IntegrityError):
                key = ""
        size_bytes = sum(stat.size_bytes for stat in stats if stat.kind is Kind.FILE)
        return LeftOver(key, upload_id, size_bytes, max(map(moment, stats)), is_upload=True)

    def _ids(self) -> list[str]:
        with self._tree.failures(_UPLOADS):
            return [entry.name for entry in self._fs.list(self._folder) if entry.kind is Kind.DIRECTORY]

    def _record(self, upload_id: str) -> tuple[str, FileStat]:
        path = join(self._folder, upload_id, _RECORD)
        with self._fs.open(path) as file:
            stat = file.stat()
            data = bytearray(min(stat.size_bytes, _MAX_RECORD_BYTES))
            read = file.read_into(memoryview(data), 0)
        members = strictjson.decode(bytes(data[:read]), path)
        return strictjson.Fields(members, path).text("key"), stat

    def _checked(self, key: str, upload_id: str) -> str:
        """The folder of an upload of this key. Raises `UploadGoneError`."""
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise keys.gone(key, upload_id, self._tree.url)
        with self._asked(key, upload_id):
            if self._record(upload_id)[0] != key:
                raise keys.gone(key, upload_id, self._tree.url)
        return join(self._folder, upload_id)

    @contextmanager
    def _asked(self, key: str, upload_id: str) -> Iterator[None]:
        """Convert this file system's errors where a missing file means that the upload is gone."""
        with self._tree.failures(key):
            try:
                yield
            except FileNotFoundError as error:
                self._tree.check_mounted()
                raise keys.gone(key, upload_id, self._tree.url) from error

    def _names(self, key: str, upload_id: str) -> list[str]:
        """The file names of the parts, ascending, of each number the latest one that is whole."""
        latest: dict[int, tuple[int, str]] = {}
        folder = self._checked(key, upload_id)
        with self._asked(key, upload_id):
            for entry in self._fs.list(folder):
                if _PART.fullmatch(entry.name):
                    part, stat = _part(entry.name), self._fs.stat(join(folder, entry.name))
                    if stat.size_bytes == part.size_bytes:
                        latest[part.number] = max(latest.get(part.number, (0, "")), (stat.mtime_ns, entry.name))
        return [latest[number][1] for number in sorted(latest)]

    def _append(self, path: str, part: PartInfo, file: WritableFile, position: int) -> None:
        sent = _part(path.rpartition("/")[2])
        buffer = memoryview(bytearray(min(BUFFER_BYTES, part.size_bytes)))
        done = computed = 0
        with self._fs.open(path) as source:
            while done < part.size_bytes:
                read = source.read_into(buffer[: part.size_bytes - done], done)
                if not read:
                    break
                computed = crc32c(buffer[:read], computed)
                file.write_at(buffer[:read], position + done)
                done += read
        if done != part.size_bytes or computed != sent.crc32c:
            durable.remove_if_there(self._fs, path)
            raise errors.InvalidInputError(
                f"part {part.number} is no longer what was sent: {path}",
                hint="It was damaged on this disk, perhaps by a power loss: send it again.",
            )


def _temporary(tree: Tree, before: datetime) -> Iterator[LeftOver]:
    with tree.failures(tree.scratch):
        for entry in tree.fs.list(tree.scratch):
            if not entry.name.endswith((_TRASH_SUFFIX, TEMPORARY_SUFFIX)):
                continue
            path = join(tree.scratch, entry.name)
            try:
                stat = tree.fs.stat(path)
            except FileNotFoundError:
                continue
            if moment(stat) < before:
                size_bytes = stat.size_bytes if stat.kind is Kind.FILE else 0
                yield LeftOver("", path, size_bytes, moment(stat))


def _remove_any(fs: FileSystem, path: str) -> None:
    if durable.exists(fs, path):
        remove = durable.remove_tree if fs.stat(path).kind is Kind.DIRECTORY else durable.remove_if_there
        remove(fs, path)


def _part(name: str) -> PartInfo:
    match = _PART.fullmatch(name)
    assert match is not None, name
    return PartInfo(int(match[1]), int(match[2]), f"{match[2]}-{match[3]}", crc32c_from_hex(match[3]))
