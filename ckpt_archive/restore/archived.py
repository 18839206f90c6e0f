"""From the archive into a folder: manifest, receipts, ranged reads, every digest checked on the way."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.latest import read_attempt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
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
    """Bring a committed checkpoint, or the wanted part of it, into a folder.

    Args:
        machine: Where to.
        connection: Where from.
        place: Which checkpoint.
        path_of: The folder for a checkpoint; missing, empty, or already holding these very files.
        selection: Which of its files.
        progress: Told how far it is.

    Raises:
        NotFoundError: If it is not committed, or no file matches.
        IntegrityError: If a manifest, receipt or object is missing or is not what was archived; names it.
        InvalidInputError: If the folder holds something else.
        CapacityError: If there is no room for it.
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
        except NotFoundError as error:
            # Not "there is no such checkpoint": whoever takes that for a reason to begin anew would lose everything.
            raise IntegrityError(
                f"{place} is committed, and an object of it is missing: {error.message}",
                hint="Restore it from a copy of the bucket, or restore another checkpoint, as --fallback does.",
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
    """As `restore_archived`; if that checkpoint is damaged, the next older one on its way that is not, loudly.

    Raises:
        IntegrityError: If every one of them is damaged; the one about the checkpoint that was asked for.
    """
    first: IntegrityError | None = None
    for candidate in _not_newer(connection, place):
        try:
            restored = restore_archived(machine, connection, candidate, path_of, selection, progress)
        except IntegrityError as error:
            _log.error("%s can not be restored: %s", candidate, error)
            first = first or error
        else:
            if first is not None:
                _log.warning("restored %s instead of %s, which is damaged", candidate, place)
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
