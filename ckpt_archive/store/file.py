"""A store in a folder: a mounted HDD or a network file system. Each key is a plain file of that relative path and content.

Anybody may read the objects with `cp` and `sha256sum`. Any number of processes and machines may use one folder at once.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from ckpt_archive import errors
from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.disk.protocol import FileSystem, Kind, ReadableFile, parent
from ckpt_archive.store import keys
from ckpt_archive.store.body import Body
from ckpt_archive.store.file_cold import ColdFiles
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, Store, StoredBytes, StoreLimits, UploadInfo
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.tree import BUFFER_BYTES, Tree
from ckpt_archive.store.tree import info as object_info
from ckpt_archive.store.tree_fitness import prepare
from ckpt_archive.store.tree_uploads import LeftOver, Uploads

# A file may be of any size; the number of parts bounds the names in one scratch folder.
FILE_LIMITS = StoreLimits(min_part_size_bytes=1, max_part_size_bytes=1 << 50, max_parts=10_000)


def _nonce() -> str:
    return secrets.token_hex(16)


class FileStore:
    """Objects in the files below `root`, which `prepare` has made.

    Args:
        fs: The file system.
        root: An absolute path.
        clock: Tells the time; that of the files is their modification time.
        nonce: A new text at each call, unique among all who use this folder.
        limits: Sizes and counts it accepts.

    Attributes:
        cold: What of it lies below a second root, if it has one.
    """

    def __init__(
        self,
        fs: FileSystem,
        root: str,
        *,
        clock: Clock | None = None,
        nonce: Callable[[], str] = _nonce,
        limits: StoreLimits = FILE_LIMITS,
    ) -> None:
        if not root.startswith("/") or not root.strip("/"):
            raise errors.InvalidInputError(
                f"{root!r} is not the absolute path of a folder", hint="Use file:///absolute/path."
            )
        root = root.rstrip("/")
        self._limits = limits
        self._clock = clock or SystemClock()
        self._tree = Tree(fs, root, f"file://{root}", nonce)
        self._uploads = Uploads(self._tree, limits)
        self.cold = ColdFiles(self._tree, self._clock)

    def prepare(self) -> None:
        """Make the folder, and check that its file system can do what is needed; may be repeated.

        Raises:
            InvalidInputError: If it has no hard links, without which nothing can be created once and only once.
        """
        prepare(self._tree)
        with self._tree.failures(self._tree.root):
            self._uploads.prepare()

    def clean(self, before: datetime) -> int:
        """Remove uploads and temporary files that nobody wrote to since `before`; how many there were.

        What the lifecycle rule for incomplete uploads does in an S3 store. The age must be far above the longest pause of
        a writer: whoever still writes gets an error.
        """
        return self._uploads.clean(before)

    def left_over(self, before: datetime) -> Iterator[LeftOver]:
        """What `clean` would remove."""
        return self._uploads.left_over(before)

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._tree.url

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self._limits

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        tree = self._tree
        keys.check_size(body.size_bytes, key, self._limits)
        if self._is_taken(key):
            raise keys.taken(key, self.url)
        with tree.temporary() as temporary:
            with tree.failures(key):
                file = tree.fs.create(temporary)
            with file:
                tree.receive(file, key, body, lambda: tree.failures(key))
                with tree.failures(key):
                    file.sync()
                    stat = file.stat()
            tree.publish(temporary, key)
        return object_info(key, stat)

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        chunks: list[bytes] = []
        with self._tree.open(key) as found:
            with self._tree.failures(key):
                info = found.info()
                self._tree.fs.sync_directory(parent(self._tree.path(key)))
            keys.check_small(info, limit_bytes)
            self._stream(found.file, info, 0, info.size_bytes, lambda chunk: chunks.append(bytes(chunk)))
        return StoredBytes(info, b"".join(chunks))

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`. The bucket is the folder itself."""
        key = keys.full("", key)
        with self._tree.open(key) as found:
            with self._tree.failures(key):
                info = found.info()
            keys.check_current(info, etag)
            keys.check_range(info, offset, length)
            self._stream(found.file, info, offset, length, sink)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`. The bucket is the folder itself."""
        return replace(self._tree.head(keys.full("", key)), key=key)

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`. The delimiter may only be '/'."""
        if delimiter not in ("", "/"):
            raise errors.InvalidInputError(f"{delimiter!r} can not divide keys here", hint="Use '/' or nothing.")
        room = keys.page_size(limit)
        folder = prefix.rpartition("/")[0] + "/" if "/" in prefix else ""
        after = start_after if token is None else token
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last, next_token = after, None
        for name in self._names(folder, prefix, after, is_deep=not delimiter):
            if len(objects) + len(prefixes) == room:
                next_token = last
                break
            if name.endswith("/"):
                prefixes.append(name)
            else:
                shown = self._tree.shown(name)
                objects += [] if shown is None else [shown]
            last = name
        self._make_durable({parent("/" + info.key) for info in objects})
        return Listing(tuple(objects), tuple(prefixes), next_token, self._clock.now())

    def not_shown(self, folder: str) -> Iterator[str]:
        """What lies below a folder (ending in '/') and is in no listing: links, devices, names that no key may have."""
        shown = self._tree.level(folder)
        with self._tree.failures(folder):
            entries = self._tree.fs.list(f"{self._tree.root}/{folder}".rstrip("/"))
        names = {f"{folder}{entry.name}{'/' if entry.kind is Kind.DIRECTORY else ''}" for entry in entries}
        yield from sorted(names.difference(shown))
        for name in shown:
            if name.endswith("/"):
                yield from self.not_shown(name)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._tree.path(key)
        # First what lies below the second root: whoever dies between the two leaves a name that is found and deleted again.
        self.cold.remove(key)
        with self._tree.failures(key):
            try:
                self._tree.fs.remove(path)
            except (FileNotFoundError, NotADirectoryError):
                self._tree.check_mounted()
                return
            self._tree.fs.sync_directory(parent(path))

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        return self._uploads.start(key)

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        return self._uploads.put(key, upload_id, number, body)

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        if self._is_taken(key):
            # Before the bytes are copied for nothing; that the upload is there is asked first, as every store does.
            self._uploads.parts(key, upload_id)
            raise keys.taken(key, self.url)
        self._uploads.join(key, upload_id, parts)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        del key
        self._uploads.abort(upload_id)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        return self._uploads.under_way(prefix)

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        return self._uploads.parts(key, upload_id)

    def _is_taken(self, key: str) -> bool:
        try:
            self._tree.head(key)
        except errors.NotFoundError:
            return False
        return True

    def _stream(self, file: ReadableFile, info: ObjectInfo, offset: int, length: int, sink: Sink) -> None:
        buffer = memoryview(bytearray(min(BUFFER_BYTES, length)))
        done = 0
        while done < length:
            with self._tree.failures(info.key):
                read = file.read_into(buffer[: length - done], offset + done)
            if not read:
                raise errors.IntegrityError(
                    f"{info.key} became shorter than {info.size_bytes} bytes while it was read",
                    hint="Nothing may write into an archive: find out who did.",
                )
            sink(buffer[:read].toreadonly())
            done += read

    def _names(self, folder: str, prefix: str, after: str, *, is_deep: bool) -> Iterator[str]:
        """Keys and folders (ending in '/') that begin with `prefix` and come after `after`, in byte order."""
        for name in self._tree.level(folder):
            if not name.startswith(prefix):
                continue
            if not name.endswith("/"):
                if name > after:
                    yield name
            elif is_deep and (name > after or after.startswith(name)):
                yield from self._names(name, name, after, is_deep=True)
            elif not is_deep and name != after and self._holds_more(name, after):
                yield name

    def _holds_more(self, folder: str, after: str) -> bool:
        """Whether any object lies below: folders are made before the link, and stay when an object is deleted."""
        return next(self._names(folder, folder, after, is_deep=True), None) is not None

    def _make_durable(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with self._tree.failures(folder):
                self._tree.fs.sync_directory(self._tree.root + folder.rstrip("/"))


def files_of(store: Store) -> FileStore | None:
    """The store in a folder behind one that insists; None for any other store."""
    while isinstance(store, RetryingStore):
        store = store.inner
    return store if isinstance(store, FileStore) else None
