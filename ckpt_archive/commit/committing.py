"""The commit: whoever sees the receipts of all writers creates the manifest, conditionally. No polling, no meeting.

Each writer lists the receipts after it has created its own, so the last one always sees all. If it dies just then, the next
scan, push or maintenance finishes it. Any number may try at once: the manifest is a function of the receipts, so they all
want to create the same bytes, and the first create is the commit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import newest_checkpoint
from ckpt_archive.commit.manifest import Manifest, check_same_launch
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import contributed_ranks, decode_receipt, read_receipt
from ckpt_archive.commit.writeonce import check_as_sent, create_once
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.executor import Executor
from ckpt_archive.names import MAX_RANK
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store, list_all, list_pages

# Small reads, bound by round trips: 1,000 receipts in about 60 of them.
_READS_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Committed:
    """The manifest was created, and its SHA-256."""

    manifest: Manifest
    sha256: str


@dataclass(frozen=True, slots=True)
class AlreadyCommitted:
    """The manifest that stands says the same, and the SHA-256 of its bytes; this try may have created it."""

    manifest: Manifest
    sha256: str


@dataclass(frozen=True, slots=True)
class Awaiting:
    """The writers whose receipts are not there yet."""

    ranks: tuple[int, ...]


Outcome = Committed | AlreadyCommitted | Awaiting


def try_commit(
    store: Store,
    executor: Executor,
    place: Place,
    *,
    archive_id: str,
    writers: int,
    own: Mapping[int, bytes],
    read_back: bool = False,
) -> Outcome:
    """Commit a checkpoint if all its writers have contributed.

    Costs a listing of the receipts; when all are there also a read of each that is not in `own`, a listing of the data, the
    marker and the manifest.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        place: Which checkpoint.
        archive_id: The archive's id.
        writers: How many writers it has.
        own: Receipts as they are stored, by rank, that need not be read again.
        read_back: Whether the manifest is read again once it is created: for a store that does not compare what it is sent
            with a checksum.

    Raises:
        ConflictError: If the receipts are not of one launch, hold files that can not stand together, or another manifest
            stands there already.
        IntegrityError: If a receipt is malformed, or an object it names is not in the store.
        UnavailableError: If the store does not answer: it may have been committed.
    """
    sizes = contributed_ranks(store, place)
    read = _Reader(store, executor, place, archive_id, sizes, own)
    strangers = [rank for rank in sizes if rank >= writers]
    if strangers:
        _refuse_strangers(
            place, read.receipts([*(rank for rank in sizes if rank < writers)][:1] + strangers[:1]), writers
        )
    awaited = tuple(rank for rank in range(writers) if rank not in sizes)
    if awaited:
        return Awaiting(awaited)
    receipts = read.receipts(range(writers))
    manifest = Manifest.of(receipts)
    store_time = _confirm_objects(store, place, [receipt for receipt, _ in receipts])
    return _create(store, manifest, store_time, read_back=read_back)


def unfinished(store: Store, run: str, attempt: int) -> list[Place]:
    """Checkpoints above the newest committed one of an attempt that have receipts and no manifest, oldest first."""
    return list(_open_steps(store, run, attempt))


def all_unfinished(store: Store, run: str, attempt: int) -> list[Place]:
    """Like `unfinished`, among all steps of the attempt: for maintenance, as it lists every receipt there is."""
    committed = {layout.manifest_place(info.key)[2] for info in list_all(store, layout.manifests_folder(run, attempt))}
    places = {
        Place(run, attempt, step) for step, _ in _receipts_after(store, run, attempt, "") if step not in committed
    }
    return sorted(places)


Finished = tuple[Place, Outcome | CkptArchiveError]


def finish_commits(
    store: Store, executor: Executor, archive_id: str, run: str, attempt: int, *, read_back: bool = False
) -> list[Finished]:
    """Commit what is complete among `unfinished`: its committer died between the last receipt and the manifest.

    Returns:
        Each of them with what came of it. One that can not be committed does not stop the others.

    Raises:
        UnavailableError: If the store does not answer.
    """
    return [
        (place, _finish(store, executor, archive_id, place, rank, read_back=read_back))
        for place, rank in _open_steps(store, run, attempt).items()
    ]


def finish_commit(
    store: Store, executor: Executor, archive_id: str, place: Place, *, read_back: bool = False
) -> Outcome | CkptArchiveError:
    """Like `finish_commits`, for one checkpoint, wherever it stands among those of its attempt."""
    ranks = contributed_ranks(store, place)
    if not ranks:
        return Awaiting((0,))
    return _finish(store, executor, archive_id, place, min(ranks), read_back=read_back)


def _finish(
    store: Store, executor: Executor, archive_id: str, place: Place, rank: int, *, read_back: bool
) -> Outcome | CkptArchiveError:
    """Commit a checkpoint if it is complete; `rank` is one that has contributed to it."""
    try:
        receipt, data = read_receipt(store, place, rank)
        return try_commit(
            store,
            executor,
            place,
            archive_id=archive_id,
            writers=receipt.contribution.writers,
            own={rank: data},
            read_back=read_back,
        )
    except UnavailableError:
        raise
    except CkptArchiveError as error:
        return error


def _open_steps(store: Store, run: str, attempt: int) -> dict[Place, int]:
    """Uncommitted checkpoints above the newest committed one, each with the smallest rank that has contributed."""
    newest = newest_checkpoint(store, run, attempt)
    start = "" if newest is None else layout.receipt(run, attempt, newest.step, MAX_RANK)
    found: dict[Place, int] = {}
    for step, rank in _receipts_after(store, run, attempt, start):
        found.setdefault(Place(run, attempt, step), rank)
    return found


def _receipts_after(store: Store, run: str, attempt: int, start: str) -> Iterator[tuple[int, int]]:
    """(step, rank) of every receipt of an attempt whose key follows `start`, ascending."""
    for page in list_pages(store, layout.receipts_of_attempt(run, attempt), start_after=start):
        for info in page.objects:
            found = layout.receipt_step_rank(info.key)
            if found is not None:
                yield found


class _Reader:
    """Reads receipts, each once, and checks that they belong here."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        place: Place,
        archive_id: str,
        sizes: Mapping[int, int],
        own: Mapping[int, bytes],
    ) -> None:
        self._store = store
        self._executor = executor
        self._place = place
        self._archive_id = archive_id
        # Bytes of another length than the stored ones are not the stored ones.
        self._own = {rank: data for rank, data in own.items() if len(data) == sizes.get(rank)}

    def receipts(self, ranks: "range | list[int]") -> list[tuple[Receipt, bytes]]:
        """Those of `ranks`, in any order."""
        return list(self._executor.map_unordered(self._receipt, ranks, limit=_READS_IN_FLIGHT))

    def _receipt(self, rank: int) -> tuple[Receipt, bytes]:
        data = self._own.get(rank)
        if data is None:
            receipt, data = read_receipt(self._store, self._place, rank)
        else:
            receipt = decode_receipt(data, self._place, rank)
        if receipt.archive_id != self._archive_id:
            raise ConflictError(
                f"rank {rank} contributed to {self._place} in the archive {receipt.archive_id}, not in this one, "
                f"{self._archive_id}",
                hint="Objects of another archive lie under this prefix: give every archive a prefix of its own.",
            )
        return receipt, data


