"""What the archive holds: found by the keys of manifests, read with every digest checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.commit.manifest import Manifest, ReceiptEntry
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import decode_receipt, receipt_key
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.names import check_run_name, check_step
from ckpt_archive.place import Place
from ckpt_archive.share import DataObject
from ckpt_archive.store.protocol import Store, list_all, list_folders, list_pages
from ckpt_archive.transfer.verify import Wanted

_READS_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Loaded:
    """A manifest that was read.

    Attributes:
        manifest: What it says.
        sha256: Of its bytes: the identity of the checkpoint.
        committed_at: When it was created, by the store's clock; None where the store does not tell.
    """

    manifest: Manifest
    sha256: str
    committed_at: datetime | None


def runs(store: Store) -> Iterator[str]:
    """The runs that have a committed checkpoint, in the order in which the store lists their folders."""
    for folder in list_folders(store, layout.MANIFESTS):
        yield layout.manifests_run(folder)


def places(store: Store, run: str, attempt: int | None = None) -> Iterator[Place]:
    """The committed checkpoints of a run, or of one attempt: newest attempt first, and in it the largest step first.

    Raises:
        IntegrityError: If something else lies among the manifests.
    """
    for key in manifest_keys(store, run, attempt):
        yield Place(*layout.manifest_place(key))


def manifest_keys(store: Store, run: str, attempt: int | None = None) -> Iterator[str]:
    """What lies where the manifests of a run, or of one attempt, are: also what is none."""
    folder = layout.manifests_folder(check_run_name(run), attempt)
    for page in list_pages(store, folder):
        for info in page.objects:
            yield info.key


def find(store: Store, run: str, step: int, attempt: int | None = None) -> Place:
    """The committed checkpoint of a step.

    Args:
        store: Where the archive is.
        run: Run name.
        step: Training step.
        attempt: Which attempt; None for the newest one that has the step.

    Raises:
        NotFoundError: If there is none.
    """
    check_step(step)
    candidates = [attempt] if attempt is not None else _attempts(store, check_run_name(run))
    for number in candidates:
        try:
            store.head(layout.manifest(run, number, step))
        except NotFoundError:
            continue
        return Place(run, number, step)
    where = run if attempt is None else f"attempt {attempt} of {run}"
    raise NotFoundError(f"{where} has no committed checkpoint of step {step}", hint=_what_there_is(store, run))


def _what_there_is(store: Store, run: str) -> str:
    """Where to look instead; a run that has nothing would not be listed."""
    if any(True for _ in places(store, run)):
        return f"`ckpt-archive ls {run}` lists its checkpoints."
    return "`ckpt-archive ls` lists the runs."


def load_manifest(store: Store, place: Place) -> Loaded:
    """The manifest of a checkpoint.

    Raises:
        NotFoundError: If it is not committed.
        IntegrityError: If the manifest is malformed, or of another checkpoint than its key says.
    """
    key = layout.manifest(place.run, place.attempt, place.step)
    try:
        stored = read_record(store, key)
    except NotFoundError as error:
        raise NotFoundError(f"{place} is not committed", hint=_what_there_is(store, place.run)) from error
    manifest = Manifest.decode(stored.data, key).check_place(place)
    return Loaded(manifest, sha256_hex(stored.data), stored.info.modified)


def load_receipts(
    store: Store, executor: Executor, manifest: Manifest, ranks: Sequence[int] | None = None
) -> tuple[Receipt, ...]:
    """The receipts that a manifest names, each compared with the digest it has there.

    When all are read, the manifest is made of them anew and compared.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        manifest: The manifest.
        ranks: Which writers'; None for all.

    Returns:
        By rank.

    Raises:
        IntegrityError: If a receipt is missing or is not what the manifest says.
        NotFoundError: If the checkpoint has no such writer.
    """
    wanted = manifest.receipts if ranks is None else tuple(_entry(manifest, rank) for rank in sorted(set(ranks)))

    def read(entry: ReceiptEntry) -> tuple[Receipt, bytes]:
        return load_receipt(store, manifest, entry)

    found = sorted(
        executor.map_unordered(read, wanted, limit=_READS_IN_FLIGHT), key=lambda receipt_bytes: receipt_bytes[0].rank
    )
    if len(found) == manifest.writers:
        check_root(manifest, found)
    return tuple(receipt for receipt, _ in found)


def load_receipt(store: Store, manifest: Manifest, entry: ReceiptEntry) -> tuple[Receipt, bytes]:
    """A receipt that a manifest names, and its bytes.

    Raises:
        IntegrityError: If it is missing or is not what the manifest says.
    """
    key = receipt_key(manifest.place, entry.rank)
    hint = "The receipt was changed or removed after the commit: restore it from a copy of the bucket."
    try:
        data = read_record(store, key).data
    except NotFoundError as error:
        raise IntegrityError(f"{key}, which the manifest of {manifest.place} names, is missing", hint=hint) from error
    digest = sha256_hex(data)
    if (len(data), digest) != (entry.size_bytes, entry.sha256):
        raise IntegrityError(
            f"{key} has {len(data)} bytes and the SHA-256 {digest}, not the {entry.size_bytes} bytes and {entry.sha256} "
            f"that the manifest of {manifest.place} names",
            hint=hint,
        )
    return decode_receipt(data, manifest.place, entry.rank), data


def check_root(manifest: Manifest, receipts: Sequence[tuple[Receipt, bytes]]) -> None:
    """Check that a manifest is the one that the receipts of all its writers make.

    Raises:
        IntegrityError: If not.
    """
    hint = "It was not written by ckpt-archive, or was changed afterwards."
    try:
        computed = Manifest.of(receipts)
    except (ConflictError, InvalidInputError) as error:
        raise IntegrityError(
            f"the receipts that the manifest of {manifest.place} names do not make a checkpoint: {error.message}",
            hint=hint,
        ) from error
    if not computed.same_as(manifest):
        raise IntegrityError(f"the manifest of {manifest.place} is not the one that its receipts make", hint=hint)


def wanted(receipts: Sequence[Receipt]) -> list[Wanted]:
    """The files of receipts of one checkpoint with the keys of their objects, by path; a file of several writers once."""
    found: dict[str, Wanted] = {}
    for receipt in receipts:
        for file in receipt.share.files:
            item = None if file.object_index is None else receipt.share.objects[file.object_index]
            key = ""
            if item is not None:
                key = object_key(receipt, item)
            found.setdefault(file.path, Wanted(file, item, key))
    return [found[path] for path in sorted(found)]


def object_key(receipt: Receipt, item: DataObject) -> str:
    """Where an object of a receipt lies: below the checkpoint's data, or where somebody else had put it."""
    return item.key or layout.data_object(receipt.run, receipt.attempt, receipt.step, receipt.rank, item.sha256)


