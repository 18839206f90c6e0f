"""Fetches files into a private folder, checks every byte, and goes on where an earlier download was killed.

Whatever lies in the folder is believed only after its digests were computed again. The folder gets its real name from the
caller, and only after `download_files` has returned.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ckpt_archive.disk.durable import make_directories
from ckpt_archive.disk.protocol import FileSystem, Kind, join, parent, walk
from ckpt_archive.errors import CapacityError, IntegrityError
from ckpt_archive.executor import Executor
from ckpt_archive.names import check_file_tree
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.bandwidth import Limiter, paced
from ckpt_archive.transfer.flow import flow
from ckpt_archive.transfer.landing import (
    Range,
    RangeWriter,
    Run,
    Target,
    check_existing,
    extend_sha256,
    local_errors,
    make_file,
    plan_ranges,
    wrong_twice,
)
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.verify import EMPTY_SHA256, Wanted


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """What a download did.

    Attributes:
        files: How many files are now there, right and durable.
        bytes_fetched: Received from the store, parts fetched twice counted twice.
        bytes_kept: Found in the folder and right.
        ranges_fetched: Ranged GETs.
    """

    files: int
    bytes_fetched: int
    bytes_kept: int
    ranges_fetched: int


def download_files(
    store: Store,
    executor: Executor,
    fs: FileSystem,
    root: str,
    wanted: Sequence[Wanted],
    settings: TransferSettings,
    *,
    progress: Callable[[int], None] | None = None,
    limiter: Limiter | None = None,
) -> DownloadReport:
    """Make `root` hold exactly the `wanted` files, every one checked and durable.

    Args:
        store: Where the objects are.
        executor: Runs the requests and the local work.
        fs: Where the files go.
        root: A folder that nobody else uses, perhaps left by a killed download; created if missing. What lies in it and
            is not wanted is removed.
        wanted: The files.
        settings: How many ranges are in flight, and the buffer's size.
        progress: Told how many more bytes are in place, from the caller's thread.
        limiter: Bandwidth, if limited.

    Raises:
        IntegrityError: If the store holds other bytes than were archived; names the object's key and the file.
        NotFoundError: If an object is not there.
        ConflictError: If an object, or the folder, was changed by somebody else meanwhile.
        CapacityError: If there is no room for the files.
        UnavailableError: If the store does not answer.
    """
    check_file_tree(item.file.path for item in wanted)
    for item in wanted:
        if item.object is None and (item.file.size_bytes or item.file.sha256 != EMPTY_SHA256):
            raise IntegrityError(
                f"no object is recorded for {item.file.path!r}, which is not empty", hint="Its receipt is damaged."
            )
    targets = [Target(item) for item in wanted]
    download = _Download(store, executor, fs, root, settings, progress or _ignore, limiter)
    download.tidy(targets)
    download.keep(targets)
    download.fetch(targets)
    download.sync_folders()
    return DownloadReport(len(targets), download.bytes_fetched, download.bytes_kept, download.ranges_fetched)


def _ignore(_: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class _Fetch:
    """Fetch a range."""

    range: Range


@dataclass(frozen=True, slots=True)
class _Fetched:
    range: Range
    done: set[Target]
    bytes_fetched: int
    requests: int


@dataclass(frozen=True, slots=True)
class _Hash:
    """Extend a target's SHA-256 up to a run."""

    target: Target
    until_run: int


@dataclass(frozen=True, slots=True)
class _Hashed:
    target: Target
    until_run: int
    done: bool


