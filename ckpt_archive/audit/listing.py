"""What an archive holds, as values for people and their programs: runs, checkpoints, and all about one of them."""

from collections import deque
from collections.abc import Iterator
from functools import partial

from ckpt_archive import strictjson
from ckpt_archive.commit import catalog, latest
from ckpt_archive.commit.catalog import Loaded
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.endings import why
from ckpt_archive.commit.fate import Fates, read_fates, read_fates_of
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import receipt_key
from ckpt_archive.errors import EndedError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_run_name, check_step
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store
from ckpt_archive.transfer.flow import flow
from ckpt_archive.views import CheckpointDetails, CheckpointInfo, FileInfo, RunSummary


def runs(machine: Machine, connection: Connection) -> list[RunSummary]:
    """Every run, sorted by name, with the checkpoint that "latest" answers.

    Costs a listing of the runs, and five requests for each.

    Raises:
        IntegrityError: If a record is damaged; names it.
    """
    store = connection.store
    names = deque(sorted(catalog.runs(store)))
    limit = connection.settings.parts_in_flight
    return sorted(flow(machine.executor, names, partial(_summary, store), limit=limit), key=lambda summary: summary.run)


def checkpoints(
    machine: Machine, connection: Connection, run: str, attempt: int | None, *, ended: bool = False
) -> list[CheckpointInfo]:
    """The committed checkpoints of a run, or of one attempt, newest attempt and step first.

    Costs a listing of the manifests and one of what is said about their ends, and a read of each.

    Args:
        machine: The machine it runs on.
        connection: The archive.
        run: Run name.
        attempt: Which attempt; None for all.
        ended: Whether those are listed too whose data has ended.

    Raises:
        IntegrityError: If a manifest is damaged; names it.
        NotFoundError: If there are none.
    """
    store = connection.store
    limit = connection.settings.parts_in_flight
    committed = places(store, run, attempt)
    fates = read_fates(store, run)
    wanted = [place for place in committed if ended or not fates.is_over(place)]
    if not wanted:
        raise EndedError(
            f"all {len(committed)} checkpoints of {_of(run, attempt)} have ended: their data is removed, their records stay",
            hint=f"`ckpt-archive ls {run} --all` lists them.",
        )
    found = flow(machine.executor, deque(wanted), partial(_loaded, store), limit=limit)
    return [info_of(loaded, fates) for loaded in sorted(found, key=_newest_first)]


def show(machine: Machine, connection: Connection, place: Place) -> CheckpointDetails:
    """All there is to know about a checkpoint, every record compared with the digest that names it.

    Costs its records, and two listings: of what is said about its end, and about its run.

    Raises:
        NotFoundError: If it is not committed.
        IntegrityError: If one of its records is not what was archived.
    """
    loaded = catalog.load_manifest(connection.store, place)
    receipts = catalog.load_receipts(connection.store, machine.executor, loaded.manifest)
    files = [file for receipt in receipts for file in _files(receipt)]
    return CheckpointDetails(
        info=info_of(loaded, read_fates_of(connection.store, place.run, [place])),
        manifest=strictjson.decode(loaded.manifest.encode(), "the manifest"),
        files=tuple(sorted(files, key=lambda file: (file.path, file.rank))),
        receipts=tuple((item.rank, receipt_key(place, item.rank), item.sha256) for item in loaded.manifest.receipts),
    )


def find(store: Store, run: str, step: int | str | None, attempt: int | None) -> Place:
    """Where a checkpoint stands.

    Args:
        store: Where the archive is.
        run: Run name.
        step: A step; "latest", "latest-archived" and None are the same here.
        attempt: Which attempt; None for the newest one that has the step.

    Raises:
        InvalidInputError: If `step` is something else.
        NotFoundError: If there is none.
    """
    check_run_name(run)
    if isinstance(step, int):
        return catalog.find(store, run, check_step(step), attempt)
    if step not in (None, "latest", "latest-archived"):
        raise InvalidInputError(
            f"the step {step!r} is not allowed", hint='Give a number, "latest" or "latest-archived".'
        )
    head = latest.latest(store, run) if attempt is None else latest.newest_checkpoint(store, run, attempt)
    if head is None:
        raise _nothing(run, attempt)
    return head


def places(store: Store, run: str, attempt: int | None = None) -> list[Place]:
    """The committed checkpoints of a run, newest first.

    Raises:
        NotFoundError: If there are none.
    """
    found = list(catalog.places(store, run, attempt))
    if not found:
        raise _nothing(run, attempt)
    return found


def all_places(store: Store) -> Iterator[Place]:
    """Every committed checkpoint, run after run, newest first."""
    for run in sorted(catalog.runs(store)):
        yield from catalog.places(store, run)


def info_of(loaded: Loaded, fates: Fates) -> CheckpointInfo:
    """The line about a checkpoint."""
    manifest = loaded.manifest
    fate = fates.fate(manifest.place)
    return CheckpointInfo(
        run=manifest.run,
        attempt=manifest.attempt,
        step=manifest.step,
        committed_at=loaded.committed_at,
        staged_at=manifest.staged_at,
        writers=manifest.writers,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        metrics=manifest.metrics,
        labels=manifest.labels,
        manifest_sha256=loaded.sha256,
        state=why(fate, fates.store_time),
        retention_class=fate.class_name or fate.assigned or manifest.retention_class,
        ends_at=fate.ends_at,
        held=bool(fates.cases(manifest.place)),
    )


def _summary(store: Store, run: str) -> RunSummary:
    head = latest.latest(store, run)
    if head is None:
        return RunSummary(run, None, None, None, None)
    try:
        loaded = catalog.load_manifest(store, head)
    except NotFoundError:
        # Somebody rolled back to what was never archived, or is no more: that answers "latest", and is not there.
        return RunSummary(run, head.attempt, head.step, None, None)
    return RunSummary(run, head.attempt, head.step, loaded.committed_at, loaded.manifest.size_bytes)


def _loaded(store: Store, place: Place) -> Loaded:
    return catalog.load_manifest(store, place)


def _newest_first(loaded: Loaded) -> tuple[int, int]:
    return -loaded.manifest.attempt, -loaded.manifest.step


def _files(receipt: Receipt) -> Iterator[FileInfo]:
    for file in receipt.share.files:
        key = ""
        if file.object_index is not None:
            key = catalog.object_key(receipt, receipt.share.objects[file.object_index])
        yield FileInfo(file.path, file.size_bytes, file.sha256, receipt.rank, key, file.offset)


def _nothing(run: str, attempt: int | None) -> NotFoundError:
    return NotFoundError(f"{_of(run, attempt)} has no committed checkpoint", hint="`ckpt-archive ls` lists the runs.")


def _of(run: str, attempt: int | None) -> str:
    return f"the run {run!r}" if attempt is None else f"attempt {attempt} of the run {run!r}"
