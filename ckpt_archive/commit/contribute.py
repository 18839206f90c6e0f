"""One writer's share reaches the archive: its objects, then the receipt that says so.

The order is the promise: a receipt is created only when the store has confirmed every object it names, and when the files
are still those that were digested.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ckpt_archive.commit import layout
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import decode_receipt, receipt_key, require_same
from ckpt_archive.commit.writeonce import check_as_sent, check_size, create_once
from ckpt_archive.contribution import Contribution
from ckpt_archive.executor import Executor
from ckpt_archive.place import Place
from ckpt_archive.share import DataObject, Share
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.bandwidth import Limiter
from ckpt_archive.transfer.digesting import OpenFile
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.upload import UploadReport, upload_share


@dataclass(frozen=True, slots=True)
class Contributed:
    """A share that is in the archive.

    Attributes:
        receipt: The one that stands in the store: perhaps an earlier one, of the same files in other objects.
        data: Its bytes as they are stored.
        upload: What was sent.
        existed: Whether the receipt was found there: an earlier life's, or this one's with its answer lost.
    """

    receipt: Receipt
    data: bytes
    upload: UploadReport
    existed: bool


def contribute(
    store: Store,
    executor: Executor,
    *,
    place: Place,
    rank: int,
    archive_id: str,
    contribution: Contribution,
    share: Share,
    open_file: OpenFile,
    still_same: Callable[[], None],
    settings: TransferSettings,
    checksums_enforced: bool,
    progress: Callable[[int], None] | None = None,
    limiter: Limiter | None = None,
) -> Contributed:
    """Bring a writer's share and its receipt into the archive, from whatever is there already.

    Args:
        store: Where the archive is.
        executor: Runs the requests that carry data.
        place: Which checkpoint.
        rank: Which writer.
        archive_id: The archive's id.
        contribution: What was sealed beside the bytes.
        share: The files and their digests.
        open_file: Opens one of them, and raises if it is no longer what was digested.
        still_same: Raises if any of them is no longer what was digested; asked after the last byte, before the receipt.
        settings: How many requests are under way at once.
        checksums_enforced: Whether the store refuses bytes that do not match their checksum; if not, they are read back.
        progress: Told how many more bytes are in the store.
        limiter: Bandwidth, if limited.

    Raises:
        ConflictError: If this writer has contributed other files to this checkpoint; those stay.
        IntegrityError: If a file or an object is not what was digested.
        InvalidInputError: If the receipt would be too long to be read back; nothing was sent then.
        UnavailableError: If the store does not answer.
    """
    ours = Receipt(archive_id, place.run, place.attempt, place.step, rank, contribution, share)
    data = ours.encode()
    key = receipt_key(place, rank)
    # What can never be read must not be found out after the upload.
    check_size(key, data)
    decode_receipt(data, place, rank)

    def key_of(item: DataObject) -> str:
        return layout.data_object(place.run, place.attempt, place.step, rank, item.sha256)

    report = upload_share(
        store,
        executor,
        share,
        key_of=key_of,
        folder=layout.share_folder(place.run, place.attempt, place.step, rank),
        open_file=open_file,
        settings=settings,
        checksums_enforced=checksums_enforced,
        progress=progress,
        limiter=limiter,
    )
    still_same()
    there = create_once(store, key, data)
    if there is None and not checksums_enforced:
        check_as_sent(store, key, data)
    if there is None:
        return Contributed(ours, data, report, existed=False)
    stored = decode_receipt(there, place, rank)
    require_same(stored, ours)
    return Contributed(stored, there, report, existed=True)
