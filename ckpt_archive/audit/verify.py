"""Is everything that a manifest names there, and is it what was archived?

By default the records are read whole and every object's size is looked up in a listing; deep reads every byte through the
same ranged reads and checks as a restore.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ckpt_archive.commit import catalog, endings, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fates, read_fates
from ckpt_archive.commit.manifest import Manifest, ReceiptEntry
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import receipt_key
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.transfer.flow import flow
from ckpt_archive.transfer.verify import Wanted, verify_objects

# What says that a record is not what it should be, or is not there; anything else says that it could not be asked.
_DAMAGE = (IntegrityError, InvalidInputError, NotFoundError)


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """Something that is not as it was archived.

    Attributes:
        run: Run name.
        attempt: Attempt.
        step: Step.
        key: The record or object, relative to the archive.
        path: The file, where it is about one.
        problem: What is wrong.
    """

    run: str
    attempt: int
    step: int
    key: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at, and what was found.

    Attributes:
        deep: Whether every byte was read.
        checkpoints: How many were checked.
        objects: How many objects of data.
        size_bytes: Of these objects.
        findings: What is wrong; empty if nothing is.
        ended: How many were not checked because their data has ended, as announced.
    """

    deep: bool
    checkpoints: int
    objects: int
    size_bytes: int
    findings: tuple[VerifyFinding, ...]
    ended: int = 0


def verify(
    machine: Machine,
    connection: Connection,
    places: Iterable[Place],
    *,
    deep: bool,
    progress: Progress | None = None,
    checked: Callable[[Place, Sequence[VerifyFinding]], None] = lambda *_: None,
) -> VerifyReport:
    """Check committed checkpoints. Of those that are over the records alone: their data is gone, or may be going.

    Args:
        machine: The machine it runs on.
        connection: The archive.
        places: Which ones.
        deep: Whether every byte is read.
        progress: Told how far it is.
        checked: Told of each checkpoint, with what is wrong with it.

    Raises:
        UnavailableError: If the store does not answer.
    """
    checkpoints = objects = size_bytes = ended = 0
    findings: list[VerifyFinding] = []
    fates = _Fates(connection.store, whole_runs=not (isinstance(places, Sequence) and len(places) == 1))
    for place in places:
        is_over = fates.is_over(place)
        receipts, wrong = _records(machine, connection, place)
        sizes: dict[str, int] = {}
        if not is_over:
            # Of each writer on its own: where two of them wrote the same file, both copies are to be there.
            wanted = [item for receipt in receipts for item in catalog.wanted([receipt])]
            sizes = {item.key: item.object.size_bytes for item in wanted if item.object is not None}
            found = _data(machine, connection, place, wanted, sizes, progress, deep=deep)
            # A long pass may have come to a checkpoint whose end was days ahead when it began.
            is_over = bool(found) and endings.is_over(connection.store, place)
            wrong += [] if is_over else found
        if is_over:
            ended += 1
        else:
            checkpoints += 1
            objects += len(sizes)
            size_bytes += sum(sizes.values())
        findings += wrong
        # That its records are whole does not tell that it is there.
        if wrong or not is_over:
            checked(place, wrong)
    return VerifyReport(deep, checkpoints, objects, size_bytes, tuple(findings), ended)


class _Fates:
    """Which checkpoints are over: asked once for each run, or for one checkpoint alone."""

    def __init__(self, store: Store, *, whole_runs: bool) -> None:
        self._store = store
        self._whole_runs = whole_runs
        self._known: Fates | None = None

    def is_over(self, place: Place) -> bool:
        """Whether a checkpoint's data is gone, or may be going; checkpoints of one run come one after the other."""
        if not self._whole_runs:
            return endings.is_over(self._store, place)
        if self._known is None or self._known.run != place.run:
            self._known = read_fates(self._store, place.run)
        return self._known.is_over(place)


def _data(
    machine: Machine,
    connection: Connection,
    place: Place,
    wanted: Sequence[Wanted],
    sizes: dict[str, int],
    progress: Progress | None,
    *,
    deep: bool,
) -> list[VerifyFinding]:
    """What is wrong with the objects of a checkpoint."""
    if not deep:
        return _sizes(machine, connection, place, sizes)
    found = verify_objects(
        connection.store,
        machine.executor,
        wanted,
        connection.settings,
        progress=Meter(progress, f"verify {place.run} {place.step}", sum(sizes.values())),
        limiter=connection.limiter,
    )
    return [_finding(place, item.key, item.problem, item.path or "") for item in found]


def _records(machine: Machine, connection: Connection, place: Place) -> tuple[list[Receipt], list[VerifyFinding]]:
    """The receipts that are as the manifest says, and what is wrong with the others and with itself."""
    key = layout.manifest(place.run, place.attempt, place.step)
    try:
        manifest = catalog.load_manifest(connection.store, place).manifest
    except _DAMAGE as error:
        return [], [_finding(place, key, error.message)]
    good: list[tuple[Receipt, bytes]] = []
    findings = []
    if manifest.archive_id != connection.archive_id:
        findings.append(_finding(place, key, f"was written for the archive {manifest.archive_id}, not for this one"))
    entries = deque(manifest.receipts)
    for found in flow(
        machine.executor,
        entries,
        lambda entry: _receipt(connection, manifest, entry),
        limit=connection.settings.parts_in_flight,
    ):
        if isinstance(found, VerifyFinding):
            findings.append(found)
        else:
            good.append(found)
    if len(good) == manifest.writers:
        try:
            catalog.check_root(manifest, good)
        except IntegrityError as error:
            findings.append(_finding(place, key, error.message))
    receipts = sorted((receipt for receipt, _ in good), key=lambda receipt: receipt.rank)
    return receipts, sorted(findings, key=lambda finding: finding.key)


def _receipt(connection: Connection, manifest: Manifest, entry: ReceiptEntry) -> tuple[Receipt, bytes] | VerifyFinding:
    try:
        return catalog.load_receipt(connection.store, manifest, entry)
    except _DAMAGE as error:
        return _finding(manifest.place, receipt_key(manifest.place, entry.rank), error.message)


def _finding(place: Place, key: str, problem: str, path: str = "") -> VerifyFinding:
    return VerifyFinding(place.run, place.attempt, place.step, key, path, problem)


def _sizes(machine: Machine, connection: Connection, place: Place, sizes: dict[str, int]) -> list[VerifyFinding]:
    """One listing tells of all that lies among the checkpoint's data: that needs no right to read it, as a HEAD does."""
    folder = layout.data_folder(place.run, place.attempt, place.step)
    there = {info.key: info.size_bytes for info in list_all(connection.store, folder)} if sizes else {}

    def look(key: str) -> tuple[str, int | None]:
        try:
            return key, connection.store.head(key).size_bytes
        except NotFoundError:
            return key, None

    elsewhere = deque(sorted(key for key in sizes if key.startswith("/")))
    there |= {
        key: size
        for key, size in flow(machine.executor, elsewhere, look, limit=connection.settings.parts_in_flight)
        if size is not None
    }
    findings = []
    for key in sorted(sizes):
        found = there.get(key)
        if found != sizes[key]:
            problem = "is not in the store" if found is None else f"has {found} bytes, not the {sizes[key]} recorded"
            findings.append(_finding(place, key, problem))
    return findings