def _refuse_strangers(place: Place, receipts: list[tuple[Receipt, bytes]], writers: int) -> None:
    """Raise `ConflictError` for a receipt of a rank that a checkpoint of so many writers does not have."""
    check_same_launch([receipt for receipt, _ in sorted(receipts, key=lambda pair: pair[0].rank)])
    stranger = max((receipt for receipt, _ in receipts), key=lambda receipt: receipt.rank)
    raise ConflictError(
        f"{place} has {writers} writers, and rank {stranger.rank} contributed to it as one of "
        f"{stranger.contribution.writers}",
        hint="It stays uncommitted. Give every launch a key of its own, the same one on all its nodes.",
    )


def _confirm_objects(store: Store, place: Place, receipts: list[Receipt]) -> datetime:
    """Check that the store holds every object that the receipts name, now; the store's time when it said so.

    Raises:
        IntegrityError: If one is not there, or has another size.
    """
    sizes, store_time = _object_sizes(store, layout.data_folder(place.run, place.attempt, place.step))
    for receipt in receipts:
        for item in receipt.share.objects:
            key = item.key or layout.data_object(place.run, place.attempt, place.step, receipt.rank, item.sha256)
            size = _size_elsewhere(store, key) if item.key else sizes.get(key)
            if size != item.size_bytes:
                found = "is not in the store" if size is None else f"has {size} bytes there"
                raise IntegrityError(
                    f"{key}, {item.size_bytes} bytes that rank {receipt.rank} contributed to {place}, {found}",
                    hint="The checkpoint stays uncommitted until its writer archives it again from its staging directory.",
                )
    return store_time


def _size_elsewhere(store: Store, key: str) -> int | None:
    try:
        return store.head(key).size_bytes
    except NotFoundError:
        return None


def _object_sizes(store: Store, folder: str) -> tuple[dict[str, int], datetime]:
    pages = list(list_pages(store, folder))
    return {info.key: info.size_bytes for page in pages for info in page.objects}, pages[-1].store_time


def _create(store: Store, manifest: Manifest, store_time: datetime, *, read_back: bool) -> Committed | AlreadyCommitted:
    data = manifest.encode()
    sha256 = sha256_hex(data)
    write_marker(store, Marker.of_commit(manifest.archive_id, manifest.place, sha256), store_time)
    key = layout.manifest(manifest.run, manifest.attempt, manifest.step)
    there = create_once(store, key, data)
    if there is None and read_back:
        check_as_sent(store, key, data)
    if there is None:
        return Committed(manifest, sha256)
    standing = Manifest.decode(there, key).check_place(manifest.place)
    if not standing.same_as(manifest):
        raise ConflictError(
            f"{manifest.place} was committed before with other content: {_difference(standing, manifest)}",
            hint="The first one stays. Somebody changed or removed receipts: run ckpt-archive verify.",
        )
    return AlreadyCommitted(standing, sha256_hex(there))


def _difference(standing: Manifest, ours: Manifest) -> str:
    for before, now in zip(standing.receipts, ours.receipts, strict=False):
        if before != now:
            return f"the receipt of rank {now.rank} had the SHA-256 {before.sha256} and has {now.sha256}"
    if len(standing.receipts) != len(ours.receipts):
        return f"it had {standing.writers} writers and has {ours.writers}"
    return "its receipts are the same, what it says about them is not"
