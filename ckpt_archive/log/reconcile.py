"""Lists the records themselves, and seals those that no marker told of: a marker expired unseen, or somebody deleted it.

The feed is complete as long as somebody looks at it in time. This is how one knows, and how an archive that was copied, or
is older than its feed, comes into the log.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.log.appending import Appender
from ckpt_archive.log.batch import FINDING, Entry
from ckpt_archive.log.digests import DigestSet
from ckpt_archive.log.looking import Keep, forget, read_entry
from ckpt_archive.log.plan import OVERLAP
from ckpt_archive.log.sequence import read_batch, read_batches
from ckpt_archive.log.sync import GoOn, seal
from ckpt_archive.names import RUN_NAME
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import ObjectInfo, Store, list_folders, list_pages

UNTOLD = "no marker told of it"
"""What a finding says about a record that only a listing has found."""

_FOREIGN = "this is not the key of a record, and nothing else may be among them"
_READS_IN_FLIGHT = 16

Parse = Callable[[str], "Named | None"]


@dataclass(frozen=True, slots=True)
class Named:
    """A record as its key names it: of which kind it is, and the id that an event has."""

    kind: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What a reconciliation came to.

    Attributes:
        newest: The number of the newest batch; 0 for an empty log.
        listed: How many records there are.
        sealed: How many of them are in the log only now.
        findings: How many entries that say what is wrong were added.
        is_complete: Whether there was time for all of them; else the next one begins anew, and what was sealed is sealed.
    """

    newest: int
    listed: int
    sealed: int
    findings: int
    is_complete: bool


def reconcile(
    store: Store,
    executor: Executor,
    archive_id: str,
    node: str,
    *,
    hint: int = 0,
    go_on: GoOn = lambda: True,
    keep: Keep = forget,
    read_back: bool = False,
) -> ReconcileReport:
    """Bring every record there is into the log. Safe to run any number at once, killed anywhere, and again.

    Costs the listing of all records, the whole log, and a read for each record that it does not hold. Memory: about twenty
    bytes for each record of the archive.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        archive_id: The archive's id.
        node: Who seals, for people.
        hint: The number of a batch that is known to have been sealed; 0 for none.
        go_on: Says when to stop early.
        keep: Is given the records as they are read.
        read_back: See `Appender`.

    Raises:
        IntegrityError: If a batch of the log is damaged or missing.
        UnavailableError: If the store does not answer. What was sealed until then is sealed.
    """
    # What a marker tells of is sealed first, so that what is found afterwards has none.
    told = seal(store, executor, archive_id, node, hint=hint, go_on=go_on, keep=keep, sweep=True, read_back=read_back)
    if not told.has_swept:
        return ReconcileReport(told.newest, 0, 0, told.findings, is_complete=False)
    now = store.list(layout.PENDING, limit=1).store_time
    head = read_batch(store, archive_id, told.newest) if told.newest else None
    sealed = DigestSet()
    for batch in read_batches(store, executor, archive_id, 1, told.newest):
        for entry in batch.batch.entries:
            sealed.add(entry.subject)
    appender = Appender(store, executor, archive_id, node, head, now, read_back=read_back)
    search = _Search(store, executor, appender, sealed, keep)
    is_complete = search.through(_listings(store), go_on)
    appender.write()
    return ReconcileReport(
        newest=0 if appender.head is None else appender.head.number,
        listed=search.listed,
        sealed=appender.entries,
        findings=told.findings + appender.findings,
        is_complete=is_complete,
    )


def _listings(store: Store) -> Iterator[tuple[Sequence[ObjectInfo], Parse]]:
    """Every record, page by page, with what reads its key."""
    for folder in list_folders(store, layout.MANIFESTS):
        for page in list_pages(store, folder):
            yield page.objects, _commit
    for folder in list_folders(store, layout.RUNS):
        for page in list_pages(store, f"{folder}attempts/"):
            yield page.objects, _launch
        for page in list_pages(store, f"{folder}decisions/"):
            yield page.objects, _decision
    for page in list_pages(store, layout.EVENTS):
        yield page.objects, _event


class _Search:
    """Goes through listings and gives the appender what the log does not hold."""

    def __init__(self, store: Store, executor: Executor, appender: Appender, sealed: DigestSet, keep: Keep) -> None:
        self._store = store
        self._executor = executor
        self._appender = appender
        self._sealed = sealed
        self._keep = keep
        # What is younger the feed will tell of, or the next reconciliation.
        self._until = appender.draft.now - OVERLAP
        self.listed = 0

    def through(self, listings: Iterator[tuple[Sequence[ObjectInfo], Parse]], go_on: GoOn) -> bool:
        """Look through all of them; whether there was time."""
        for objects, parse in listings:
            self._look_at(objects, parse)
            if not go_on():
                return False
        return True

    def _look_at(self, objects: Sequence[ObjectInfo], parse: Parse) -> None:
        unsealed: list[tuple[ObjectInfo, Named]] = []
        for info in objects:
            named = parse(info.key)
            if named is None:
                self._add(Entry.finding(info.key, info.modified or self._until, _FOREIGN))
                continue
            self.listed += 1
            if info.key not in self._sealed and (info.modified is None or info.modified < self._until):
                unsealed.append((info, named))
        for entry in self._read(unsealed):
            if entry.kind != FINDING:
                self._add(Entry.finding(entry.key, entry.time, UNTOLD, entry.digest))
            self._add(entry)
            self._appender.write_if_full()

    def _read(self, unsealed: Sequence[tuple[ObjectInfo, Named]]) -> list[Entry]:
        now: datetime = self._appender.draft.now

        def read(info_named: tuple[ObjectInfo, Named]) -> Entry | None:
            info, named = info_named
            try:
                return read_entry(self._store, named.kind, info.key, now, self._keep, identity=named.identity)
            except NotFoundError:  # It was deleted since it was listed: there is nothing to seal.
                return None

        found = self._executor.map_unordered(read, unsealed, limit=_READS_IN_FLIGHT)
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.key)

    def _add(self, entry: Entry) -> None:
        if entry.subject not in self._sealed and not self._appender.known.has(entry):
            self._appender.add_new(entry)
            self._appender.write_if_full()


def _commit(key: str) -> Named | None:
    try:
        place = Place(*layout.manifest_place(key))
    except IntegrityError:
        return None
    return Named("commit") if layout.manifest(place.run, place.attempt, place.step) == key else None


def _launch(key: str) -> Named | None:
    try:
        number = layout.attempt_number(key)
    except IntegrityError:
        return None
    run = key.split("/")[1]
    return Named("launch") if RUN_NAME.fullmatch(run) and layout.attempt_record(run, number) == key else None


def _decision(key: str) -> Named | None:
    components = key.split("/")
    if len(components) != 5 or not components[3].isdecimal():
        return None
    try:
        step = layout.decision_step(key)
    except IntegrityError:
        return None
    run, attempt = components[1], int(components[3])
    return Named("decision") if RUN_NAME.fullmatch(run) and layout.decision(run, attempt, step) == key else None


def _event(key: str) -> Named | None:
    try:
        return Named("event", layout.event_name(key).identity)
    except IntegrityError:
        return None
