"""A share sealed in the ring reaches the archive: digests, objects, receipt, commit; every step found again after a death.

Nothing is remembered but what lies beside the share and in the store, so this is called again and again until the share is
archived or given up, by whoever is alive.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ckpt_archive.commit import layout
from ckpt_archive.commit.committing import Awaiting, Outcome, try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.contribute import contribute
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.ring import SealedShare, open_sealed, still_same
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.share import Share
from ckpt_archive.store.protocol import StoreLimits, list_all
from ckpt_archive.transfer.digesting import digest_share
from ckpt_archive.transfer.plan import plan_objects
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.upload import UploadReport


class Shipped(enum.Enum):
    """How far a share is."""

    ARCHIVED = "archived"
    AWAITING = "awaiting"


@dataclass(frozen=True, slots=True)
class ShipReport:
    """What was done for a share.

    Attributes:
        state: Archived, or awaiting the other writers.
        awaiting: Their ranks.
        upload: What was sent; None if the receipt was there already.
    """

    state: Shipped
    awaiting: tuple[int, ...]
    upload: UploadReport | None


def digest_sealed(
    share: SealedShare,
    settings: TransferSettings,
    limits: StoreLimits,
    on_bytes: Callable[[int], None] | None = None,
) -> Share:
    """The share's digests; made in one pass and durable beside it, if they are not there yet.

    Raises:
        IntegrityError: If a file is no longer what was sealed.
        NotFoundError: If the share was evicted or replaced meanwhile.
    """
    known = share.digests()
    if known is not None:
        return known
    files = [(file.path, file.size_bytes) for file in share.seal.files]
    made = digest_share(
        plan_objects(files, settings, limits), partial(open_sealed, share), files, settings, on_bytes=on_bytes
    )
    still_same(share)
    return share.write_digests(made)


def forget_other_archive(connection: Connection, share: SealedShare) -> None:
    """What a share knows of an archive that is not this one (another bucket, or one that was made anew) is set aside.

    So is a receipt that is none: it is found again in the archive, or written anew.
    """
    archived = share.archived()
    data = share.receipt_bytes()
    found = set() if archived is None else {archived.archive_id}
    if data is not None:
        try:
            found.add(Receipt.decode(data, f"the receipt of {share}").archive_id)
        except IntegrityError as error:
            share.start_over(error.message)
            return
        except InvalidInputError:
            # A newer release wrote it: what it is about is not for us to judge.
            return
    if found - {connection.archive_id}:
        share.start_over(f"it is about the archive {', '.join(sorted(found))}, and this is {connection.archive_id}")


def ship(
    machine: Machine, connection: Connection, share: SealedShare, attempt: int, progress: Progress | None = None
) -> ShipReport:
    """Bring a promoted share into the archive, and commit its checkpoint if it is the last one.

    Raises:
        IntegrityError: If a file is no longer what was sealed, or something in the archive is not what it should be.
        ConflictError: If the archive holds other content under this step, or the writers disagree.
        NotFoundError: If the share was evicted or replaced meanwhile.
        UnavailableError: If the store does not answer.
    """
    place = Place(share.run, attempt, share.step)
    data = share.receipt_bytes()
    upload = None
    # A receipt that has lain on this disk may have rotted there, unnoticed where one digit became another: a manifest is
    # made of what was just sent, or is read from the store.
    own: dict[int, bytes] = {}
    if data is None:
        data, upload = _contribute(machine, connection, share, place, progress)
        own[share.rank] = data

    def commit() -> Outcome:
        return try_commit(
            connection.store,
            machine.executor,
            place,
            archive_id=connection.archive_id,
            writers=share.seal.contribution.writers,
            own=own,
            read_back=not connection.checksums_enforced(),
        )

    try:
        outcome = commit()
    except IntegrityError:
        if upload is not None or _objects_are_there(connection, share, place):
            raise
        # Somebody removed what was sent: this disk still has it.
        _, upload = _contribute(machine, connection, share, place, progress)
        outcome = commit()
    if isinstance(outcome, Awaiting):
        return ShipReport(Shipped.AWAITING, outcome.ranks, upload)
    _unpin(connection, share, attempt, outcome.manifest, outcome.sha256, data)
    return ShipReport(Shipped.ARCHIVED, (), upload)


def _contribute(
    machine: Machine, connection: Connection, share: SealedShare, place: Place, progress: Progress | None
) -> tuple[bytes, UploadReport | None]:
    total_bytes = share.size_bytes
    digests = digest_sealed(
        share, connection.settings, connection.store.limits, Meter(progress, f"digest {share.step}", total_bytes)
    )
    contributed = contribute(
        connection.store,
        machine.executor,
        place=place,
        rank=share.rank,
        archive_id=connection.archive_id,
        contribution=share.contribution(),
        share=digests,
        open_file=partial(open_sealed, share),
        still_same=partial(still_same, share),
        settings=connection.settings,
        checksums_enforced=connection.checksums_enforced(),
        progress=Meter(progress, f"upload {share.step}", sum(item.size_bytes for item in digests.objects)),
        limiter=connection.limiter,
    )
    share.write_receipt(contributed.data)
    return contributed.data, contributed.upload


def _objects_are_there(connection: Connection, share: SealedShare, place: Place) -> bool:
    digests = share.digests()
    folder = layout.share_folder(place.run, place.attempt, place.step, share.rank)
    sizes = {info.key: info.size_bytes for info in list_all(connection.store, folder)}
    return digests is not None and all(
        sizes.get(layout.data_object(place.run, place.attempt, place.step, share.rank, item.sha256)) == item.size_bytes
        for item in digests.objects
    )


def _unpin(
    connection: Connection, share: SealedShare, attempt: int, manifest: Manifest, manifest_sha256: str, data: bytes
) -> None:
    """Only a manifest that holds our receipt says that our bytes are archived."""
    digest = sha256_hex(data)
    if not any(entry.rank == share.rank and entry.sha256 == digest for entry in manifest.receipts):
        problem = f"the receipt kept beside {share} is not the one that the manifest of {manifest.place} names"
        share.start_over(problem)
        raise IntegrityError(
            problem, hint="It was set aside; the next pass compares the files with the archive's receipt."
        )
    share.mark_archived(connection.archive_id, attempt, manifest_sha256)