class _Download:
    def __init__(
        self,
        store: Store,
        executor: Executor,
        fs: FileSystem,
        root: str,
        settings: TransferSettings,
        progress: Callable[[int], None],
        limiter: Limiter | None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._fs = fs
        self._root = root
        self._settings = settings
        self._progress = progress
        self._limiter = limiter
        self._jobs: deque[_Fetch | _Hash] = deque()
        self._etags: dict[str, str] = {}
        self.bytes_fetched = 0
        self.bytes_kept = 0
        self.ranges_fetched = 0

    def tidy(self, targets: list[Target]) -> None:
        """Remove everything that is not a wanted file of the right size, and mark those that are."""
        expected = {target.path: target for target in targets}
        folders = {folder for path in expected for folder in _folders_of(path)}
        with local_errors(self._root, "."):
            make_directories(self._fs, parent(self._root))
            self._make_root()
            for relative, entry in reversed(list(walk(self._fs, self._root))):
                path = join(self._root, relative)
                target = expected.get(relative)
                if entry.kind is Kind.DIRECTORY:
                    if relative not in folders:
                        self._fs.remove_directory(path)
                elif target is not None and entry.kind is Kind.FILE and self._has_its_size(path, target):
                    target.exists = True
                else:
                    self._fs.remove(path)

    def _make_root(self) -> None:
        try:
            self._fs.make_directory(self._root)
        except FileExistsError:
            stat = self._fs.stat(self._root)
            # A link would lead all that is removed and written here somewhere else.
            if stat.kind is not Kind.DIRECTORY or stat.foreign:
                raise
        self._fs.sync_directory(parent(self._root))

    def _has_its_size(self, path: str, target: Target) -> bool:
        stat = self._fs.stat(path)
        # A second name would let somebody change the bytes after they were checked.
        return stat.size_bytes == target.wanted.file.size_bytes and stat.link_count == 1

    def keep(self, targets: list[Target]) -> None:
        """Find what an earlier download left that is right."""

        def check(target: Target) -> tuple[Target, list[bool], bool]:
            return target, *check_existing(self._fs, self._root, target, self._settings.buffer_size_bytes)

        existing = deque(target for target in targets if target.exists)
        for target, good, done in flow(self._executor, existing, check, limit=self._settings.parts_in_flight):
            target.good = good
            target.done = done
            kept = sum(run.length for run in target.runs() if good[run.index])
            self.bytes_kept += kept
            self._progress(kept)

    def fetch(self, targets: list[Target]) -> None:
        """Fetch what is missing, each object pinned by the ETag of one HEAD."""
        unfinished = [target for target in targets if not target.done]
        ranges = plan_ranges(run for target in unfinished for run in target.runs() if not target.good[run.index])
        self._check_room(run for item in ranges for run in item.runs)
        self._head(unfinished, {item.key for item in ranges})
        self._make_files(unfinished, ranges)
        self._jobs.extend(_Fetch(item) for item in ranges)
        for target in unfinished:
            self._hash_what_landed(target)
        for result in flow(self._executor, self._jobs, self._perform, limit=self._settings.parts_in_flight):
            if isinstance(result, _Fetched):
                self._landed(result)
            else:
                self._hashed(result)
        missing = [target.path for target in targets if not target.done]
        assert not missing, missing

    def sync_folders(self) -> None:
        """Make the names durable, from the leaves up."""
        with local_errors(self._root, "."):
            for relative, entry in reversed(list(walk(self._fs, self._root))):
                if entry.kind is Kind.DIRECTORY:
                    self._fs.sync_directory(join(self._root, relative))
            self._fs.sync_directory(self._root)

    def _check_room(self, runs: Iterable[Run]) -> None:
        needed = sum(run.length for run in runs if not run.target.exists)
        with local_errors(self._root, "."):
            free = self._fs.space(self._root).free_bytes
        if needed > free:
            raise CapacityError(
                f"{self._root} has room for {free} bytes, but {needed} are still to be fetched",
                hint="Make room or choose another folder, then run it again: it goes on where it was.",
            )

    def _head(self, targets: list[Target], keys: set[str]) -> None:
        sizes = {target.wanted.key: target.wanted.object.size_bytes for target in targets if target.wanted.object}
        heads = flow(self._executor, deque(sorted(keys)), self._store.head, limit=self._settings.parts_in_flight)
        for info in heads:
            if info.size_bytes != sizes[info.key]:
                raise IntegrityError(
                    f"{info.key} has {info.size_bytes} bytes in the store, not the {sizes[info.key]} archived",
                    hint="The object is damaged: restore another checkpoint, and have this one verified.",
                )
            self._etags[info.key] = info.etag

    def _make_files(self, targets: list[Target], ranges: list[Range]) -> None:
        """Reserve the files whose runs come in several ranges; the others are created as their bytes arrive."""
        pieces: dict[Target, int] = {}
        for item in ranges:
            for target in {run.target for run in item.runs}:
                pieces[target] = pieces.get(target, 0) + 1

        def make(target: Target) -> Target:
            make_file(self._fs, self._root, target)
            return target

        missing = deque(target for target in targets if not target.exists and pieces.get(target, 0) != 1)
        for target in flow(self._executor, missing, make, limit=self._settings.parts_in_flight):
            target.exists = True
            target.done = target.wanted.object is None

    def _perform(self, job: _Fetch | _Hash) -> _Fetched | _Hashed:
        if isinstance(job, _Fetch):
            return self._fetch_range(job.range)
        done = extend_sha256(self._fs, self._root, job.target, job.until_run, self._settings.buffer_size_bytes)
        return _Hashed(job.target, job.until_run, done)

    def _fetch_range(self, item: Range) -> _Fetched:
        writer = self._fetch_runs(item)
        bytes_fetched, requests = item.length, 1
        for run, _ in writer.bad:
            second = self._fetch_runs(Range(item.key, (run,)), again=True)
            bytes_fetched += run.length
            requests += 1
            if second.bad:
                raise wrong_twice(*second.bad[0])
            writer.done |= second.done
        return _Fetched(item, writer.done, bytes_fetched, requests)

    def _fetch_runs(self, item: Range, *, again: bool = False) -> RangeWriter:
        writer = RangeWriter(self._fs, self._root, item.runs, again=again)
        try:
            with paced(self._limiter, item.length):
                self._store.fetch(
                    item.key, offset=item.offset, length=item.length, etag=self._etags[item.key], sink=writer.take
                )
        finally:
            writer.close()
        return writer

    def _landed(self, result: _Fetched) -> None:
        self.bytes_fetched += result.bytes_fetched
        self.ranges_fetched += result.requests
        for run in result.range.runs:
            run.target.exists = True
            run.target.good[run.index] = True
            run.target.done = run.target in result.done
        for target in {run.target: None for run in result.range.runs}:
            self._hash_what_landed(target)
        self._progress(result.range.length)

    def _hashed(self, result: _Hashed) -> None:
        target = result.target
        target.hashing = False
        target.hashed_runs = result.until_run
        target.done = result.done
        self._hash_what_landed(target)

    def _hash_what_landed(self, target: Target) -> None:
        until_run = target.prefix_runs()
        if not target.done and not target.hashing and until_run > target.hashed_runs:
            target.hashing = True
            # Before any fetch: the bytes are still in the page cache.
            self._jobs.appendleft(_Hash(target, until_run))


def _folders_of(path: str) -> list[str]:
    components = path.split("/")[:-1]
    return ["/".join(components[: depth + 1]) for depth in range(len(components))]
