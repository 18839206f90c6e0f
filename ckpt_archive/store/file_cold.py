"""The second root of a `FileStore`: a cheaper mount, or tape behind a file system, for what is old.

An object that is moved there keeps its key. Its file is copied to the same relative path below the second root, read back
and compared with the SHA-256 in its key; then, in one step, a symbolic link takes the place of the file. The link leads
through `<root>/.cold`, itself a link to the second root, so that a mount that moves is one change. Thawing copies back, and
leaves the copy below the second root where it is: cooling again is one comparison and a link.

Whoever is killed anywhere and tries again comes to the same end, and at every moment the whole object is in at least one of
the two places. Beside this module only `tree` knows of the links.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta

from ckpt_archive import errors, strictjson
from ckpt_archive.clock import Clock
from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import FileStat, ReadableFile, WritableFile, join, parent
from ckpt_archive.store import keys
from ckpt_archive.store.bucket import Temperature, Warmth
from ckpt_archive.store.tree import BUFFER_BYTES, COLD, COLD_CLASS, Tree, cold_target
from ckpt_archive.store.tree_fitness import prepare

OWNER = ".cold-of.json"
"""In the second root: whose it is."""

_DIGEST = re.compile("[0-9a-f]{64}")
_THAWED = "thawed"
_THAW = re.compile(r"([0-9]{8}T[0-9]{6})-([0-9a-f]{64})")
_STAMP = "%Y%m%dT%H%M%S"
_MOUNT = "Mount it, or make the folder if it is new."


class ColdFiles:
    """What of a store lies, or may lie, below its second root.

    Args:
        tree: The store's files.
        clock: Tells until when something is thawed.
    """

    def __init__(self, tree: Tree, clock: Clock) -> None:
        assert tree.cold is not None
        self._tree = tree
        self._cold = tree.cold
        self._clock = clock

    # --- the second root ------------------------------------------------------------------------------------------------

    def root(self) -> str | None:
        """Where the second root is, whether or not it is mounted; None if there is none."""
        with self._tree.failures(COLD):
            try:
                return self._tree.fs.read_symlink_beneath(self._tree.root, COLD)
            except FileNotFoundError:
                return None

    def attach(self, path: str, archive_id: str) -> None:
        """Make a folder the second root; may be repeated.

        Args:
            path: Absolute; it is there, and is empty or was attached before.
            archive_id: Whose it is to be: no other archive may use it.

        Raises:
            InvalidInputError: If that folder can not be one.
            ColdError: If it is not there.
            ConflictError: If it is another archive's, or this one has another.
        """
        path = "/" + "/".join(component for component in path.split("/") if component)
        self._check_path(path)
        before = self.root()
        if before not in (None, path):
            raise errors.ConflictError(
                f"the second root of {self._tree.url} is {before}, not {path}",
                hint=f"If it was moved: `ln -sfn {path} {join(self._tree.root, COLD)}`. Else move what lies in it first.",
            )
        if before is None:
            self._own(path, archive_id)
            with self._tree.temporary() as temporary, self._tree.failures(COLD):
                self._tree.fs.make_symlink(temporary, path)
                try:
                    self._tree.fs.rename(temporary, self._cold.root)
                except FileExistsError as error:
                    raise errors.ConflictError(
                        f"somebody else is giving {self._tree.url} a second root", hint="Try again."
                    ) from error
        with self._tree.failures(COLD):
            self._tree.fs.sync_directory(self._tree.root)
        self._check_owner(self._cold.root, archive_id)

    def _check_path(self, path: str) -> None:
        root = self._tree.root
        if any(component in (".", "..") for component in path.split("/")) or path == "/":
            raise errors.InvalidInputError(f"{path} can not be a second root", hint="Name a folder by its plain path.")
        if f"{path}/".startswith(f"{root}/") or f"{root}/".startswith(f"{path}/"):
            raise errors.InvalidInputError(
                f"{path} can not be the second root of {self._tree.url}: one lies in the other",
                hint="Use a folder on another file system.",
            )

    def _own(self, path: str, archive_id: str) -> None:
        fs = self._tree.fs
        with self._tree.failures(path):
            try:
                is_folder = durable.is_folder(fs, path)
            except FileNotFoundError as error:
                raise errors.ColdError(f"the second root {path} is not there", hint=_MOUNT) from error
            if not is_folder or durable.exists(fs, join(path, "archive.json")):
                raise errors.InvalidInputError(
                    f"{path} can not be a second root: it is {'an archive itself' if is_folder else 'no folder'}",
                    hint="Use an empty folder.",
                )
        second = Tree(fs, path, f"file://{path}", self._tree.nonce, is_second=True)
        prepare(second)
        with second.failures(path):
            record = strictjson.encode({"archive": archive_id})
            durable.write_once(fs, join(path, OWNER), record, nonce=self._tree.nonce())
        self._check_owner(path, archive_id)

    def _check_owner(self, path: str, archive_id: str) -> None:
        with self._tree.failures(path):
            try:
                data = durable.read_small(self._tree.fs, join(path, OWNER), limit_bytes=1 << 16)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise self._tree.not_mounted("what is cold") from error
        owner = strictjson.Fields(strictjson.decode(data, OWNER), OWNER).text("archive")
        if owner != archive_id:
            raise errors.ConflictError(
                f"{path} is the second root of another archive, {owner}", hint="Give every archive a folder of its own."
            )

    # --- cooling --------------------------------------------------------------------------------------------------------

    def cool(self, key: str) -> int:
        """Move an object below the second root; the number of bytes, 0 if it was there before.

        Raises:
            NotFoundError: If there is no such object.
            IntegrityError: If its bytes are not those of its key, or those that were read back are not: nothing was moved.
            ColdError: If the second root is not there.
            ConflictError: If somebody changed it meanwhile.
        """
        check_coolable(key)
        if self._tree.is_cold(key):
            return 0
        if not self._cold.is_mounted():
            raise self._tree.not_mounted(key)
        with self._tree.open(key) as found, self._tree.failures(key):
            before = found.file.stat()
            self._copy_down(key, found.file, before)
            self._check_still(key, before)
            with self._tree.temporary() as temporary:
                self._tree.fs.make_symlink(temporary, cold_target(key))
                self._put(temporary, key)
        return before.size_bytes

    def _copy_down(self, key: str, file: ReadableFile, before: FileStat) -> None:
        """The object's whole content durably below the second root, whatever an earlier try has left there."""
        cold, digest = self._cold, key.rpartition("/")[2]
        with cold.failures(key):
            try:
                with cold.open(key) as there:
                    if _sha256(there.file) == digest:
                        cold.fs.sync_directory(parent(cold.path(key)))
                        return
            except errors.NotFoundError:
                pass
            else:
                # What is there now can be read: what was damaged there is written anew.
                _check(_sha256(file), digest, key, self._tree.url)
                cold.fs.remove(cold.path(key))
            with cold.temporary() as temporary:
                with cold.fs.create(temporary) as copy:
                    _check(_sha256(file, copy), digest, key, self._tree.url)
                    copy.set_modified(before.mtime_ns)
                    copy.sync()
                with cold.fs.open(temporary) as copy:
                    _check(_sha256(copy), digest, key, cold.url)
                cold.publish(temporary, key)

    def _check_still(self, key: str, before: FileStat) -> None:
        try:
            now = self._tree.fs.stat(self._tree.path(key))
        except FileNotFoundError as error:
            # Its end has come meanwhile: nobody would ever find the copy.
            self.remove(key)
            raise keys.missing(key, self._tree.url) from error
        if (now.inode, now.mtime_ns, now.size_bytes) != (before.inode, before.mtime_ns, before.size_bytes):
            raise errors.ConflictError(
                f"{key} in {self._tree.url} was changed while it was copied", hint="Find out who did, and try again."
            )

    def _put(self, temporary: str, key: str) -> None:
        """Let a file or link take the place of what stands under a key, durably and in one step."""
        path = self._tree.path(key)
        self._tree.fs.replace(temporary, path)
        self._tree.fs.sync_directory(parent(path))

    def remove(self, key: str) -> None:
        """Delete what lies below the second root of an object, cold or not; that there is nothing is fine.

        Raises:
            ColdError: If the second root is not there: nobody knows.
        """
        if not is_coolable(key) or self.root() is None:
            return
        with self._cold.failures(key):
            path = self._cold.path(key)
            try:
                self._cold.fs.remove(path)
            except (FileNotFoundError, NotADirectoryError):
                if not self._cold.is_mounted():
                    raise self._tree.not_mounted(key) from None
                return
            self._cold.fs.sync_directory(parent(path))

    # --- thawing --------------------------------------------------------------------------------------------------------

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`. What is cold here can be read, slowly, as long as the second root is there."""
        with self._tree.open(key) as found, self._tree.failures(key):
            info = found.info()
        if info.storage_class:
            return Temperature(key, info.size_bytes, info.storage_class, Warmth.COLD)
        until_at = self.thawed().get(thaw_name(key))
        if until_at is None or until_at <= self._clock.now():
            return Temperature(key, info.size_bytes, "", Warmth.WARM)
        return Temperature(key, info.size_bytes, COLD_CLASS, Warmth.THAWED, until_at)

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`. When this returns the object has been copied back, and stays so for these days.

        Raises:
            NotFoundError: If there is no such object.
            IntegrityError: If its bytes are not those of its key: nothing was changed.
            ColdError: If the second root is not there.
            CapacityError: If there is no room for it.
        """
        del tier
        is_cold = self._tree.head(key).storage_class == COLD_CLASS
        if not is_cold and not self._has_copy(key):
            return
        # First, so that nobody cools it again as soon as it is back.
        self._mark(key, self._clock.now() + timedelta(days=days))
        if not is_cold:
            return
        with self._tree.open(key) as found, self._tree.failures(key), self._tree.temporary() as temporary:
            with self._tree.fs.create(temporary) as copy:
                _check(_sha256(found.file, copy), key.rpartition("/")[2], key, self._cold.url)
                copy.set_modified(found.file.stat().mtime_ns)
                copy.sync()
            if not self._tree.is_cold(key):
                return  # somebody else has thawed it meanwhile, or deleted it
            self._put(temporary, key)

    def thawed(self) -> dict[str, datetime]:
        """Until when objects are to stay thawed, by `thaw_name` of their key; those that are over too."""
        folder = join(self._tree.scratch, _THAWED)
        found: dict[str, datetime] = {}
        with self._tree.failures(_THAWED):
            try:
                entries = self._tree.fs.list(folder)
            except FileNotFoundError:
                return found
        for entry in entries:
            if match := _THAW.fullmatch(entry.name):
                until_at = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
                found[match[2]] = max(until_at, found.get(match[2], until_at))
        return found

    def _has_copy(self, key: str) -> bool:
        """Whether it was cold before."""
        with self._cold.failures(key):
            return self.root() is not None and durable.exists(self._cold.fs, self._cold.path(key))

    def _mark(self, key: str, until_at: datetime) -> None:
        """Nothing that is needed: if it gets lost, the object is cooled again too early."""
        folder = join(self._tree.scratch, _THAWED)
        with self._tree.failures(key):
            durable.make_directories(self._tree.fs, folder)
            try:
                self._tree.fs.create(join(folder, f"{until_at:{_STAMP}}-{thaw_name(key)}")).close()
            except FileExistsError:
                return

    def forget_thawed(self, now: datetime) -> None:
        """Remove the marks of what is not to stay thawed any more."""
        folder = join(self._tree.scratch, _THAWED)
        with self._tree.failures(_THAWED):
            if not durable.exists(self._tree.fs, folder):
                return
            for entry in self._tree.fs.list(folder):
                match = _THAW.fullmatch(entry.name)
                if match and datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC) <= now:
                    durable.remove_if_there(self._tree.fs, join(folder, entry.name))


def is_coolable(key: str) -> bool:
    """Whether the last component of a key says which bytes the object has: only then can a copy be proved."""
    return _DIGEST.fullmatch(key.rpartition("/")[2]) is not None


def check_coolable(key: str) -> None:
    """Raise `InvalidInputError` unless `is_coolable`."""
    if not is_coolable(key):
        raise errors.InvalidInputError(
            f"{key} can not be moved below the second root: its key does not end in the SHA-256 of its bytes",
            hint="Only data objects can.",
        )


def thaw_name(key: str) -> str:
    """What stands for a key in the name of a mark."""
    return sha256_hex(key.encode())


def _sha256(source: ReadableFile, copy: WritableFile | None = None) -> str:
    """The SHA-256 of a whole file, which is copied on the way."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(BUFFER_BYTES))
    position = 0
    while read := source.read_into(buffer, position):
        digest.update(buffer[:read])
        if copy is not None:
            copy.write_at(buffer[:read], position)
        position += read
    return digest.hexdigest()


def _check(found: str, digest: str, key: str, url: str) -> None:
    if found != digest:
        raise errors.IntegrityError(
            f"{key} in {url} has the SHA-256 {found}",
            hint="It is not what was archived, and was left where it is: verify this checkpoint.",
        )
