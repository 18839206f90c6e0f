"""Checkpoints that are in the bucket already become checkpoints of the archive, where they lie: read once, never copied.

Every object is read once for its digests; what it is called then (its ETag) stands in the receipt beside its whole key. From
then on it is restored and verified as any other. Nothing of it is tagged, moved or deleted: retention leaves alone what lies
outside the archive's own data.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.committing import Committed, try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import MAX_PLACES, Event, record_event, store_time
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch, push_key
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import contributed_ranks, decode_receipt, read_receipt, receipt_key
from ckpt_archive.commit.writeonce import check_as_sent, create_once
from ckpt_archive.contribution import Contribution
from ckpt_archive.errors import ConflictError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_file_tree, check_run_name, check_step
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.share import DataObject, FileEntry, Share
from ckpt_archive.store.file import files_of
from ckpt_archive.store.protocol import ObjectInfo, Store, list_all, list_folders
from ckpt_archive.transfer.digesting import Digests

IMPORTED = "imported"
_EMPTY_SHA256 = Digests(1).sha256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A folder of the bucket that is, or becomes, a checkpoint.

    Attributes:
        folder: Relative to the store that it was found in; ends in '/'.
        step: Its training step.
        objects: What lies in it, sorted by key.
    """

    folder: str
    step: int
    objects: tuple[ObjectInfo, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its objects."""
        return sum(item.size_bytes for item in self.objects)

    def path(self, item: ObjectInfo) -> str:
        """The path of the file that an object becomes."""
        return item.key[len(self.folder) :]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of a candidate.

    Attributes:
        run: Run name.
        attempt: The attempt it went to.
        step: Training step.
        state: "committed", "already-committed", or "found" in a dry run.
        files: How many files.
        size_bytes: Their size.
        folder: Where they lie.
    """

    run: str
    attempt: int | None
    step: int
    state: str
    files: int
    size_bytes: int
    folder: str


def base_of(archive_url: str, url: str) -> str:
    """What the keys of a folder begin with in the archive's bucket; "" or ending in '/'. Of a file archive, in its folder.

    Both are as their stores spell them: not quoted, and without a final '/'.

    Raises:
        InvalidInputError: If it is not in the archive's bucket.
    """
    scheme, _, path = archive_url.partition("://")
    # An archive in a bucket may reach all of it, one in a folder only what lies below.
    root = f"{scheme}://{path.split('/')[0] if scheme == 's3' else path}/"
    if f"{url}/".startswith(root):
        return f"{url}/"[len(root) :]
    raise InvalidInputError(
        f"{url} is not in the bucket, or below the folder, of the archive {archive_url}: what lies elsewhere can not be "
        "adopted in place",
        hint="Fetch it and use `ckpt-archive push`, or make the archive in that bucket.",
    )


def check_foreign(archive: Store, base: str, candidates: Sequence[Candidate]) -> None:
    """Check that what is to be adopted belongs to no archive, and that all of it can be seen.

    Costs a HEAD for each folder above a candidate that is called as one of an archive's own.

    Args:
        archive: The archive's store.
        base: What the keys of the candidates begin with in its bucket.
        candidates: They.

    Raises:
        InvalidInputError: If something does: an archive's policy ends and removes what is its own.
    """
    scheme, _, path = archive.url.partition("://")
    own = f"{path.partition('/')[2]}/".lstrip("/") if scheme == "s3" else ""
    asked: dict[str, bool] = {own: True}
    for candidate in candidates:
        components = f"{base}{candidate.folder}".split("/")
        for number, name in enumerate(components):
            above = "".join(f"{item}/" for item in components[:number])
            if f"{name}/" not in layout.OWN:
                continue
            if above not in asked:
                asked[above] = _exists(archive, f"/{above}{layout.ARCHIVE}")
            if asked[above]:
                raise InvalidInputError(
                    f"{base}{candidate.folder} lies where an archive keeps what is its own",
                    hint="Copy a run of another archive with `ckpt-archive copy`; its own objects can not be adopted.",
                )
        if any(candidate.path(item).rpartition("/")[2] == layout.ARCHIVE for item in candidate.objects):
            raise InvalidInputError(
                f"{base}{candidate.folder} holds an {layout.ARCHIVE}: it is an archive, or a part of one",
                hint="Name the folder of the old checkpoints, and a pattern that only they have.",
            )
        files = files_of(archive)
        hidden = None if files is None else next(files.not_shown(f"{base}{candidate.folder}"), None)
        if hidden is not None:
            raise InvalidInputError(
                f"{hidden} is no plain file, or has a name that no object may have: without it the checkpoint would not "
                "be whole",
                hint="Put a copy in the place of a link; or push the folder.",
            )


def _exists(store: Store, key: str) -> bool:
    try:
        store.head(key)
    except NotFoundError:
        return False
    return True


def find_candidates(store: Store, pattern: str) -> tuple[Candidate, ...]:
    """The folders that `pattern` names, by step. Costs a listing of the folders, and one of each that matches.

    Args:
        store: Where, rooted at the folder in which they lie.
        pattern: Such as ``checkpoint-{step}`` or ``out/step_{step}``.

    Raises:
        InvalidInputError: If the pattern names no step, two folders have one step, or a file could not be restored.
        NotFoundError: If no folder matches.
    """
    parent, _, name = pattern.strip("/").rpartition("/")
    if name.count("{step}") != 1 or "{step}" in parent:
        raise InvalidInputError(
            f"{pattern!r} does not say where the step stands", hint="Write it such as 'checkpoint-{step}'."
        )
    before, after = (re.escape(part) for part in name.split("{step}"))
    matching = re.compile(f"{before}([0-9]{{1,12}}){after}")
    prefix = f"{parent}/" if parent else ""
    found: dict[int, Candidate] = {}
    for folder in list_folders(store, prefix):
        match = matching.fullmatch(folder[len(prefix) : -1])
        if match is None:
            continue
        step = check_step(int(match[1]))
        listed = list_all(store, folder)
        objects = tuple(item for item in listed if item.size_bytes or not item.key.endswith("/"))
        if not objects:
            continue  # what a console leaves of an empty folder
        if step in found:
            raise InvalidInputError(
                f"{found[step].folder} and {folder} are both step {step}", hint="Use a pattern that tells them apart."
            )
        candidate = Candidate(folder, step, tuple(sorted(objects, key=lambda item: item.key)))
        check_file_tree([candidate.path(item) for item in objects])
        found[step] = candidate
    if not found:
        raise NotFoundError(
            f"nothing in {store.url} is called {pattern!r}", hint="Check the URL and the pattern, with `aws s3 ls`."
        )
    return tuple(found[step] for step in sorted(found))


def adopt(
    machine: Machine,
    connection: Connection,
    store: Store,
    base: str,
    run: str,
    candidates: Sequence[Candidate],
    *,
    actor: str = "",
    reason: str = "",
    progress: Progress | None = None,
) -> Iterator[Adopted]:
    """Make checkpoints of folders, oldest step first; each when it is committed.

    Reads every byte once, and of what is archived already only the receipt.

    Args:
        machine: Runs the reads.
        connection: The archive.
        store: Where the folders lie.
        base: What their keys begin with in the archive's bucket; "" or ending in '/'.
        run: The run they go to; repeating goes to the same attempt.
        candidates: The folders.
        actor: Who adopts.
        reason: Why.
        progress: Told how many bytes were read.

    Raises:
        ConflictError: If other content is archived as one of these steps, or an object changes meanwhile.
        UnavailableError: If the store does not answer.
    """
    check_run_name(run)
    launch = open_launch(
        connection.store,
        LaunchRequest(
            archive_id=connection.archive_id,
            run=run,
            launch_key=push_key(run),
            writers=1,
            started_at=machine.clock.now(),
        ),
        lambda _: Resumption(None, explicit=False),
    )
    work = _Adoption(machine, connection, store, base, progress)
    places = [Place(run, launch.attempt, item.step) for item in candidates]
    committed = set(catalog.places(connection.store, run, launch.attempt))
    new = [place for place in places if place not in committed]
    # An intent, as the marker of a commit is: whoever dies after the first manifest has told what he was about to do.
    for at in range(0, len(new), MAX_PLACES):
        event = Event(
            connection.archive_id,
            IMPORTED,
            machine.nonce(),
            machine.clock.now(),
            actor,
            machine.node,
            tuple(new[at : at + MAX_PLACES]),
            subject=store.url,
            outcome="begun",
            reason=reason,
        )
        record_event(connection.store, event, store_time(connection.store))
    for candidate, place in zip(candidates, places, strict=True):
        state = work.checkpoint(candidate, place, launch.launch_key)
        yield Adopted(
            run, place.attempt, place.step, state, len(candidate.objects), candidate.size_bytes, candidate.folder
        )


def found(run: str, candidate: Candidate) -> Adopted:
    """What a dry run says of a folder."""
    return Adopted(run, None, candidate.step, "found", len(candidate.objects), candidate.size_bytes, candidate.folder)


class _Adoption:
    def __init__(
        self, machine: Machine, connection: Connection, store: Store, base: str, progress: Progress | None
    ) -> None:
        self._machine = machine
        self._connection = connection
        self._store = store
        self._base = base
        self._progress = progress

    def checkpoint(self, candidate: Candidate, place: Place, launch_key: str) -> str:
        """Make a checkpoint of a folder; how that ended."""
        known = self._known(candidate, place)
        if known is None:
            known = self._contribute(candidate, place, launch_key)
        connection = self._connection
        outcome = try_commit(
            connection.store,
            self._machine.executor,
            place,
            archive_id=connection.archive_id,
            writers=1,
            own={0: known},
            read_back=not connection.checksums_enforced(),
        )
        return "committed" if isinstance(outcome, Committed) else "already-committed"

    def _known(self, candidate: Candidate, place: Place) -> bytes | None:
        """The receipt that stands, if it is about these very objects.

        Raises:
            ConflictError: If it is about others.
        """
        if 0 not in contributed_ranks(self._connection.store, place):
            return None
        receipt, data = read_receipt(self._connection.store, place, 0)
        objects = receipt.share.objects
        there = {
            (file.path, file.size_bytes, objects[file.object_index].key, objects[file.object_index].etag)
            for file in receipt.share.files
            if file.object_index is not None
        }
        ours = {
            (candidate.path(item), item.size_bytes, self._key(item), item.etag)
            for item in candidate.objects
            if item.size_bytes
        }
        if there != ours:
            raise ConflictError(
                f"{place} is archived with other objects than those in {candidate.folder}",
                hint="What was archived first stays. Import the folder into another run.",
            )
        return data

    def _contribute(self, candidate: Candidate, place: Place, launch_key: str) -> bytes:
        connection = self._connection
        left_over = list_all(connection.store, layout.data_folder(place.run, place.attempt, place.step))
        if left_over:
            raise ConflictError(
                f"{len(left_over)} objects of a push that was never finished lie where the data of {place} would be",
                hint="Finish it, or remove them with `ckpt-archive retention run --orphans`, or import into another run.",
            )
        meter = Meter(self._progress, f"read {candidate.folder}", candidate.size_bytes)
        digested: dict[str, DataObject] = {}
        for key, item in self._machine.executor.map_unordered(
            self._digest, candidate.objects, limit=connection.settings.parts_in_flight
        ):
            digested[key] = item
            meter(item.size_bytes)
        objects = [digested[item.key] for item in candidate.objects if item.size_bytes]
        index = {item.key: number for number, item in enumerate(objects)}
        files = []
        for found in candidate.objects:
            number = index.get(self._key(found))
            whole = None if number is None else objects[number]
            files.append(
                FileEntry(
                    candidate.path(found),
                    found.size_bytes,
                    _EMPTY_SHA256 if whole is None else whole.sha256,
                    number,
                    0,
                    () if whole is None else whole.part_crc32c,
                )
            )
        share = Share(tuple(sorted(files, key=lambda file: file.path)), tuple(objects))
        contribution = Contribution(
            launch_key=launch_key,
            writers=1,
            staged_at=_newest(candidate) or self._machine.clock.now(),
            promotion={"rule": "import", "from": f"{self._store.url}/{candidate.folder}"},
            completeness="assumed",
        )
        receipt = Receipt(connection.archive_id, place.run, place.attempt, place.step, 0, contribution, share)
        data = receipt.encode()
        key = receipt_key(place, 0)
        decode_receipt(data, place, 0)
        there = create_once(connection.store, key, data)
        if there is None and not connection.checksums_enforced():
            check_as_sent(connection.store, key, data)
        if there is None:
            return data
        known = self._known(candidate, place)
        assert known is not None
        return known

    def _digest(self, item: ObjectInfo) -> tuple[str, DataObject]:
        part_size = self._connection.settings.part_size_bytes
        digests = Digests(part_size)
        if not item.size_bytes:
            return item.key, DataObject(_EMPTY_SHA256, 0, part_size, ())
        # The ETag holds it together: an object that is replaced meanwhile is a conflict, and no mixture.
        self._store.fetch(item.key, offset=0, length=item.size_bytes, etag=item.etag, sink=digests.update)
        return item.key, DataObject(
            digests.sha256, item.size_bytes, part_size, digests.crc32c, self._key(item), item.etag
        )

    def _key(self, item: ObjectInfo) -> str:
        """Its whole key in the bucket, as receipts have it."""
        return f"/{self._base}{item.key}"


def _newest(candidate: Candidate) -> datetime | None:
    return max((item.modified for item in candidate.objects if item.modified is not None), default=None)