def named_objects(store: Store, executor: Executor, place: Place) -> list[str]:
    """The keys of all objects that a checkpoint's receipts name, in order.

    Raises:
        NotFoundError: If it is not committed.
        IntegrityError: If one of its records is damaged or missing.
    """
    receipts = load_receipts(store, executor, load_manifest(store, place).manifest)
    return sorted({object_key(receipt, item) for receipt in receipts for item in receipt.share.objects})


def missing_objects(store: Store, executor: Executor, place: Place) -> tuple[list[str], int]:
    """The objects of a checkpoint that are not there, and how many it has; their bytes are not looked at.

    Costs its records and a listing; of objects that lie elsewhere in the bucket a look at each.

    Raises:
        NotFoundError: If it is not committed.
        IntegrityError: If one of its records is damaged or missing.
    """
    named = named_objects(store, executor, place)
    there = {info.key for info in list_all(store, layout.data_folder(place.run, place.attempt, place.step))}
    return [key for key in named if key not in there and not (key.startswith("/") and _exists(store, key))], len(named)


def _exists(store: Store, key: str) -> bool:
    try:
        store.head(key)
    except NotFoundError:
        return False
    return True


def _attempts(store: Store, run: str) -> Iterator[int]:
    """The attempts of a run that have a manifest, newest first."""
    for folder in list_folders(store, layout.manifests_folder(run)):
        yield layout.manifests_attempt(folder)


def _entry(manifest: Manifest, rank: int) -> ReceiptEntry:
    if not 0 <= rank < manifest.writers:
        raise NotFoundError(
            f"{manifest.place} has no rank {rank}", hint=f"Its {manifest.writers} writers are counted from 0."
        )
    return manifest.receipts[rank]
