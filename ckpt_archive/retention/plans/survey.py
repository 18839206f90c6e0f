"""Reads what plans are made of: run by run, so that no more than a run is in memory, however large the archive is.

A run costs one listing for every thousand manifests, one for every thousand statements about its checkpoints, and the few
requests of `commit.latest`. A checkpoint of which more has to be known costs the reading of its manifest, one listing of its
data, and one request more in a bucket that locks objects. Of which that is, `plan.needs` says: those that come into a class,
or leave one, or end; not those that are where they belong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.commit.catalog import load_manifest
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.plans.plan import Basis, Looked, Need, Prices, RunSurvey, Surveyed, needs
from ckpt_archive.retention.policy.values import TAG_KEY, Policy
from ckpt_archive.store.protocol import ObjectInfo, Store, list_all, list_folders, list_pages

READS_IN_FLIGHT = 16

_UNREADABLE = (IntegrityError, InvalidInputError, NotFoundError)


@dataclass(frozen=True, slots=True)
class Survey:
    """A run as it was read.

    Attributes:
        run: Its checkpoints; empty where `problems` says that nothing can be said about it.
        newest_at: When the newest of its checkpoints that were looked at was committed; None where the store does not tell.
        problems: What can not be read, and why, for people.
    """

    run: RunSurvey
    newest_at: datetime | None = None
    problems: tuple[str, ...] = ()


def basis_of(
    connection: Connection, policy: Policy, *, compared: frozenset[str] = frozenset(), prices: Prices | None = None
) -> Basis:
    """What plans for this archive are made with: one or two requests to the bucket."""
    bucket = connection.bucket
    return Basis(
        policy=policy,
        has_tags=bucket is not None,
        has_locks=bucket is not None and bucket.features().object_lock,
        compared=compared,
        prices=prices,
    )


def runs(store: Store) -> Iterator[str]:
    """The runs that have a committed checkpoint; what else lies among them is for `doctor` to tell of."""
    for folder in list_folders(store, layout.MANIFESTS):
        try:
            yield layout.manifests_run(folder)
        except IntegrityError:
            continue


def survey_run(
    machine: Machine, connection: Connection, basis: Basis, run: str, *, as_of: datetime | None = None
) -> Survey:
    """Read what a plan for a run is made of.

    Args:
        machine: Runs the reads.
        connection: The archive.
        basis: The policy, and what the store can do.
        run: Run name.
        as_of: Checkpoints that were committed later are not regarded, as if they were not there; None: all are.

    Raises:
        UnavailableError: If the store does not answer.
    """
    store = connection.store
    committed, problems = _committed(store, run, as_of)
    # What was said is read after what is there: of two answers to a hold that comes meanwhile, the later one counts.
    fates = read_fates(store, run)
    try:
        head = latest(store, run)
    except (IntegrityError, InvalidInputError) as error:
        # Nobody knows what a launch would go on from, so nothing may end.
        nothing = RunSurvey(run, fates.store_time, ())
        return Survey(nothing, None, (f"{run}: nothing is done with it: {error.message}",))
    places = sorted(committed, reverse=True)
    known = RunSurvey(
        run,
        fates.store_time,
        tuple(Surveyed(place, fates.fate(place), fates.cases(place)) for place in places),
        head,
    )
    looked = _look_at(machine, connection, basis, known)
    found = replace(known, checkpoints=tuple(looked.get(item.place, item) for item in known.checkpoints))
    times = [at for at in committed.values() if at is not None]
    return Survey(found, max(times, default=None), tuple(problems))


def _committed(store: Store, run: str, as_of: datetime | None) -> tuple[dict[Place, datetime | None], list[str]]:
    """The committed checkpoints of a run, when that was, and what lies there and is none."""
    found: dict[Place, datetime | None] = {}
    problems: list[str] = []
    for page in list_pages(store, layout.manifests_folder(run)):
        for info in page.objects:
            try:
                place = Place(*layout.manifest_place(info.key))
            except IntegrityError as error:
                problems.append(error.message)
                continue
            if as_of is None or info.modified is None or info.modified <= as_of:
                found[place] = info.modified
    return found, problems


def _look_at(machine: Machine, connection: Connection, basis: Basis, known: RunSurvey) -> Mapping[Place, Surveyed]:
    """The checkpoints of which more has to be known, with that."""
    wanted = needs(basis, known)

    def look(item: Surveyed) -> Surveyed:
        try:
            return replace(item, looked=_looked(connection, basis, item, wanted[item.place], known.now))
        except _UNREADABLE as error:
            return replace(item, problem=error.message)

    items = (item for item in known.checkpoints if item.place in wanted)
    found = machine.executor.map_unordered(look, items, limit=READS_IN_FLIGHT)
    return {item.place: item for item in found}


def _looked(connection: Connection, basis: Basis, item: Surveyed, need: Need, now: datetime) -> Looked:
    place, bucket = item.place, connection.bucket
    objects = data_objects(connection.store, place)
    if item.fate.is_over(now):
        tag = bucket.read_tags(objects[-1].key).get(TAG_KEY, "") if bucket is not None and objects else ""
        return Looked(objects, tag=tag)
    lock = bucket.read_lock(objects[-1].key) if bucket is not None and basis.has_locks and objects else None
    if need is Need.DATA:
        return Looked(objects, lock=lock)
    manifest = load_manifest(connection.store, place).manifest
    return Looked(objects, manifest.promotion, manifest.retention_class, lock)


def data_objects(store: Store, place: Place) -> tuple[ObjectInfo, ...]:
    """All that lies where a checkpoint's data is, by key: one listing per thousand."""
    found = list_all(store, layout.data_folder(place.run, place.attempt, place.step))
    return tuple(sorted(found, key=lambda info: info.key))
