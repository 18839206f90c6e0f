"""Small checkpoints for tests: files in memory, contributed and committed by the real code."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ckpt_archive import record
from ckpt_archive.commit.committing import Outcome, try_commit
from ckpt_archive.commit.contribute import Contributed, contribute
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk.protocol import FileStat, Kind
from ckpt_archive.executor import Executor, InlineExecutor
from ckpt_archive.place import Place
from ckpt_archive.share import Share
from ckpt_archive.store.protocol import Store, StoreLimits
from ckpt_archive.strictjson import Json
from ckpt_archive.transfer.digesting import digest_share
from ckpt_archive.transfer.plan import plan_objects
from ckpt_archive.transfer.settings import TransferSettings

ARCHIVE_ID = "0123456789abcdef0123456789abcdef"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When tests begin."""

Files = Mapping[str, bytes]

INLINE = InlineExecutor()


class ManualClock:
    """A clock that only moves when it is told to, or when somebody sleeps."""

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._passed = timedelta()

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._passed.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self._passed += timedelta(seconds=seconds)


class BytesFile:
    """An open file whose bytes are in memory."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    def stat(self) -> FileStat:
        """See `ReadableFile.stat`."""
        return FileStat(Kind.FILE, len(self._view), 0, 1, 1)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """See `ReadableFile.read_into`."""
        chunk = self._view[offset : offset + len(buffer)]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> "BytesFile":
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def share_of(files: Files, settings: TransferSettings | None = None, limits: StoreLimits | None = None) -> Share:
    """The share whose files have these bytes."""
    chosen = settings or TransferSettings()
    sizes = [(path, len(data)) for path, data in files.items()]
    plans = plan_objects(sizes, chosen, limits or StoreLimits())
    return digest_share(plans, lambda path: BytesFile(files[path]), sizes, chosen)


def contribution_of(writers: int = 1, launch_key: str = "launch-1", seconds: int = 0, **said: object) -> Contribution:
    """What a writer says; sealed `seconds` after `NOON`. More members of `Contribution` by name."""
    staged_at = NOON + timedelta(seconds=seconds)
    return Contribution(launch_key=launch_key, writers=writers, staged_at=staged_at, **said)  # type: ignore[arg-type]


def contribute_files(
    store: Store,
    place: Place,
    files: Files,
    *,
    rank: int = 0,
    contribution: Contribution | None = None,
    executor: Executor = INLINE,
    settings: TransferSettings | None = None,
) -> Contributed:
    """Contribute these bytes as the share of one writer."""
    chosen = settings or TransferSettings()
    return contribute(
        store,
        executor,
        place=place,
        rank=rank,
        archive_id=ARCHIVE_ID,
        contribution=contribution or contribution_of(),
        share=share_of(files, chosen, store.limits),
        open_file=lambda path: BytesFile(files[path]),
        still_same=lambda: None,
        settings=chosen,
        checksums_enforced=True,
    )


def archive_files(
    store: Store,
    place: Place,
    *ranks: Files,
    launch_key: str = "launch-1",
    executor: Executor = INLINE,
    settings: TransferSettings | None = None,
) -> Outcome:
    """Contribute the shares of all writers and commit, as the last one of them does."""
    said = contribution_of(len(ranks), launch_key)
    data: dict[int, bytes] = {}
    for rank, files in enumerate(ranks):
        found = contribute_files(
            store, place, files, rank=rank, contribution=said, executor=executor, settings=settings
        )
        data[rank] = found.data
    last = len(ranks) - 1
    return try_commit(store, executor, place, archive_id=ARCHIVE_ID, writers=len(ranks), own={last: data[last]})


def rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    """A record in which somebody who can write records has replaced `old` by `new`: its checksum is right."""
    assert old in data
    return record.with_checksum(json.loads(data.replace(old, new)))


def forged_record(members: Mapping[str, Json]) -> bytes:
    """A record that somebody made of `members`, whatever they are; its checksum is right if there can be one."""
    try:
        return record.with_checksum(members)
    except UnicodeEncodeError:
        return json.dumps(members).encode()
