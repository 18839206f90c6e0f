"""What is wrong with an archive, what it costs, and the command that mends it. Reads only.

Costs one listing per thousand objects of data and receipts: it is asked by people, not by programs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.errors import CkptArchiveError, DeniedError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store, UploadInfo, list_all

# Younger ones are more likely still at work than forgotten.
_YOUNG = timedelta(hours=24)
_MAX_RECORD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """Something somebody should know.

    Attributes:
        severity: "error" (act now), "warning" (act), or "note".
        what: In a few words.
        detail: The whole of it.
        command: What to run next; "" where there is nothing to run.
    """

    severity: str
    what: str
    detail: str
    command: str = ""


def examine(machine: Machine, connection: Connection) -> tuple[DoctorFinding, ...]:
    """Look for uncommitted checkpoints, orphaned data and forgotten uploads.

    Raises:
        UnavailableError: If the store does not answer.
    """
    store = connection.store
    now = machine.clock.now()
    findings: list[DoctorFinding] = []
    committed: set[Place] = set()
    for run in sorted(set(catalog.runs(store)) | set(_folders(store, "receipts/")) | set(_folders(store, "data/"))):
        committed |= set(catalog.places(store, run))
        findings += _examine_run(store, run, committed, now)
    findings += _uploads(store, now)
    return tuple(findings)


def _examine_run(store: Store, run: str, committed: set[Place], now: datetime) -> Iterator[DoctorFinding]:
    receipts = _steps(store, "receipts", run)
    for place in sorted(receipts - committed):
        yield _uncommitted(store, place)
    for place in sorted(_steps(store, "data", run) - receipts - committed):
        objects = list_all(store, layout.data_folder(place.run, place.attempt, place.step))
        size_bytes = sum(item.size_bytes for item in objects)
        newest = max((item.modified for item in objects if item.modified is not None), default=now)
        young = now - newest < _YOUNG
        yield DoctorFinding(
            "note" if young else "warning",
            "data without a receipt",
            f"{place}: {len(objects)} objects, {size_bytes} bytes, newest from {newest:%Y-%m-%d %H:%M} UTC, "
            + ("probably still being uploaded" if young else "left by a writer that never came back"),
            f"ckpt-archive push DIR --run {place.run} --step {place.step}",
        )


def _uncommitted(store: Store, place: Place) -> DoctorFinding:
    """Why a checkpoint with receipts has no manifest."""
    objects = list_all(store, layout.receipts_folder(place.run, place.attempt, place.step))
    ranks = {layout.receipt_rank(item.key) for item in objects}
    stored = store.read(objects[0].key, limit_bytes=_MAX_RECORD_BYTES)
    try:
        receipt = Receipt.decode(stored.data, objects[0].key)
    except CkptArchiveError as error:
        return DoctorFinding("error", "unreadable receipt", f"{place}: {error.message}", "")
    missing = sorted(set(range(receipt.contribution.writers)) - ranks)
    if not missing:
        return DoctorFinding(
            "warning",
            "commit not finished",
            f"{place}: all {receipt.contribution.writers} receipts are there, but no manifest",
            f"ckpt-archive push DIR --run {place.run} --step {place.step}",
        )
    shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
    return DoctorFinding(
        "warning",
        "awaiting writers",
        f"{place}: rank {shown} of {receipt.contribution.writers} writers never arrived, since "
        f"{receipt.contribution.staged_at:%Y-%m-%d %H:%M} UTC",
        "ckpt-archive drain --staging DIR   (on the missing writers' nodes)",
    )


def _uploads(store: Store, now: datetime) -> Iterator[DoctorFinding]:
    old: list[UploadInfo] = [
        upload for upload in store.list_uploads("data/") if upload.started is None or now - upload.started > _YOUNG
    ]
    if old:
        yield DoctorFinding(
            "warning",
            "forgotten uploads",
            f"{len(old)} multipart uploads were begun more than a day ago and never completed, the first of them "
            f"{min(upload.key for upload in old)}; their parts are stored and paid for",
            "Set a lifecycle rule AbortIncompleteMultipartUpload of 7 days on the bucket.",
        )


def credentials_finding(error: DeniedError) -> DoctorFinding:
    """A refusal as a finding."""
    return DoctorFinding("error", "credentials refused", error.message, error.hint)


def _folders(store: Store, prefix: str) -> Iterator[str]:
    """Names of the folders directly below `prefix`."""
    token: str | None = None
    while True:
        page = store.list(prefix, delimiter="/", token=token)
        for folder in page.prefixes:
            yield folder[len(prefix) :].rstrip("/")
        token = page.next_token
        if token is None:
            return


def _steps(store: Store, kind: str, run: str) -> set[Place]:
    """Every (attempt, step) that has a folder below ``kind/run/``; strange names are not ours and are left alone."""
    places = set()
    for attempt in _folders(store, f"{kind}/{run}/"):
        for step in _folders(store, f"{kind}/{run}/{attempt}/"):
            if attempt.isascii() and attempt.isdigit() and step.isascii() and step.isdigit():
                places.add(Place(run, int(attempt), int(step)))
    return places
