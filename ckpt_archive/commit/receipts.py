"""Receipts as they lie in the store: read, and held against the key they were read from."""

from ckpt_archive.commit import layout
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.errors import ConflictError, IntegrityError
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store, list_all


def receipt_key(place: Place, rank: int) -> str:
    """The key of a writer's receipt."""
    return layout.receipt(place.run, place.attempt, place.step, rank)


def contributed_ranks(store: Store, place: Place) -> dict[int, int]:
    """The writers that have a receipt, each with its length in bytes. What else lies there is none of ours."""
    sizes: dict[int, int] = {}
    for info in list_all(store, layout.receipts_folder(place.run, place.attempt, place.step)):
        found = layout.receipt_step_rank(info.key)
        if found is not None:
            sizes[found[1]] = info.size_bytes
    return sizes


def read_receipt(store: Store, place: Place, rank: int) -> tuple[Receipt, bytes]:
    """A writer's receipt and its bytes.

    Raises:
        NotFoundError: If there is none.
        IntegrityError: If it is malformed, or of another writer or checkpoint than its key says.
    """
    data = read_record(store, receipt_key(place, rank)).data
    return decode_receipt(data, place, rank), data


def decode_receipt(data: bytes, place: Place, rank: int) -> Receipt:
    """The receipt in `data`, if it is that of this writer and checkpoint.

    Raises:
        IntegrityError: If it is malformed, or says otherwise.
    """
    key = receipt_key(place, rank)
    receipt = Receipt.decode(data, key)
    if (receipt.run, receipt.attempt, receipt.step, receipt.rank) != (place.run, place.attempt, place.step, rank):
        raise IntegrityError(
            f"{key} holds the receipt of {Place(receipt.run, receipt.attempt, receipt.step)}, rank {receipt.rank}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return receipt


def require_same(stored: Receipt, ours: Receipt) -> None:
    """Check that what a writer contributes now is what it has contributed already.

    Raises:
        ConflictError: Saying in what they differ; the first one stays.
    """
    if stored.same_content(ours):
        return
    place = Place(stored.run, stored.attempt, stored.step)
    raise ConflictError(
        f"rank {stored.rank} has contributed something else to {place} before: {_difference(stored, ours)}",
        hint="What was archived first stays. Archive this as another step, or in a new attempt.",
    )


def _difference(stored: Receipt, ours: Receipt) -> str:
    before, now = stored.contribution, ours.contribution
    for name, old, new in (
        ("archive", stored.archive_id, ours.archive_id),
        ("launch key", before.launch_key, now.launch_key),
        ("number of writers", before.writers, now.writers),
        ("retention class", before.retention_class, now.retention_class),
    ):
        if old != new:
            return f"the {name} was {old!r} and is {new!r}"
    old_files = {path: (size, sha256) for path, size, sha256 in stored.share.identity()}
    new_files = {path: (size, sha256) for path, size, sha256 in ours.share.identity()}
    path = min(path for path in old_files | new_files if old_files.get(path) != new_files.get(path))
    if path not in new_files:
        return f"the file {path!r} is missing now"
    return f"the file {path!r} {'has other bytes now' if path in old_files else 'is new'}"
