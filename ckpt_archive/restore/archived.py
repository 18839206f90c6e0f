"""From the archive into a folder: manifest, receipts, ranged reads, every digest checked on the way."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.endings import check_not_over, explain_missing
from ckpt_archive.commit.fate import Fates, read_fates
from ckpt_archive.commit.latest import read_attempt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import ColdError, EndedError, IntegrityError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.restore.cold import explain_cold
from ckpt_archive.restore.hidden import hidden_hint
from ckpt_archive.restore.landing import land
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.selection import Selection
from ckpt_archive.transfer.download import DownloadReport, download_files

_log = logging.getLogger(__name__)


def restore_archived(
    machine: Machine,
    connection: Connection,
    place: Place,
    path_of: Callable[[Place], str],
    selection: Selection,
    progress: Progress | None = None,
) -> Restored:
    """Bring a committed checkpoint, or the wanted part of it, into a folder, unless it is over. For whoever names one.

    Costs one listing more than `fetch_archived`, of what is said about its end.

    Args:
        machine: Where to.
        connection: Where from.
        place: Which checkpoint.
        path_of: The folder for a checkpoint; missing, empty, or already holding these very files.
        selection: Which of its files.
        progress: Told how far it is.

    Raises:
        EndedError: If it is over, although some or all of its data may still be there.
        NotFoundError: As `fetch_archived`, also for what follows.
        IntegrityError: Likewise.
        InvalidInputError: Likewise.
        CapacityError: Likewise.
        ColdError: Likewise.
        UnavailableError: Likewise.
    """
    warning = check_not_over(connection.store, place)
    if warning:
        _log.warning("%s", warning)
    return fetch_archived(machine, connection, place, path_of, selection, progress)


def fetch_archived(
    machine: Machine,
    connection: Connection,
    place: Place,
    path_of: Callable[[Place], str],
    selection: Selection,
    progress: Progress | None = None,
) -> Restored:
    """As `restore_archived`, but its end is only asked for if something is missing: what is whole may be resumed from.

    Raises:
        NotFoundError: If it is not committed, or no file matches.
        EndedError: If an object is missing because it is over.
        IntegrityError: If a manifest, receipt or object is missing or is not what was archived; names it.
        InvalidInputError: If the folder holds something else.
        CapacityError: If there is no room for it.
        ColdError: If data lies in a cold storage class; says which command asks for it.
        UnavailableError: If the store does not answer.
    """
    loaded = catalog.load_manifest(connection.store, place)
    selection.check_rank(loaded.manifest.writers)
    ranks = None if selection.rank is None else (selection.rank,)
    receipts = catalog.load_receipts(connection.store, machine.executor, loaded.manifest, ranks)
    everything = catalog.wanted(receipts)
    selection.check((item.file.path for item in everything), place)
    wanted = [item for item in everything if selection.takes(item.file.path)]
    size_bytes = sum(item.file.size_bytes for item in wanted)
    report: list[DownloadReport] = []

    def fill(partial: str) -> None:
        try:
            done = download_files(
                connection.store,
                machine.executor,
                machine.fs,
                partial,
                wanted,
                connection.settings,
                progress=Meter(progress, "download", size_bytes),
                limiter=connection.limiter,
            )
        except ColdError as error:
            keys = sorted({item.key for item in wanted if item.object is not None})
            raise explain_cold(connection, machine.executor, place, keys, selection.rank, error) from error
        except NotFoundError as error:
            over = explain_missing(connection.store, place)
            if over is not None:
                raise over from error
            # Not "there is no such checkpoint": whoever takes that for a reason to begin anew would lose everything.
            raise IntegrityError(
                f"{place} is committed, and an object of it is missing: {error.message}",
                hint=f"{hidden_hint(connection.bucket, place)}Restore it from a copy of the bucket, or restore another "
                "checkpoint, as --fallback does.",
            ) from error
        report.append(done)

    token = sha256_hex(f"{loaded.sha256}{selection.suffix}".encode())
    landed = land(machine.fs, path_of(place), [item.file for item in wanted], token, fill)
    return Restored(
        path=Path(landed.path),
        run=place.run,
        attempt=place.attempt,
        step=place.step,
        source="archive",
        verified=True,
        files=len(wanted),
        size_bytes=size_bytes,
        bytes_fetched=report[0].bytes_fetched if report else 0,
        bytes_kept=report[0].bytes_kept if report else size_bytes,
    )


def restore_newest_good(
    machine: Machine,
    connection: Connection,
    place: Place,
    path_of: Callable[[Place], str],
    selection: Selection,
    progress: Progress | None = None,
) -> Restored:
    """As `restore_archived`; if that checkpoint is damaged or over, the next older one on its way that is not, loudly.

    Raises:
        IntegrityError: If every one of them is damaged or over; the error is about the checkpoint that was asked for.
        EndedError: Likewise.
    """
    return _newest_good(restore_archived, machine, connection, place, path_of, selection, progress)


def fetch_newest_good(
    machine: Machine,
    connection: Connection,
    place: Place,
    path_of: Callable[[Place], str],
    selection: Selection,
    progress: Progress | None = None,
) -> Restored:
    """As `fetch_archived`, else as `restore_newest_good`, which raises the same."""
    return _newest_good(fetch_archived, machine, connection, place, path_of, selection, progress)


def _newest_good(
    bring: Callable[..., Restored],
    machine: Machine,
    connection: Connection,
    place: Place,
    path_of: Callable[[Place], str],
    selection: Selection,
    progress: Progress | None,
) -> Restored:
    first: IntegrityError | EndedError | None = None
    fates: Fates | None = None
    for candidate in _not_newer(connection, place):
        if first is not None:
            fates = fates or read_fates(connection.store, place.run)
            if fates.is_over(candidate):
                _log.warning("%s is passed over: its data has ended", candidate)
                continue
        try:
            restored = bring(machine, connection, candidate, path_of, selection, progress)
        except (IntegrityError, EndedError) as error:
            _log.error("%s can not be restored: %s", candidate, error)
            first = first or error
        else:
            if first is not None:
                reason = "has ended" if isinstance(first, EndedError) else "is damaged"
                _log.warning("restored %s instead of %s, which %s", candidate, place, reason)
            return restored
    assert first is not None
    raise first


def _not_newer(connection: Connection, place: Place) -> Iterator[Place]:
    """`place`, then the older checkpoints of its attempt, newest first, then of the one that went on from, and so on."""
    yield place
    store, run = connection.store, place.run
    attempt, steps = place.attempt, range(place.step)
    while True:
        for older in catalog.places(store, run, attempt):
            if older.step in steps:
                yield older
        try:
            origin = read_attempt(store, run, layout.attempt_record(run, attempt)).launch.resume_from
        except (IntegrityError, NotFoundError) as error:
            _log.error("where attempt %d of %s went on from is not known: %s", attempt, run, error)
            return
        if origin is None or origin.attempt >= attempt:
            return
        attempt, steps = origin.attempt, range(origin.step + 1)
