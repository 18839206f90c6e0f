"""Is everything that a manifest names there, and is it what was archived?

By default the records are read whole and every object's size is looked up; deep reads every byte through the same ranged
reads and checks as a restore.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.transfer.flow import flow
from ckpt_archive.transfer.verify import Wanted, verify_objects


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """Something that is not as it was archived.

    Attributes:
        run: Run name.
        attempt: Attempt.
        step: Step.
        key: The record or object, relative to the archive; "" where the finding is about the checkpoint.
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
    """

    deep: bool
    checkpoints: int
    objects: int
    size_bytes: int
    findings: tuple[VerifyFinding, ...]


def verify(
    machine: Machine, connection: Connection, places: Iterable[Place], *, deep: bool, progress: Progress | None = None
) -> VerifyReport:
    """Check committed checkpoints.

    Raises:
        UnavailableError: If the store does not answer.
    """
    checkpoints = objects = size_bytes = 0
    findings: list[VerifyFinding] = []
    for place in places:
        checkpoints += 1
        try:
            wanted = _records(machine, connection, place)
        except (IntegrityError, ConflictError, NotFoundError, InvalidInputError) as error:
            findings.append(VerifyFinding(place.run, place.attempt, place.step, "", "", error.message))
            continue
        sizes = {item.key: item.object.size_bytes for item in wanted if item.object is not None}
        objects += len(sizes)
        size_bytes += sum(sizes.values())
        if deep:
            meter = Meter(progress, f"verify {place.run} {place.step}", sum(sizes.values()))
            found = verify_objects(
                connection.store,
                machine.executor,
                wanted,
                connection.settings,
                progress=meter,
                limiter=connection.limiter,
            )
            findings += [
                VerifyFinding(place.run, place.attempt, place.step, item.key, item.path or "", item.problem)
                for item in found
            ]
        else:
            findings += _sizes(machine, connection, place, sizes)
    return VerifyReport(deep, checkpoints, objects, size_bytes, tuple(findings))


def _records(machine: Machine, connection: Connection, place: Place) -> list[Wanted]:
    loaded = catalog.load_manifest(connection.store, place)
    return catalog.wanted(catalog.load_receipts(connection.store, machine.executor, loaded.manifest))


def _sizes(machine: Machine, connection: Connection, place: Place, sizes: dict[str, int]) -> list[VerifyFinding]:
    def look(key: str) -> tuple[str, int | None]:
        try:
            return key, connection.store.head(key).size_bytes
        except NotFoundError:
            return key, None

    findings = []
    keys = deque(sorted(sizes))
    for key, found in flow(machine.executor, keys, look, limit=connection.settings.parts_in_flight):
        if found != sizes[key]:
            problem = "is not in the store" if found is None else f"has {found} bytes, not the {sizes[key]} recorded"
            findings.append(VerifyFinding(place.run, place.attempt, place.step, key, "", problem))
    return sorted(findings, key=lambda finding: finding.key)
